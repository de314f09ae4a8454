//! Who is calling, and whether they may: what every request passes before its handler.
//!
//! The server listens on loopback addresses and takes every process of this machine for its owner.
//! What it does not take for that is a web page in a browser of this machine, which can send requests
//! to loopback, too: by its own name (`Origin`), or by a name that its author resolves to loopback
//! (`Host`, DNS rebinding).

mod caller;

pub(crate) use self::caller::Hosts;
