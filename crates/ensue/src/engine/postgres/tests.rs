//! The shared log on a real PostgreSQL.

use super::*;
use crate::engine::shared_log::tests::shared_log_tests;

shared_log_tests!(postgres, connect);
