//! Arguments that several commands take: parsed here, given a meaning by the commands.

mod filter;
mod moment;
mod start;

pub(crate) use self::filter::DeadLetterArgs;
pub(crate) use self::moment::Moment;
pub(crate) use self::start::StartArg;
