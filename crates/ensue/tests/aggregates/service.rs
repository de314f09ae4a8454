//! Deciding in a service.

use std::time::Duration;

use ensue::engine::{ReplayEffects, ReplayState, Reset};
use ensue::error::AggregateError;
use ensue::prelude::*;
use ensue::testing::{Scenario, TestApp, explore};
use ensue::{Error, Start};

use super::account::{Account, Deposited, Noted, TooLittle, Withdrawn, events, fold};

const DEADLINE: Duration = Duration::from_secs(600);

#[derive(Event, Serialize, Deserialize, Clone, Debug)]
#[event(type = "account.deposit", topic = "account-commands", key = account)]
struct Deposit {
    account: String,
    cents: u64,
}

#[derive(Event, Serialize, Deserialize, Clone, Debug)]
#[event(type = "account.withdraw", topic = "account-commands", key = account)]
struct Withdraw {
    account: String,
    cents: u64,
}

#[derive(Event, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[event(type = "letter.requested", topic = "letters", key = account)]
struct LetterRequested {
    account: String,
}

struct Bank;

#[service]
impl Bank {
    #[on]
    async fn deposit(&self, command: Deposit, ctx: &Context) -> Result<Decided, Failure> {
        ctx.decide(|_: &Account| Deposited {
            cents: command.cents,
        })
        .await
    }

    #[on(publishes = [LetterRequested])]
    async fn withdraw(
        &self,
        command: Withdraw,
        ctx: &Context,
    ) -> Result<Decided<TooLittle>, Failure> {
        let decided = ctx
            .decide(|it: &Account| it.withdraw(command.cents))
            .await?;
        let account = command.account;
        let letter = decided.refusal().map(|_| LetterRequested { account });
        Ok(decided.and(letter))
    }
}

fn deposit(account: &str, cents: u64) -> Deposit {
    Deposit {
        account: account.into(),
        cents,
    }
}

fn withdraw(account: &str, cents: u64) -> Withdraw {
    Withdraw {
        account: account.into(),
        cents,
    }
}

async fn bank() -> TestApp {
    TestApp::start(|app| app.service(Bank)).await.unwrap()
}

#[tokio::test]
async fn a_scenario_sees_events_refusals_and_what_goes_with_them() {
    let mut bank = Scenario::of(Bank).await.unwrap();
    bank.given(deposit("a", 5)).await.unwrap();
    let outcome = bank.when(withdraw("a", 3)).await.unwrap();
    outcome
        .then([Withdrawn { cents: 3 }])
        .then::<LetterRequested>([]);
    let outcome = bank.when(withdraw("a", 3)).await.unwrap();
    outcome.then::<Withdrawn>([]).then([LetterRequested {
        account: "a".into(),
    }]);
    bank.when(withdraw("b", 1))
        .await
        .unwrap()
        .then([LetterRequested {
            account: "b".into(),
        }]);
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_are_answered_with_a_receipt_or_the_refusal() {
    let app = bank().await;
    let requester = app.engine().requester("/web");
    let none: Result<_, TooLittle> = requester.command(withdraw("a", 1), DEADLINE).await.unwrap();
    assert_eq!(none.unwrap_err(), TooLittle { left: 0 });
    for version in 1..=3 {
        let decided = requester
            .command::<TooLittle>(deposit("a", 10), DEADLINE)
            .await
            .unwrap();
        let receipt = decided.unwrap();
        assert_eq!((receipt.version, receipt.events), (version, 1));
        let last = events(&app.engine(), "a").await.last().unwrap().position;
        assert_eq!(receipt.position, Some(last));
    }
    // The same command, sent again: one decision, one answer.
    for _ in 0..2 {
        let command = Outgoing::new(withdraw("a", 20)).id("req-7");
        let decided = requester
            .command::<TooLittle>(command, DEADLINE)
            .await
            .unwrap();
        assert_eq!(decided.unwrap().version, 4);
    }
    assert_eq!(fold(&app.engine(), "a").await, (10, 4));
    let loaded = app
        .engine()
        .aggregates::<Account>("/web")
        .load("a")
        .await
        .unwrap();
    assert_eq!((loaded.state.cents, loaded.version), (10, 4));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_commands_of_one_key_are_decided_one_after_the_other() {
    let app = bank().await;
    for number in 0..200 {
        let command = Outgoing::new(deposit("a", 1)).id(format!("d{number}"));
        app.publish(command).await.unwrap();
        let command = Outgoing::new(withdraw("a", 1 + number % 3)).id(format!("w{number}"));
        app.publish(command).await.unwrap();
    }
    app.settle().await.unwrap();
    app.assert_no_dead_letters().await.unwrap();
    let (cents, version) = fold(&app.engine(), "a").await;
    let refused = app.events::<LetterRequested>().await.unwrap().len() as u64;
    assert_eq!(
        version + refused,
        400,
        "each was decided, one way or the other"
    );
    assert!(
        version > 200 && refused > 0 && cents < 3,
        "{cents} {version} {refused}"
    );
    for (at, event) in events(&app.engine(), "a").await.iter().enumerate() {
        let said = event.envelope.extension("aggregateversion").unwrap();
        assert_eq!(said, (at + 1).to_string());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_at_any_step_decides_nothing_twice_and_forgets_nothing() {
    let explored = explore(
        |app| app.service(Bank),
        async |app: &TestApp| {
            for number in 0..4 {
                let command = Outgoing::new(deposit("a", 2)).id(format!("d{number}"));
                app.publish(command).await?;
                let command = Outgoing::new(withdraw("a", 3)).id(format!("w{number}"));
                app.publish(command).await?;
            }
            Ok(())
        },
        async |app: &TestApp| {
            let (cents, version) = fold(&app.engine(), "a").await;
            let refused = app.events::<LetterRequested>().await?.len();
            // 2, -, 4-3=1, 3-3=0, 2, - whatever crashed.
            assert_eq!((cents, version, refused), (2, 6, 2));
            // What the service remembers is what the log says.
            let more = Outgoing::new(withdraw("a", 2)).id("more");
            app.publish(more).await?;
            app.settle().await?;
            assert_eq!(fold(&app.engine(), "a").await, (0, 7));
            app.assert_no_dead_letters().await?;
            Ok(())
        },
    )
    .await
    .unwrap();
    assert!(explored.runs > 10, "{explored:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_does_not_decide_what_a_service_decides() {
    let app = bank().await;
    let accounts = app.engine().aggregates::<Account>("/web");
    // A history from before the service: it takes it over.
    let Ok(_) = accounts
        .decide("a", |_| Deposited { cents: 7 })
        .await
        .unwrap();
    app.publish(withdraw("a", 3)).await.unwrap();
    app.settle().await.unwrap();
    assert_eq!(fold(&app.engine(), "a").await, (4, 2));
    let error = accounts
        .decide("a", |_| Deposited { cents: 1 })
        .await
        .unwrap_err();
    let refused = matches!(
        &error,
        Error::Aggregate(AggregateError::DecidedByService { service, .. }) if service == "bank"
    );
    assert!(refused, "{error}");
    assert_eq!(fold(&app.engine(), "a").await, (4, 2));
    assert_eq!(accounts.load("a").await.unwrap().state.cents, 4);
}

#[derive(Event, Serialize, Deserialize)]
#[event(type = "rival.acted", topic = "rivals", key = account)]
struct RivalActed {
    account: String,
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_services_the_first_decides_for_an_aggregate() {
    let app = TestApp::start(|app| {
        let act = async |_: RivalActed, context: Context| {
            let deposit = context.decide(|_: &Account| Deposited { cents: 100 });
            deposit.await
        };
        app.service(Bank).on_with("rival", Default::default(), act)
    })
    .await
    .unwrap();
    app.publish(deposit("a", 1)).await.unwrap();
    app.settle().await.unwrap();
    for account in ["a", "b"] {
        let account = account.to_owned();
        app.publish(RivalActed { account }).await.unwrap();
    }
    app.settle().await.unwrap();
    let letters = app.dead_letters("rival").await.unwrap();
    assert_eq!(letters.len(), 1);
    assert!(
        letters[0].reason.contains("the service `bank` decides"),
        "{letters:?}"
    );
    assert_eq!(fold(&app.engine(), "a").await, (1, 1));
    assert_eq!(fold(&app.engine(), "b").await, (100, 1));
    app.publish(deposit("b", 1)).await.unwrap();
    app.settle().await.unwrap();
    assert_eq!(app.dead_letters("bank").await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_that_are_handled_again_after_a_reset_decide_nothing() {
    let app = bank().await;
    for cents in [5, 6] {
        app.publish(deposit("a", cents)).await.unwrap();
    }
    app.publish(withdraw("a", 10)).await.unwrap();
    app.settle().await.unwrap();
    for state in [ReplayState::Afresh, ReplayState::Keep] {
        let again = Reset::to(Start::Earliest)
            .effects(ReplayEffects::HoldBack)
            .state(state);
        app.engine().reset("bank", again).await.unwrap();
        app.settle().await.unwrap();
        assert_eq!(fold(&app.engine(), "a").await, (1, 3));
    }
    // What the service remembers is what the log says, and nothing that was held back.
    app.publish(withdraw("a", 2)).await.unwrap();
    app.publish(withdraw("a", 1)).await.unwrap();
    app.settle().await.unwrap();
    app.assert_no_dead_letters().await.unwrap();
    assert_eq!(fold(&app.engine(), "a").await, (0, 4));
    let accounts = app.engine().aggregates::<Account>("/web");
    assert_eq!(accounts.load("a").await.unwrap().version, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_history_of_a_newer_program_waits_for_it_and_is_no_dead_letter() {
    let app = bank().await;
    let frozen = Envelope::builder("accounts", "account.frozen").key("a");
    app.publish(Outgoing::raw(frozen)).await.unwrap();
    app.publish(deposit("a", 1)).await.unwrap();
    app.publish(deposit("b", 1)).await.unwrap();
    app.advance(Duration::from_secs(3_600)).await.unwrap();
    let status = app.engine().status().await.unwrap();
    let group = status.group("bank").unwrap();
    assert_eq!((group.retrying, group.dead), (1, 0));
    assert_eq!(fold(&app.engine(), "b").await, (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_service_may_not_decide_is_a_dead_letter() {
    let app = TestApp::start(|app| {
        let foreign = async |_: Noted, context: Context| {
            let later = Outgoing::new(Deposited { cents: 1 }).after(Duration::from_secs(1));
            context.decide(|_: &Account| later).await
        };
        app.on_with("notes", Default::default(), foreign)
    })
    .await
    .unwrap();
    for key in ["", "a"] {
        let noted = Outgoing::new(Noted { text: "x".into() }).key(key);
        app.publish(noted).await.unwrap();
    }
    app.settle().await.unwrap();
    let letters = app.dead_letters("notes").await.unwrap();
    let reasons: Vec<&str> = letters.iter().map(|it| it.reason.as_str()).collect();
    assert!(reasons[0].contains("without a key"), "{reasons:?}");
    assert!(reasons[1].contains("schedule a command"), "{reasons:?}");
}
