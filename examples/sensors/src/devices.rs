//! The devices: what each remembers and says, without I/O ([`Device`]), its connection, and all of them together.

mod connection;
mod device;
mod fleet;
mod manner;
mod progress;

pub use self::device::{Device, Say};
pub use self::fleet::{DevicesError, Fleet};
pub use self::manner::Manner;
pub use self::progress::Sent;
