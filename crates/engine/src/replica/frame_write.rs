//! A frame of the shared log on its way into this process's own log.

use ensue_log as log;

use crate::error::Result;
use crate::log_error;
use crate::model::change::Change;

/// A batch that has fewer records and bytes takes the frame's mark along: far below what the log
/// takes as one batch.
const MARKED_RECORDS_MAX: usize = 16_384;
const MARKED_BYTES_MAX: usize = 1024 * 1024;

/// What a frame writes into this process's own log: its batches and its mark, all in one write. A
/// process that is killed meanwhile has the whole frame in its copy, or nothing of it, and goes on
/// from there: half of one could neither be gone on with nor be taken back.
pub(super) struct FrameWrite<'a> {
    log: &'a log::Log,
    /// `None` after there was too much to be held back.
    hold: Option<log::Hold>,
    /// Says that the frame was folded whole.
    mark: Change,
    /// Where the mark is, if a batch took it along.
    marked: Option<log::Position>,
    /// What was submitted last: all before it is written no later.
    last: Option<log::Submitted>,
}

impl<'a> FrameWrite<'a> {
    /// Begins with a frame that `mark` is the mark of.
    pub(super) fn begin(log: &'a log::Log, mark: Change) -> Self {
        Self {
            log,
            hold: Some(log.hold()),
            mark,
            marked: None,
            last: None,
        }
    }

    /// Appends a batch; it is written when [`Self::finish`] returns.
    pub(super) fn append(
        &mut self,
        mut batch: log::Batch,
        is_last: bool,
    ) -> log::Result<log::Receipt> {
        // One that is all duplicates succeeds whatever it expects: with the mark it would not be.
        let takes_mark = is_last
            && !batch.is_conditional()
            && batch.len() < MARKED_RECORDS_MAX
            && batch.bytes() < MARKED_BYTES_MAX;
        if takes_mark && self.mark.push_to(&mut batch).is_ok() {
            let receipt = self.submit(batch)?;
            self.marked = receipt.position(receipt.len().saturating_sub(1));
            return Ok(receipt);
        }
        self.submit(batch)
    }

    fn submit(&mut self, mut batch: log::Batch) -> log::Result<log::Receipt> {
        loop {
            match self.log.submit(batch) {
                Ok(submitted) => {
                    let receipt = submitted.receipt.clone();
                    self.last = Some(submitted);
                    return Ok(receipt);
                }
                Err(log::SubmitError::Full(refused)) => {
                    batch = refused;
                    self.hold = None;
                    self.log.room().wait();
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Says that the frame was folded whole, and waits until all of it is written; where the mark
    /// is.
    pub(super) fn finish(mut self) -> Result<(log::Position, Change)> {
        let at = match self.marked {
            Some(at) => at,
            None => {
                let mut batch = log::Batch::new();
                self.mark.push_to(&mut batch)?;
                self.submit(batch).map_err(log_error::of_log)?.first()
            }
        };
        self.hold = None;
        if let Some(last) = self.last {
            last.wait().map_err(log_error::of_log)?;
        }
        Ok((at, self.mark))
    }
}
