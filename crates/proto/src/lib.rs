//! The gRPC protocol of Ensue: the messages of `ensue.v1`, and what they mean.
//!
//! The server and the remote engine (`ensue://host:port`) both speak it. Programs in other languages
//! generate their own code from `proto/`, or ask the server for it by reflection; docs/server.md has
//! examples.
//!
//! What is generated is committed ([`v1`]), so that a build needs no protoc;
//! `cargo run --manifest-path crates/proto/generate/Cargo.toml` writes it again, and a test says when that was forgotten.

#![forbid(unsafe_code)]
#![warn(clippy::print_stdout, clippy::print_stderr)]

mod error;
mod event;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod group;
mod malformed;
mod read;
mod status;
mod texts;

pub use self::error::{
    detail_of, detail_of_status, error_of, error_of_status, status_of, status_with,
};
pub use self::event::{expected, recorded, scheduled};
pub use self::group::{filter, reset};
pub use self::malformed::Malformed;

/// The messages, the client and the server.
#[allow(
    missing_docs,
    missing_debug_implementations,
    unreachable_pub,
    clippy::all,
    clippy::allow_attributes_without_reason,
    reason = "it is generated"
)]
pub mod v1 {
    include!("generated/ensue.v1.rs");
}

/// What the messages look like, for reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!("generated/descriptors.bin");

/// The largest message, in bytes: the largest commit that an engine takes, and what its writing adds.
pub const MESSAGE_BYTES_MAX: usize = 80 * 1024 * 1024;

/// How much of a long answer goes into one message, in bytes; an event more may come.
pub const PIECE_BYTES: usize = 1024 * 1024;

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use sha2::{Digest as _, Sha256};

    #[test]
    fn what_is_generated_is_of_the_protocol_as_it_is() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut names: Vec<_> = fs::read_dir(root.join("proto/ensue/v1"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        names.sort();
        let generated = root.join("src/generated");
        names.extend(["ensue.v1.rs", "descriptors.bin"].map(|name| generated.join(name)));
        let mut hash = Sha256::new();
        for name in &names {
            hash.update(fs::read(name).unwrap());
        }
        let hash: String = hash
            .finalize()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let told = fs::read_to_string(generated.join("SHA256")).unwrap();
        assert_eq!(
            hash,
            told.trim(),
            "`proto/` or what is generated from it has changed: run `cargo run --manifest-path \
             crates/proto/generate/Cargo.toml`"
        );
    }
}
