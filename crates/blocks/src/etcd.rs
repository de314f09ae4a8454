//! etcd by its JSON gateway, as far as locks and configuration need it.
//!
//! A client of our own: the crate for it runs a compiler of protocols, in C++, each time that it is built. etcd
//! serves the gateway at the port of its clients unless that is switched off (`--enable-grpc-gateway`).

mod client;
mod message;

pub(crate) use self::client::Etcd;
pub(crate) use self::message::{KeyValue, encoded, end_of_prefix};
