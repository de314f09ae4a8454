//! What layers see, in which order, and around what.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_layer_of_one_service_is_within_those_of_the_app_and_around_no_other() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let layers = seen.clone();
    let app = TestApp::start(move |app| {
        let note = |name: &'static str| {
            let seen = layers.clone();
            from_fn(move |context: Context, next: Next| {
                seen.lock()
                    .unwrap()
                    .push(format!("{name} {}", context.group()));
                next.run(context)
            })
        };
        app.on("one", async |_: StepTaken| {})
            .on("other", async |_: StepTaken| {})
            .service_options("one", ServiceOptions::new().layer(note("inner")))
            .layer(note("outer"))
    })
    .await
    .unwrap();
    app.publish(step("w", 1)).await.unwrap();
    app.settle().await.unwrap();
    let mut seen = seen.lock().unwrap().clone();
    seen.retain(|it| !it.ends_with("other") || !it.starts_with("outer"));
    assert_eq!(seen, ["outer one", "inner one"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn layers_made_of_functions_see_the_event_and_change_the_outcome() {
    async fn forbid(context: Context, next: Next) -> anyhow::Result<Effects> {
        anyhow::ensure!(context.key() != "bad", Rejection::new("forbidden"));
        let handler = next.handler().name();
        next.run(context)
            .await
            .map_err(|failure| anyhow::anyhow!("{handler}: {failure}"))
    }
    let seen = Arc::new(Mutex::new(Vec::new()));
    let seen_by_layer = seen.clone();
    let app = TestApp::start(move |app| {
        let seen = seen_by_layer.clone();
        app.layer(from_fn(forbid))
            .layer(from_fn(move |context: Context, next: Next| {
                let seen = seen.clone();
                async move {
                    seen.lock().unwrap().push(context.key().to_owned());
                    next.run(context).await
                }
            }))
            .on("watch", async |_: StepTaken| {})
    })
    .await
    .unwrap();
    for walker in ["bad", "good"] {
        app.publish(step(walker, 1)).await.unwrap();
    }
    app.settle().await.unwrap();
    let dead = app.dead_letters("watch").await.unwrap();
    let [dead] = dead.as_slice() else {
        panic!("{dead:?}")
    };
    assert_eq!((dead.attempts, dead.reason.as_str()), (1, "forbidden"));
    assert_eq!(*seen.lock().unwrap(), ["good"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn layers_wrap_in_the_order_in_which_they_were_added() {
    struct Layer(&'static str, Arc<Mutex<Vec<String>>>);
    impl Middleware for Layer {
        async fn handle(&self, context: Context, next: Next) -> Result<Effects, Failure> {
            let Self(name, seen) = self;
            seen.lock().unwrap().push(format!("{name} in"));
            let outcome = next.run(context).await;
            seen.lock().unwrap().push(format!("{name} out"));
            outcome
        }
    }
    let seen = Arc::new(Mutex::new(Vec::new()));
    let seen_by_layers = seen.clone();
    let app = TestApp::start(move |app| {
        app.layer(Layer("outer", seen_by_layers.clone()))
            .layer(Layer("inner", seen_by_layers.clone()))
            .on("watch", |_: StepTaken| async {})
    })
    .await
    .unwrap();
    app.publish(step("w", 1)).await.unwrap();
    app.settle().await.unwrap();
    assert_eq!(
        *seen.lock().unwrap(),
        ["outer in", "inner in", "inner out", "outer out"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_layer_changes_what_the_handler_reads_and_nothing_of_the_event() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let seen_by_handler = seen.clone();
    let app = TestApp::start(move |app| {
        let seen = seen_by_handler.clone();
        let reverse = async |context: Context, next: Next| {
            let payload = context.envelope().payload().iter().rev().copied();
            let read = context.with_payload(ensue::Codec::Json, payload.collect())?;
            next.run(read).await
        };
        app.layer(from_fn(reverse)).on_with(
            "watch",
            HandlerOptions::default(),
            move |taken: StepTaken, context| {
                seen.lock()
                    .unwrap()
                    .push((taken.walker, context.id().to_owned()));
                async { Err::<(), _>(Failure::reject("seen")) }
            },
        )
    })
    .await
    .unwrap();
    let json = serde_json::to_vec(&step("w", 1)).unwrap();
    let reversed: Vec<u8> = json.iter().rev().copied().collect();
    let stored = ensue::Envelope::builder("steps", StepTaken::TYPE)
        .key("w")
        .id("s-1")
        .payload(ensue::Codec::Json, reversed.clone());
    app.publish(Outgoing::raw(stored)).await.unwrap();
    app.settle().await.unwrap();
    let seen = seen.lock().unwrap().clone();
    assert_eq!(seen, [("w".to_owned(), "s-1".to_owned())]);
    let letters = app.dead_letters("watch").await.unwrap();
    assert_eq!(letters[0].envelope.as_ref().unwrap().payload(), reversed);
}
