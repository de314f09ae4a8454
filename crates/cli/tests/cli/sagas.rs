//! `ensue saga`.

use std::time::Duration;

use ensue::prelude::*;
use ensue::{Flow, Running, Saga, Step};
use serde_json::{Value, json};

use crate::shop::{Shop, contents};

#[derive(Event, Serialize, Deserialize)]
#[event(type = "order.placed", topic = "orders", key = order)]
struct Placed {
    order: String,
}

#[derive(State, Serialize, Deserialize)]
#[state(name = "checkout")]
struct Checkout;

struct Reserve;

impl Step<Checkout> for Reserve {
    const NAME: &'static str = "reserve";

    async fn act(&self, _: &mut Checkout, _: &Context) -> Result<Flow, Failure> {
        Ok(Flow::next())
    }
}

/// Falls over for the order `trap`.
struct Pay;

impl Step<Checkout> for Pay {
    const NAME: &'static str = "pay";

    async fn act(&self, _: &mut Checkout, ctx: &Context) -> Result<Flow, Failure> {
        assert_ne!(ctx.key(), "trap", "a step that panics");
        Ok(Flow::wait(Duration::from_secs(900)))
    }
}

async fn run(engine: &Engine) -> Running {
    let options = ensue::HandlerOptions::default().attempts(1);
    let saga = Saga::new("checkout", |_: Placed| Checkout)
        .options(options)
        .step(Reserve)
        .step(Pay);
    App::new(engine.clone()).saga(saga).start().await.unwrap()
}

/// Lets the app of the shop do what it has to do.
async fn settle(shop: &Shop) {
    let engine = Engine::from(shop.open().await);
    let mut running = run(&engine).await;
    running.settled().await.unwrap();
    running.stop().await.unwrap();
    engine.close().await.unwrap();
}

/// Two processes: `o-1` waits, `trap` is stuck.
async fn checkouts() -> Shop {
    let shop = Shop::empty();
    let engine = Engine::from(shop.open().await);
    for order in ["o-1", "trap"] {
        let placed = Placed {
            order: order.into(),
        };
        engine.publish(placed).await.unwrap();
    }
    engine.close().await.unwrap();
    settle(&shop).await;
    shop
}

fn keys(processes: &Value) -> Vec<&str> {
    let processes = processes.as_array().unwrap().iter();
    processes.map(|it| it["key"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn processes_are_listed_and_shown_with_their_paths() {
    let shop = checkouts().await;
    assert_eq!(keys(&shop.json(&["saga", "list"])), ["o-1", "trap"]);
    assert_eq!(
        keys(&shop.json(&["saga", "list", "checkout", "--after", "o-1"])),
        ["trap"]
    );
    let stuck = shop.json(&["saga", "list", "--stuck"]);
    assert_eq!(keys(&stuck), ["trap"]);
    assert_eq!(stuck[0]["stuck"]["attempts"], 1);
    shop.run(&["saga", "list"])
        .succeeds()
        .says("waiting")
        .says("the handler panicked")
        .warns("the sagas have 1 dead letter");
    shop.run(&["saga", "list", "--limit", "1"])
        .succeeds()
        .warns("there are more");
    shop.run(&["saga", "list", "chekout"])
        .fails(1)
        .warns("no group `chekout`");

    let shown = shop.json(&["saga", "show", "checkout", "trap"]);
    let path = shown["path"].as_array().unwrap();
    let whats: Vec<&str> = path.iter().map(|it| it["what"].as_str().unwrap()).collect();
    assert_eq!(whats, ["taken", "due", "due"]);
    assert_eq!(shown["process"]["step"], "pay");
    shop.run(&["saga", "show", "checkout", "trap"])
        .succeeds()
        .says("do reserve")
        .says("a step that panics")
        .says("`ensue saga retry checkout trap`");
    let missing = shop
        .run(&["--json", "saga", "show", "checkout", "none"])
        .fails(1);
    assert_eq!(missing.error()["kind"], "unknown_process");
}

#[tokio::test]
async fn a_stuck_process_is_tried_again_as_its_rehearsal_said() {
    let shop = checkouts().await;
    let before = contents(&shop.path());
    let all = ["saga", "retry", "checkout", "--all"];
    let plan = shop.json(&[&all[..], &["--dry-run"]].concat());
    assert_eq!(
        (&plan["count"], keys(&plan["processes"])),
        (&json!(1), vec!["trap"])
    );
    shop.run(&["saga", "retry", "checkout", "trap", "trap", "--dry-run"])
        .succeeds()
        .says("1 process of the saga `checkout` would try again");
    assert!(
        contents(&shop.path()) == before,
        "a dry run changed something"
    );
    assert_eq!(shop.json(&["saga", "retry", "checkout", "o-1"])["count"], 0);
    assert_eq!(shop.json(&all)["count"], 1);
    assert_eq!(shop.json(&["saga", "list", "--stuck"]), json!([]));
    settle(&shop).await;
    let stuck = shop.json(&["saga", "list", "--stuck"]);
    assert_eq!(stuck[0]["stuck"]["redriven"], 1, "it has failed again");
    shop.run(&["saga", "retry", "checkout"])
        .fails(2)
        .warns("--all");
    shop.run(&["saga", "retry", "checkout", "none"])
        .fails(1)
        .warns("no process `none`");
}

#[tokio::test]
async fn a_process_is_undone_after_a_yes_and_its_path_says_why() {
    let shop = checkouts().await;
    let before = contents(&shop.path());
    let undo = |more: &[&'static str]| {
        let named = [
            "saga",
            "compensate",
            "checkout",
            "trap",
            "--reason",
            "the customer called",
        ];
        [&named[..], more].concat()
    };
    let plan = shop.json(&undo(&["--dry-run"]));
    assert_eq!(
        (&plan["dry_run"], &plan["steps"]),
        (&json!(true), &json!(["pay", "reserve"]))
    );
    let refused = shop.run(&[&["--json"], &undo(&[])[..]].concat()).fails(1);
    assert_eq!(refused.error()["kind"], "unconfirmed");
    assert!(contents(&shop.path()) == before, "nothing was confirmed");
    shop.run(&["saga", "compensate", "checkout", "trap"])
        .fails(2)
        .warns("--reason");

    shop.run(&undo(&["--yes"]))
        .succeeds()
        .says("undoing `trap`: pay, then reserve");
    settle(&shop).await;
    assert_eq!(keys(&shop.json(&["saga", "list"])), ["o-1"]);
    shop.run(&["saga", "show", "checkout", "trap"])
        .succeeds()
        .says("ended: undone")
        .says("the customer called");
    let again = shop
        .run(&[&["--json"], &undo(&["--yes"])[..]].concat())
        .fails(1);
    assert_eq!(again.error()["kind"], "unknown_process");
}

#[tokio::test]
async fn the_commands_work_through_a_server_while_the_app_is_at_work() {
    let shop = checkouts().await;
    let serving = crate::serving::Serving::start(&shop);
    let url = format!("ensue://{}", serving.address);
    let engine = Engine::open(&url).await.unwrap();
    let mut app = run(&engine).await;
    let json = |args: &[&str]| {
        let given = ["--json", "--engine", &url];
        shop.run(&[&given[..], args].concat()).succeeds().json()
    };
    assert_eq!(keys(&json(&["saga", "list"])), ["o-1", "trap"]);
    assert_eq!(json(&["saga", "retry", "checkout", "trap"])["count"], 1);
    app.settled().await.unwrap();
    let stuck = json(&["saga", "list", "--stuck"]);
    assert_eq!(stuck[0]["stuck"]["redriven"], 1);
    for key in ["trap", "o-1"] {
        let undo = [
            "saga",
            "compensate",
            "checkout",
            key,
            "--reason",
            "by hand",
            "--yes",
        ];
        assert_eq!(json(&undo)["steps"], json!(["pay", "reserve"]));
    }
    app.settled().await.unwrap();
    assert_eq!(json(&["saga", "list"]), json!([]));
    let shown = json(&["saga", "show", "checkout", "trap"]);
    let last = shown["path"].as_array().unwrap().last().unwrap();
    assert_eq!(
        (&last["what"], &last["reason"]),
        (&json!("ended"), &json!("by hand"))
    );
    app.stop().await.unwrap();
}
