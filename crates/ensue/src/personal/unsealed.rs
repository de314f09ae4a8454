//! An event on its way out that is not sealed yet.

use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::sync::Mutex;

use super::sealing::{OnForgotten, seal_event};
use crate::engine::Vault;
use crate::error::Result;
use crate::event::{EnvelopeBuilder, Event, InvalidEvent};

/// An event with what is personal in the clear: in memory alone, as nothing writes it before it was sealed. Its
/// clones are the same event.
#[derive(Clone)]
pub(crate) struct Unsealed(Arc<Mutex<dyn SealEvent>>);

/// An event of any type.
trait SealEvent: Send {
    /// The envelope with the payload, once everything in it is sealed.
    fn seal<'a>(
        &'a mut self,
        builder: EnvelopeBuilder,
        vault: Option<&'a dyn Vault>,
        on_forgotten: OnForgotten,
    ) -> BoxFuture<'a, Result<EnvelopeBuilder>>;
}

struct Typed<E>(E);

impl<E: Event> SealEvent for Typed<E> {
    fn seal<'a>(
        &'a mut self,
        builder: EnvelopeBuilder,
        vault: Option<&'a dyn Vault>,
        on_forgotten: OnForgotten,
    ) -> BoxFuture<'a, Result<EnvelopeBuilder>> {
        Box::pin(async move {
            seal_event(&mut self.0, vault, on_forgotten).await?;
            let payload = E::CODEC.encode(&self.0).map_err(InvalidEvent::from)?;
            Ok(builder.payload(E::CODEC, payload))
        })
    }
}

impl Unsealed {
    pub(crate) fn new<E: Event>(event: E) -> Self {
        Self(Arc::new(Mutex::new(Typed(event))))
    }

    /// `builder` with the payload of the event.
    pub(crate) async fn seal(
        self,
        builder: EnvelopeBuilder,
        vault: Option<&dyn Vault>,
        on_forgotten: OnForgotten,
    ) -> Result<EnvelopeBuilder> {
        let mut event = self.0.lock().await;
        event.seal(builder, vault, on_forgotten).await
    }
}

impl fmt::Debug for Unsealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Unsealed")
    }
}
