//! The servers that there are.

use crate::server::Server;
use crate::{
    etcd, kafka, mariadb, memcached, nacos, nats, postgres, rabbitmq, redis, restate, umadb,
    zookeeper,
};

/// The slowest to start come first.
pub(crate) const SERVERS: [Server; 13] = [
    kafka::SERVER,
    rabbitmq::SERVER,
    zookeeper::SERVER,
    postgres::SERVER,
    mariadb::SERVER,
    nats::SERVER,
    nats::OLDEST,
    etcd::SERVER,
    redis::SERVER,
    memcached::SERVER,
    restate::SERVER,
    umadb::SERVER,
    nacos::SERVER,
];

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
