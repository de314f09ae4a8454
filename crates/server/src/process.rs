//! What the operating system says of the process, under the names that Prometheus has for it. Where there is
//! no `/proc`, nothing.

use std::fs;

use ensue::PrometheusText;

/// In what `/proc` counts time, on every Linux.
const TICKS_A_SECOND: f64 = 100.0;
/// Where in `/proc/self/stat`, after the name: time in the program, time in the system, when it was started.
const USER: usize = 11;
const SYSTEM: usize = 12;
const STARTED: usize = 19;

/// Writes what there is.
pub(crate) fn write(text: &mut PrometheusText) {
    let mut sample = |name: &str, kind, help, value: Option<f64>| {
        if let Some(value) = value {
            text.family(name, kind, help);
            text.sample(name, &[], value);
        }
    };
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let ticks = |at| stat_field(&stat, at).map(|ticks| ticks / TICKS_A_SECOND);
    let cpu = ticks(USER).zip(ticks(SYSTEM));
    let help = "Processor time of the process in seconds.";
    let cpu = cpu.map(|(user, system)| user + system);
    sample("process_cpu_seconds_total", "counter", help, cpu);
    let help = "When the process was started, in seconds since the Unix epoch.";
    let started = ticks(STARTED).zip(boot_time());
    let started = started.map(|(after, boot)| boot + after);
    sample("process_start_time_seconds", "gauge", help, started);
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let memory = number_after(&status, "VmRSS:").map(|kilobytes| kilobytes * 1024.0);
    let help = "Memory of the process in bytes.";
    sample("process_resident_memory_bytes", "gauge", help, memory);
    let open = fs::read_dir("/proc/self/fd").ok();
    let open = open.map(|descriptors| descriptors.count() as f64);
    sample(
        "process_open_fds",
        "gauge",
        "Files and connections that are open.",
        open,
    );
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let max = number_after(&limits, "Max open files");
    sample(
        "process_max_fds",
        "gauge",
        "Files and connections that may be open.",
        max,
    );
}

/// A number of `/proc/self/stat`, counted after the name, which may have blanks.
fn stat_field(stat: &str, at: usize) -> Option<f64> {
    let (_, rest) = stat.rsplit_once(") ")?;
    rest.split(' ').nth(at)?.parse().ok()
}

fn boot_time() -> Option<f64> {
    number_after(&fs::read_to_string("/proc/stat").ok()?, "btime")
}

/// The number that follows a name at the beginning of a line.
fn number_after(text: &str, name: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_by_what_stands_before_them() {
        let stat = "1 (a b) c) S 2 3 4 5 6 7 8 9 10 11 120 30 0 0 20 0 8 0 999 1";
        assert_eq!(stat_field(stat, USER), Some(120.0));
        assert_eq!(stat_field(stat, SYSTEM), Some(30.0));
        assert_eq!(stat_field(stat, STARTED), Some(999.0));
        assert_eq!(number_after("a\nVmRSS:\t  12 kB\n", "VmRSS:"), Some(12.0));
        assert_eq!(number_after("", "VmRSS:"), None);
    }
}
