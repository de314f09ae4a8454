//! The same on real servers: programs in processes of their own, as far as the engine can tell.
//! `ENSUE_SERVICES` names the servers, as `cargo xtask services status --json` prints them.

/// Deciders in three engines on one namespace of a server.
#[cfg(feature = "distributed")]
async fn no_decision_is_lost(name: &str) {
    use ensue::Engine;
    use tokio::task::JoinSet;

    use super::account::Account;
    use super::deciding::{act_at_random, verify};

    let Some(service) = servers::Running::find(name) else {
        return;
    };
    let copies = tempfile::tempdir().unwrap();
    let url = service.namespace(&format!("aggregates_{:016x}", fastrand::u64(..)));
    let mut engines = Vec::new();
    for number in 0..3 {
        let copy = copies.path().join(number.to_string());
        let url = format!("{url}&connect_timeout=10m&replica={}", copy.display());
        engines.push(Engine::open(&url).await.unwrap());
    }
    let mut deciders = JoinSet::new();
    for (program, engine) in engines.iter().cycle().take(6).enumerate() {
        let accounts = engine.aggregates::<Account>("/bank").remember(program);
        deciders.spawn(act_at_random(accounts, program as u64, 25));
    }
    let accepted = deciders.join_all().await;
    for engine in &engines {
        verify(engine, &accepted).await;
    }
    for engine in engines {
        engine.close().await.unwrap();
    }
}

macro_rules! on {
    ($($feature:literal $module:ident)+) => {$(
        #[cfg(feature = $feature)]
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $module() {
            no_decision_is_lost(stringify!($module)).await;
        }
    )+};
}

on! { "kafka" kafka "nats" nats "postgres" postgres "rabbitmq" rabbitmq "redis" redis }
