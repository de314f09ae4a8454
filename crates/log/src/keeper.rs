//! The keeper: makes spare segments and index files, in the background.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use crate::codec::lock;
use crate::error::{Error, Result};
use crate::files::{self, Manifest};
use crate::segment::Segment;
use crate::space::{Space, create};
use crate::store::Store;
use crate::sync::{Condvar, Mutex, MutexGuard};

/// How long to wait before what the disk refused is tried again.
const REFUSED_WAIT: Duration = Duration::from_secs(1);

/// What waits to be done beside appending: a spare segment, the index files of sealed segments, the
/// manifest.
#[derive(Debug)]
pub(crate) struct Keeper {
    store: Arc<Store>,
    manifest: Mutex<Manifest>,
    /// Whether a thread does the chores, rather than the one that makes them due.
    background: bool,
    chores: Mutex<Chores>,
    wake: Condvar,
}

#[derive(Debug)]
struct Chores {
    seal: VecDeque<Arc<Segment>>,
    /// Whether the manifest may not know the newest segment.
    is_unnoted: bool,
    refused: Refused,
    /// The size of the spare that is ready.
    spare: Option<u64>,
    /// How the next one is to be made and how large, when one is wanted.
    want_spare: Option<(Space, u64)>,
    stop: bool,
    /// Where the salts of segments come from: made when the log is opened, so that they do not
    /// depend on which thread starts a segment.
    random: fastrand::Rng,
}

/// What the disk refused, and is to be tried again.
#[derive(Debug, Default)]
struct Refused {
    seal: Vec<Arc<Segment>>,
    note: bool,
    /// Whether that was said since it last took everything.
    is_told: bool,
}

impl Refused {
    fn is_empty(&self) -> bool {
        self.seal.is_empty() && !self.note
    }

    /// Says it once.
    fn tell(&mut self, error: &Error, what: &str) {
        if !std::mem::replace(&mut self.is_told, true) {
            tracing::warn!(%error, "{what} could not be written, trying again");
        }
    }
}

impl Chores {
    /// Takes up again what was refused.
    fn try_again(&mut self) {
        self.seal.extend(self.refused.seal.drain(..));
        self.is_unnoted |= std::mem::take(&mut self.refused.note);
    }
}

impl Keeper {
    pub(crate) fn new(
        store: Arc<Store>,
        manifest: Manifest,
        spare: Option<u64>,
        background: bool,
    ) -> Self {
        let chores = Chores {
            seal: VecDeque::new(),
            // The process before may have died before it noted it.
            is_unnoted: true,
            refused: Refused::default(),
            spare,
            want_spare: None,
            stop: false,
            random: fastrand::Rng::new(),
        };
        Self {
            store,
            manifest: Mutex::new(manifest),
            background,
            chores: Mutex::new(chores),
            wake: Condvar::new(),
        }
    }

    pub(crate) fn take_spare(&self) -> Option<u64> {
        let mut chores = lock(&self.chores);
        let spare = chores.spare.take();
        if spare.is_some() {
            // This one may have been asked for while it was being made. Were another one made
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

    /// The manifest; what changes it, writes it first.
    pub(crate) fn manifest(&self) -> MutexGuard<'_, Manifest> {
        lock(&self.manifest)
    }

    /// After a roll: the sealed segment needs its index file.
    pub(crate) fn rolled(&self, sealed: Option<Arc<Segment>>) {
        let mut chores = lock(&self.chores);
        chores.is_unnoted = true;
        chores.seal.extend(sealed);
        if self.background {
            drop(chores);
            self.wake.notify_one();
            return;
        }
        // What was refused before is due with it.
        chores.try_again();
        loop {
            let (rest, did) = self.do_chore(chores);
            chores = rest;
            if !did {
                return;
            }
        }
    }

    /// The next roll will need a spare.
    pub(crate) fn want_spare(&self, space: Space, bytes: u64) {
        if self.background {
            lock(&self.chores).want_spare = Some((space, bytes));
            self.wake.notify_one();
        }
    }

    /// What its thread does.
    pub(crate) fn run(&self) {
        let mut chores = lock(&self.chores);
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
                chores = lock(&self.chores);
                chores.spare = made;
                continue;
            }
            let (rest, did) = self.do_chore(chores);
            chores = rest;
            if did {
                continue;
            }
            let wake = &self.wake;
            if chores.refused.is_empty() {
                chores.refused.is_told = false;
                let waited = wake.wait(chores);
                chores = waited.unwrap_or_else(PoisonError::into_inner);
            } else {
                let waited = wake.wait_timeout(chores, REFUSED_WAIT);
                chores = waited.unwrap_or_else(PoisonError::into_inner).0;
                chores.try_again();
            }
        }
    }

    /// Writes an index file or the manifest, if one is due; whether one was.
    fn do_chore<'a>(
        &'a self,
        mut chores: MutexGuard<'a, Chores>,
    ) -> (MutexGuard<'a, Chores>, bool) {
        if let Some(segment) = chores.seal.pop_front() {
            drop(chores);
            let sealed = self.seal(&segment);
            chores = lock(&self.chores);
            if let Err(error) = sealed {
                // It stays in memory, and is rebuilt from the segment after a restart.
                chores.refused.tell(&error, "an index file");
                chores.refused.seal.push(segment);
            }
        } else if std::mem::take(&mut chores.is_unnoted) {
            drop(chores);
            let noted = self.note_newest();
            chores = lock(&self.chores);
            if let Err(error) = noted {
                chores.refused.tell(&error, "the manifest");
                chores.refused.note = true;
            }
        } else {
            return (chores, false);
        }
        (chores, true)
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
    fn seal(&self, segment: &Arc<Segment>) -> Result<()> {
        let memory = lock(&segment.memory).clone();
        let Some(memory) = memory else { return Ok(()) };
        if !self.store.list().iter().any(|it| Arc::ptr_eq(it, segment)) {
            // Trimmed meanwhile.
            return Ok(());
        }
        self.store.index_file(segment)?.save(&memory)?;
        *lock(&segment.memory) = None;
        Ok(())
    }

    /// The manifest learns of the newest segment, so that its loss would be noticed.
    fn note_newest(&self) -> Result<()> {
        let newest = self
            .store
            .list()
            .last()
            .map_or(u64::MAX, |segment| segment.first);
        let mut manifest = self.manifest();
        if manifest.newest == newest {
            return Ok(());
        }
        let changed = Manifest {
            newest,
            ..*manifest
        };
        changed.write(&*self.store.storage)?;
        *manifest = changed;
        Ok(())
    }
}
