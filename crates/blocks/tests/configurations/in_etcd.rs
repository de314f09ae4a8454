//! A key in etcd, which is killed and comes back.

use ensue_blocks::config::{Config, ConfigError, EtcdSource, Format};
use ensue_blocks::lock::{EtcdLocks, Locks};
use servers::Running;
use tokio::sync::RwLock;

use super::{PATIENCE, Shop, has_workers, shop, until};

/// Who kills the server has it alone.
static ACCESS: RwLock<()> = RwLock::const_new(());

/// A key that no other test has, and somebody who writes it.
struct Key {
    url: String,
    name: String,
}

impl Key {
    fn new(server: &Running) -> Self {
        Self {
            url: server.url.clone(),
            name: format!("test/{:016x}", fastrand::u64(..)),
        }
    }

    /// By the guard of a lock, which is the way to write from Ensue.
    async fn write(&self, text: &str) {
        let keeper = EtcdLocks::new(&self.url).unwrap();
        let locks = Locks::new(keeper.clone());
        let lock = locks.acquire(&self.name, PATIENCE).await.unwrap();
        keeper
            .put(&lock, &self.name, text.as_bytes())
            .await
            .unwrap();
        lock.release().await.unwrap();
    }

    async fn load(&self, last_good: &std::path::Path) -> Result<Config<Shop>, ConfigError> {
        let source = EtcdSource::new(&self.url, &self.name, Format::Json)?;
        let builder = Config::builder().source(source).validate(has_workers);
        builder.last_good(last_good).load().await
    }
}

fn json(shop: &Shop) -> String {
    serde_json::to_string(shop).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_is_watched() {
    let Some(server) = Running::find("etcd") else {
        return;
    };
    let _shared = ACCESS.read().await;
    let directory = tempfile::tempdir().unwrap();
    let (key, last_good) = (Key::new(&server), directory.path().join("last-good.json"));
    let missing = key.load(&last_good).await;
    assert!(
        matches!(missing, Err(ConfigError::Away { .. })),
        "{missing:?}"
    );
    key.write(&json(&shop(1, "a"))).await;
    let config = key.load(&last_good).await.unwrap();
    let mut changes = config.subscribe();
    for workers in 2..6 {
        key.write(&json(&shop(workers, "a"))).await;
        changes.changed().await.unwrap();
        assert_eq!(changes.borrow_and_update().workers, workers);
    }
    key.write(&json(&shop(0, "a"))).await;
    let status = until(&config, |status| status.problem.is_some()).await;
    assert!(status.problem.unwrap().contains("there must be workers"));
    assert_eq!(config.get().workers, 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_good_one_counts_while_the_server_is_away() {
    let Some(server) = Running::find("etcd") else {
        return;
    };
    let _alone = ACCESS.write().await;
    let directory = tempfile::tempdir().unwrap();
    let (key, last_good) = (Key::new(&server), directory.path().join("last-good.json"));
    key.write(&json(&shop(1, "a"))).await;
    let running = key.load(&last_good).await.unwrap();

    server.kill();
    until(&running, |status| status.problem.is_some()).await;
    assert_eq!(*running.get(), shop(1, "a"));
    let started = key.load(&last_good).await.unwrap();
    assert!(started.status().is_last_good);
    assert_eq!(*started.get(), shop(1, "a"));

    server.start();
    key.write(&json(&shop(2, "b"))).await;
    for config in [running, started] {
        let status = until(&config, |status| status.changes == 1).await;
        assert_eq!((status.is_last_good, status.problem), (false, None));
        assert_eq!(*config.get(), shop(2, "b"));
    }
}
