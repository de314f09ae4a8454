//! With which codes requests are refused, whatever they are about.

use crate::problem::Code;
use crate::security::Access;

/// What each request may meet.
const EVERYWHERE: &[Code] = &[Code::Internal];
/// What one may meet that has to come from a caller who is known.
const AT_THE_DOOR: &[Code] = &[
    Code::Unauthenticated,
    Code::HostNotAllowed,
    Code::CrossOrigin,
    Code::InvalidHeader,
    Code::RateLimited,
    Code::IssuerUnavailable,
];
/// What one may meet that has to do with the engine.
pub(crate) const ENGINE: &[Code] = &[
    Code::ReadOnly,
    Code::Limit,
    Code::Refused,
    Code::Corrupt,
    Code::Io,
    Code::Overloaded,
    Code::Closed,
    Code::Stopped,
    Code::Unavailable,
    Code::OwnershipLost,
    Code::Overtaken,
    Code::Timeout,
    Code::DiskFull,
];
/// What one may meet that has a body.
pub(crate) const BODY: &[Code] = &[
    Code::BodyIncomplete,
    Code::BodyTimeout,
    Code::BodyTooLarge,
    Code::UnsupportedMediaType,
    Code::Overloaded,
];
/// What one may meet that has a query.
pub(crate) const QUERY: &[Code] = &[Code::InvalidParameter, Code::UnknownParameter];

/// What a request may meet before its handler sees it.
pub(super) fn of_access(access: Access) -> Vec<Code> {
    match access {
        Access::Public => EVERYWHERE.to_vec(),
        Access::Known => [EVERYWHERE, AT_THE_DOOR].concat(),
        Access::May(_) => [EVERYWHERE, AT_THE_DOOR, &[Code::Forbidden]].concat(),
    }
}
