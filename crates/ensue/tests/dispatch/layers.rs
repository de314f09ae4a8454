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

/// Gives every event the trace context of the attempt, with a span of its own.
#[derive(Debug)]
struct ChildOf(TraceContext);

impl EventTracer for ChildOf {
    fn trace(&self, _: &Outgoing, cause: Option<&Envelope>) -> Option<TraceContext> {
        assert_eq!(cause.unwrap().topic(), "steps");
        Some(self.0.child())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_layer_that_traces_says_what_context_effects_and_published_events_get() {
    let attempt = TraceContext::root();
    let app = TestApp::start(move |app| {
        let trace = from_fn(move |context: Context, next: Next| async move {
            let tracer = Arc::new(ChildOf(attempt));
            let context = context.with_trace(attempt, tracer.clone());
            assert_eq!(context.trace(), Some(attempt));
            let effects = next.run(context.clone()).await?;
            Ok::<_, Failure>(effects.traced(&*tracer, context.envelope()))
        });
        let count = async |step: StepTaken, context: Context| {
            let counted = |total| StepCounted {
                walker: step.walker.clone(),
                total,
            };
            context.publisher().publish(counted(1)).await.unwrap();
            let own = Outgoing::new(counted(3)).trace(TRACE.parse().unwrap());
            [Outgoing::new(counted(2)), own]
        };
        let options = HandlerOptions::default();
        let handler = Handler::new("count", options, count);
        app.handler("count", handler).layer(trace)
    })
    .await
    .unwrap();
    app.publish(step("w", 1)).await.unwrap();
    app.settle().await.unwrap();
    let events = app.envelopes().await.unwrap();
    let [cause, published, returned, own] = events.as_slice() else {
        panic!("{events:?}");
    };
    assert_eq!(cause.trace(), None, "no one records a trace");
    let (published, returned) = (published.trace().unwrap(), returned.trace().unwrap());
    for trace in [published, returned] {
        assert_eq!(trace.trace_id(), attempt.trace_id());
        assert_ne!(trace.span_id(), attempt.span_id());
    }
    assert_ne!(published, returned);
    assert_eq!(own.trace().unwrap().to_string(), TRACE);
}
