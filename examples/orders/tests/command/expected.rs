//! What must come of orders, whatever is killed meanwhile.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::process::Command;
use std::sync::{Mutex, PoisonError};

use serde_json::{Value, json};

use crate::drill::Drill;
use crate::shop::{Shop, assert_summary};

/// One drill at a time: each has fourteen processes.
static TURN: Mutex<()> = Mutex::new(());

/// Orders, and what must come of them.
pub(crate) struct Orders {
    pub(crate) arguments: Vec<String>,
    pub(crate) expected: Value,
}

impl Orders {
    pub(crate) fn of(shop: &Shop) -> Self {
        Self {
            arguments: shop.world(),
            expected: shop.expected(),
        }
    }
}

/// Made-up orders, and what comes of them in one process.
pub(crate) fn made_up(orders: usize) -> Orders {
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

pub(crate) fn drill_to(drill: Drill, expected: &Value) {
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
