//! What is applied, in which order, from where.

use ensue::engine::{ReplayEffects, Reset};
use ensue::{Engine, Start};

use crate::accounts::{Balances, Moves, Tricks, balances, publish, verify};
use crate::database::Kind;

pub(crate) async fn tables_are_what_the_log_makes_of_them<DB: Kind>()
where
    Balances: Moves<DB>,
{
    let Some(database) = DB::fresh().await else {
        return;
    };
    let engine = Engine::open("memory:").await.unwrap();
    let pool = &database.pool;
    let before = publish(&engine, 2_500).await;
    let running = balances(pool, &Tricks::default())
        .start(&engine)
        .await
        .unwrap();
    verify(&engine, &running, pool, before).await;
    for _ in 0..20 {
        let last = publish(&engine, 7).await;
        verify(&engine, &running, pool, last).await;
    }
    running.stop().await.unwrap();
}

pub(crate) async fn many_lanes_keep_the_order_of_each_key<DB: Kind>()
where
    Balances: Moves<DB>,
{
    let Some(database) = DB::fresh().await else {
        return;
    };
    let engine = Engine::open("memory:").await.unwrap();
    let pool = &database.pool;
    let projection = balances(pool, &Tricks::default());
    let running = projection
        .lanes(4)
        .batch_events_max(10)
        .start(&engine)
        .await
        .unwrap();
    let last = publish(&engine, 1_500).await;
    verify(&engine, &running, pool, last).await;
    running.stop().await.unwrap();
}

pub(crate) async fn a_projection_goes_on_where_its_database_is<DB: Kind>()
where
    Balances: Moves<DB>,
{
    let Some(database) = DB::fresh().await else {
        return;
    };
    let engine = Engine::open("memory:").await.unwrap();
    let pool = &database.pool;
    for round in 0..6_u64 {
        let running = balances(pool, &Tricks::default())
            .start(&engine)
            .await
            .unwrap();
        let last = publish(&engine, 300).await;
        match round % 3 {
            // In the middle of it.
            0 => running.stop().await.unwrap(),
            1 => drop(running),
            _ => {
                verify(&engine, &running, pool, last).await;
                running.stop().await.unwrap();
            }
        }
    }
}

pub(crate) async fn a_group_that_is_moved_back_applies_nothing_twice<DB: Kind>()
where
    Balances: Moves<DB>,
{
    let Some(database) = DB::fresh().await else {
        return;
    };
    let engine = Engine::open("memory:").await.unwrap();
    let pool = &database.pool;
    let running = balances(pool, &Tricks::default())
        .start(&engine)
        .await
        .unwrap();
    let last = publish(&engine, 400).await;
    verify(&engine, &running, pool, last).await;
    let group = running.group().await.unwrap();
    for effects in [ReplayEffects::HoldBack, ReplayEffects::Publish] {
        let back = Reset::to(Start::Earliest).effects(effects);
        let plan = engine.reset(&group, back).await.unwrap();
        assert!(plan.again >= 400, "{plan:?}");
        let last = publish(&engine, 50).await;
        verify(&engine, &running, pool, last).await;
    }
    running.stop().await.unwrap();
}
