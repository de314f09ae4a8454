//! The names in a path.

use axum::extract::{FromRequestParts, Path as Unchecked};
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use crate::openapi::{Input, Operation};
use crate::problem::{Code, Problem};

/// What the names in braces of a route's path stand for, in order.
#[derive(Clone, Copy, Debug)]
pub(super) struct Path<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match Unchecked::from_request_parts(parts, state).await {
            Ok(Unchecked(names)) => Ok(Self(names)),
            Err(_) => Err(Problem::new(
                Code::InvalidParameter,
                "a name in the path is not UTF-8 once it is percent-decoded",
            )),
        }
    }
}

impl<T> Input for Path<T> {
    fn describe(operation: &mut Operation) {
        // The route's path says their names.
        operation.refuses(&[Code::InvalidParameter]);
    }
}
