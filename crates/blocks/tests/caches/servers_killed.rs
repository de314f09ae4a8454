//! A store that is killed.

use ensue_blocks::cache::{Cache, CacheError};
use ensue_core::time::{Clock, Timestamp, VirtualClock};
use servers::Running;

use super::{Kept, at, loaded, value};

pub(crate) async fn values_are_loaded_while_the_store_is_away(kept: &Kept, server: &Running) {
    let hands = VirtualClock::new(Timestamp::EPOCH);
    let cache = Cache::builder(kept.shared())
        .clock(Clock::from(hands.clone()))
        .build(async |_| loaded(1, "loaded"));
    assert_eq!(value(&cache, "k").await.as_deref(), Some("loaded"));
    assert_eq!(value(&cache, "k").await.as_deref(), Some("loaded"));
    assert_eq!(cache.counts().loads, 1);

    server.kill();
    for _ in 0..5 {
        assert_eq!(value(&cache, "k").await.as_deref(), Some("loaded"));
    }
    let counts = cache.counts();
    assert!(counts.is_store_away && counts.store_failures > 0);
    assert!(counts.bypassed > 0, "it is not asked each time");
    assert_eq!(counts.loads, 6);
    // What it does not hear of now, it would not know later.
    let told = cache.invalidate("k", at(2)).await;
    assert!(matches!(told, Err(CacheError::Store(_))), "{told:?}");

    server.start();
    while cache.invalidate("k", at(2)).await.is_err() {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    hands.advance(std::time::Duration::from_secs(2));
    assert!(!cache.counts().is_store_away);
    assert!(
        cache
            .put("k", at(3), Some("told".to_owned()))
            .await
            .unwrap()
    );
    assert_eq!(value(&cache, "k").await.as_deref(), Some("told"));
}

/// What was connected before has ended, and says nothing of the server.
pub(crate) async fn a_server_that_is_back_is_told_at_once(kept: &Kept, server: &Running) {
    let cache = Cache::builder(kept.shared()).build(async |_| loaded(1, "loaded"));
    let ask = || {
        let cache = cache.clone();
        tokio::spawn(async move { value(&cache, "k").await })
    };
    // Several connections, of which none is used meanwhile.
    for asked in [(); 4].map(|()| ask()) {
        asked.await.unwrap();
    }
    server.kill();
    server.start();
    cache.invalidate("k", at(2)).await.unwrap();
    assert!(!cache.counts().is_store_away);
    assert_eq!(cache.counts().store_failures, 0);
}
