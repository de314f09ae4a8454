//! Logging in without sending the password: SCRAM (RFC 5802) with SHA-256 or SHA-512.
//!
//! Name and password go as they are, without the SASLprep of the RFC: Kafka's brokers and tools keep the
//! bytes that they were given, and a prepared password would not be the one that they know.

use std::num::NonZeroU32;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ring::rand::{SecureRandom as _, SystemRandom};
use ring::{digest, hmac, pbkdf2};

use crate::shared_log::Login;

const NONCE_BYTES: usize = 24;
/// More than any server asks for; a false one must not keep us busy for minutes.
const ITERATIONS_MAX: u32 = 1_000_000;

/// Which hash is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hash {
    Sha256,
    Sha512,
}

/// A login that is under way.
pub(super) struct Scram {
    hash: Hash,
    password: String,
    nonce: String,
    /// The first message, without what says that the channel is not bound.
    first: String,
}

/// The last message, and what the server must answer to prove that it knows the password.
pub(super) struct Proof {
    pub(super) message: String,
    pub(super) signature: String,
}

impl Scram {
    /// Begins; `None` when the system has no randomness.
    pub(super) fn new(hash: Hash, login: &Login) -> Option<Self> {
        let mut nonce = [0; NONCE_BYTES];
        SystemRandom::new().fill(&mut nonce).ok()?;
        Some(Self::with_nonce(hash, login, BASE64.encode(nonce)))
    }

    fn with_nonce(hash: Hash, login: &Login, nonce: String) -> Self {
        let user = login.user.replace('=', "=3D").replace(',', "=2C");
        Self {
            hash,
            password: login.password.clone(),
            first: format!("n={user},r={nonce}"),
            nonce,
        }
    }

    pub(super) fn first(&self) -> String {
        format!("n,,{}", self.first)
    }

    /// Answers the server's challenge; `None` when it is malformed.
    pub(super) fn prove(&self, challenge: &str) -> Option<Proof> {
        let mut parts = challenge.split(',');
        let nonce = parts.next()?.strip_prefix("r=")?;
        let salt = BASE64.decode(parts.next()?.strip_prefix("s=")?).ok()?;
        let iterations: NonZeroU32 = parts.next()?.strip_prefix("i=")?.parse().ok()?;
        if !nonce.starts_with(&self.nonce) || iterations.get() > ITERATIONS_MAX {
            return None;
        }
        let (hmac, pbkdf2, digest) = match self.hash {
            Hash::Sha256 => (
                hmac::HMAC_SHA256,
                pbkdf2::PBKDF2_HMAC_SHA256,
                &digest::SHA256,
            ),
            Hash::Sha512 => (
                hmac::HMAC_SHA512,
                pbkdf2::PBKDF2_HMAC_SHA512,
                &digest::SHA512,
            ),
        };
        let mut salted = vec![0; digest.output_len()];
        let password = self.password.as_bytes();
        pbkdf2::derive(pbkdf2, iterations, &salt, password, &mut salted);
        let sign = |key: &[u8], text: &[u8]| hmac::sign(&hmac::Key::new(hmac, key), text);
        let client_key = sign(&salted, b"Client Key");
        let stored_key = digest::digest(digest, client_key.as_ref());
        // `biws` is `n,,`: the channel is not bound.
        let unproven = format!("c=biws,r={nonce}");
        let all = format!("{},{challenge},{unproven}", self.first);
        let signature = sign(stored_key.as_ref(), all.as_bytes());
        let keys = client_key.as_ref().iter().zip(signature.as_ref());
        let proof: Vec<u8> = keys.map(|(key, mask)| key ^ mask).collect();
        let server_key = sign(&salted, b"Server Key");
        let expected = sign(server_key.as_ref(), all.as_bytes());
        Some(Proof {
            message: format!("{unproven},p={}", BASE64.encode(proof)),
            signature: format!("v={}", BASE64.encode(expected)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_rfc_7677() {
        let login = Login {
            user: "user".to_owned(),
            password: "pencil".to_owned(),
        };
        let nonce = "rOprNGfwEbeRWgbNEkqO".to_owned();
        let scram = Scram::with_nonce(Hash::Sha256, &login, nonce);
        assert_eq!(scram.first(), "n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
        let challenge = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                         s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
        let proof = scram.prove(challenge).unwrap();
        assert_eq!(
            proof.message,
            "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
             p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
        );
        assert_eq!(
            proof.signature,
            "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
        );
        assert!(scram.prove(&challenge.replacen('r', "x", 2)).is_none());
    }

    #[test]
    fn a_password_that_sasl_would_prepare_is_sent_as_it_is() {
        let proof = |password: &str| {
            let login = Login {
                user: "user".to_owned(),
                password: password.to_owned(),
            };
            let scram = Scram::with_nonce(Hash::Sha256, &login, "n".to_owned());
            scram
                .prove("r=n1,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=1")
                .unwrap()
                .message
        };
        // SASLprep makes two letters of the ligature.
        assert_ne!(proof("\u{fb01}x"), proof("fix"));
    }
}
