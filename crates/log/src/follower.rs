use std::sync::Arc;
use std::time::Duration;

use crate::codec::lock;
use crate::error::{Error, Result};
use crate::files::{self, Clean, Manifest};
use crate::index::Active;
use crate::position::Position;
use crate::recover::{self, End, sealed_segments};
use crate::segment::{Opened, Segment};
use crate::storage::{self, Storage};
use crate::store::Store;
use crate::view::View;

/// A directory that changes this often while it is read is not read.
const ATTEMPTS_MAX: usize = 1000;
/// What is still wrong after waits of so long in a directory that did not change is wrong: an owner
/// may be held up between two steps.
const UNCHANGED_MAX: Duration = Duration::from_millis(500);
/// How long to wait at first; then each time twice as long, because a look may read a whole segment.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// Reads a log that another process writes. Takes no lock and writes nothing.
///
/// It sees what was durable at its last [`refresh`](Follower::refresh). The very last frame on
/// disk may be one that is being written: it is made durable before it is shown.
#[derive(Debug)]
pub struct Follower {
    storage: Arc<dyn Storage>,
    view: View,
    store: Arc<Store>,
    /// Where the last segment was read to.
    end: Option<(u64, End)>,
}

impl Follower {
    /// Opens the log in `storage` for reading.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] with `NotFound` when there is no log, [`Error::Corrupt`], [`Error::Version`].
    pub fn open(storage: Arc<dyn Storage>) -> Result<Self> {
        let manifest = read_manifest(&*storage)?;
        let active = Active::new(manifest.first);
        let store = Store::new(
            Arc::clone(&storage),
            manifest.uuid,
            manifest.hash_key,
            false,
            Vec::new(),
            active,
        );
        let store = Arc::new(store);
        let view = View::new(Arc::clone(&store));
        let mut follower = Self {
            storage,
            view,
            store,
            end: None,
        };
        follower.refresh()?;
        Ok(follower)
    }

    /// What was seen by the last refresh, and grows with the next.
    #[must_use]
    pub fn view(&self) -> View {
        self.view.clone()
    }

    /// Looks for records appended since, for new segments and removed ones; gives the position
    /// after the last durable record seen. Reads what is new, twice at most.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`] when a segment is missing or damaged, [`Error::Io`].
    pub fn refresh(&mut self) -> Result<Position> {
        let mut waited = Duration::ZERO;
        let mut seen = None;
        for _ in 0..ATTEMPTS_MAX {
            // A roll or trim between two steps shows as a missing or a shorter file: look again.
            // What an owner does in between shows as well; what is wrong stays.
            match self.look() {
                Err(error) if is_passing(&error) => {
                    let found = self.fingerprint()?;
                    if seen.as_ref() != Some(&found) {
                        waited = Duration::ZERO;
                        seen = Some(found);
                        continue;
                    }
                    if waited >= UNCHANGED_MAX {
                        return Err(error);
                    }
                    let wait = waited.max(LOOK_AGAIN).min(UNCHANGED_MAX - waited);
                    std::thread::sleep(wait);
                    waited += wait;
                }
                outcome => return outcome,
            }
        }
        self.look()
    }

    /// What changes with every roll and trim.
    fn fingerprint(&self) -> Result<(u64, u64, Vec<u64>)> {
        let manifest = read_manifest(&*self.storage)?;
        let firsts = files::numbers(&*self.storage, "log", "seg")?;
        Ok((manifest.first, manifest.newest, firsts))
    }

    fn look(&mut self) -> Result<Position> {
        let manifest = read_manifest(&*self.storage)?;
        if manifest.uuid != self.store.uuid {
            let name = self.storage.describe(files::MANIFEST);
            return Err(Error::corrupt(
                name,
                12,
                "another log has taken the place of this one",
            ));
        }
        let mut firsts = files::numbers(&*self.storage, "log", "seg")?;
        firsts.retain(|first| *first >= manifest.first);
        recover::check_present(&*self.storage, &manifest, &firsts)?;
        // Read before the segment is: a log only grows.
        let clean = Clean::read(&*self.storage)?;
        let Some(last) = firsts.last().copied() else {
            return match clean {
                Some(clean) if clean.end > self.view.durable().get() => {
                    let what = format!(
                        "the log was closed at position {}, and there are no segments",
                        clean.end
                    );
                    Err(Error::corrupt(self.storage.describe(files::CLEAN), 0, what))
                }
                _ => Ok(self.view.durable()),
            };
        };
        let name = self.storage.describe(&files::segment(last));
        let known = self.end.take().filter(|(first, _)| *first == last);
        let (end, fresh) = match known {
            Some((_, mut end)) => {
                // Readers see what is new only when `show` has moved the durable position.
                let mut active = lock(&self.store.active);
                recover::go_on(&mut end, &mut active, self.store.hash_key, &name)?;
                (end, None)
            }
            None => {
                let opened = Arc::new(Opened::open(&*self.storage, self.store.uuid, last, false)?);
                let hash_key = self.store.hash_key;
                let (mut end, mut active) = recover::start(opened, hash_key, last, &name)?;
                if clean.is_none_or(|clean| clean.end != end.spot.first) {
                    recover::confirm_end(&mut end, &mut active, hash_key, &name)?;
                }
                (end, Some(active))
            }
        };
        if let Some(clean) = clean.filter(|clean| clean.end > end.spot.first) {
            let what = format!(
                "the log was closed at position {}, its records end here, at {}",
                clean.end, end.spot.first
            );
            return Err(Error::corrupt(name, end.spot.offset, what));
        }
        // A frame proves that the one before it is durable; nothing proves the last.
        storage::sync(&*end.opened.handle).map_err(Error::io("sync", name))?;
        self.show(&firsts, last, &end, fresh);
        let durable = Position::new(end.spot.first);
        self.end = Some((last, end));
        Ok(durable)
    }

    /// Lets the view see what was found.
    fn show(&self, firsts: &[u64], last: u64, end: &End, fresh: Option<Active>) {
        let known = self.store.list().clone();
        let find = |first: u64| known.iter().find(|segment| segment.first == first).cloned();
        let mut segments = sealed_segments(firsts);
        for segment in &mut segments {
            if let Some(known) = find(segment.first) {
                known.advance(segment.end(), u64::MAX);
                *segment = known;
            }
        }
        let newest = find(last).unwrap_or_else(|| {
            Arc::new(Segment::new(
                last,
                last,
                end.spot.offset,
                Some(Arc::clone(&end.opened)),
            ))
        });
        newest.advance(end.spot.first, end.spot.offset);
        segments.push(newest);
        if let Some(fresh) = fresh {
            *lock(&self.store.active) = fresh;
        }
        self.store.edit(|list| *list = segments);
        self.store.set_durable(end.spot.first);
    }
}

/// Whether an owner that rolls or trims may be why.
fn is_passing(error: &Error) -> bool {
    match error {
        Error::Corrupt { .. } | Error::Trimmed { .. } => true,
        Error::Io { reason, .. } => reason.kind() == std::io::ErrorKind::NotFound,
        _ => false,
    }
}

fn read_manifest(storage: &dyn Storage) -> Result<Manifest> {
    let missing = || {
        let source = std::io::Error::from(std::io::ErrorKind::NotFound);
        Error::io("open", storage.describe(files::MANIFEST))(source)
    };
    Manifest::read(storage)?.ok_or_else(missing)
}
