//! How much one client, and all of them, may ask for.

use std::time::Duration;

use ensue::engine::APPEND_EVENTS_MAX;
use serde::{Deserialize, Serialize};

use super::error::ConfigError;
use crate::duration;
use crate::range::{within, within_times};

/// How much one client, and all of them, may ask for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Limits {
    /// The most connections at a time.
    pub connections_max: u32,
    /// The largest head of a request (its line and its headers), in bytes.
    pub headers_bytes_max: usize,
    /// The largest body of a request, in bytes.
    pub body_bytes_max: usize,
    /// The most bytes that the bodies of all requests under way may have together.
    pub bodies_bytes_max: usize,
    /// The most events in one batch.
    pub batch_events_max: usize,
    /// The most bytes of events that one answer has, and at most one event more.
    pub answer_bytes_max: usize,
    /// The most bytes that events on their way to clients may have together.
    pub answers_bytes_max: usize,
    /// The most places of the log that a read goes through for one answer.
    pub scan_events_max: u64,
    /// How long a read goes through the log for one answer.
    #[serde(with = "duration")]
    pub scan_timeout: Duration,
    /// The most streams of events at a time.
    pub streams_max: usize,
    /// The most streams of one caller; that of the owner of this machine, who has no name, does not count.
    pub caller_streams_max: usize,
    /// The most requests that wait for a group at a time; a quarter of them may be of one caller, if it has a name.
    pub waits_max: usize,
    /// The most requests of one caller in a second, and as many at once.
    pub caller_requests_per_second: u32,
    /// The most connections of one address of the network; those of this machine do not count.
    pub address_connections_max: usize,
    /// How many connections one address of the network may open in a second, and as many at once.
    pub address_connections_per_second: u32,
    /// The most members of groups that clients are.
    pub members_max: usize,
    /// The most of them in one group.
    pub group_members_max: usize,
    /// The most deliveries that one of them holds.
    pub deliveries_max: usize,
    /// The most bytes of events that all of them hold; those of one take more are possible.
    pub deliveries_bytes_max: usize,
    /// The longest lease of a member.
    #[serde(with = "duration")]
    pub lease_max: Duration,
    /// How long a client may wait for deliveries, or for the reply to a request.
    #[serde(with = "duration")]
    pub wait_max: Duration,
    /// How long a stream may have nothing to say, before it says that it is there.
    #[serde(with = "duration")]
    pub heartbeat: Duration,
    /// How long a client may take to set up TLS.
    #[serde(with = "duration")]
    pub handshake_timeout: Duration,
    /// How long a client may take to send the head of a request, and how long a connection may be
    /// idle.
    #[serde(with = "duration")]
    pub headers_timeout: Duration,
    /// How long a client may take to send a body.
    #[serde(with = "duration")]
    pub body_timeout: Duration,
    /// How long an answer may take after the body was read.
    #[serde(with = "duration")]
    pub request_timeout: Duration,
    /// How long a client may take no byte of its answer.
    #[serde(with = "duration")]
    pub stalled_timeout: Duration,
    /// How long a server that is asked to stop goes on serving while it says that it is not ready: the
    /// time in which load balancers notice.
    #[serde(with = "duration")]
    pub drain_delay: Duration,
    /// How long requests under way may go on after that.
    #[serde(with = "duration")]
    pub drain_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 4096,
            headers_bytes_max: 64 * 1024,
            body_bytes_max: 16 * 1024 * 1024,
            bodies_bytes_max: 256 * 1024 * 1024,
            batch_events_max: 10_000,
            answer_bytes_max: 8 * 1024 * 1024,
            answers_bytes_max: 256 * 1024 * 1024,
            scan_events_max: 10_000_000,
            scan_timeout: Duration::from_secs(5),
            streams_max: 1024,
            caller_streams_max: 256,
            waits_max: 1024,
            caller_requests_per_second: 10_000,
            address_connections_max: 1024,
            address_connections_per_second: 200,
            members_max: 1024,
            group_members_max: 256,
            deliveries_max: 10_000,
            deliveries_bytes_max: 256 * 1024 * 1024,
            lease_max: Duration::from_secs(3600),
            wait_max: Duration::from_secs(60),
            heartbeat: Duration::from_secs(15),
            handshake_timeout: Duration::from_secs(10),
            headers_timeout: Duration::from_secs(15),
            body_timeout: Duration::from_secs(30),
            request_timeout: Duration::from_secs(30),
            stalled_timeout: Duration::from_secs(30),
            drain_delay: Duration::ZERO,
            drain_timeout: Duration::from_secs(20),
        }
    }
}

impl Limits {
    /// Checks that every limit is within its range.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        const GIB: usize = 1024 * 1024 * 1024;
        let (bodies, answers) = (self.bodies_bytes_max, self.answers_bytes_max);
        within("limits.connections_max", self.connections_max, 1, 100_000)?;
        within(
            "limits.headers_bytes_max",
            self.headers_bytes_max,
            8192,
            1024 * 1024,
        )?;
        within("limits.bodies_bytes_max", bodies, 1024, 64 * GIB)?;
        within("limits.answers_bytes_max", answers, 1024, 64 * GIB)?;
        within(
            "limits.body_bytes_max",
            self.body_bytes_max,
            1024,
            bodies.min(GIB),
        )?;
        within(
            "limits.batch_events_max",
            self.batch_events_max,
            1,
            APPEND_EVENTS_MAX,
        )?;
        within(
            "limits.answer_bytes_max",
            self.answer_bytes_max,
            1024,
            answers.min(GIB),
        )?;
        within(
            "limits.scan_events_max",
            self.scan_events_max,
            1000,
            u64::MAX,
        )?;
        within("limits.streams_max", self.streams_max, 1, 100_000)?;
        let (streams, requests) = (self.caller_streams_max, self.caller_requests_per_second);
        within("limits.caller_streams_max", streams, 1, 100_000)?;
        within("limits.waits_max", self.waits_max, 1, 100_000)?;
        within("limits.caller_requests_per_second", requests, 1, 10_000_000)?;
        let (connections, opened) = (
            self.address_connections_max,
            self.address_connections_per_second,
        );
        within("limits.address_connections_max", connections, 1, 100_000)?;
        within(
            "limits.address_connections_per_second",
            opened,
            1,
            1_000_000,
        )?;
        within("limits.members_max", self.members_max, 1, 100_000)?;
        let members = self.group_members_max;
        within("limits.group_members_max", members, 1, 100_000)?;
        within("limits.deliveries_max", self.deliveries_max, 1, 100_000)?;
        let bytes = self.deliveries_bytes_max;
        within("limits.deliveries_bytes_max", bytes, 1024, 64 * GIB)?;
        let second = Duration::from_secs(1);
        let hour = Duration::from_secs(3600);
        for (name, value) in [
            ("limits.handshake_timeout", self.handshake_timeout),
            ("limits.headers_timeout", self.headers_timeout),
            ("limits.body_timeout", self.body_timeout),
            ("limits.request_timeout", self.request_timeout),
            ("limits.stalled_timeout", self.stalled_timeout),
            ("limits.scan_timeout", self.scan_timeout),
            ("limits.heartbeat", self.heartbeat),
            ("limits.lease_max", self.lease_max),
            ("limits.wait_max", self.wait_max),
        ] {
            within_times(name, value, second, hour)?;
        }
        let zero = Duration::ZERO;
        within_times("limits.drain_delay", self.drain_delay, zero, hour)?;
        within_times("limits.drain_timeout", self.drain_timeout, zero, hour)?;
        Ok(())
    }
}
