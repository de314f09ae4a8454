//! What is attacked, and how hard. Sizes come from `ENSUE_ATTACK_SEEDS`, `ENSUE_ATTACK_FLIPS` and
//! `ENSUE_ATTACK_HISTORIES`; a debug build does less than a release build unless they say.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)] // a test

mod attacks;
#[path = "../support/mod.rs"]
mod support;

mod power {
    use crate::attacks::{effort, power};

    #[test]
    fn one_appender() {
        power::one_appender(effort::seeds().div_ceil(2));
    }

    #[test]
    fn many_appenders() {
        power::many_appenders(effort::seeds() / 2);
    }
}

mod io {
    use crate::attacks::{effort, io, script};

    #[test]
    fn after_every_call_and_every_call_of_recovery() {
        let (step, opening_step) = if effort::is_thorough() {
            (1, 1)
        } else {
            (11, 5)
        };
        io::after_every_call(script::SHORT, step, opening_step);
    }

    #[test]
    fn of_a_new_log() {
        io::after_every_call(script::FIRST, 1, 1);
    }
}

mod torn {
    use crate::attacks::{effort, torn};

    #[test]
    fn at_every_byte() {
        torn::at_every_byte(if effort::is_thorough() { 1 } else { 3 });
    }

    #[test]
    fn far_behind_the_end() {
        torn::far_behind_the_end();
    }

    #[test]
    fn any_sectors_missing() {
        torn::any_sectors_missing(effort::seeds());
    }

    #[test]
    fn before_a_whole_frame() {
        torn::before_a_whole_frame(1);
    }

    #[test]
    fn after_a_clean_shutdown() {
        torn::after_a_clean_shutdown(1);
    }
}

mod flips {
    use crate::attacks::{effort, flips};

    #[test]
    fn every_byte_of_a_small_log() {
        flips::every_byte(&flips::small(), 1);
    }

    #[test]
    fn every_byte_of_several_files() {
        let step = if effort::is_thorough() { 1 } else { 37 };
        flips::every_byte(&flips::several_files(), step);
    }

    #[test]
    fn behind_the_end() {
        flips::behind_the_end(true, effort::flips().div_ceil(10));
        flips::behind_the_end(false, effort::flips().div_ceil(10));
    }

    #[test]
    fn of_a_log_that_crashed() {
        flips::of_a_log_that_crashed(if effort::is_thorough() { 1 } else { 3 });
    }

    #[test]
    fn of_a_large_log() {
        let bytes = if effort::is_thorough() {
            9 << 20
        } else {
            3 << 20
        };
        flips::of_a_large_log(effort::flips(), bytes);
    }
}

mod sync {
    use crate::attacks::{effort, sync};

    #[test]
    fn the_kth_sync() {
        sync::the_kth_sync(if effort::is_thorough() { 500 } else { 40 });
    }

    #[test]
    fn then_the_process_dies() {
        sync::then_the_process_dies(60);
    }

    #[test]
    fn under_threads() {
        sync::under_threads(effort::seeds() / 2);
    }

    #[test]
    fn every_call_fails() {
        sync::every_call_fails(if effort::is_thorough() { 1 } else { 9 });
    }

    #[test]
    fn interruptions_do_not_show() {
        sync::interruptions_do_not_show(if effort::is_thorough() { 1 } else { 5 });
    }

    #[test]
    fn a_full_disk() {
        sync::a_full_disk(effort::seeds() / 4);
    }
}

mod stale {
    use crate::attacks::{effort, stale};

    #[test]
    fn behind_the_end() {
        stale::behind_the_end(effort::seeds());
    }

    #[test]
    fn the_very_next_frame() {
        stale::the_very_next_frame(effort::seeds());
    }

    #[test]
    fn in_the_spare() {
        stale::in_the_spare(effort::seeds().div_ceil(10));
    }

    #[test]
    fn of_another_course() {
        stale::of_another_course();
    }
}

mod retention {
    use crate::attacks::{effort, retention};

    #[test]
    fn a_trim_cut_at_every_call() {
        let (floor, step) = if effort::is_thorough() {
            (450, 1)
        } else {
            (150, 9)
        };
        retention::a_trim_cut_at_every_call(floor, step);
    }

    #[test]
    fn indexes_are_rebuilt() {
        retention::indexes_are_rebuilt(effort::seeds().div_ceil(4));
    }
}

mod trace {
    use crate::attacks::{effort, trace};

    #[test]
    fn the_same_seed_gives_the_same() {
        trace::the_same_seed_gives_the_same(effort::seeds() / 4);
    }
}

mod model {
    use crate::attacks::{effort, model};

    #[test]
    fn histories() {
        model::histories(effort::histories());
    }
}
