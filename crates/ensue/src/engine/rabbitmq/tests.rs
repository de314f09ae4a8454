use super::*;
use crate::engine::shared_log::tests::shared_log_tests;

shared_log_tests!(rabbitmq, connect);
