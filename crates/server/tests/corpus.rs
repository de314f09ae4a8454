//! The fuzzers' inputs through every decoder: see `fuzz/replay.rs`.
//!
//! `ENSUE_WRITE_CORPUS=1` writes the seeds that the present format gives into `fuzz/corpus`.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)] // a test

#[path = "../../../fuzz/replay.rs"]
mod replay;

use ensue_server::fuzzing;

/// More than what any decoder needs beside its input.
const ALLOCATION_BYTES_MAX: usize = 64 * 1024;

#[test]
fn every_decoder_survives_its_corpus() {
    replay::write_if_asked(fuzzing::seeds());
    for (target, decode) in fuzzing::TARGETS {
        replay::survives_its_corpus(target, decode, ALLOCATION_BYTES_MAX, 1);
    }
}
