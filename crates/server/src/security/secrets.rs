//! Random secrets, and the hashes by which they are known.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{Context, SHA256};
use ring::rand::{SecureRandom as _, SystemRandom};

pub(super) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    context.update(bytes);
    let mut hash = [0; 32];
    // SHA-256 has as many bytes.
    for (to, from) in hash.iter_mut().zip(context.finish().as_ref()) {
        *to = *from;
    }
    hash
}

/// Random bytes. Says why there are none.
pub(super) fn random<const N: usize>() -> Result<[u8; N], &'static str> {
    let mut bytes = [0; N];
    let filled = SystemRandom::new().fill(&mut bytes);
    filled.map_err(|_| "the operating system gives no random numbers")?;
    Ok(bytes)
}

/// A secret of 256 random bits, as a text of 43 characters.
pub(super) fn random_text() -> Result<String, &'static str> {
    random::<32>().map(|bytes| URL_SAFE_NO_PAD.encode(bytes))
}
