//! The locks of a keeper, as programs hold them.

use std::sync::Arc;
use std::time::Duration;

use super::acquiring::{Patience, acquire};
use super::error::{LockError, Result};
use super::held::Lock;
use super::keeper::{Claim, LockGuarantees, LockKeeper};

/// The shortest lease: below it, what a network and a busy machine take is most of the lease.
pub const LEASE_MIN: Duration = Duration::from_millis(500);
/// The longest lease.
const LEASE_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// The lease unless another is set.
const LEASE: Duration = Duration::from_secs(10);
/// The longest name of a lock, in bytes.
pub const NAME_BYTES_MAX: usize = 200;

/// Locks by name, on a server. Cloning is cheap.
#[derive(Clone, Debug)]
pub struct Locks {
    keeper: Arc<dyn LockKeeper>,
    lease: Duration,
}

impl Locks {
    /// The locks of a keeper, with a lease of 10 s.
    pub fn new(keeper: impl LockKeeper) -> Self {
        Self::shared(Arc::new(keeper))
    }

    /// The same, of a keeper whose guards are used, too.
    pub fn shared(keeper: Arc<dyn LockKeeper>) -> Self {
        Self {
            keeper,
            lease: LEASE,
        }
    }

    /// How long a lock outlives a holder that died; it is renewed three times as often. From
    /// [`LEASE_MIN`] to a day.
    #[must_use]
    pub fn lease(self, lease: Duration) -> Self {
        Self { lease, ..self }
    }

    /// What these locks promise.
    pub fn guarantees(&self) -> LockGuarantees {
        self.keeper.guarantees()
    }

    /// The lock `name`, if no one holds it. If the future is dropped, so is the lock.
    ///
    /// # Errors
    /// What the server reports; nothing is held then. [`LockError::Invalid`] for an empty name, one of more
    /// than [`NAME_BYTES_MAX`] bytes or with control characters, and for a lease out of bounds.
    pub async fn try_acquire(&self, name: &str) -> Result<Option<Lock>> {
        let claim = self.claim(name)?;
        match acquire(self.keeper.clone(), claim, Patience::None).await {
            Ok(lock) => Ok(Some(lock)),
            Err(LockError::Deadline { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The lock `name`, as soon as it is free, within `deadline`, and what a server that is asked then takes to
    /// answer (some seconds, if it hangs). If the future is dropped, it is not waited for any more. A server that
    /// is away is tried again until then.
    ///
    /// # Errors
    /// [`LockError::Deadline`] when others held it the whole time, and as for [`Self::try_acquire`].
    pub async fn acquire(&self, name: &str, deadline: Duration) -> Result<Lock> {
        let claim = self.claim(name)?;
        acquire(self.keeper.clone(), claim, Patience::Until(deadline)).await
    }

    /// The lock `name`, however long that takes, also from a server that is away.
    pub(crate) async fn acquire_ever(&self, name: &str) -> Result<Lock> {
        let claim = self.claim(name)?;
        acquire(self.keeper.clone(), claim, Patience::Ever).await
    }

    fn claim(&self, name: &str) -> Result<Claim> {
        let is_fit = !name.is_empty()
            && name.len() <= NAME_BYTES_MAX
            && !name.contains(|c: char| c.is_control());
        if !is_fit {
            return Err(LockError::Invalid {
                what: "the name of a lock",
                value: format!("{:?}", name.chars().take(80).collect::<String>()),
                expected: format!("1 to {NAME_BYTES_MAX} bytes without control characters"),
            });
        }
        if !(LEASE_MIN..=LEASE_MAX).contains(&self.lease) {
            return Err(LockError::Invalid {
                what: "the lease of a lock",
                value: format!("{:?}", self.lease),
                expected: format!("between {LEASE_MIN:?} and {LEASE_MAX:?}"),
            });
        }
        Ok(Claim::new(name, self.lease))
    }
}
