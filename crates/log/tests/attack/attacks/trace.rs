//! The same seed gives the same calls in the same order, and the same bytes: what an attack finds
//! can be found again.

use ensue_log::storage::{Call, Fault};

use super::effort::each;
use super::script::{Known, LONG, open};

/// Every file, with its bytes.
type Files = Vec<(String, Option<Vec<u8>>)>;

fn run(seed: u64) -> (Vec<Call>, Files) {
    // The uuid, the salts, the hash key.
    fastrand::seed(seed);
    let mut random = fastrand::Rng::with_seed(seed);
    let disk = Fault::new();
    disk.trace();
    disk.power_off_after(random.u64(0..LONG.calls()));
    let _ = LONG.run(&disk, &mut Known::default());
    disk.crash(random.u64(..));
    disk.power_off_after(random.u64(0..80));
    let _ = open(&disk);
    disk.crash(random.u64(..));
    let calls = disk.trace();
    let names = disk.names().into_iter();
    (
        calls,
        names
            .map(|name| (name.clone(), disk.contents(&name)))
            .collect(),
    )
}

pub(crate) fn the_same_seed_gives_the_same(seeds: u64) {
    each(seeds, |seed| {
        let (calls, files) = run(seed);
        let (calls_again, files_again) = run(seed);
        let differs = calls.iter().zip(&calls_again).position(|(a, b)| a != b);
        if let Some(at) = differs {
            panic!(
                "seed {seed}, call {at}: {:?}, then {:?}",
                calls[at], calls_again[at]
            );
        }
        assert_eq!(calls.len(), calls_again.len(), "seed {seed}");
        for ((name, bytes), (name_again, bytes_again)) in files.iter().zip(&files_again) {
            assert_eq!(name, name_again, "seed {seed}");
            assert!(bytes == bytes_again, "seed {seed}: {name} differs");
        }
        assert_eq!(files.len(), files_again.len(), "seed {seed}");
    });
}
