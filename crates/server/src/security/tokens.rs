//! Tokens: random, shown once, and stored as hashes in a file of their own.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ensue::Timestamp;
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom as _, SystemRandom};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq as _;

use crate::private;

/// What every token begins with, so that scanners for leaked secrets find it.
const PREFIX: &str = "ensue_";
/// Random bytes of a token that are secret, and those that are its name in the file.
const SECRET_BYTES: usize = 32;
const ID_BYTES: usize = 6;
/// The most tokens of a file, and its largest size in bytes.
const TOKENS_MAX: usize = 10_000;
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// The longest name of a token, in bytes, and the most roles it has.
const NAME_BYTES_MAX: usize = 64;
const ROLES_MAX: usize = 64;
/// The version of the file.
const VERSION: u32 = 1;

/// A file of tokens. Programs may read it while a server uses it: the server sees what changes.
#[derive(Clone, Debug)]
pub struct TokenFile {
    path: PathBuf,
}

/// What the file says of a token: who has it, never what it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct TokenEntry {
    /// The part of the token that is no secret.
    pub id: String,
    /// Whose it is: the name of the caller.
    pub name: String,
    /// The roles of the caller.
    pub roles: Vec<String>,
    /// When it was made.
    pub created: Timestamp,
    /// From when on it is refused.
    pub expires: Option<Timestamp>,
    hash: Hash,
}

/// A new token. It is shown once: only its hash is kept.
pub struct NewToken {
    text: String,
}

/// Why a file of tokens cannot be read or changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// The operating system refused something.
    #[error("cannot {what} the file of tokens `{path}`: {reason}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// The file.
        path: String,
        /// What the operating system answered.
        reason: io::Error,
    },
    /// Other users may read or change it.
    #[error("the file of tokens `{path}` {problem}")]
    Open {
        /// The file.
        path: String,
        /// Who may do what.
        problem: String,
    },
    /// It is not a file of tokens.
    #[error("`{path}` is not a file of tokens: {problem}")]
    Malformed {
        /// The file.
        path: String,
        /// Where and why.
        problem: String,
    },
    /// The token cannot be as it was asked for.
    #[error("{0}")]
    Refused(String),
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Contents {
    version: u32,
    tokens: Vec<TokenEntry>,
}

/// The SHA-256 of a whole token: enough for a secret of 256 random bits.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
struct Hash([u8; 32]);

impl Hash {
    fn of(token: &str) -> Self {
        let mut hash = [0; 32];
        let found = digest(&SHA256, token.as_bytes());
        for (to, from) in hash.iter_mut().zip(found.as_ref()) {
            *to = *from;
        }
        Self(hash)
    }
}

impl From<Hash> for String {
    fn from(hash: Hash) -> Self {
        format!("sha256:{}", URL_SAFE_NO_PAD.encode(hash.0))
    }
}

impl TryFrom<String> for Hash {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let expected = "expected `sha256:` and 43 characters";
        let encoded = text.strip_prefix("sha256:").ok_or(expected)?;
        let bytes = URL_SAFE_NO_PAD.decode(encoded).map_err(|_| expected)?;
        bytes.try_into().map(Self).map_err(|_| expected)
    }
}

impl std::fmt::Debug for Hash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hash(…)")
    }
}

impl std::fmt::Debug for NewToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("NewToken(…)")
    }
}

impl NewToken {
    /// The token, to be shown to the person who asked for it and to no log.
    pub fn reveal(&self) -> &str {
        &self.text
    }
}

/// The part of a token that is no secret, if it is written as one.
pub(super) fn id_of(token: &str) -> Option<&str> {
    let (id, secret) = token.strip_prefix(PREFIX)?.split_once('_')?;
    let is_id = id.len() == 2 * ID_BYTES && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    (is_id && secret.len() == 43).then_some(id)
}

impl TokenEntry {
    /// Whether this is the token; it takes the same time whether it is or nearly is.
    pub(super) fn is(&self, token: &str) -> bool {
        self.hash.0.ct_eq(&Hash::of(token).0).into()
    }

    /// Whether it is refused because of its age.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }
}

impl TokenFile {
    /// The file at this path. It need not be there before the first token is created.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// The tokens of the file.
    ///
    /// # Errors
    /// [`TokenError`], also when other users may read or change it.
    pub fn list(&self) -> Result<Vec<TokenEntry>, TokenError> {
        let file = File::open(&self.path).map_err(|reason| self.io("read", reason))?;
        let mut text = String::new();
        private::check(&file).map_err(|problem| self.open(problem))?;
        let read = file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text);
        read.map_err(|reason| self.io("read", reason))?;
        Self::parse(&self.path, &text)
    }

    /// The tokens of the file; none when it is not there yet.
    ///
    /// # Errors
    /// As for [`TokenFile::list`].
    pub fn list_or_none(&self) -> Result<Vec<TokenEntry>, TokenError> {
        match self.list() {
            Err(TokenError::Io { reason, .. }) if reason.kind() == io::ErrorKind::NotFound => {
                Ok(Vec::new())
            }
            tokens => tokens,
        }
    }

    /// The tokens in the text of a file.
    pub(super) fn parse(path: &Path, text: &str) -> Result<Vec<TokenEntry>, TokenError> {
        let malformed = |problem: String| TokenError::Malformed {
            path: path.display().to_string(),
            problem,
        };
        if text.len() as u64 > FILE_BYTES_MAX {
            return Err(malformed(format!(
                "it is larger than {FILE_BYTES_MAX} bytes"
            )));
        }
        let contents: Contents =
            serde_json::from_str(text).map_err(|error| malformed(error.to_string()))?;
        if contents.version != VERSION {
            let version = contents.version;
            return Err(malformed(format!(
                "it is of version {version}, this program knows version {VERSION}"
            )));
        }
        if contents.tokens.len() > TOKENS_MAX {
            return Err(malformed(format!("it has more than {TOKENS_MAX} tokens")));
        }
        Ok(contents.tokens)
    }

    /// Adds a token, and returns it; it cannot be shown again.
    ///
    /// # Errors
    /// [`TokenError`]; nothing has changed then.
    pub fn create(
        &self,
        name: &str,
        roles: &[String],
        expires: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<(TokenEntry, NewToken), TokenError> {
        check_name("name of a token", name)?;
        for role in roles {
            check_name("name of a role", role)?;
        }
        if roles.is_empty() || roles.len() > ROLES_MAX {
            return Err(TokenError::Refused(format!(
                "a token has 1 to {ROLES_MAX} roles, this one has {}",
                roles.len()
            )));
        }
        if expires.is_some_and(|expires| expires <= now) {
            let problem = "the token would be expired at once; give a time in the future";
            return Err(TokenError::Refused(problem.to_owned()));
        }
        let token = new_token()?;
        let id = id_of(&token.text).unwrap_or_default().to_owned();
        let entry = TokenEntry {
            id,
            name: name.to_owned(),
            roles: roles.to_vec(),
            created: now,
            expires,
            hash: Hash::of(&token.text),
        };
        self.change(|tokens| {
            if tokens.len() == TOKENS_MAX {
                return Err(TokenError::Refused(format!(
                    "the file has {TOKENS_MAX} tokens, the most there can be; revoke some"
                )));
            }
            tokens.push(entry.clone());
            Ok(())
        })?;
        Ok((entry, token))
    }

    /// Removes the token with this id, or all tokens with this name, and returns them.
    ///
    /// # Errors
    /// [`TokenError`], also when there is no such token.
    pub fn revoke(&self, name_or_id: &str) -> Result<Vec<TokenEntry>, TokenError> {
        let mut revoked = Vec::new();
        self.change(|tokens| {
            let is_it = |it: &TokenEntry| it.id == name_or_id || it.name == name_or_id;
            revoked = tokens.iter().filter(|it| is_it(it)).cloned().collect();
            tokens.retain(|it| !is_it(it));
            if revoked.is_empty() {
                let shown: String = name_or_id.chars().take(NAME_BYTES_MAX).collect();
                return Err(TokenError::Refused(format!(
                    "there is no token with the name or id `{shown}`; `ensue token list` lists those there are"
                )));
            }
            Ok(())
        })?;
        Ok(revoked)
    }

    /// Changes the file as a whole: it is the old one or the new one at every moment, and of two
    /// programs one comes after the other.
    fn change(
        &self,
        change: impl FnOnce(&mut Vec<TokenEntry>) -> Result<(), TokenError>,
    ) -> Result<(), TokenError> {
        let failed = |reason| self.io("change", reason);
        let lock = private::create(&self.beside(".lock")).map_err(failed)?;
        lock.lock().map_err(failed)?;
        let mut tokens = self.list_or_none()?;
        change(&mut tokens)?;
        let contents = Contents {
            version: VERSION,
            tokens,
        };
        let mut text = serde_json::to_string_pretty(&contents)
            .map_err(|error| failed(io::Error::other(error)))?;
        text.push('\n');
        let new = self.beside(".new");
        let write = || {
            // What an earlier run left when it was killed.
            let _ = fs::remove_file(&new);
            let mut file = private::create(&new)?;
            file.write_all(text.as_bytes())?;
            private::belong_as(&self.path, &file, &new)?;
            file.sync_all()?;
            fs::rename(&new, &self.path)?;
            match self.path.parent().filter(|it| !it.as_os_str().is_empty()) {
                Some(directory) => File::open(directory)?.sync_all(),
                None => File::open(".")?.sync_all(),
            }
        };
        write().map_err(failed)
    }

    fn beside(&self, suffix: &str) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(suffix);
        name.into()
    }

    fn io(&self, what: &'static str, reason: io::Error) -> TokenError {
        TokenError::Io {
            what,
            path: self.path.display().to_string(),
            reason,
        }
    }

    fn open(&self, problem: String) -> TokenError {
        TokenError::Open {
            path: self.path.display().to_string(),
            problem,
        }
    }
}

fn new_token() -> Result<NewToken, TokenError> {
    let (mut id, mut secret) = ([0; ID_BYTES], [0; SECRET_BYTES]);
    let random = SystemRandom::new();
    let filled = random.fill(&mut id).and_then(|()| random.fill(&mut secret));
    filled.map_err(|_| TokenError::Refused("the system has no random bytes".to_owned()))?;
    let id: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
    let secret = URL_SAFE_NO_PAD.encode(secret);
    Ok(NewToken {
        text: format!("{PREFIX}{id}_{secret}"),
    })
}

/// Names are written into logs, answers and the configuration.
fn check_name(what: &str, name: &str) -> Result<(), TokenError> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(is_plain) {
        return Ok(());
    }
    let shown: String = name.chars().take(NAME_BYTES_MAX).collect();
    Err(TokenError::Refused(format!(
        "`{shown}` is not a {what}: expected 1 to {NAME_BYTES_MAX} letters, digits, `-`, `_` and `.`"
    )))
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    fn now() -> Timestamp {
        "2026-01-01T00:00:00Z".parse().unwrap()
    }

    fn roles() -> Vec<String> {
        vec!["shop".to_owned()]
    }

    #[test]
    fn a_token_is_in_the_file_as_a_hash_and_proves_itself() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("tokens.json");
        let file = TokenFile::new(&path);
        let (entry, token) = file.create("payments", &roles(), None, now()).unwrap();
        let (_, other) = file.create("payments", &roles(), None, now()).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let (_, secret) = token.reveal().rsplit_once('_').unwrap();
        assert!(!text.contains(secret) && !text.contains(token.reveal()));
        assert!(!format!("{token:?} {entry:?}").contains(secret));
        let listed = file.list().unwrap();
        assert_eq!(listed[0], entry);
        assert_eq!(id_of(token.reveal()), Some(entry.id.as_str()));
        assert!(listed[0].is(token.reveal()));
        assert!(!listed[0].is(other.reveal()));
        let mut changed = token.reveal().to_owned();
        changed.pop();
        assert!(!listed[0].is(&changed));
    }

    #[test]
    fn a_revoked_token_is_gone_and_a_name_revokes_all_of_its_tokens() {
        let directory = TempDir::new().unwrap();
        let file = TokenFile::new(directory.path().join("tokens.json"));
        let (first, _) = file.create("a", &roles(), None, now()).unwrap();
        file.create("b", &roles(), None, now()).unwrap();
        file.create("b", &roles(), None, now()).unwrap();
        assert_eq!(file.revoke(&first.id).unwrap().len(), 1);
        assert_eq!(file.revoke("b").unwrap().len(), 2);
        assert!(file.list().unwrap().is_empty());
        let error = file.revoke("b").unwrap_err().to_string();
        assert!(
            error.contains("no token") && error.contains("token list"),
            "{error}"
        );
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_other_users_may_read_or_change_is_refused() {
        use std::os::unix::fs::PermissionsExt as _;
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("tokens.json");
        let file = TokenFile::new(&path);
        file.create("a", &roles(), None, now()).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        for (mode, part) in [(0o644, "read"), (0o620, "change"), (0o602, "change")] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let error = file.list().unwrap_err().to_string();
            assert!(
                error.contains(part) && error.contains("chmod"),
                "{mode:o}: {error}"
            );
        }
        // As a secret of Kubernetes is mounted for a group.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o440)).unwrap();
        assert!(file.list().is_ok());
    }

    #[test]
    fn what_cannot_be_a_token_is_refused_with_the_reason() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("tokens.json");
        let file = TokenFile::new(&path);
        let past = "2025-01-01T00:00:00Z".parse().unwrap();
        for (name, roles, expires, part) in [
            ("", roles(), None, "name of a token"),
            ("a b", roles(), None, "name of a token"),
            ("a", vec![], None, "1 to 64 roles"),
            ("a", vec!["ü".to_owned()], None, "name of a role"),
            ("a", roles(), Some(past), "future"),
        ] {
            let error = file.create(name, &roles, expires, now()).unwrap_err();
            assert!(error.to_string().contains(part), "{error}");
        }
        assert!(!path.exists(), "nothing was made");
        for text in [
            "",
            "{}",
            "{\"version\":2,\"tokens\":[]}",
            "{\"version\":1,\"tokens\":[{}]}",
        ] {
            let error = TokenFile::parse(&path, text).unwrap_err().to_string();
            assert!(error.contains("not a file of tokens"), "{text}: {error}");
        }
    }

    #[test]
    fn an_id_is_found_only_in_what_is_written_as_a_token() {
        let secret = "a".repeat(43);
        assert_eq!(
            id_of(&format!("ensue_0123456789ab_{secret}")),
            Some("0123456789ab")
        );
        for text in [
            "",
            "ensue_",
            "ensue_0123456789ab_a",
            "ensue_0123456789ab",
            "x",
        ] {
            assert_eq!(id_of(text), None, "{text}");
        }
        assert_eq!(id_of(&format!("ensue_0123456789xy_{secret}")), None);
    }
}
