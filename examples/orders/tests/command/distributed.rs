//! On an engine with a server, the services are processes that may be killed, and so may the
//! server: what comes of it is what comes of it in one process, on the embedded engine.
//!
//! `ENSUE_SERVICES` names a JSON file with the servers, as `cargo xtask services status --json`
//! prints it; a server is killed, so that no other test may be using it. The long drills are for a
//! release build and for people: see the README.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::path::Path;
use std::time::Duration;

use servers::Running;

use crate::drill::Drill;
use crate::expected::{Orders, drill_to, made_up};
use crate::shop::{RECORDED, Shop};

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
