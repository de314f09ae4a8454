//! Appending: batches that are sent one behind the other, before the first is answered.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::connection::{Connection, refused};
use super::protocol::{self, Code};
use super::{BROKER_MS, Kafka, batch};
use crate::error::{EngineError, Error, Result};
use crate::time::Timestamp;

/// How many requests may be sent and not yet answered.
const UNANSWERED_MAX: usize = 4;

/// A batch that was sent and not answered.
struct Sent {
    /// How many messages it has.
    count: usize,
    /// Where the log ended at the least when it was sent.
    after: u64,
}

impl Kafka {
    /// Sends all batches, one behind the other, and awaits every answer.
    pub(super) async fn produce(
        &self,
        connection: &mut Connection,
        messages: &[Bytes],
    ) -> Result<()> {
        let max = self.batch_bytes_max.load(Ordering::Relaxed);
        let mut unanswered = VecDeque::with_capacity(UNANSWERED_MAX);
        for part in parts(messages, max) {
            let Some(part) = messages.get(part) else {
                break;
            };
            if unanswered.len() == UNANSWERED_MAX
                && let Some(sent) = unanswered.pop_front()
            {
                self.produced(connection, sent).await?;
            }
            unanswered.push_back(Sent {
                count: part.len(),
                after: self.newest.load(Ordering::Relaxed),
            });
            let batch = batch::encode(part, Timestamp::now());
            let request = protocol::produce(&self.topic, &batch, BROKER_MS);
            connection.send(request).await?;
        }
        for sent in unanswered {
            self.produced(connection, sent).await?;
        }
        Ok(())
    }

    async fn produced(&self, connection: &mut Connection, sent: Sent) -> Result<()> {
        let (code, offset) = connection.answer(protocol::read_produce).await?;
        if let Code::MESSAGE_TOO_LARGE | Code::RECORD_LIST_TOO_LARGE = code {
            // Lowered since it was asked for: the next call finds out.
            let mut asked = self.leader().await?;
            self.learn(&mut asked).await?;
        }
        match refused(&self.server, code, None) {
            None => {
                let offset = u64::try_from(offset).unwrap_or(0);
                if offset < sent.after {
                    return Err(Error::Engine(EngineError::Corrupt(format!(
                        "the topic `{}` at {} took a message at {offset}, where others were \
                         acknowledged or read before, up to {}: it was deleted and made again, or \
                         put back from an older copy; restore it, or restart to go on with what \
                         the server has",
                        self.topic, self.server.shown, sent.after
                    ))));
                }
                self.note(offset.saturating_add(sent.count as u64));
                Ok(())
            }
            Some(error) => Err(error),
        }
    }
}

/// Which messages go together, so that no batch is larger than `bytes_max`.
pub(super) fn parts(messages: &[Bytes], bytes_max: usize) -> Vec<Range<usize>> {
    let mut parts = Vec::new();
    let mut first = 0;
    let mut bytes = batch::HEADER_BYTES;
    for (index, message) in messages.iter().enumerate() {
        let more = batch::record_bytes(message);
        if bytes.saturating_add(more) > bytes_max && index > first {
            parts.push(first..index);
            first = index;
            bytes = batch::HEADER_BYTES;
        }
        bytes = bytes.saturating_add(more);
    }
    parts.push(first..messages.len());
    parts
}
