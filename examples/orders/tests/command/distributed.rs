//! On an engine with a server, the services are processes that may be killed, and so may the
//! server: what comes of it is what comes of it in one process, on the embedded engine.
//!
//! `ENSUE_SERVICES` names a JSON file with the servers, as `cargo xtask services status --json`
//! prints it; a server is killed, so that no other test may be using it. The long drills are for a
//! release build and for people: see the README.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use servers::Running;

use crate::drill::Drill;
use crate::shop::{RECORDED, Shop, assert_summary};

/// One drill at a time: each has fourteen processes.
static TURN: Mutex<()> = Mutex::new(());

/// How many processes are killed in a long drill.
const KILLS: &str = "ORDERS_KILLS";
/// How often the server is.
const OUTAGES: &str = "ORDERS_OUTAGES";

/// Set: the whole drill, which is for a release build and takes minutes.
const WHOLE: &str = "ORDERS_WHOLE";

macro_rules! on {
    ($server:ident) => {
        mod $server {
            #[test]
            fn killed_now_and_then_it_comes_to_the_same() {
                let name = stringify!($server);
                match std::env::var_os(super::WHOLE) {
                    None => super::short(name),
                    Some(_) => super::whole(name),
                }
            }
        }
    };
}

on!(kafka);
on!(nats);
on!(postgres);
on!(rabbitmq);
on!(redis);

fn short(name: &str) {
    let Some(server) = Running::find(name) else {
        return;
    };
    let orders = made_up(500);
    let drill = Drill {
        server,
        orders: orders.arguments,
        kills: 5,
        outages: 1,
        limit: Duration::from_secs(1_800),
    };
    drill_to(drill, &orders.expected);
}

/// All recorded orders, or as many made-up ones where there are none.
fn whole(name: &str) {
    let server = Running::find(name).unwrap();
    let recorded = Path::new(RECORDED);
    let orders = if recorded.exists() {
        Orders::of(&Shop::with_orders_of(recorded))
    } else {
        made_up(5_000)
    };
    let number = |name: &str| std::env::var(name).ok().map(|it| it.parse().unwrap());
    let drill = Drill {
        server,
        orders: orders.arguments,
        kills: number(KILLS).unwrap_or(20),
        outages: number(OUTAGES).unwrap_or(2),
        limit: Duration::from_secs(3_600),
    };
    drill_to(drill, &orders.expected);
}

/// Orders, and what must come of them.
struct Orders {
    arguments: Vec<String>,
    expected: Value,
}

impl Orders {
    fn of(shop: &Shop) -> Self {
        Self {
            arguments: shop.world(),
            expected: shop.expected(),
        }
    }
}

/// Made-up orders, and what comes of them in one process.
fn made_up(orders: usize) -> Orders {
    let arguments = ["--orders".to_owned(), orders.to_string()];
    let command = Command::new(env!("CARGO_BIN_EXE_orders"))
        .args(["--json", "--engine", "memory:"])
        .args(&arguments)
        .output();
    let output = command.unwrap();
    assert!(output.status.success(), "{}", output.status);
    let mut expected: Value = serde_json::from_slice(&output.stdout).unwrap();
    // What depends on the run.
    let fields = expected.as_object_mut().unwrap();
    for figure in ["retries", "seconds", "events_per_second"] {
        fields.remove(figure);
    }
    for (field, value) in [
        ("orders", orders),
        ("charged_twice", 0),
        ("out_of_order", 0),
    ] {
        assert_eq!(fields.get(field), Some(&json!(value)), "{field}");
    }
    Orders {
        arguments: arguments.into(),
        expected,
    }
}

fn drill_to(drill: Drill, expected: &Value) {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let title = format!(
        "{}: {} kills, {} outages",
        drill.server.name, drill.kills, drill.outages
    );
    let drilled = drill.run(expected["orders"].as_u64().unwrap());
    let (attacks, took) = (drilled.attacks, drilled.took.as_secs_f64());
    eprintln!(
        "{title}; {attacks} struck; {took:.1} s: {}",
        drilled.summary
    );
    assert_summary(&drilled.summary, expected);
    assert_summary(&drilled.afresh, expected);
}
