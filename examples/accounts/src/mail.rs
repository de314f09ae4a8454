//! The post: where mails to users go, and where users read them.
//!
//! It stands for a mail server and the users' mailboxes: a file of one line of JSON for each mail,
//! which nobody but its owner may read, because mails have links that are as good as a password. It
//! is not part of any commit, so that a mail may be sent twice; a mailbox drops the second by its id.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::email::Email;
use crate::ids::UserId;

/// A mail.
#[derive(Clone, Serialize, Deserialize)]
pub struct Mail {
    /// What makes two mails one: the event that it follows from.
    pub id: String,
    /// Who gets it.
    pub to: Email,
    /// What it says.
    pub subject: Subject,
    /// The user whom it is about.
    pub user: UserId,
    /// The secret of the link in it.
    pub secret: Option<String>,
}

/// What a mail says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Subject {
    /// Confirm your address.
    Welcome,
    /// You have not confirmed your address yet.
    Reminder,
    /// You are a user already: is it your password that you have forgotten?
    AlreadyRegistered,
    /// Set a new password.
    Reset,
    /// Your password is another now.
    PasswordChanged,
}

/// Sends mails.
#[derive(Clone, Debug)]
pub struct Post(Arc<Outbox>);

#[derive(Debug)]
struct Outbox {
    path: PathBuf,
    file: Mutex<File>,
}

/// Reads mails, in the order in which they were sent.
#[derive(Debug)]
pub struct Mailbox {
    path: PathBuf,
    reader: Option<BufReader<File>>,
    /// The beginning of a line whose end is still on its way.
    line: String,
}

impl Post {
    /// Sends into this file, which is made if it is not there.
    ///
    /// # Errors
    /// What the system reports.
    pub fn open(path: &Path) -> io::Result<Self> {
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        let mut options = OpenOptions::new();
        let file = options.append(true).create(true).mode(0o600).open(path)?;
        let (path, file) = (path.to_owned(), Mutex::new(file));
        Ok(Self(Arc::new(Outbox { path, file })))
    }

    /// Sends a mail.
    ///
    /// # Errors
    /// What the system reports; it may have been sent all the same.
    pub async fn send(&self, mail: Mail) -> io::Result<()> {
        let outbox = self.0.clone();
        let sending = tokio::task::spawn_blocking(move || {
            // A line that a killed process has begun is no mail.
            let line = format!("\n{}\n", serde_json::to_string(&mail)?);
            let mut file = outbox.file.lock().unwrap_or_else(PoisonError::into_inner);
            file.write_all(line.as_bytes())
        });
        sending.await.map_err(io::Error::other)?
    }

    /// Blanks the mails to a user, where they are: others may be reading and writing at the same time. A mail that is
    /// on its way meanwhile may come after it.
    ///
    /// # Errors
    /// What the system reports.
    pub async fn remove(&self, user: &UserId) -> io::Result<()> {
        let (outbox, user) = (self.0.clone(), user.clone());
        let removing = tokio::task::spawn_blocking(move || {
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .open(&outbox.path)?;
            let mut reader = BufReader::new(&file);
            let (mut line, mut at) = (Vec::new(), 0);
            while reader.read_until(b'\n', &mut line)? > 0 {
                let length = line.len() as u64;
                let mail = serde_json::from_slice::<Mail>(&line);
                if line.pop() == Some(b'\n') && mail.is_ok_and(|mail| mail.user == user) {
                    line.fill(b' ');
                    file.write_all_at(&line, at)?;
                }
                at += length;
                line.clear();
            }
            file.sync_data()
        });
        removing.await.map_err(io::Error::other)?
    }
}

impl Mailbox {
    /// Reads this file, once it is there.
    pub fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            reader: None,
            line: String::new(),
        }
    }

    /// The mails that have come since the last call.
    ///
    /// # Errors
    /// What the system reports.
    pub fn new_mails(&mut self) -> io::Result<Vec<Mail>> {
        if self.reader.is_none() {
            match File::open(&self.path) {
                Ok(file) => self.reader = Some(BufReader::new(file)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
                Err(error) => return Err(error),
            }
        }
        let mut mails = Vec::new();
        while let Some(reader) = &mut self.reader {
            if reader.read_line(&mut self.line)? == 0 || !self.line.ends_with('\n') {
                break;
            }
            mails.extend(serde_json::from_str::<Mail>(&self.line).ok());
            self.line.clear();
        }
        Ok(mails)
    }
}

impl std::fmt::Debug for Mail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Mail({}, {:?}, {}, …)", self.id, self.subject, self.user)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn mails_are_read_as_they_come_and_half_of_one_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("new/mail");
        let mut mailbox = Mailbox::new(&path);
        assert!(mailbox.new_mails().unwrap().is_empty());
        let mail = |id: &str| Mail {
            id: id.into(),
            to: "ada@example.com".parse().unwrap(),
            subject: Subject::Welcome,
            user: UserId::of_request("ada"),
            secret: Some("s3cret".into()),
        };
        let post = Post::open(&path).unwrap();
        post.send(mail("1")).await.unwrap();
        assert_eq!(mailbox.new_mails().unwrap().len(), 1);
        OpenOptions::new()
            .append(true)
            .open(&path)
            .unwrap()
            .write_all(b"{\"id\":")
            .unwrap();
        assert!(mailbox.new_mails().unwrap().is_empty());
        post.send(mail("2")).await.unwrap();
        let mails = mailbox.new_mails().unwrap();
        assert_eq!((mails.len(), mails[0].id.as_str()), (1, "2"));
        assert!(!format!("{mails:?}").contains("s3cret") && !format!("{mails:?}").contains("ada@"));
    }

    #[tokio::test]
    async fn the_mails_of_one_user_are_removed_and_those_of_others_stay() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("mail");
        let post = Post::open(&path).unwrap();
        let users = ["ada", "bob", "ada", "carl"].map(UserId::of_request);
        for (number, user) in users.iter().enumerate() {
            let mail = Mail {
                id: number.to_string(),
                to: format!("to-{user}@example.com").parse().unwrap(),
                subject: Subject::Welcome,
                user: user.clone(),
                secret: None,
            };
            post.send(mail).await.unwrap();
        }
        post.remove(&users[0]).await.unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(!text.contains(users[0].as_str()), "{text}");
        let mails = Mailbox::new(&path).new_mails().unwrap();
        let ids: Vec<_> = mails.iter().map(|mail| mail.id.as_str()).collect();
        assert_eq!(ids, ["1", "3"]);
    }
}
