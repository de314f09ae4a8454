//! The fuzzers' inputs, and copies of them that are cut off or have a bit flipped, through every
//! decoder: no panic, and no allocation that the input does not justify.
//!
//! `ENSUE_WRITE_CORPUS=1` writes the seeds that the present format gives into `fuzz/corpus`.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)] // a test

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::path::PathBuf;

use ensue_log::fuzzing;

/// More than what any decoder needs beside its input: buffers of a read, an example log.
const ALLOCATION_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Notes the largest allocation of each thread.
struct Noting;

thread_local! {
    static LARGEST: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call is passed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Noting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = LARGEST.try_with(|largest| largest.set(largest.get().max(layout.size())));
        // SAFETY: the caller's promises are the system allocator's terms.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: `pointer` came from `alloc` above with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Noting = Noting;

fn corpus(target: &str) -> PathBuf {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
    root.join(target)
}

fn inputs(target: &str) -> Vec<Vec<u8>> {
    let directory = corpus(target);
    let files = std::fs::read_dir(&directory)
        .unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let mut paths: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    paths.sort();
    paths
        .iter()
        .map(|path| std::fs::read(path).unwrap())
        .collect()
}

fn run(target: &str, decode: fn(&[u8]) -> bool, bytes: &[u8], what: &dyn Fn() -> String) -> bool {
    LARGEST.set(0);
    let taken = decode(bytes);
    let (largest, limit) = (LARGEST.get(), ALLOCATION_BYTES_MAX + 4 * bytes.len());
    assert!(largest <= limit, "{target}, {}: {largest} bytes", what());
    taken
}

#[test]
fn every_decoder_survives_its_corpus() {
    if std::env::var_os("ENSUE_WRITE_CORPUS").is_some() {
        for (target, bytes) in fuzzing::seeds() {
            std::fs::create_dir_all(corpus(target)).unwrap();
            std::fs::write(corpus(target).join("written"), bytes).unwrap();
        }
    }
    for (target, decode) in fuzzing::TARGETS {
        let inputs = inputs(target);
        let taken = inputs.iter().filter(|bytes| decode(bytes)).count();
        assert!(taken > 0, "{target}: nothing of its corpus is good");
        // The index opens a log each time.
        let step = if target == "index" { 23 } else { 1 };
        for (number, input) in inputs.iter().enumerate() {
            for at in (0..input.len()).step_by(step) {
                let what = || format!("input {number}, byte {at}");
                run(target, decode, &input[..at], &what);
                let mut flipped = input.clone();
                flipped[at] ^= 1 << (at % 8);
                run(target, decode, &flipped, &what);
                flipped[at] = 0xFF;
                run(target, decode, &flipped, &what);
            }
        }
    }
}
