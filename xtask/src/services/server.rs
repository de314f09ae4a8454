//! The table of servers.

use std::path::Path;

use super::greeting::Greeting;
use super::launch::Launch;
use super::process::Signal;
use super::program::Program;
use super::state::Entry;
use super::{Place, kafka, nats, postgres, rabbitmq, redis};

/// How to get, configure, greet and end one kind of server.
pub(super) struct Server {
    pub(super) name: &'static str,
    /// Whether `up` without a name starts it.
    pub(super) is_usual: bool,
    /// How many ports it listens on. The first one is for clients.
    pub(super) ports: usize,
    /// Debian packages without which it cannot be obtained.
    pub(super) missing: fn(&Place) -> Vec<&'static str>,
    /// Finds it, builds it or fetches it.
    pub(super) obtain: fn(&Place) -> Result<Program, String>,
    /// Writes what it needs into its new directory, and says how it is started.
    pub(super) set_up: fn(&Program, &Path, &[u16]) -> Result<Launch, String>,
    pub(super) greeting: Greeting,
    /// Asks it to end in order.
    pub(super) farewell: Signal,
    /// Whether something of a server that was killed would outlive its directory. It is started
    /// once more then, because it knows best how to remove that.
    pub(super) has_remains: fn(&Path) -> bool,
    /// Ends what it leaves behind.
    pub(super) clean_up: fn(&Entry) -> Result<(), String>,
}

/// The slowest to start come first.
pub(super) const SERVERS: [Server; 6] = [
    kafka::SERVER,
    rabbitmq::SERVER,
    postgres::SERVER,
    nats::SERVER,
    nats::OLDEST,
    redis::SERVER,
];

/// For servers that keep everything in their directory.
pub(super) fn no_remains(_: &Path) -> bool {
    false
}

/// For servers that leave nothing behind.
pub(super) fn nothing_to_clean_up(_: &Entry) -> Result<(), String> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_server_has_a_name_of_its_own_and_a_port() {
        let mut names = SERVERS.map(|server| server.name);
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]));
        assert!(SERVERS.iter().all(|server| server.ports > 0));
    }
}
