//! `cargo run --manifest-path crates/proto/generate/Cargo.toml`: writes `src/generated/` of `ensue-proto`
//! from `proto/`. Neither protoc nor buf is needed.

use std::error::Error;
use std::fs;
use std::path::Path;

use prost::Message as _;
use prost_types::FileDescriptorSet;
use sha2::{Digest as _, Sha256};

/// The protocol files, in the order of their names: as the test of `ensue-proto` reads them.
const FILES: [&str; 5] = [
    "ensue/v1/engine_service.proto",
    "ensue/v1/error.proto",
    "ensue/v1/event.proto",
    "ensue/v1/group.proto",
    "ensue/v1/status.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let (protocol, generated) = (root.join("proto"), root.join("src/generated"));
    fs::create_dir_all(&generated)?;
    let descriptors = protox::compile(FILES, [&protocol])?;
    tonic_prost_build::configure()
        .out_dir(&generated)
        .build_transport(false)
        .bytes(".")
        .compile_fds(descriptors.clone())?;
    fs::write(generated.join("descriptors.bin"), shown(descriptors).encode_to_vec())?;
    let mut hash = Sha256::new();
    for file in FILES {
        hash.update(fs::read(protocol.join(file))?);
    }
    for file in ["ensue.v1.rs", "descriptors.bin"] {
        hash.update(fs::read(generated.join(file))?);
    }
    let hash: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    fs::write(generated.join("SHA256"), format!("{hash}\n"))?;
    Ok(())
}

/// What reflection shows: without the comments, which are most of it.
fn shown(mut descriptors: FileDescriptorSet) -> FileDescriptorSet {
    for file in &mut descriptors.file {
        file.source_code_info = None;
    }
    descriptors
}
