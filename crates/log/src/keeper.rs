//! The keeper: makes spare segments and index files, in the background.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::codec::lock;
use crate::error::Error;
use crate::files;
use crate::index::Sealed;
use crate::log::Shared;
use crate::segment::Segment;
use crate::space::{Space, create};
use crate::sync::{Condvar, Mutex};

/// What waits to be done beside appending: a spare segment, the index files of sealed segments, the
/// manifest.
#[derive(Debug)]
pub(crate) struct Keeper {
    chores: Mutex<Chores>,
    wake: Condvar,
}

#[derive(Debug)]
struct Chores {
    seal: VecDeque<Arc<Segment>>,
    /// Whether the manifest may not know the newest segment.
    is_unnoted: bool,
    /// The size of the spare that is ready.
    spare: Option<u64>,
    /// How the next one is to be made and how large, when one is wanted.
    want_spare: Option<(Space, u64)>,
    stop: bool,
    /// Where the salts of segments come from: made when the log is opened, so that they do not
    /// depend on which thread starts a segment.
    random: fastrand::Rng,
}

impl Keeper {
    pub(crate) fn new(spare: Option<u64>) -> Self {
        let chores = Chores {
            seal: VecDeque::new(),
            // The process before may have died before it noted it.
            is_unnoted: true,
            spare,
            want_spare: None,
            stop: false,
            random: fastrand::Rng::new(),
        };
        Self {
            chores: Mutex::new(chores),
            wake: Condvar::new(),
        }
    }

    pub(crate) fn take_spare(&self) -> Option<u64> {
        let mut chores = lock(&self.chores);
        let spare = chores.spare.take();
        if spare.is_some() {
            // Somebody may have wished for this one while it was being made. Were another one made
            // now, it would be renamed over it before the caller gives it its segment's name: the
            // caller would name the wrong file, and append to one without a name.
            chores.want_spare = None;
        }
        spare
    }

    /// The salt of a new segment.
    pub(crate) fn salt(&self) -> u64 {
        lock(&self.chores).random.u64(..)
    }

    pub(crate) fn stop(&self) {
        lock(&self.chores).stop = true;
        self.wake.notify_all();
    }
}

impl Shared {
    /// After a roll: the sealed segment needs its index file.
    pub(crate) fn kept(&self, sealed: Option<Arc<Segment>>) {
        if !self.options.background {
            if let Some(segment) = sealed {
                self.seal(&segment);
            }
            self.note_newest();
            return;
        }
        let mut chores = lock(&self.keeper.chores);
        chores.is_unnoted = true;
        chores.seal.extend(sealed);
        drop(chores);
        self.keeper.wake.notify_one();
    }

    /// The next roll will need a spare.
    pub(crate) fn want_spare(&self, space: Space, bytes: u64) {
        if self.options.background {
            lock(&self.keeper.chores).want_spare = Some((space, bytes));
            self.keeper.wake.notify_one();
        }
    }

    /// The keeper thread.
    pub(crate) fn keep_loop(&self) {
        let mut chores = lock(&self.keeper.chores);
        loop {
            if chores.stop {
                return;
            }
            // The spare first: a roll without one costs a write of zeroes on the commit path.
            if chores.spare.is_none()
                && let Some((space, bytes)) = chores.want_spare.take()
            {
                drop(chores);
                let made = self.make_spare(space, bytes);
                chores = lock(&self.keeper.chores);
                chores.spare = made;
            } else if let Some(segment) = chores.seal.pop_front() {
                drop(chores);
                self.seal(&segment);
                chores = lock(&self.keeper.chores);
            } else if std::mem::take(&mut chores.is_unnoted) {
                drop(chores);
                self.note_newest();
                chores = lock(&self.keeper.chores);
            } else {
                let waited = self.keeper.wake.wait(chores);
                chores = waited.unwrap_or_else(std::sync::PoisonError::into_inner);
            }
        }
    }

    fn make_spare(&self, space: Space, bytes: u64) -> Option<u64> {
        let storage = &*self.store.storage;
        let made = create(storage, files::SPARE_TMP, bytes, space).and_then(|()| {
            storage
                .rename(files::SPARE_TMP, files::SPARE)
                .map_err(Error::io("rename", storage.describe(files::SPARE_TMP)))
        });
        match made {
            Ok(()) => Some(bytes),
            Err(error) => {
                // Not needed for correctness: the next roll makes its own, or says what is wrong.
                tracing::warn!(%error, "no spare segment could be made");
                None
            }
        }
    }

    /// Writes the index of a sealed segment, then lets go of the one in memory.
    pub(crate) fn seal(&self, segment: &Arc<Segment>) {
        let memory = lock(&segment.memory).clone();
        let Some(memory) = memory else { return };
        if let Err(error) = Sealed::write(&self.store, segment, &memory) {
            // It stays in memory, and is rebuilt from the segment after a restart.
            tracing::warn!(%error, segment = %segment.name, "no index file could be written");
            return;
        }
        *lock(&segment.memory) = None;
    }

    /// The manifest learns of the newest segment, so that its loss would be noticed.
    fn note_newest(&self) {
        let newest = self
            .store
            .list()
            .last()
            .map_or(u64::MAX, |segment| segment.first);
        let mut manifest = lock(&self.manifest);
        if manifest.newest == newest {
            return;
        }
        let changed = files::Manifest {
            newest,
            ..*manifest
        };
        match changed.write(&*self.store.storage) {
            Ok(()) => *manifest = changed,
            Err(error) => tracing::warn!(%error, "the manifest could not be written"),
        }
    }
}
