//! The token that the server knows us by. That of a file is read again: by then it may be another.

use std::fmt;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use ensue_core::background;
use ensue_core::engine::Url;
use ensue_core::error::{EngineError, Error, Result};
use hyper::header::HeaderValue;

/// The variable with the token.
const VARIABLE: &str = "ENSUE_TOKEN";
/// The largest file of a token, in bytes.
const BYTES_MAX: u64 = 64 * 1024;

/// A token, if there is one. It is not shown by `Debug`.
pub(crate) struct Token {
    /// Where it is from, unless it is from the environment.
    file: Option<PathBuf>,
    current: Mutex<Option<HeaderValue>>,
}

impl Token {
    /// The token of a URL, from where others cannot read it: a URL is shown in lists of processes.
    ///
    /// # Errors
    /// [`EngineError::Io`] when the file cannot be read, [`OpenError::Url`](ensue_core::error::OpenError::Url)
    /// when it has no token.
    pub(crate) fn of(url: &Url) -> Result<Self> {
        let file = url.option("token_file").map(PathBuf::from);
        let text = match &file {
            Some(file) => read(file).map_err(|reason| {
                Error::Engine(EngineError::Io {
                    what: format!("could not read the token in {}", file.display()),
                    reason,
                })
            })?,
            None => std::env::var(VARIABLE).unwrap_or_default(),
        };
        let current = header(&text).ok_or_else(|| {
            url.invalid("the token is no token: it has characters that none has".to_owned())
        })?;
        Ok(Self {
            file,
            current: Mutex::new(current),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Option<HeaderValue>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As it was read last, for the header `Authorization`.
    pub(crate) fn current(&self) -> Option<HeaderValue> {
        self.lock().clone()
    }

    /// Reads the file again. One that cannot be read, or has no token, changes nothing: it may be about to be
    /// replaced.
    pub(crate) async fn renew(&self) {
        let Some(file) = self.file.clone() else {
            return;
        };
        let reading = background::run(async move {
            let read = tokio::task::spawn_blocking(move || read(&file)).await;
            Ok(read.map_err(io::Error::other).flatten())
        });
        let problem = match reading.await {
            Ok(Ok(text)) => match header(&text) {
                Some(Some(token)) => {
                    *self.lock() = Some(token);
                    return;
                }
                Some(None) => "it is empty".to_owned(),
                None => "it has characters that no token has".to_owned(),
            },
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        };
        tracing::warn!(file = ?self.file, problem, "the token cannot be read again: the last one is used");
    }

    /// Whether there is another than this one, which the server does not take any more.
    pub(crate) async fn is_other_than(&self, refused: Option<&HeaderValue>) -> bool {
        if self.current().as_ref() == refused {
            self.renew().await;
        }
        self.current().as_ref() != refused
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token")
            .field("file", &self.file)
            .finish_non_exhaustive()
    }
}

fn read(file: &Path) -> io::Result<String> {
    let mut text = String::new();
    let file = std::fs::File::open(file)?;
    file.take(BYTES_MAX).read_to_string(&mut text)?;
    Ok(text)
}

/// The header that a text is the token of; nothing in it of an empty text, `None` of what is no token.
fn header(text: &str) -> Option<Option<HeaderValue>> {
    let token = text.trim();
    if token.is_empty() {
        return Some(None);
    }
    let mut value = HeaderValue::from_str(&format!("Bearer {token}")).ok()?;
    value.set_sensitive(true);
    Some(Some(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_token_is_read_again_and_a_file_without_one_changes_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        std::fs::write(&path, "first\n").unwrap();
        let url = format!("ensue://h?token_file={}", path.display());
        let token = Token::of(&Url::parse(&url).unwrap()).unwrap();
        let first = token.current();
        assert_eq!(first.as_ref().unwrap(), "Bearer first");
        assert!(!token.is_other_than(first.as_ref()).await);
        for text in ["", "\n", "a\u{1}b"] {
            std::fs::write(&path, text).unwrap();
            assert!(!token.is_other_than(first.as_ref()).await, "{text:?}");
        }
        std::fs::remove_file(&path).unwrap();
        assert!(!token.is_other_than(first.as_ref()).await);
        std::fs::write(&path, "second").unwrap();
        assert!(token.is_other_than(first.as_ref()).await);
        assert_eq!(token.current().unwrap(), "Bearer second");
        // Another call has found it already.
        assert!(token.is_other_than(first.as_ref()).await);
        assert!(!format!("{token:?}").contains("second"));
    }
}
