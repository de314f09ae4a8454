//! AES-256-GCM, by `ring`.
//!
//! A ciphertext is a byte for the form (1), a nonce of 96 bits, and what AES-256-GCM makes of the value, its tag
//! included. Nonces are random: of one key the chance that two are equal stays below 2⁻³² up to 2³² values, and
//! no one has so many; rotation starts again from zero. What is authenticated beside the value is whose it is and the number of
//! the key, so that a ciphertext is worth nothing under another name.

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

use super::keys::{SubjectKey, failed, random};
use crate::error::PersonalError;

const FORM: u8 = 1;
const CONTEXT: &[u8] = b"ensue personal 1";

/// The ciphertext of `plain`.
pub(super) fn seal(
    subject: &str,
    key: &SubjectKey,
    mut plain: Vec<u8>,
) -> Result<Vec<u8>, PersonalError> {
    let mut nonce = [0; NONCE_LEN];
    random(&mut nonce)?;
    let sealing = cipher(key)?;
    let nonce_of = Nonce::assume_unique_for_key(nonce);
    let sealed = sealing.seal_in_place_append_tag(nonce_of, aad(subject, key.number()), &mut plain);
    sealed.map_err(|_| failed("the value is too long to be sealed", None))?;
    let mut bytes = Vec::with_capacity(1 + NONCE_LEN + plain.len());
    bytes.push(FORM);
    bytes.extend(nonce);
    bytes.extend(plain);
    Ok(bytes)
}

/// What was sealed.
pub(super) fn open(
    subject: &str,
    key: &SubjectKey,
    bytes: &[u8],
) -> Result<Vec<u8>, PersonalError> {
    let damaged = || PersonalError::Damaged {
        subject: subject.to_owned(),
        key: key.number(),
    };
    let Some((&FORM, rest)) = bytes.split_first() else {
        return Err(damaged());
    };
    let (nonce, sealed) = rest.split_at_checked(NONCE_LEN).ok_or_else(damaged)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| damaged())?;
    let mut sealed = sealed.to_vec();
    let opened = cipher(key)?.open_in_place(nonce, aad(subject, key.number()), &mut sealed);
    let length = opened.map_err(|_| damaged())?.len();
    sealed.truncate(length);
    Ok(sealed)
}

fn cipher(key: &SubjectKey) -> Result<LessSafeKey, PersonalError> {
    let key = UnboundKey::new(&AES_256_GCM, key.bytes());
    let key = key.map_err(|_| failed("a key has not 256 bits", None))?;
    Ok(LessSafeKey::new(key))
}

/// Whose it is, and which key: in a form that is of no other pair.
fn aad(subject: &str, number: u32) -> Aad<Vec<u8>> {
    Aad::from([CONTEXT, &number.to_be_bytes(), subject.as_bytes()].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sealed_is_opened_by_its_key_under_its_name_and_by_nothing_else() {
        let key = SubjectKey::generate(1).unwrap();
        let sealed = seal("u-1", &key, b"Elm Street".to_vec()).unwrap();
        assert!(!sealed.windows(3).any(|it| it == b"Elm"));
        assert_eq!(open("u-1", &key, &sealed).unwrap(), b"Elm Street");
        let other = SubjectKey::generate(1).unwrap();
        let renumbered = SubjectKey::new(2, *key.bytes());
        for (subject, key) in [("u-2", &key), ("u-1", &other), ("u-1", &renumbered)] {
            let error = open(subject, key, &sealed).unwrap_err();
            assert!(matches!(error, PersonalError::Damaged { .. }), "{error}");
        }
    }

    #[test]
    fn no_bit_of_a_ciphertext_can_be_changed_and_nothing_of_it_cut() {
        let key = SubjectKey::generate(1).unwrap();
        let sealed = seal("u-1", &key, b"Elm".to_vec()).unwrap();
        for bit in 0..sealed.len() * 8 {
            let mut changed = sealed.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(open("u-1", &key, &changed).is_err(), "bit {bit}");
        }
        for length in 0..sealed.len() {
            assert!(
                open("u-1", &key, &sealed[..length]).is_err(),
                "{length} bytes"
            );
        }
    }

    #[test]
    fn one_value_is_never_sealed_to_one_ciphertext() {
        let key = SubjectKey::generate(1).unwrap();
        let seal = || seal("u-1", &key, b"Elm".to_vec()).unwrap();
        let all: std::collections::BTreeSet<Vec<u8>> = (0..1000).map(|_| seal()).collect();
        assert_eq!(all.len(), 1000);
    }
}
