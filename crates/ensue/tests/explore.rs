//! Everything that can go wrong, at every step: what an honest app survives, and that what is not
//! honest is found out.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ensue::error::TestError;
use ensue::prelude::*;
use ensue::testing::{Fault, Scenario, TestApp, TestResult, explore};

#[derive(Event, Serialize, Deserialize, Debug)]
#[event(type = "order.created", topic = "orders", key = order_id)]
struct OrderCreated {
    order_id: String,
}

#[derive(Event, Serialize, Deserialize, Debug)]
#[event(type = "order.paid", topic = "orders", key = order_id)]
struct OrderPaid {
    order_id: String,
    payments: u32,
}

#[derive(Event, Serialize, Deserialize, Debug, PartialEq)]
#[event(type = "receipt.sent", topic = "receipts", key = order_id)]
struct ReceiptSent {
    order_id: String,
}

struct Payments;

#[service]
impl Payments {
    /// Fails at first, keeps state, and publishes: all three have to survive together.
    #[on(attempts = 5, backoff = "10ms..20ms")]
    async fn charge(&self, order: OrderCreated, context: &Context) -> Result<Effects, Failure> {
        if order.order_id == "o-2" && context.attempt() < 3 {
            return Err(Failure::retry("the gateway is down"));
        }
        let payments = context.named_state::<u32>("payments").await?.unwrap_or(0) + 1;
        let paid = OrderPaid {
            order_id: order.order_id,
            payments,
        };
        Ok(Effects::none()
            .set_named_state("payments", payments)
            .publish(paid))
    }
}

struct Receipts;

#[service]
impl Receipts {
    #[on]
    async fn send(&self, paid: OrderPaid) -> ReceiptSent {
        ReceiptSent {
            order_id: paid.order_id,
        }
    }
}

async fn place_orders(app: &TestApp) -> TestResult {
    for (order, event) in [("o-1", "a"), ("o-2", "b"), ("o-1", "c"), ("o-3", "d")] {
        let created = OrderCreated {
            order_id: order.into(),
        };
        app.publish(Outgoing::new(created).id(event)).await?;
    }
    Ok(())
}

fn count<'a>(ids: impl Iterator<Item = &'a str>) -> BTreeMap<String, u32> {
    let mut counts = BTreeMap::new();
    ids.for_each(|id| *counts.entry(id.to_owned()).or_default() += 1);
    counts
}

async fn each_once(app: &TestApp) -> TestResult {
    let paid = app.events::<OrderPaid>().await?;
    let receipts = app.events::<ReceiptSent>().await?;
    let expected = BTreeMap::from([("o-1".into(), 2), ("o-2".into(), 1), ("o-3".into(), 1)]);
    let paid_counts = count(paid.iter().map(|paid| paid.order_id.as_str()));
    let receipt_counts = count(receipts.iter().map(|receipt| receipt.order_id.as_str()));
    let o1: Vec<_> = paid
        .iter()
        .filter(|paid| paid.order_id == "o-1")
        .map(|paid| paid.payments)
        .collect();
    if paid_counts == expected && receipt_counts == expected && o1 == [1, 2] {
        return Ok(());
    }
    let found = format!("paid {paid_counts:?} {o1:?}, receipts {receipt_counts:?}");
    Err(TestError::Expectation(found).into())
}

#[tokio::test(flavor = "multi_thread")]
async fn returned_effects_survive_every_fault_at_every_step() {
    let explored = explore(
        |app| app.service(Payments).service(Receipts),
        place_orders,
        each_once,
    )
    .await
    .unwrap();
    assert!(explored.steps >= 6, "{explored:?}");
    assert!(explored.runs > 2 * explored.steps, "{explored:?}");
}

/// What an exploration says whose `check` fails.
async fn explored(check: impl AsyncFn(&TestApp) -> TestResult) -> String {
    let explored = explore(|app| app.service(Payments), place_orders, check).await;
    let error = explored.unwrap_err();
    let why = std::error::Error::source(&error).map(ToString::to_string);
    format!("{error}: {}", why.unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_assertion_that_fails_is_told_with_the_fault_that_led_to_it() {
    let said = explored(async |app: &TestApp| {
        let duplicated =
            app.chaos().steps() > 0 && format!("{:?}", app.chaos()).contains("Duplicates");
        assert!(!duplicated, "the order was paid twice");
        Ok(())
    });
    let said = said.await;
    assert!(
        said.contains("with Duplicates") && said.contains("the order was paid twice"),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exploration_takes_any_error() {
    let said = explored(async |_: &TestApp| Err(anyhow::anyhow!("no database"))?);
    assert!(said.await.contains("no database"));
    let said = explored(async |_: &TestApp| Err("no table")?);
    assert!(said.await.contains("no table"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_that_the_cascade_did_not_reach_does_not_strike_the_check() {
    // A run that takes fewer steps than the one that was counted.
    let runs = AtomicU64::new(0);
    let act = async |app: &TestApp| {
        let orders = match runs.fetch_add(1, Ordering::Relaxed) {
            0 => 3,
            _ => 1,
        };
        for order in 0..orders {
            let order_id = order.to_string();
            let created = Outgoing::new(OrderCreated { order_id });
            app.publish(created.id(order.to_string())).await?;
            app.settle().await?;
        }
        Ok(())
    };
    let check = async |app: &TestApp| {
        let order_id = "another".to_owned();
        app.publish(OrderCreated { order_id }).await?;
        Ok(app.settle().await?)
    };
    explore(|app| app.service(Payments), act, check)
        .await
        .unwrap();
}

/// Publishes beside its effects, with a new id each time: an attempt that is repeated does it again.
struct Careless;

#[service(name = "receipts")]
impl Careless {
    #[on]
    async fn send(&self, paid: OrderPaid, context: &Context) -> Result<(), Failure> {
        let receipt = ReceiptSent {
            order_id: paid.order_id,
        };
        let id = uuid_like();
        context
            .publisher()
            .publish(Outgoing::new(receipt).id(id))
            .await?;
        Ok(())
    }
}

fn uuid_like() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("careless-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_that_publishes_outside_of_its_commit_is_found_out() {
    let found = explore(
        |app| app.service(Payments).service(Careless),
        place_orders,
        each_once,
    )
    .await
    .unwrap_err()
    .to_string();
    assert!(
        found.contains("Crash") || found.contains("Reorder"),
        "{found}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_is_appended_once_and_only_when_it_is_due() {
    let mut app = TestApp::start(|app| app.service(Receipts)).await.unwrap();
    let paid = OrderPaid {
        order_id: "o-1".into(),
        payments: 1,
    };
    let later = Outgoing::new(paid)
        .id("later")
        .after(Duration::from_secs(3600));
    app.publish(later).await.unwrap();
    app.settle().await.unwrap();
    assert!(app.events::<OrderPaid>().await.unwrap().is_empty());
    app.crash().await.unwrap();
    app.advance(Duration::from_secs(3599)).await.unwrap();
    assert!(app.events::<ReceiptSent>().await.unwrap().is_empty());
    app.advance(Duration::from_secs(2)).await.unwrap();
    app.crash().await.unwrap();
    app.advance(Duration::from_secs(3600)).await.unwrap();
    assert_eq!(app.events::<ReceiptSent>().await.unwrap().len(), 1);
}

/// Sends a receipt an hour after the payment.
struct Slow;

#[service(name = "receipts")]
impl Slow {
    #[on(timeout = "2h")]
    async fn send(&self, paid: OrderPaid, context: &Context) -> ReceiptSent {
        context.clock().sleep(Duration::from_secs(3600)).await;
        ReceiptSent {
            order_id: paid.order_id,
        }
    }
}

async fn pay_and_wait(app: &TestApp) -> TestResult {
    for order in ["o-1", "o-2", "o-1"] {
        let paid = OrderPaid {
            order_id: order.into(),
            payments: 1,
        };
        let paid = Outgoing::new(paid).after(Duration::from_secs(60));
        app.publish(paid).await?;
    }
    Ok(app.advance(Duration::from_secs(7 * 3600)).await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_moves_stops_at_everything_that_is_due() {
    let app = TestApp::start(|app| app.service(Slow)).await.unwrap();
    let begun = app.clock().now();
    pay_and_wait(&app).await.unwrap();
    let sent = app.envelopes().await.unwrap();
    let sent = sent
        .iter()
        .filter(|it| it.event_type() == ReceiptSent::TYPE);
    let mut after: Vec<u64> = sent.map(|it| it.time().since(begun).as_secs()).collect();
    after.sort_unstable();
    // Those of one order wait for each other.
    assert_eq!(after, [3_660, 3_660, 7_260]);
}

#[tokio::test(flavor = "multi_thread")]
async fn time_that_is_moved_to_passes_once_however_often_act_runs() {
    let end = TestApp::START.plus(Duration::from_secs(2 * 3600));
    let act = async |app: &TestApp| {
        let paid = OrderPaid {
            order_id: "o-1".into(),
            payments: 1,
        };
        let paid = Outgoing::new(paid)
            .id("paid")
            .after(Duration::from_secs(60));
        app.publish(paid).await?;
        Ok(app.advance_to(end).await?)
    };
    let check = async |app: &TestApp| {
        assert_eq!(app.clock().now(), end);
        assert_eq!(app.events::<ReceiptSent>().await?.len(), 1);
        Ok(())
    };
    let send = |paid: OrderPaid| async move {
        ReceiptSent {
            order_id: paid.order_id,
        }
    };
    let explored = explore(move |app| app.on("receipts", send), act, check).await;
    explored.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_that_dies_while_the_clock_moves_says_so() {
    // The steps before are the three appends.
    let app = TestApp::start_with(Fault::CrashBefore(4), |app| app.service(Slow))
        .await
        .unwrap();
    let error = pay_and_wait(&app).await.unwrap_err().to_string();
    assert!(error.contains("the process died"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_that_fails_says_why() {
    let app = TestApp::start(|app| app.service(Slow)).await.unwrap();
    app.engine().close().await.unwrap();
    for error in [
        app.advance(Duration::from_secs(60)).await.unwrap_err(),
        app.settle().await.unwrap_err(),
    ] {
        let error = error.to_string();
        assert!(error.contains("closed"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cascade_that_waits_for_the_clock_does_not_settle_and_says_what_to_do() {
    let app = TestApp::start(|app| app.service(Slow)).await.unwrap();
    let paid = OrderPaid {
        order_id: "o-1".into(),
        payments: 1,
    };
    app.publish(paid).await.unwrap();
    let error = app.settle().await.unwrap_err().to_string();
    assert!(
        error.contains("1 in flight") && error.contains("TestApp::advance"),
        "{error}"
    );
}

async fn has_receipts(app: &TestApp) -> TestResult {
    match app.events::<ReceiptSent>().await?.is_empty() {
        false => Ok(()),
        true => Err(TestError::Expectation("no receipt was sent".into()).into()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_is_explored_while_the_clock_moves() {
    let explored = explore(|app| app.service(Slow), pay_and_wait, has_receipts)
        .await
        .unwrap();
    assert!(explored.steps >= 5, "{explored:?}");
}

/// Reminds after an hour.
struct Reminder;

#[service]
impl Reminder {
    #[on]
    async fn remind(&self, paid: OrderPaid) -> Outgoing {
        let later = ReceiptSent {
            order_id: paid.order_id,
        };
        Outgoing::new(later).after(Duration::from_secs(3_600))
    }
}

#[tokio::test]
async fn an_event_for_later_does_not_follow_now() {
    let mut reminder = Scenario::of(Reminder).await.unwrap();
    let paid = OrderPaid {
        order_id: "o-1".into(),
        payments: 1,
    };
    let receipt = || ReceiptSent {
        order_id: "o-1".into(),
    };
    let outcome = reminder.when(paid).await.unwrap();
    outcome
        .then::<ReceiptSent>([])
        .then_later([(Duration::from_secs(3_600), receipt())]);
    let now = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        outcome.then([receipt()]);
    }));
    now.unwrap_err();
}
