//! Secrets of [Standard Webhooks](https://www.standardwebhooks.com): what signs, and what verifies.

use std::fmt;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use base64::engine::{DecodePaddingMode, general_purpose::STANDARD as BASE64};
use ring::hmac;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use subtle::{Choice, ConstantTimeEq as _};

/// How long a shared secret is, in bytes.
const SHARED_BYTES_MIN: usize = 24;
const SHARED_BYTES_MAX: usize = 64;
/// The seed of a private key, and a public key.
const SEED_BYTES: usize = 32;
/// How long a signature is, `v1` and `v1a`.
const TAG_BYTES: usize = 32;
const PUBLIC_BYTES: usize = 64;
/// How many signatures of a request are looked at, and how many of them may be `v1a`: each of those costs
/// as much as all `v1` together.
const SIGNATURES_MAX: usize = 16;
const PUBLIC_MAX: usize = 4;

/// Padding may be missing, as the official libraries allow.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A secret.
pub(super) enum Secret {
    /// `whsec_`: shared by both sides, HMAC-SHA256, signatures `v1`.
    Shared(hmac::Key),
    /// `whsk_`: a private key, Ed25519, signatures `v1a`.
    Private(Box<Ed25519KeyPair>),
    /// `whpk_`: the public key of one, which only verifies.
    Public([u8; SEED_BYTES]),
}

/// Why a text is not a secret. It does not repeat the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum InvalidSecret {
    #[error(
        "a secret begins with `whsec_` (shared), `whsk_` (a private key) or `whpk_` (a public key)"
    )]
    Prefix,
    #[error("what follows the prefix of the secret is not base64")]
    Base64,
    #[error("the secret has {found} bytes; expected {expected}")]
    Length {
        found: usize,
        expected: &'static str,
    },
    #[error("the two halves of the private key do not belong together")]
    Key,
}

impl Secret {
    pub(super) fn parse(text: &str) -> Result<Self, InvalidSecret> {
        let decode = |text: &str| LENIENT.decode(text).map_err(|_| InvalidSecret::Base64);
        if let Some(text) = text.strip_prefix("whsec_") {
            let bytes = decode(text)?;
            return match bytes.len() {
                SHARED_BYTES_MIN..=SHARED_BYTES_MAX => {
                    Ok(Self::Shared(hmac::Key::new(hmac::HMAC_SHA256, &bytes)))
                }
                found => Err(InvalidSecret::Length {
                    found,
                    expected: "24 to 64",
                }),
            };
        }
        if let Some(text) = text.strip_prefix("whsk_") {
            return private(&decode(text)?);
        }
        let Some(text) = text.strip_prefix("whpk_") else {
            return Err(InvalidSecret::Prefix);
        };
        let bytes = decode(text)?;
        let key = bytes.as_slice().try_into();
        key.map(Self::Public).map_err(|_| InvalidSecret::Length {
            found: bytes.len(),
            expected: "32",
        })
    }

    /// The signature of a message, with its version; a public key makes none.
    pub(super) fn sign(&self, message: &[u8]) -> Option<String> {
        let (version, signature) = match self {
            Self::Shared(key) => ("v1", BASE64.encode(hmac::sign(key, message))),
            Self::Private(pair) => ("v1a", BASE64.encode(pair.sign(message))),
            Self::Public(_) => return None,
        };
        Some(format!("{version},{signature}"))
    }

    /// Whether one of these signatures is one of the message. Of a shared secret the message is hashed
    /// once, whatever was claimed, and no comparison tells by its time how near it was.
    pub(super) fn verifies_one_of(&self, signatures: &Signatures, message: &[u8]) -> bool {
        let by = |public: &[u8]| {
            let key = UnparsedPublicKey::new(&ED25519, public);
            let mut claimed = signatures.public.iter();
            claimed.any(|signature| key.verify(message, signature).is_ok())
        };
        match self {
            Self::Shared(_) if signatures.shared.is_empty() => false,
            Self::Shared(key) => {
                let tag = hmac::sign(key, message);
                let claimed = signatures.shared.iter();
                let is_one = claimed.fold(Choice::from(0), |is_one, claimed| {
                    is_one | claimed.ct_eq(tag.as_ref())
                });
                is_one.into()
            }
            Self::Private(pair) => by(pair.public_key().as_ref()),
            Self::Public(key) => by(key),
        }
    }

    /// The public key, as receivers are given it.
    pub(super) fn public(&self) -> Option<String> {
        let key = match self {
            Self::Shared(_) => return None,
            Self::Private(pair) => BASE64.encode(pair.public_key()),
            Self::Public(key) => BASE64.encode(key),
        };
        Some(format!("whpk_{key}"))
    }
}

/// The signatures that a request claims to have, by their version.
#[derive(Debug, Default)]
pub(super) struct Signatures {
    /// `v1`.
    shared: Vec<[u8; TAG_BYTES]>,
    /// `v1a`.
    public: Vec<[u8; PUBLIC_BYTES]>,
}

impl Signatures {
    /// Those of a header; what cannot be one is left out.
    pub(super) fn parse(header: &str) -> Self {
        let mut signatures = Self::default();
        for signature in header.split(' ').take(SIGNATURES_MAX) {
            let Some((version, signature)) = signature.split_once(',') else {
                continue;
            };
            let Ok(signature) = BASE64.decode(signature) else {
                continue;
            };
            match version {
                "v1" => signatures
                    .shared
                    .extend(<[u8; TAG_BYTES]>::try_from(signature)),
                "v1a" if signatures.public.len() < PUBLIC_MAX => {
                    let signature = <[u8; PUBLIC_BYTES]>::try_from(signature);
                    signatures.public.extend(signature);
                }
                _ => {}
            }
        }
        signatures
    }

    pub(super) fn is_empty(&self) -> bool {
        self.shared.is_empty() && self.public.is_empty()
    }
}

/// A private key: its seed, or its seed and the public key.
fn private(bytes: &[u8]) -> Result<Secret, InvalidSecret> {
    let pair = match bytes.split_at_checked(SEED_BYTES) {
        Some((seed, [])) => Ed25519KeyPair::from_seed_unchecked(seed),
        Some((seed, public)) if public.len() == SEED_BYTES => {
            Ed25519KeyPair::from_seed_and_public_key(seed, public)
        }
        _ => {
            return Err(InvalidSecret::Length {
                found: bytes.len(),
                expected: "32 (the seed) or 64 (the seed and the public key)",
            });
        }
    };
    pair.map(|pair| Secret::Private(Box::new(pair)))
        .map_err(|_| InvalidSecret::Key)
}

impl fmt::Debug for Secret {
    /// Never the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Shared(_) => "whsec_…",
            Self::Private(_) => "whsk_…",
            Self::Public(_) => "whpk_…",
        })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::webhooks) const SHARED: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    /// The first example of RFC 8032, which signs an empty message.
    pub(in crate::webhooks) const PRIVATE: &str =
        "whsk_nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=";
    const OF_NOTHING: &str =
        "5VZDAMNgrHKQhuLMgG6CioSHfx645dl02HPgZSJJAVVfuIIVkKM7rMYeOXAc+bRr0lv18FlbviRlUUFDjnoQCw==";
    const PUBLIC: &str = "whpk_11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";

    #[test]
    fn a_private_key_is_its_seed_or_both_halves_and_gives_its_public_key() {
        let pair = "whsk_nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2DXWpgBgrEKt9VL/tPJZAc6DuFy89qmIyWvAhpo9wdRGg==";
        for text in [PRIVATE, PRIVATE.trim_end_matches('='), pair] {
            let secret = Secret::parse(text).unwrap();
            assert_eq!(secret.public().unwrap(), PUBLIC);
            assert_eq!(secret.sign(b"").unwrap(), format!("v1a,{OF_NOTHING}"));
        }
    }

    #[test]
    fn a_signature_verifies_with_its_own_secret_and_message_only() {
        let [shared, private, public] =
            [SHARED, PRIVATE, PUBLIC].map(|text| Secret::parse(text).unwrap());
        let other = Secret::parse("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA").unwrap();
        let signed = |secret: &Secret| Signatures::parse(&secret.sign(b"message").unwrap());
        let signatures = signed(&shared);
        assert!(shared.verifies_one_of(&signatures, b"message"));
        assert!(!shared.verifies_one_of(&signatures, b"massage"));
        assert!(!other.verifies_one_of(&signatures, b"message"));
        assert!(!public.verifies_one_of(&signatures, b"message"));
        let signatures = signed(&private);
        assert!(private.verifies_one_of(&signatures, b"message"));
        assert!(public.verifies_one_of(&signatures, b"message"));
        assert!(!public.verifies_one_of(&signatures, b"massage"));
        assert!(!shared.verifies_one_of(&signatures, b"message"));
        assert!(public.sign(b"message").is_none());
    }

    #[test]
    fn of_the_signatures_of_a_request_only_so_many_are_looked_at() {
        let [shared, private] = [SHARED, PRIVATE].map(|text| Secret::parse(text).unwrap());
        let right = shared.sign(b"message").unwrap();
        let wrong = format!("v1,{}", BASE64.encode([0; TAG_BYTES]));
        let nth = |right: &str, wrong: &str, place: usize| {
            let mut all = vec![wrong; place];
            all.push(right);
            Signatures::parse(&all.join(" "))
        };
        for (place, is_seen) in [(0, true), (15, true), (16, false)] {
            let signatures = nth(&right, &wrong, place);
            assert_eq!(shared.verifies_one_of(&signatures, b"message"), is_seen);
        }
        // Each of these costs a hash of the whole message, for each secret.
        let right = private.sign(b"message").unwrap();
        let wrong = format!("v1a,{}", BASE64.encode([0; PUBLIC_BYTES]));
        for (place, is_seen) in [(0, true), (3, true), (4, false)] {
            let signatures = nth(&right, &wrong, place);
            assert_eq!(private.verifies_one_of(&signatures, b"message"), is_seen);
        }
        for text in [
            "", "v1", "v1,", "v1,!", "v1,AAAA", "v1a,AAAA", "v2,AAAA", "v1 AAAA",
        ] {
            assert!(Signatures::parse(text).is_empty(), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_secret_is_refused_without_being_repeated() {
        for (text, error) in [
            ("", InvalidSecret::Prefix),
            ("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", InvalidSecret::Prefix),
            ("whsec_not base64!", InvalidSecret::Base64),
        ] {
            assert_eq!(Secret::parse(text).unwrap_err(), error, "{text}");
        }
        for text in ["whsec_c2hvcnQ=", "whsk_c2hvcnQ=", "whpk_c2hvcnQ="] {
            let error = Secret::parse(text).unwrap_err().to_string();
            assert!(
                error.contains("5 bytes") && !error.contains("c2hv"),
                "{error}"
            );
        }
        let swapped = format!("whsk_{}", BASE64.encode([7; 64]));
        assert_eq!(Secret::parse(&swapped).unwrap_err(), InvalidSecret::Key);
        assert_eq!(format!("{:?}", Secret::parse(SHARED).unwrap()), "whsec_…");
    }
}
