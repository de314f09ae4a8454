//! The service over HTTP: JSON in and out, errors as problem documents (RFC 9457).

mod body;
mod fields;
mod form;
mod named;
mod origin;
mod problem;
mod routes;
mod seldom;
mod session;
mod site;

pub use self::origin::Peer;
pub use self::problem::timed_out;
pub use self::routes::router;
pub use self::site::{BODY_BYTES_MAX, PAGE_MAX, POSITION_HEADER, Site};
