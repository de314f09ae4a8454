//! What no engine may lose: servers killed with -9 and started again, members killed with -9, slow
//! ones, and ones that pause for longer than their lease. Real servers, real processes.
//!
//! `ENSUE_SERVICES` names a JSON file with the servers, as `cargo xtask services status --json`
//! prints it. Tests of one server run one after the other, and nothing else may use it meanwhile.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that panics has failed"
)]

mod member;
mod scene;

use std::time::Duration;

use self::member::Child;
use self::scene::Scene;

/// How often the server is killed in one test.
const SERVER_KILLS: usize = 20;
/// How often a member's process is killed in one test.
const MEMBER_KILLS: usize = 10;

/// Publishers and members in two processes' worth of engines work while the server is killed.
async fn the_server_is_killed(name: &str) {
    let Some(scene) = Scene::set(name).await else {
        return;
    };
    let publishers = scene.publish(4, 400, Duration::from_millis(25));
    let mut crews = [scene.crew(3, Duration::ZERO), scene.crew(3, Duration::ZERO)];
    // On a busy machine a server that is killed twenty times may never be up for long enough to be
    // connected to.
    for crew in &mut crews {
        crew.opened().await;
    }
    // A server that has just made its first log gets a moment (RabbitMQ 3.10 loses a stream that
    // is a tenth of a second old).
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    for _ in 0..SERVER_KILLS {
        tokio::time::sleep(Duration::from_millis(fastrand::u64(100..700))).await;
        let service = scene.service.clone();
        let restart = tokio::task::spawn_blocking(move || {
            service.kill();
            service.start();
        });
        restart.await.unwrap();
    }
    scene.verify(publishers).await;
    for crew in crews {
        crew.leave().await;
    }
}

/// Members' processes are killed, others come and go, one is slow.
async fn members_are_killed(name: &str) {
    let Some(scene) = Scene::set(name).await else {
        return;
    };
    let publishers = scene.publish(4, 300, Duration::from_millis(20));
    let mut children = [scene.child(), scene.child()];
    let slow = scene.crew(1, Duration::from_millis(20));
    for round in 0..MEMBER_KILLS {
        tokio::time::sleep(Duration::from_millis(fastrand::u64(200..900))).await;
        children[round % 2].kill();
        let visitor = scene.crew(2, Duration::ZERO);
        tokio::time::sleep(Duration::from_millis(fastrand::u64(100..600))).await;
        visitor.leave().await;
        children[round % 2] = scene.child();
    }
    scene.verify(publishers).await;
    slow.leave().await;
    children.iter_mut().for_each(Child::kill);
}

/// A process that is stopped for longer than its lease has lost its event, and cannot commit it.
async fn a_paused_member_cannot_commit(name: &str) {
    let Some(scene) = Scene::set(name).await else {
        return;
    };
    let mut child = scene.child_that_waits();
    let count = scene.publish(1, 1, Duration::ZERO).await.unwrap();
    child.expect("took").await;
    child.stop();
    let crew = scene.crew(1, Duration::ZERO);
    scene.until_effects(count).await;
    child.go_on();
    child.say("commit").await;
    child.expect("fenced").await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    scene.until_effects(count).await;
    crew.leave().await;
    child.kill();
}

/// The tests of one server.
macro_rules! on {
    ($module:ident) => {
        mod $module {
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn all_is_handled_once_whatever_is_killed() {
                let name = stringify!($module);
                super::a_paused_member_cannot_commit(name).await;
                super::members_are_killed(name).await;
                super::the_server_is_killed(name).await;
            }
        }
    };
}

#[cfg(feature = "kafka")]
on!(kafka);
#[cfg(feature = "nats")]
on!(nats);
#[cfg(feature = "postgres")]
on!(postgres);
#[cfg(feature = "rabbitmq")]
on!(rabbitmq);
#[cfg(feature = "redis")]
on!(redis);
