//! A crash after every single I/O call of a run, and again after every single call of the
//! recovery from it.

use ensue_log::storage::Fault;

use super::effort::each;
use super::script::{Known, Script, check, open};

/// How a crash ends a process.
#[derive(Clone, Copy, Debug)]
enum Crash {
    /// The process dies, the system lives: everything written stays.
    Process,
    /// The power fails; which of the unsynced sectors and names survive depends on the seed.
    Power(u64),
}

impl Crash {
    fn happen(self, disk: &Fault) {
        match self {
            Self::Process => disk.kill(),
            Self::Power(seed) => disk.crash(seed),
        }
    }
}

/// Each run is `script`, cut after one call; then opening it is. The steps are 1 to try every call.
pub(crate) fn after_every_call(script: Script, step: u64, opening_step: u64) {
    let calls = script.calls();
    each(calls.div_ceil(step), |number| {
        let call = number * step;
        let disk = Fault::new();
        disk.power_off_after(call);
        let mut known = Known::default();
        script.run(&disk, &mut known).unwrap_err();
        for crash in [
            Crash::Process,
            Crash::Power(call * 2),
            Crash::Power(call * 2 + 1),
        ] {
            let crashed = disk.duplicate();
            crash.happen(&crashed);
            let context = || format!("{crash:?} after call {call}");
            check(&crashed.duplicate(), &known, &context);
            during_recovery(&crashed, &known, opening_step, &context);
        }
    });
}

/// Crashes again after every call that opening the log makes.
fn during_recovery(crashed: &Fault, known: &Known, step: u64, context: &dyn Fn() -> String) {
    let reference = crashed.duplicate();
    let log = open(&reference);
    let calls = reference.calls();
    drop(log);
    for call in (0..calls).step_by(step as usize) {
        let disk = crashed.duplicate();
        disk.power_off_after(call);
        // It may succeed where the last call is one that it can do without.
        drop(open(&disk));
        for crash in [Crash::Process, Crash::Power(call + 7)] {
            let again = disk.duplicate();
            crash.happen(&again);
            check(&again, known, &|| {
                format!("{}, then {crash:?} after call {call} of opening", context())
            });
        }
    }
}
