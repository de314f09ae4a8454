//! Deciding in programs.

use std::time::Duration;

use ensue::engine::Query;
use ensue::error::AggregateError;
use ensue::prelude::*;
use ensue::testing::{TestApp, given};
use ensue::{Aggregates, CONFLICTS_MAX, DECISIONS_REMEMBERED, Error, Position, Receipt, Timestamp};
use tokio::task::JoinSet;

use super::account::{
    Account, Deposited, Interference, Interfering, Noted, TooLittle, events, fold,
};

const KEYS: u64 = 3;

async fn engine() -> Engine {
    Engine::open("memory:").await.unwrap()
}

/// What of the decisions of one program was accepted.
#[derive(Default)]
pub(crate) struct Accepted {
    /// Of each account, how many there were, and what they sum up to.
    accounts: [(u64, i64); KEYS as usize],
    last: Position,
}

impl Accepted {
    fn note(&mut self, key: u64, receipt: &Receipt, cents: i64) {
        assert_eq!(receipt.events, 1);
        let account = &mut self.accounts[key as usize];
        *account = (account.0 + 1, account.1 + cents);
        self.last = self.last.max(receipt.position.unwrap());
    }
}

/// Deposits and withdraws at random.
pub(crate) async fn act_at_random(
    accounts: Aggregates<Account>,
    seed: u64,
    decisions: usize,
) -> Accepted {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut accepted = Accepted::default();
    for _ in 0..decisions {
        let key = random.u64(..KEYS);
        let cents = random.u64(1..50);
        let name = format!("a-{key}");
        if random.bool() {
            let Ok(receipt) = accounts
                .decide(&name, |_| Deposited { cents })
                .await
                .unwrap();
            accepted.note(key, &receipt, cents as i64);
        } else if let Ok(receipt) = (accounts.decide(&name, |it| it.withdraw(cents)))
            .await
            .unwrap()
        {
            accepted.note(key, &receipt, -(cents as i64));
        }
    }
    accepted
}

/// That the log has what was accepted, no more and no less, decided one after the other.
pub(crate) async fn verify(engine: &Engine, accepted: &[Accepted]) {
    let last = accepted.iter().map(|it| it.last).max().unwrap();
    // Where several processes share a log, this one may not have read all of it yet.
    engine.wait(last.into()).await.unwrap();
    let fresh = engine.aggregates::<Account>("/fresh");
    for key in 0..KEYS as usize {
        let (count, sum) = accepted.iter().fold((0, 0), |(count, sum), of_one| {
            let (more, cents) = of_one.accounts[key];
            (count + more, sum + cents)
        });
        let key = format!("a-{key}");
        let (cents, version) = fold(engine, &key).await;
        assert_eq!((version, cents as i64), (count, sum), "{key}");
        let loaded = fresh.load(&key).await.unwrap();
        assert_eq!((loaded.version, loaded.state.cents), (version, cents));
        for (at, event) in events(engine, &key).await.iter().enumerate() {
            let said = event.envelope.extension("aggregateversion").unwrap();
            assert_eq!(said, (at + 1).to_string(), "versions have no gap");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_decision_of_many_programs_is_lost_or_made_on_an_old_state() {
    for round in 0..4 {
        let engine = engine().await;
        let mut deciders = JoinSet::new();
        for program in 0..6 {
            // Each with what it remembers itself: as many processes would have it.
            let accounts = engine.aggregates::<Account>("/bank").remember(program % 3);
            deciders.spawn(act_at_random(accounts, round * 100 + program as u64, 60));
        }
        let accepted = deciders.join_all().await;
        verify(&engine, &accepted).await;
    }
}

#[tokio::test]
async fn a_decision_is_made_again_on_what_others_have_changed() {
    let engine = engine().await;
    let slow = Interfering::around(&engine, Interference::Deposits(5));
    let accounts = slow.aggregates::<Account>("/bank");
    let mut seen = Vec::new();
    let receipt = accounts
        .decide("a", |account| {
            seen.push(account.cents);
            Deposited { cents: 10 }
        })
        .await
        .unwrap()
        .unwrap();
    assert_eq!((seen, receipt.version), (vec![0, 1, 2, 3, 4, 5], 6));
    assert_eq!(fold(&engine, "a").await, (15, 6));
}

#[tokio::test]
async fn a_decision_that_others_always_overtake_ends_with_an_error_and_leaves_nothing() {
    let engine = engine().await;
    let slow = Interfering::around(&engine, Interference::Deposits(u32::MAX));
    let accounts = slow.aggregates::<Account>("/bank");
    let outcome = accounts.decide("a", |_| Deposited { cents: 1_000 }).await;
    let error = outcome.unwrap_err();
    let contended = matches!(
        &error,
        Error::Aggregate(AggregateError::Contended { attempts, .. }) if *attempts == CONFLICTS_MAX
    );
    assert!(contended, "{error}");
    let conflicts = u64::from(CONFLICTS_MAX);
    assert_eq!(fold(&engine, "a").await, (conflicts, conflicts));
}

#[tokio::test]
async fn a_refusal_is_never_due_to_what_was_true_before() {
    let engine = engine().await;
    let [one, two] = [(), ()].map(|()| engine.aggregates::<Account>("/bank"));
    let Err(refused) = one.decide("a", |it| it.withdraw(5)).await.unwrap() else {
        panic!("there is nothing to withdraw");
    };
    assert_eq!(refused, TooLittle { left: 0 });
    one.decide("a", |_| Deposited { cents: 1 })
        .await
        .unwrap()
        .unwrap();
    two.decide("a", |_| Deposited { cents: 9 })
        .await
        .unwrap()
        .unwrap();
    // `one` remembers a balance of 1.
    let withdrawn = one.decide("a", |it| it.withdraw(10)).await.unwrap();
    assert_eq!(withdrawn.unwrap().version, 3);
    // Nothing to append says nothing about an old state either.
    two.decide("a", |_| Deposited { cents: 7 })
        .await
        .unwrap()
        .unwrap();
    let nothing = one.decide("a", |_| ()).await.unwrap().unwrap();
    assert_eq!((nothing.version, nothing.events), (4, 0));
    assert_eq!(
        nothing.position,
        Some(events(&engine, "a").await[3].position)
    );
}

#[tokio::test]
async fn a_decision_with_an_id_is_made_once_also_when_its_answer_was_lost() {
    let engine = engine().await;
    let unreliable = Interfering::around(&engine, Interference::Silence(1));
    let one = unreliable.aggregates::<Account>("/bank");
    let two = engine.aggregates::<Account>("/bank");
    let both = |account: &Account| {
        let cents = account.cents + 5;
        (
            Deposited { cents },
            Noted {
                text: "twice".into(),
            },
        )
    };
    let lost = one.of("a").once("req-1").decide(both).await;
    assert!(lost.is_err(), "{lost:?}");
    for accounts in [&one, &two] {
        let receipt = accounts
            .of("a")
            .once("req-1")
            .decide(both)
            .await
            .unwrap()
            .unwrap();
        assert_eq!((receipt.version, receipt.events), (2, 2));
        assert!(receipt.is_repeated);
        let last = events(&engine, "a").await.last().unwrap().position;
        assert_eq!(receipt.position, Some(last));
    }
    let other = two
        .of("a")
        .once("req-2")
        .decide(both)
        .await
        .unwrap()
        .unwrap();
    assert_eq!((other.version, other.is_repeated), (4, false));
}

#[tokio::test]
async fn an_aggregate_remembers_so_many_decisions_with_ids_and_those_of_its_snapshot() {
    let engine = engine().await;
    let accounts = engine.aggregates::<Account>("/bank");
    let deposit = async |accounts: &Aggregates<Account>, id: usize| {
        let Ok(receipt) = (accounts.of("a").once(id.to_string()))
            .decide(|_| Deposited { cents: 1 })
            .await
            .unwrap();
        receipt.is_repeated
    };
    for id in 0..=DECISIONS_REMEMBERED {
        assert!(!deposit(&accounts, id).await);
    }
    let fresh = engine.aggregates::<Account>("/bank").remember(0);
    for id in [1, DECISIONS_REMEMBERED / 2, DECISIONS_REMEMBERED] {
        assert!(deposit(&accounts, id).await && deposit(&fresh, id).await);
    }
    assert!(!deposit(&fresh, 0).await, "there is a limit");
}

#[tokio::test]
async fn a_decision_at_a_version_is_made_at_no_other() {
    let engine = engine().await;
    let [one, two] = [(), ()].map(|()| engine.aggregates::<Account>("/bank"));
    let deposit = |_: &Account| Deposited { cents: 1 };
    one.of("a")
        .at_version(0)
        .decide(deposit)
        .await
        .unwrap()
        .unwrap();
    two.decide("a", deposit).await.unwrap().unwrap();
    let error = one.of("a").at_version(1).decide(deposit).await.unwrap_err();
    let other = matches!(
        &error,
        Error::Aggregate(AggregateError::OtherVersion {
            expected: 1,
            found: 2,
            ..
        })
    );
    assert!(other, "{error}");
    one.of("a")
        .at_version(2)
        .decide(deposit)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(fold(&engine, "a").await, (3, 3));
}

#[tokio::test]
async fn what_does_not_belong_to_the_aggregate_is_refused_before_anything_is_appended() {
    let engine = engine().await;
    let accounts = engine.aggregates::<Account>("/bank");
    let deposit = || Outgoing::new(Deposited { cents: 1 });
    for (event, problem) in [
        (deposit().key("b"), "its key is `b`"),
        (deposit().topic("elsewhere"), "its topic is `elsewhere`"),
        (
            Outgoing::raw(Envelope::builder("accounts", "account.closed")),
            "does not apply",
        ),
    ] {
        let both = || [deposit(), event.clone()];
        let error = accounts.decide("a", |_| both()).await.unwrap_err();
        assert!(error.to_string().contains(problem), "{error}");
    }
    assert!(events(&engine, "a").await.is_empty());
    let Ok(_) = accounts.decide("a", |_| deposit().key("a")).await.unwrap();
    assert_eq!(fold(&engine, "a").await, (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_for_later_comes_when_it_is_due_and_decisions_see_it() {
    let app = TestApp::start(|app| app.on("any", async |_: Noted| {}))
        .await
        .unwrap();
    let accounts = app.engine().aggregates::<Account>("/bank");
    let later = TestApp::START.plus(Duration::from_secs(60));
    let interest = |_: &Account| {
        let interest = Outgoing::new(Deposited { cents: 5 }).at(later);
        (Deposited { cents: 100 }, interest)
    };
    let receipt = accounts.decide("a", interest).await.unwrap().unwrap();
    assert_eq!((receipt.version, receipt.events), (1, 1));
    let now: Timestamp = app.engine().clock().now();
    assert!(now < later);
    let all = |it: &Account| it.withdraw(105);
    accounts.decide("a", all).await.unwrap().unwrap_err();
    app.advance_to(later).await.unwrap();
    let withdrawn = accounts.decide("a", all).await.unwrap().unwrap();
    assert_eq!(withdrawn.version, 3);
    given::<Account>(Deposited { cents: 100 })
        .when(interest)
        .then(interest(&Account::default()));
}

#[tokio::test]
async fn a_decision_follows_from_the_event_at_hand() {
    let engine = engine().await;
    let accounts = engine.aggregates::<Account>("/bank");
    let app = App::new(engine.clone()).on_with("interest", Default::default(), {
        move |_: Noted, context: Context| {
            let accounts = accounts.following(&context);
            async move {
                let deposit = accounts.of("a").once(context.id());
                let Ok(_) = deposit.decide(|_| Deposited { cents: 3 }).await?;
                Ok::<_, Error>(())
            }
        }
    });
    let mut running = app.start().await.unwrap();
    let noted = Outgoing::new(Noted { text: "pay".into() }).key("b");
    let cause = engine.publish(noted).await.unwrap();
    running.settled().await.unwrap();
    running.stop().await.unwrap();
    let deposited = &events(&engine, "a").await[0].envelope;
    let mut read = engine.read(Query {
        from: cause.position.into(),
        ..Query::default()
    });
    let noted = read.next().await.unwrap().unwrap().envelope;
    assert_eq!(deposited.causation(), Some(noted.id()));
    assert_eq!(deposited.correlation(), noted.correlation());
    assert_eq!(deposited.source(), "/services/interest");
}

#[tokio::test]
async fn an_event_with_an_id_of_its_own_is_refused_before_it_leaves_a_gap() {
    let engine = engine().await;
    let accounts = engine.aggregates::<Account>("/bank");
    let deposit = |cents, id: &str| Outgoing::new(Deposited { cents }).id(id.to_owned());
    let decide = |ids: [&'static str; 2]| {
        accounts.decide("a", move |_| {
            let [first, second] = ids.map(|id| deposit(1, id));
            [Deposited { cents: 1 }.into(), first, second]
        })
    };
    let Ok(_) = accounts
        .decide("a", |_| Deposited { cents: 5 })
        .await
        .unwrap();
    for _ in 0..2 {
        let refused = decide(["x-1", "x-2"]).await.unwrap_err();
        assert!(
            matches!(&refused, Error::Aggregate(AggregateError::Foreign { problem, .. }) if problem.contains("`once`")),
            "{refused}"
        );
    }
    // What the log has and what is remembered are the same, and whole.
    let Ok(receipt) = accounts
        .decide("a", |_| Deposited { cents: 5 })
        .await
        .unwrap();
    assert_eq!((receipt.version, fold(&engine, "a").await), (2, (10, 2)));
    let fresh = engine.aggregates::<Account>("/fresh");
    assert_eq!(fresh.load("a").await.unwrap().version, 2);
}
