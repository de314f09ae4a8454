//! Passwords of servers.

/// 32 hexadecimal digits that cannot be guessed.
pub(crate) fn random_word() -> Result<String, String> {
    use std::io::Read as _;
    let mut bytes = [0; 16];
    std::fs::File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut bytes))
        .map_err(|error| format!("cannot read /dev/urandom: {error}"))?;
    Ok(bytes.map(|byte| format!("{byte:02x}")).concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_words_are_the_same() {
        let word = random_word().unwrap();
        assert_eq!(word.len(), 32);
        assert_ne!(word, random_word().unwrap());
    }
}
