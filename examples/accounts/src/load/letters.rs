//! The mails of all users, as they come.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use tokio::sync::watch;

use crate::email::Email;
use crate::mail::{Mail, Mailbox, Subject};

/// How often the mailbox is looked into.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// The newest mail of each subject to each address. Cloning is cheap.
#[derive(Clone)]
pub(super) struct Letters(watch::Receiver<HashMap<(Email, Subject), Mail>>);

impl Letters {
    /// Reads this file until nobody wants to know any more.
    pub(super) fn start(mail: &Path) -> Self {
        let mut mailbox = Mailbox::new(mail);
        let (sender, receiver) = watch::channel(HashMap::new());
        tokio::spawn(async move {
            while !sender.is_closed() {
                let reading = tokio::task::spawn_blocking(move || {
                    let mails = mailbox.new_mails();
                    (mailbox, mails)
                });
                let mails;
                (mailbox, mails) = match reading.await {
                    Ok(read) => read,
                    Err(_) => return,
                };
                match mails {
                    Ok(mails) if mails.is_empty() => {}
                    Ok(mails) => sender.send_modify(|letters| {
                        let mails = mails.into_iter();
                        letters.extend(mails.map(|mail| ((mail.to.clone(), mail.subject), mail)));
                    }),
                    Err(error) => tracing::error!(%error, "mails cannot be read"),
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        });
        Self(receiver)
    }

    /// Waits for a mail.
    pub(super) async fn wait(
        &mut self,
        to: &Email,
        subject: Subject,
        at_most: Duration,
    ) -> Result<Mail, String> {
        let key = (to.clone(), subject);
        let waiting = self.0.wait_for(|letters| letters.contains_key(&key));
        match tokio::time::timeout(at_most, waiting).await {
            Ok(Ok(letters)) => letters
                .get(&key)
                .cloned()
                .ok_or_else(|| "no mail".to_owned()),
            _ => Err(format!("no mail about {subject:?} within {at_most:?}")),
        }
    }
}
