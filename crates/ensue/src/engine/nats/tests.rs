//! The suite of shared logs, on a current server and on the oldest one that is supported.

use super::connect;
use crate::engine::shared_log::tests::shared_log_tests;

shared_log_tests!(nats, connect);
shared_log_tests!(nats_oldest, connect);
