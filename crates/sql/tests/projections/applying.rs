//! What is applied, in which order, from where.

use ensue::Start;
use ensue::engine::{ReplayEffects, Reset};

use crate::accounts::{Balances, Moves, publish};
use crate::database::Kind;
use crate::stage::Stage;

pub(crate) async fn tables_are_what_the_log_makes_of_them<DB: Kind>(stage: Stage<DB>)
where
    Balances: Moves<DB>,
{
    let before = publish(&stage.engine, 2_500).await;
    let running = stage.start().await;
    stage.verify(&running, before).await;
    for _ in 0..20 {
        let last = publish(&stage.engine, 7).await;
        stage.verify(&running, last).await;
    }
    running.stop().await.unwrap();
}

pub(crate) async fn many_lanes_keep_the_order_of_each_key<DB: Kind>(stage: Stage<DB>)
where
    Balances: Moves<DB>,
{
    let projection = stage.projection();
    let running = projection
        .lanes(4)
        .batch_events_max(10)
        .start(&stage.engine)
        .await
        .unwrap();
    let last = publish(&stage.engine, 1_500).await;
    stage.verify(&running, last).await;
    running.stop().await.unwrap();
}

pub(crate) async fn a_projection_goes_on_where_its_database_is<DB: Kind>(stage: Stage<DB>)
where
    Balances: Moves<DB>,
{
    for round in 0..6_u64 {
        let running = stage.start().await;
        let last = publish(&stage.engine, 300).await;
        match round % 3 {
            // In the middle of it.
            0 => running.stop().await.unwrap(),
            1 => drop(running),
            _ => {
                stage.verify(&running, last).await;
                running.stop().await.unwrap();
            }
        }
    }
}

pub(crate) async fn a_group_that_is_moved_back_applies_nothing_twice<DB: Kind>(stage: Stage<DB>)
where
    Balances: Moves<DB>,
{
    let running = stage.start().await;
    let last = publish(&stage.engine, 400).await;
    stage.verify(&running, last).await;
    let group = running.group().await.unwrap();
    for effects in [ReplayEffects::HoldBack, ReplayEffects::Publish] {
        let back = Reset::to(Start::Earliest).effects(effects);
        let plan = stage.engine.reset(&group, back).await.unwrap();
        assert!(plan.again >= 400, "{plan:?}");
        let last = publish(&stage.engine, 50).await;
        stage.verify(&running, last).await;
    }
    running.stop().await.unwrap();
}
