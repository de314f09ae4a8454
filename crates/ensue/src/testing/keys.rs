//! Keys for what is personal in the events of a test.

use futures_util::future::{BoxFuture, FutureExt as _};

use crate::engine::{SharedEngine, Vault};
use crate::error::{PersonalError, Result};
use crate::event::{Opened, Sealed};
#[cfg(feature = "personal")]
use crate::personal::{MemoryKeys, keyed};

/// Keys in memory, with the feature `personal`; otherwise none.
#[derive(Clone, Debug, Default)]
pub(super) struct TestKeys {
    #[cfg(feature = "personal")]
    keys: MemoryKeys,
}

impl TestKeys {
    /// The engine with these keys.
    pub(super) fn of(&self, engine: SharedEngine) -> Result<SharedEngine> {
        #[cfg(feature = "personal")]
        return keyed(engine, self.keys.clone());
        #[cfg(not(feature = "personal"))]
        Ok(engine)
    }
}

/// Seals nothing: for what never leaves the memory of a test, and is compared there.
#[derive(Debug)]
pub(super) struct GlassVault;

impl Vault for GlassVault {
    fn seal<'a>(
        &'a self,
        subject: &'a str,
        plain: Vec<u8>,
    ) -> BoxFuture<'a, Result<Sealed, PersonalError>> {
        async move { Ok(Sealed::new(subject, 1, plain)) }.boxed()
    }

    fn open<'a>(&'a self, sealed: &'a Sealed) -> BoxFuture<'a, Result<Opened, PersonalError>> {
        async move { Ok(Opened::Known(sealed.bytes().to_vec())) }.boxed()
    }

    fn rotate<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<u32, PersonalError>> {
        async { Ok(1) }.boxed()
    }

    fn forget<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<u32, PersonalError>> {
        async { Ok(0) }.boxed()
    }
}
