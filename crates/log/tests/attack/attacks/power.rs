//! The power fails at any moment: any subset of the unsynced sectors and names survives. Nothing
//! acknowledged is lost, nothing is invented, nothing is altered.

use ensue_log::Log;
use ensue_log::storage::Fault;
use std::sync::Arc;

use super::appenders::{Appender, Appenders};
use super::effort::each;
use super::script::{Known, LONG, check, open};
use crate::support::{options, verify};

/// One appender, whose records are told apart by their positions; checkpoints, trims and reopens
/// are cut like everything else. The power fails again during recovery.
pub(crate) fn one_appender(seeds: u64) {
    let calls = LONG.calls();
    each(seeds, |seed| {
        let mut random = fastrand::Rng::with_seed(seed);
        let disk = Fault::new();
        let mut known = Known::default();
        disk.power_off_after(random.u64(0..calls));
        let _ = LONG.run(&disk, &mut known);
        disk.crash(random.u64(..));
        // Again during recovery, sometimes more than once.
        for _ in 0..random.u64(1..=2) {
            disk.power_off_after(random.u64(0..60));
            let _ = open(&disk).map(|log| verify(&log.view()));
            disk.crash(random.u64(..));
        }
        check(&disk, &known, &|| format!("seed {seed}"));
    });
}

/// Several appending threads, and in part of the seeds the background thread, which makes spare
/// segments and indexes while the power fails.
pub(crate) fn many_appenders(seeds: u64) {
    each(seeds, |seed| {
        let mut random = fastrand::Rng::with_seed(seed);
        let disk = Fault::new();
        let options = ensue_log::Options {
            background: random.bool(),
            frame_bytes_max: *random.choice(&[4096, 16 * 1024, 1 << 20]).unwrap(),
            queue_bytes_max: *random.choice(&[8192, 1 << 20]).unwrap(),
            ..options()
        };
        let mut appenders = Appenders::new(random.u64(1..=4));
        let lives = random.u64(1..=2);
        for life in 0..lives {
            let context = || format!("seed {seed}, life {life}");
            let log = Log::open(Arc::new(disk.clone()), options.clone())
                .unwrap_or_else(|error| panic!("{}: {error}", context()));
            appenders.check(&log, &context);
            disk.power_off_after(random.u64(0..220));
            appenders.run(&log, random.u64(..), 12);
            if random.bool() {
                let _ = log.close();
            }
            drop(log);
            disk.crash(random.u64(..));
            // Again during recovery.
            disk.power_off_after(random.u64(0..60));
            let _ = Log::open(Arc::new(disk.clone()), options.clone());
            disk.crash(random.u64(..));
        }
        let context = || format!("seed {seed}, at last");
        let log = Log::open(Arc::new(disk.clone()), options.clone())
            .unwrap_or_else(|error| panic!("{}: {error}", context()));
        appenders.check(&log, &context);
        // What was never answered is appended again: once, whether it had arrived or not.
        appenders.each(Appender::retry, &log);
        appenders.check(&log, &context);
        let report = log.view().check(&mut |_| ()).unwrap();
        assert!(report.is_good(), "{}: {:?}", context(), report.damage);
    });
}
