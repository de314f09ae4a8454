//! Public keys that sign JSON Web Tokens: a set of them (RFC 7517), and checking a signature.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents,
    UnparsedPublicKey,
};
use serde::Deserialize;

use super::secrets::sha256;

/// The most keys of a set.
const KEYS_MAX: usize = 100;

/// The keys of an issuer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Keys(Vec<Key>);

#[derive(Debug, PartialEq, Eq)]
struct Key {
    id: Option<String>,
    algorithm: &'static str,
    material: Material,
    hash: KeyHash,
}

/// A public key. Its kind says which algorithm it is for: what a token says of that is only compared.
#[derive(Debug, PartialEq, Eq)]
enum Material {
    Ed25519(Vec<u8>),
    /// An uncompressed point.
    P256(Vec<u8>),
    Rsa {
        modulus: Vec<u8>,
        exponent: Vec<u8>,
    },
}

#[derive(Deserialize)]
struct Set {
    keys: Vec<Jwk>,
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    alg: Option<String>,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
    n: Option<String>,
    e: Option<String>,
}

impl Keys {
    /// The keys of a set that can be used here; others, such as keys to encrypt, are left out.
    pub(super) fn parse(json: &[u8]) -> Result<Self, String> {
        let set: Set = serde_json::from_slice(json).map_err(|error| error.to_string())?;
        if set.keys.len() > KEYS_MAX {
            return Err(format!("it has more than {KEYS_MAX} keys"));
        }
        let keys: Vec<Key> = set.keys.into_iter().filter_map(Key::of).collect();
        if keys.is_empty() {
            let problem = "it has no key for ES256, RS256 or EdDSA (Ed25519)";
            return Err(problem.to_owned());
        }
        Ok(Self(keys))
    }

    /// The key of this set that made the signature, if one did.
    pub(super) fn verify(
        &self,
        algorithm: &str,
        id: Option<&str>,
        signed: &[u8],
        signature: &[u8],
    ) -> Option<KeyHash> {
        let fits =
            |key: &&Key| key.algorithm == algorithm && (id.is_none() || key.id.as_deref() == id);
        let mut keys = self.0.iter().filter(fits);
        let key = keys.find(|key| key.material.verify(signed, signature))?;
        Some(key.hash)
    }

    /// How many keys there are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether the set has this key.
    pub(super) fn has(&self, hash: &KeyHash) -> bool {
        self.0.iter().any(|key| key.hash == *hash)
    }
}

impl Key {
    fn of(jwk: Jwk) -> Option<Self> {
        let bytes = |text: &Option<String>| URL_SAFE_NO_PAD.decode(text.as_ref()?).ok();
        let (algorithm, material) = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
            ("OKP", Some("Ed25519")) => ("EdDSA", Material::Ed25519(bytes(&jwk.x)?)),
            ("EC", Some("P-256")) => {
                let point = [&[4][..], &bytes(&jwk.x)?, &bytes(&jwk.y)?].concat();
                ("ES256", Material::P256(point))
            }
            ("RSA", None) => {
                let (modulus, exponent) = (bytes(&jwk.n)?, bytes(&jwk.e)?);
                ("RS256", Material::Rsa { modulus, exponent })
            }
            _ => return None,
        };
        let is_for_this = jwk.usage.as_deref().is_none_or(|usage| usage == "sig")
            && jwk.alg.as_deref().is_none_or(|alg| alg == algorithm);
        is_for_this.then(|| Self {
            id: jwk.kid,
            algorithm,
            hash: material.hash(),
            material,
        })
    }
}

/// A key by its hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct KeyHash([u8; 32]);

impl Material {
    fn hash(&self) -> KeyHash {
        let parts: [&[u8]; 2] = match self {
            Self::Ed25519(key) | Self::P256(key) => [key, &[]],
            Self::Rsa { modulus, exponent } => [modulus, exponent],
        };
        KeyHash(sha256(&parts.concat()))
    }

    fn verify(&self, signed: &[u8], signature: &[u8]) -> bool {
        let verified = match self {
            Self::Ed25519(key) => UnparsedPublicKey::new(&ED25519, key).verify(signed, signature),
            Self::P256(key) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key).verify(signed, signature)
            }
            Self::Rsa { modulus, exponent } => {
                let key = RsaPublicKeyComponents {
                    n: modulus,
                    e: exponent,
                };
                key.verify(&RSA_PKCS1_2048_8192_SHA256, signed, signature)
            }
        };
        verified.is_ok()
    }
}
