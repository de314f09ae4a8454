//! Services: structs whose methods handle events.
//!
//! A [`Service`] is one consumer group. `#[service]` writes the implementation; a closure becomes a
//! service through [`App::on`](crate::App::on).

mod context;
mod handler;
pub mod middleware;
mod options;

use std::sync::Arc;

pub use self::context::Context;
pub(crate) use self::context::{PendingState, Surroundings};
pub use self::handler::{ATTEMPTS_MAX, CONCURRENCY_MAX, Handler, HandlerFuture, HandlerOptions};
pub use self::options::ServiceOptions;

/// A struct whose methods handle events; one consumer group.
///
/// ```
/// use ensue::prelude::*;
/// # #[derive(Event, Serialize, Deserialize)]
/// # #[event(type = "order.created", topic = "orders", key = order_id)]
/// # struct OrderCreated { order_id: String }
/// # #[derive(Event, Serialize, Deserialize)]
/// # #[event(type = "order.paid", topic = "orders", key = order_id)]
/// # struct OrderPaid { order_id: String }
///
/// struct Payments;
///
/// #[service]
/// impl Payments {
///     #[on(attempts = 5, backoff = "200ms..30s", timeout = "10s")]
///     async fn charge(&self, order: OrderCreated) -> Result<OrderPaid, Failure> {
///         Ok(OrderPaid { order_id: order.order_id })
///     }
/// }
/// assert_eq!(Payments::NAME, "payments");
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a service",
    note = "put `#[service]` on the `impl` block that holds its `#[on]` methods"
)]
pub trait Service: Send + Sync + 'static {
    /// The name of the consumer group: stable, because positions are kept under it.
    const NAME: &'static str;

    /// The handlers, one per `#[on]` method.
    fn handlers(self: Arc<Self>) -> Vec<Handler>;

    /// How the service wants to be run.
    fn options() -> ServiceOptions {
        ServiceOptions::new()
    }
}
