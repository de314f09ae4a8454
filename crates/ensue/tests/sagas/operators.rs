//! What operators see of processes that no type of the saga is needed for, and what they do with them.

use ensue::{Cursor, SagaMoment, SagaPath, SagaPhase};

use super::{PATIENCE, World, path, pay, request, start};

/// Three trips: `waits` for its payment, `stuck` cannot be undone, and `done` has ended.
async fn with_three(world: &World) -> ensue::testing::TestApp {
    let app = start(world).await;
    for trip in ["waits", "done"] {
        request(&app, trip).await;
        app.settle().await.unwrap();
    }
    pay(&app, "done").await;
    app.settle().await.unwrap();
    world.refuse("+hotel");
    world.fail("-flight");
    request(&app, "stuck").await;
    app.settle().await.unwrap();
    pay(&app, "stuck").await;
    app.settle().await.unwrap();
    app
}

fn words(path: &SagaPath) -> Vec<String> {
    let word = |moment: &SagaMoment| match moment {
        SagaMoment::Taken { event_type } => event_type.clone(),
        SagaMoment::Due { step, number } => format!("do {number} {step}"),
        SagaMoment::Undo { step, number, .. } => format!("undo {number} {step}"),
        SagaMoment::Waiting { step, .. } => format!("{step} waits"),
        SagaMoment::TimedOut { step } => format!("{step} is over"),
        SagaMoment::Compensate { reason } => format!("compensate: {reason}"),
        SagaMoment::Ended { is_done, .. } => format!("ended {is_done}"),
        _ => panic!("{moment:?}"),
    };
    path.entries.iter().map(|it| word(&it.moment)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_are_listed_and_those_that_are_stuck_say_at_what() {
    let world = World::default();
    let app = with_three(&world).await;
    let engine = app.engine();
    let sagas = engine.sagas();
    let groups = sagas.groups().await.unwrap();
    let names: Vec<&str> = groups.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(names, ["trips"]);

    let running = sagas.running("trips", None, 0).await.unwrap();
    let seen: Vec<_> = running
        .iter()
        .map(|it| (it.key.as_str(), it.phase))
        .collect();
    assert_eq!(
        seen,
        [("stuck", SagaPhase::Undoing), ("waits", SagaPhase::Waiting)]
    );
    let due = ensue::testing::TestApp::START.plus(PATIENCE);
    assert_eq!((running[1].until, &running[1].stuck), (Some(due), &None));
    let first = sagas.running("trips", None, 1).await.unwrap();
    let second = sagas
        .running("trips", Some(&first[0].key), 1)
        .await
        .unwrap();
    assert_eq!([&first[..], &second[..]].concat(), running);

    let stuck = sagas.stuck("trips", 0).await.unwrap();
    assert_eq!(stuck, running[..1]);
    assert_eq!((stuck[0].step.as_str(), stuck[0].number), ("flight", 0));
    assert_eq!(stuck[0].reason.as_deref(), Some("+hotel is refused"));
    let at = stuck[0].stuck.as_ref().unwrap();
    assert_eq!(
        (at.event_type.as_str(), at.attempts, at.parked),
        ("saga.step", 3, 0)
    );
    assert!(at.reason.contains("-flight fails"), "{at:?}");
    assert_eq!(sagas.process("trips", "done").await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_tells_steps_compensations_waits_attempts_and_reasons() {
    let world = World::default();
    let app = with_three(&world).await;
    let engine = app.engine();
    let sagas = engine.sagas();
    let path = sagas
        .path("trips", "stuck", Cursor::START, 0)
        .await
        .unwrap();
    assert_eq!(
        words(&path),
        [
            "trip.requested",
            "do 0 flight",
            "do 1 payment",
            "payment waits",
            "trip.paid",
            "do 1 payment",
            "do 2 hotel",
            "undo 2 hotel",
            "undo 1 payment",
            "undo 0 flight",
        ]
    );
    assert!(path.is_end);
    let reasons = path.entries.iter().filter_map(|it| match &it.moment {
        SagaMoment::Undo { reason, .. } => reason.as_deref(),
        _ => None,
    });
    assert_eq!(reasons.collect::<Vec<_>>(), ["+hotel is refused"; 3]);
    let attempts: Vec<_> = path.entries.iter().map(|it| it.attempts).collect();
    let once = Some(1);
    let expected = [
        once,
        once,
        once,
        None,
        once,
        once,
        once,
        once,
        once,
        Some(3),
    ];
    assert_eq!(
        attempts, expected,
        "the last is a dead letter, nothing followed from what only tells"
    );
    let stuck: Vec<bool> = path.entries.iter().map(|it| it.stuck.is_some()).collect();
    assert_eq!(stuck.iter().filter(|it| **it).count(), 1);
    assert_eq!(stuck.last(), Some(&true));

    // In parts, it is the same.
    let (mut parts, mut from) = (Vec::new(), Cursor::START);
    loop {
        let part = sagas.path("trips", "stuck", from, 3).await.unwrap();
        parts.extend(words(&part));
        from = part.next;
        if part.is_end {
            break;
        }
    }
    assert_eq!(parts, words(&path));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_succeeds_late_says_after_how_many_attempts() {
    let world = World::default();
    world.fail("+flight");
    let app = start(&world).await;
    request(&app, "t").await;
    // The first attempt fails, the second one does not.
    while world.calls() == 0 {
        tokio::task::yield_now().await;
    }
    world.mend();
    app.settle().await.unwrap();
    let engine = app.engine();
    let sagas = engine.sagas();
    let path = sagas.path("trips", "t", Cursor::START, 0).await.unwrap();
    let flight = &path.entries[1];
    assert_eq!(words(&path)[1], "do 0 flight");
    assert!(flight.attempts.unwrap() >= 2, "{flight:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stuck_process_is_tried_again_and_no_other() {
    let world = World::default();
    let app = with_three(&world).await;
    let engine = app.engine();
    let sagas = engine.sagas();
    assert!(
        !sagas.retry("trips", "waits").await.unwrap(),
        "it is not stuck"
    );
    assert!(!sagas.retry("trips", "nobody").await.unwrap());
    world.mend();
    assert!(sagas.retry("trips", "stuck").await.unwrap());
    app.settle().await.unwrap();
    assert_eq!(sagas.process("trips", "stuck").await.unwrap(), None);
    assert_eq!(
        path(&app, "stuck").await.last().unwrap(),
        "undone: +hotel is refused"
    );
    assert_eq!(sagas.stuck("trips", 0).await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compensation_says_what_it_undoes_and_goes_past_what_is_stuck() {
    let world = World::default();
    let app = with_three(&world).await;
    let engine = app.engine();
    let sagas = engine.sagas();
    let plan = sagas
        .plan_compensation("trips", "waits")
        .await
        .unwrap()
        .unwrap();
    assert_eq!(plan.steps, ["payment", "flight"]);
    assert_eq!(
        sagas.plan_compensation("trips", "done").await.unwrap(),
        None
    );
    let end = app.engine().health().await.unwrap().end;
    assert_eq!(
        sagas.compensate("trips", "done", "too late").await.unwrap(),
        None
    );
    assert_eq!(
        app.engine().health().await.unwrap().end,
        end,
        "nothing was appended"
    );

    world.mend();
    for trip in ["stuck", "waits"] {
        let undoing = sagas.compensate("trips", trip, "by hand").await.unwrap();
        assert_eq!(undoing.unwrap().process.key, trip);
        app.settle().await.unwrap();
        assert_eq!(sagas.process("trips", trip).await.unwrap(), None);
    }
    assert_eq!(path(&app, "waits").await.last().unwrap(), "undone: by hand");
    for trip in ["stuck", "waits"] {
        let undone = format!("{trip} -flight");
        let times = world.done().iter().filter(|it| **it == undone).count();
        assert_eq!(times, 1, "{undone}");
    }
    assert_eq!(app.engine().status().await.unwrap().scheduled, 0);
    app.assert_no_dead_letters().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_is_stuck_before_it_begins_is_seen_and_given_up() {
    let world = World::default();
    let app = start(&world).await;
    let broken = ensue::Envelope::builder("sagas.trips", "trip.requested")
        .key("t")
        .payload(ensue::Codec::Json, b"{}".to_vec());
    app.publish(ensue::Outgoing::raw(broken)).await.unwrap();
    app.settle().await.unwrap();
    let engine = app.engine();
    let sagas = engine.sagas();
    let stuck = sagas.stuck("trips", 0).await.unwrap();
    assert_eq!((stuck.len(), stuck[0].phase), (1, SagaPhase::Beginning));
    let undoing = sagas
        .compensate("trips", "t", "not one of ours")
        .await
        .unwrap()
        .unwrap();
    assert!(undoing.steps.is_empty());
    app.settle().await.unwrap();
    assert_eq!(sagas.stuck("trips", 0).await.unwrap(), []);
}
