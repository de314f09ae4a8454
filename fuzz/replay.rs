//! The fuzzers' inputs, and copies of them that are cut off or have a bit flipped, through a
//! decoder: no panic, and no allocation that the input does not justify. A part of the tests of
//! the crates that have decoders.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::path::PathBuf;

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

/// Writes the seeds into the corpus when `ENSUE_WRITE_CORPUS` is set, in place of those of before.
pub(crate) fn write_if_asked(seeds: Vec<(&'static str, Vec<u8>)>) {
    if std::env::var_os("ENSUE_WRITE_CORPUS").is_none() {
        return;
    }
    let mut written = std::collections::BTreeMap::<_, usize>::new();
    for (target, bytes) in seeds {
        let file = |number: usize| corpus(target).join(format!("written-{number}"));
        let number = written.entry(target).or_default();
        if *number == 0 {
            std::fs::create_dir_all(corpus(target)).unwrap();
            for entry in std::fs::read_dir(corpus(target)).unwrap() {
                let path = entry.unwrap().path();
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                if name.starts_with("written-") {
                    std::fs::remove_file(&path).unwrap();
                }
            }
        }
        std::fs::write(file(*number), bytes).unwrap();
        *number += 1;
    }
}

/// Replays the corpus of `target`, damaging every `step`-th byte of each input in turn. A decoder
/// may allocate `allocation_bytes_max` at once, beside four times its input.
pub(crate) fn survives_its_corpus(
    target: &str,
    decode: fn(&[u8]) -> bool,
    allocation_bytes_max: usize,
    step: usize,
) {
    let inputs = inputs(target);
    let taken = inputs.iter().filter(|bytes| decode(bytes)).count();
    assert!(taken > 0, "{target}: nothing of its corpus is good");
    for (number, input) in inputs.iter().enumerate() {
        for at in (0..input.len()).step_by(step) {
            let run = |bytes: &[u8]| {
                LARGEST.set(0);
                decode(bytes);
                let (largest, limit) = (LARGEST.get(), allocation_bytes_max + 4 * bytes.len());
                assert!(
                    largest <= limit,
                    "{target}, input {number}, byte {at}: {largest} bytes"
                );
            };
            run(&input[..at]);
            let mut flipped = input.clone();
            flipped[at] ^= 1 << (at % 8);
            run(&flipped);
            flipped[at] = 0xFF;
            run(&flipped);
        }
    }
}
