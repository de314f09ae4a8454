//! What the machine can do at best: the limits that stand beside the log's figures.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{Advice, fadvise};

use super::statistics::Latencies;
use crate::Outcome;

const PIECE_BYTES: usize = 1024 * 1024;

/// A file that is allocated and full of zeroes, like the log's segments, to write over.
pub(crate) struct Raw {
    file: File,
    path: PathBuf,
    bytes: u64,
    noise: Vec<u8>,
}

impl Raw {
    pub(crate) fn new(directory: &Path, bytes: u64) -> Outcome<Self> {
        let path = directory.join("raw");
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&path)?;
        let zeroes = vec![0; PIECE_BYTES];
        for at in (0..bytes).step_by(PIECE_BYTES) {
            file.write_all_at(&zeroes, at)?;
        }
        file.sync_all()?;
        let mut noise = vec![0; 8 * PIECE_BYTES];
        fastrand::Rng::with_seed(1).fill(&mut noise);
        Ok(Self {
            file,
            path,
            bytes,
            noise,
        })
    }

    /// Writes `bytes` at a time, one after the other, with a sync after each.
    pub(crate) fn synced_writes(&self, bytes: usize, span: Duration) -> Outcome<Latencies> {
        self.writes(bytes, span, || Ok(self.file.sync_data()?))
    }

    /// The same into the page cache only.
    pub(crate) fn cached_writes(&self, bytes: usize, span: Duration) -> Outcome<Latencies> {
        self.writes(bytes, span, || Ok(()))
    }

    fn writes(
        &self,
        bytes: usize,
        span: Duration,
        sync: impl Fn() -> Outcome<()>,
    ) -> Outcome<Latencies> {
        let piece = self
            .noise
            .get(..bytes)
            .ok_or("a write of more than 8 MiB")?;
        let mut latencies = Latencies::default();
        let begun = Instant::now();
        let mut at = 0;
        while begun.elapsed() < span || latencies.len() < 3 {
            if at + bytes as u64 > self.bytes {
                at = 0;
            }
            let start = Instant::now();
            self.file.write_all_at(piece, at)?;
            sync()?;
            latencies.push(start.elapsed());
            at += bytes as u64;
        }
        // What stays dirty would be written back during the next measurement.
        self.file.sync_data()?;
        Ok(latencies)
    }

    /// Megabytes a second of 1 MiB writes, each synced.
    pub(crate) fn sequential(&self, span: Duration) -> Outcome<f64> {
        let latencies = self.synced_writes(PIECE_BYTES, span)?;
        Ok(PIECE_BYTES as f64 / 1e6 / latencies.mean())
    }

    /// The same into the page cache only.
    pub(crate) fn sequential_cached(&self, span: Duration) -> Outcome<f64> {
        let latencies = self.cached_writes(PIECE_BYTES, span)?;
        Ok(PIECE_BYTES as f64 / 1e6 / latencies.mean())
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // What is left over lies in a temporary directory.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Bytes a second that memory copies, in pieces as large as what a scan has in hand, over as many
/// bytes as `bytes`, so that caches hide nothing.
pub(crate) fn copies(bytes: usize) -> f64 {
    let bytes = bytes.clamp(PIECE_BYTES, 512 * PIECE_BYTES);
    let from = vec![1_u8; bytes];
    // Not zeroes: their pages would come into being while they are copied to.
    let mut to = vec![2_u8; bytes];
    let begun = Instant::now();
    for (from, to) in from.chunks(PIECE_BYTES).zip(to.chunks_mut(PIECE_BYTES)) {
        to.copy_from_slice(from);
    }
    let elapsed = begun.elapsed();
    std::hint::black_box(&to);
    bytes as f64 / elapsed.as_secs_f64()
}

/// Bytes a second that the log's checksum takes in.
pub(crate) fn checksums() -> f64 {
    let bytes = vec![1_u8; 64 * PIECE_BYTES];
    let begun = Instant::now();
    for piece in bytes.chunks(PIECE_BYTES) {
        std::hint::black_box(crc32c::crc32c(piece));
    }
    bytes.len() as f64 / begun.elapsed().as_secs_f64()
}

/// Makes the operating system forget what it keeps of these files in memory, as far as it does.
pub(crate) fn forget(files: &[PathBuf]) -> Outcome<()> {
    for path in files {
        let file = File::open(path)?;
        file.sync_all()?; // it keeps what is not yet on disk
        fadvise(&file, 0, None, Advice::DontNeed)?;
    }
    Ok(())
}

/// Bytes a second when these files are read from front to end.
pub(crate) fn reads(files: &[PathBuf]) -> Outcome<f64> {
    let mut buffer = vec![0; PIECE_BYTES];
    let mut total = 0;
    let begun = Instant::now();
    for path in files {
        let mut file = File::open(path)?;
        loop {
            let bytes = file.read(&mut buffer)?;
            if bytes == 0 {
                break;
            }
            total += bytes;
        }
    }
    Ok(total as f64 / begun.elapsed().as_secs_f64())
}

/// Times of reading `bytes` at random places of these files.
pub(crate) fn random_reads(files: &[PathBuf], bytes: usize, count: usize) -> Outcome<Latencies> {
    let opened: Result<Vec<_>, _> = files
        .iter()
        .map(|path| File::open(path).and_then(|file| Ok((file.metadata()?.len(), file))))
        .collect();
    let opened = opened?;
    let mut buffer = vec![0; bytes];
    let mut latencies = Latencies::default();
    for _ in 0..count {
        let (length, file) = fastrand::choice(&opened).ok_or("no file to read from")?;
        let at = fastrand::u64(..length.saturating_sub(bytes as u64).max(1));
        let start = Instant::now();
        file.read_exact_at(&mut buffer, at)?;
        latencies.push(start.elapsed());
    }
    Ok(latencies)
}
