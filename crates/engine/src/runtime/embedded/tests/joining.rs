//! Joining a group whose last member has just gone, on a disk that takes its time.

use super::slow::{Gate, Slow};
use super::*;

#[tokio::test]
async fn a_member_that_joins_waits_for_the_last_commit_of_those_that_are_gone() {
    let gate = Arc::new(Gate::default());
    gate.let_through(usize::MAX);
    let disk = Slow {
        disk: log::storage::Memory::new(),
        gate: gate.clone(),
    };
    let settings = Settings::default();
    let engine = Embedded::open(Arc::new(disk), settings).await.unwrap();
    publish(&engine, &["a:1", "b:2"]).await;
    let first = join(&engine).await;
    let taken = take_all(&*first, 2).await;

    // The second member's record is on its way before the commit, and durable before it.
    gate.let_through(0);
    let joining = engine.join(subscription("g"));
    tokio::pin!(joining);
    let moment = Duration::from_millis(30);
    assert!(
        tokio::time::timeout(moment, &mut joining).await.is_err(),
        "joined without a record"
    );
    let last = tokio::time::timeout(moment, first.commit(settle(&taken))).await;
    assert!(last.is_err(), "the commit was durable at once");
    drop(first);
    gate.let_through(1);
    let early = tokio::time::timeout(moment, &mut joining).await;
    gate.let_through(usize::MAX);
    let second = match early {
        Ok(joined) => joined.unwrap(),
        Err(_) => joining.await.unwrap(),
    };
    let again = poll(&*second).await;
    assert!(again.is_empty(), "{:?} were settled before", ids(&again));
}
