//! A real PgBouncer between us and the server.

use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt as _;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use super::*;

const PROGRAMS: [&str; 2] = ["/usr/sbin/pgbouncer", "/usr/local/sbin/pgbouncer"];
const START: Duration = Duration::from_secs(60);

/// Ends with its value.
struct Pooler {
    process: Child,
    port: u16,
    _directory: tempfile::TempDir,
}

impl Drop for Pooler {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Pooler {
    /// In front of the server; `None` when PgBouncer is not installed, which is said.
    fn start(bed: &Bed, pool_mode: &str) -> Option<Self> {
        let mut programs = PROGRAMS.iter();
        let Some(program) = programs.find(|path| std::path::Path::new(path).exists()) else {
            assert!(std::env::var_os("CI").is_none(), "there is no PgBouncer");
            std::io::stderr()
                .write_all(b"SKIPPED: there is no PgBouncer\n")
                .unwrap();
            return None;
        };
        let (login, place) = bed.server().rsplit_once('@').unwrap();
        let (user, password) = login
            .strip_prefix("postgres://")
            .unwrap()
            .split_once(':')
            .unwrap();
        let (host, server) = place.split('/').next().unwrap().rsplit_once(':').unwrap();
        let began = Instant::now();
        loop {
            let directory = tempfile::tempdir().unwrap();
            // Another program may take it before PgBouncer does: then there is another one.
            let free = TcpListener::bind(("127.0.0.1", 0)).unwrap();
            let port = free.local_addr().unwrap().port();
            drop(free);
            let mut text = format!(
                "[databases]\n* = host={host} port={server} user={user} password={password}\n\
                 [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nauth_type = any\n\
                 unix_socket_dir =\npool_mode = {pool_mode}\n"
            );
            // It does not run as root.
            if std::fs::metadata("/proc/self").unwrap().uid() == 0 {
                text.push_str("user = nobody\n");
            }
            let file = directory.path().join("pgbouncer.ini");
            std::fs::write(&file, text).unwrap();
            let mut command = Command::new(program);
            let command = command.arg(&file).stdin(Stdio::null());
            let process = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
            let mut pooler = Self {
                process: process.unwrap(),
                port,
                _directory: directory,
            };
            while pooler.process.try_wait().unwrap().is_none() {
                if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                    return Some(pooler);
                }
                std::thread::sleep(Duration::from_millis(5));
            }
            assert!(began.elapsed() < START, "PgBouncer does not start");
        }
    }

    fn url(&self, bed: &Bed) -> String {
        let url = bed.url();
        let (login, place) = url.rsplit_once('@').unwrap();
        let (_, path) = place.split_once('/').unwrap();
        format!("{login}@127.0.0.1:{}/{path}", self.port)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pooler_that_shares_sessions_is_refused() {
    tests::shared(SERVICE, postgres::open, async |bed| {
        let Some(pooler) = Pooler::start(bed, "transaction") else {
            return;
        };
        let url = pooler.url(bed);
        // Each time: what the pooler has connected to the server is not new after the first.
        for _ in 0..5 {
            let error = refusal(&url).await;
            assert!(error.contains("pool_mode = session"), "{error}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pooler_that_keeps_sessions_apart_is_used() {
    tests::shared(SERVICE, postgres::open, async |bed| {
        let Some(pooler) = Pooler::start(bed, "session") else {
            return;
        };
        let log = bed.open_at(&pooler.url(bed)).await;
        log.append(body("by way of the pooler")).await.unwrap();
        assert_eq!(log.read(0, 1_000, PATIENCE).await.unwrap().len(), 1);
        log.close().await;
    })
    .await;
}
