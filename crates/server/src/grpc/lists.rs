//! Answers that may be long, in pieces.

use std::pin::Pin;

use ensue::engine::Scheduled;
use futures_util::{Stream, stream};
use tonic::Status;

use super::answer::within;
use super::permit;
use crate::context::Context;
use crate::security::Caller;

/// How much of what waits is looked at first, for a caller who may not see all of it.
const LOOKED_AT: usize = 200;

pub(super) type Pieces<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Parts `items` so that each part has up to `bytes_max` bytes and an item more; of none, one that is empty.
pub(super) fn pieces<T>(
    items: &[T],
    bytes_max: usize,
    size: impl Fn(&T) -> usize,
) -> impl Iterator<Item = &[T]> {
    let mut rest = Some(items);
    std::iter::from_fn(move || {
        let items = rest.take()?;
        let mut bytes = 0;
        let fits = items.iter().take_while(|item| {
            let fits = bytes < bytes_max;
            bytes += size(item);
            fits
        });
        let (piece, others) = items.split_at(fits.count());
        rest = (!others.is_empty()).then_some(others);
        Some(piece)
    })
}

/// Sends `items` in pieces.
pub(super) fn send<T, R>(
    items: Vec<T>,
    size: impl Fn(&T) -> usize,
    response: impl Fn(&[T]) -> R,
) -> Pieces<R>
where
    R: Send + 'static,
{
    let pieces = pieces(&items, ensue_proto::PIECE_BYTES, size).map(|piece| Ok(response(piece)));
    Box::pin(stream::iter(pieces.collect::<Vec<_>>()))
}

/// The first `limit` of what waits that the caller may see. The engine reads whole events for that: one lists
/// at a time, and no further than it takes.
pub(super) async fn waiting(
    context: &Context,
    caller: &Caller,
    limit: usize,
) -> Result<Vec<Scheduled>, Status> {
    let _turn = context.turn_to_list().await;
    let mut looked_at = if caller.may_everything() {
        limit
    } else {
        limit.max(LOOKED_AT)
    };
    loop {
        let mut scheduled = within(context, context.engine().scheduled(looked_at)).await?;
        let is_all = scheduled.len() < looked_at;
        scheduled.retain(|waiting| permit::sees(caller, waiting));
        if is_all || scheduled.len() >= limit {
            scheduled.truncate(limit);
            return Ok(scheduled);
        }
        looked_at = looked_at.saturating_mul(2);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_parted_by_its_bytes_and_nothing_is_left_out() {
        let parts = |sizes: &[usize]| -> Vec<usize> {
            pieces(sizes, 10, |size| *size).map(<[_]>::len).collect()
        };
        assert_eq!(parts(&[]), [0]);
        assert_eq!(parts(&[3, 3]), [2]);
        assert_eq!(parts(&[4, 5, 6, 7]), [3, 1]);
        assert_eq!(parts(&[50, 50, 1]), [1, 1, 1]);
        assert_eq!(parts(&[0; 5]), [5]);
    }
}
