//! The same while the engine's server is killed and comes back.

#[cfg(feature = "distributed")]
async fn a_killed_server_is_waited_for(name: &str) {
    use std::time::Duration;

    use ensue::prelude::*;

    use super::balances::{model, publish, verify};

    let Some(server) = servers::Running::find(name) else {
        return;
    };
    let copies = tempfile::tempdir().unwrap();
    let url = server.namespace(&format!("views_{:016x}", fastrand::u64(..)));
    let open = async |copy: &str| {
        let copy = copies.path().join(copy);
        let url = format!("{url}&connect_timeout=10m&replica={}", copy.display());
        Engine::open(&url).await.unwrap()
    };
    let (writer, reader) = (open("writer").await, open("reader").await);
    let running = model().snapshots(200).start(&reader).await.unwrap();
    for _ in 0..2 {
        let killed = server.clone();
        let restart = tokio::task::spawn_blocking(move || {
            std::thread::sleep(Duration::from_millis(fastrand::u64(..50)));
            killed.kill();
            killed.start();
        });
        // A batch whose answer was lost is appended or not: what counts is what the log has.
        while !restart.is_finished() {
            let event = super::balances::Moved {
                account: format!("a-{}", fastrand::u8(..9)),
                cents: 1,
            };
            let _ = tokio::time::timeout(Duration::from_secs(1), writer.publish(event)).await;
        }
        restart.await.unwrap();
    }
    let last = publish(&writer, 50).await;
    verify(&writer, &running, last).await;
    let another = model().snapshots(200).start(&writer).await.unwrap();
    verify(&writer, &another, last).await;
    running.stop().await.unwrap();
    another.stop().await.unwrap();
    for engine in [writer, reader] {
        engine.close().await.unwrap();
    }
}

macro_rules! on {
    ($($feature:literal $module:ident)+) => {$(
        #[cfg(feature = $feature)]
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $module() {
            a_killed_server_is_waited_for(stringify!($module)).await;
        }
    )+};
}

on! { "nats" nats "postgres" postgres "redis" redis }
