//! What a service, and its app, say of how it runs.

use super::*;

/// Counts in the group of its name; a new one begins with what comes from now on.
struct Late(Arc<Mutex<Vec<u32>>>);

#[service(start = "latest")]
impl Late {
    #[on]
    async fn count(&self, step: StepTaken) {
        self.0.lock().unwrap().push(step.number);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_service_starts_where_it_or_its_app_says() {
    let seen: [Arc<Mutex<Vec<u32>>>; 3] = Default::default();
    let is_grown = Arc::new(AtomicBool::new(false));
    let (kept, grown) = (seen.clone(), is_grown.clone());
    let mut app = TestApp::start(move |app| {
        let app = app.on("first", async |_: StepTaken| {});
        if !grown.load(Ordering::SeqCst) {
            return app;
        }
        let count = |at: usize| {
            let seen = kept[at].clone();
            move |step: StepTaken| {
                seen.lock().unwrap().push(step.number);
                async {}
            }
        };
        let late = ServiceOptions::new().start_at(Start::Latest);
        app.service(Late(kept[0].clone()))
            .on("early", count(1))
            .service_options("told", late)
            .on("told", count(2))
    })
    .await
    .unwrap();
    app.publish(step("w", 1)).await.unwrap();
    app.settle().await.unwrap();
    is_grown.store(true, Ordering::SeqCst);
    app.crash().await.unwrap();
    app.publish(step("w", 2)).await.unwrap();
    app.settle().await.unwrap();
    let seen = seen.map(|seen| seen.lock().unwrap().clone());
    assert_eq!(seen, [vec![2], vec![1, 2], vec![2]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_app_says_of_a_service_counts_and_limits_and_names_are_checked() {
    let started = |name: &'static str, options: ServiceOptions| async move {
        let engine = ensue::connect("memory:").await.unwrap();
        let app = App::new(engine)
            .service_options(name, options)
            .service(Late(Arc::default()));
        let text = app.describe().to_string();
        let refused = match app.start().await {
            Ok(running) => running.stop().await.err(),
            Err(refused) => Some(refused),
        };
        (text, refused.map_or_else(String::new, |it| it.to_string()))
    };
    let early = ServiceOptions::new().start_at(Start::Earliest);
    let (text, refused) = started("late", early).await;
    assert!(
        text.contains("service late  [a new group starts at the earliest event]"),
        "{text}"
    );
    assert_eq!(refused, "");
    let (text, refused) = started("late", ServiceOptions::new().workers(65)).await;
    assert!(text.contains("starts at the latest event"), "{text}");
    assert!(
        refused.contains("`workers` of the service `late` is 65"),
        "{refused}"
    );
    let (_, refused) = started("latte", ServiceOptions::new().workers(2)).await;
    assert!(
        refused.contains("`latte`, which has no handler"),
        "{refused}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_is_added_twice_is_refused_by_its_name() {
    let engine = ensue::connect("memory:").await.unwrap();
    let app = App::new(engine)
        .service(Late(Arc::default()))
        .service(Late(Arc::default()));
    let refused = app.start().await.unwrap_err().to_string();
    assert!(
        refused.contains("has the service `late` twice: add it once"),
        "{refused}"
    );
}
