//! What a scan asks of the log, as far as its read goes: to the disk, or to what is in memory.

use std::ops::Range;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::index::{Placed, Sealed, TopicRecords};
use crate::segment::{HEADER_BYTES, Opened, Run, Segment, Spot};
use crate::storage::Reach;
use crate::store::{READ_BYTES_MAX, READ_BYTES_MIN, Store};

/// How many topics a segment may have whose records are looked up where nothing may wait.
const TOPICS_AT_HAND_MAX: usize = 1024;

impl Store {
    /// The topics that are wanted, by their kind and name, and have records among these of a segment, and which.
    /// Only durable ones may be asked for.
    pub(crate) fn topics_in(
        &self,
        reach: Reach,
        segment: &Arc<Segment>,
        ordinals: &Range<u32>,
        wanted: &dyn Fn(u8, &str) -> bool,
    ) -> Result<Vec<TopicRecords>> {
        // What is wanted is asked without the lock, for which appends wait.
        let has_time = |topics: usize| reach == Reach::Disk || topics <= TOPICS_AT_HAND_MAX;
        let found = self.with_memory(segment, |active| {
            has_time(active.topics_count()).then(|| active.topics(ordinals))
        });
        match found {
            Some(Some(mut found)) => {
                found.retain(|topic| wanted(topic.kind, &topic.name));
                Ok(found)
            }
            Some(None) => Err(self.not_at_hand(segment)),
            None => self.with_sealed_within(reach, segment, |sealed| {
                if has_time(sealed.topics_count()) {
                    Ok(sealed.topics_in(ordinals, wanted))
                } else {
                    Err(self.not_at_hand(segment))
                }
            }),
        }
    }

    /// A frame at or before `position`, as close as the index knows.
    pub(crate) fn spot_before(
        &self,
        reach: Reach,
        segment: &Arc<Segment>,
        position: u64,
    ) -> Result<Spot> {
        let opened = self.opened_within(reach, segment)?;
        let spot = |placed: Placed| Spot {
            offset: u64::from(placed.offset) * 8,
            first: segment.first + u64::from(placed.ordinal),
            chain: None,
        };
        let start = segment.start(&opened);
        if let Some(found) = self.with_memory(segment, |active| active.frame_at(position)) {
            return Ok(found.map_or(start, spot));
        }
        let found = |sealed: &Sealed| Ok(sealed.frame_at(position));
        let found = self.with_sealed_within(reach, segment, found)?;
        Ok(found.map_or(start, spot))
    }

    /// Frames of `segment` from `spot` on.
    pub(crate) fn read_run(
        &self,
        reach: Reach,
        segment: &Arc<Segment>,
        spot: Spot,
        bytes_max: usize,
    ) -> Result<Run> {
        debug_assert!(spot.offset >= HEADER_BYTES, "frames start after the header");
        let opened = self.opened_within(reach, segment)?;
        segment.read(
            &opened,
            spot,
            bytes_max.clamp(READ_BYTES_MIN, READ_BYTES_MAX),
            reach,
            &|| self.shown(segment),
        )
    }

    /// The open file of a segment.
    fn opened_within(&self, reach: Reach, segment: &Arc<Segment>) -> Result<Arc<Opened>> {
        match reach {
            Reach::Disk => self.opened(segment),
            Reach::Memory => segment
                .open_already()
                .ok_or_else(|| self.not_at_hand(segment)),
        }
    }

    fn not_at_hand(&self, segment: &Segment) -> Error {
        Error::io("read", self.shown(segment))(Reach::would_block())
    }

    /// Asks the index of a sealed segment for what it has in memory, once it is open.
    fn with_sealed_within<T>(
        &self,
        reach: Reach,
        segment: &Arc<Segment>,
        ask: impl Fn(&Sealed) -> Result<T>,
    ) -> Result<T> {
        match (reach, self.cached_sealed(segment)) {
            (Reach::Disk, _) => self.with_sealed(segment, ask),
            (Reach::Memory, Some(sealed)) => ask(&sealed),
            (Reach::Memory, None) => Err(self.not_at_hand(segment)),
        }
    }
}
