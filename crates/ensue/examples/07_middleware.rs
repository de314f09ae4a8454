//! Layers around every handler: spans, timing, and two of your own.
//!
//! `cargo run --example 07_middleware`

use ensue::middleware::{Middleware, Next, Timing, Tracing, from_fn};
use ensue::prelude::*;

#[derive(Event, Serialize, Deserialize)]
#[event(type = "page.viewed", topic = "pages", key = path)]
struct PageViewed {
    path: String,
}

/// Refuses what does not name its tenant.
struct TenantRequired;

impl Middleware for TenantRequired {
    async fn handle(&self, context: Context, next: Next) -> Result<Effects, Failure> {
        if context.envelope().extension("tenant").is_none() {
            return Err(Failure::reject("the event does not name its tenant"));
        }
        next.run(context).await
    }
}

#[tokio::main]
async fn main() -> ensue::Result<()> {
    tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::INFO)
        .init();
    let engine = Engine::open("memory:").await?;
    let timing = Timing::default();
    let mut app = App::new(engine.clone())
        .layer(Tracing)
        .layer(timing.clone())
        .layer(TenantRequired)
        .layer(from_fn(async |context: Context, next: Next| {
            let outcome = next.run(context.clone()).await;
            println!(
                "{}: {}",
                context.key(),
                if outcome.is_ok() { "ok" } else { "failed" }
            );
            outcome
        }))
        .on("views", |view: PageViewed| async move {
            println!("{} was viewed", view.path)
        })
        .start()
        .await?;
    let site = app.publisher("/site");
    site.publish(Outgoing::new(PageViewed { path: "/".into() }).extension("tenant", "acme"))
        .await?;
    site.publish(PageViewed {
        path: "/secret".into(),
    })
    .await?;
    app.settled().await?;
    for handler in timing.handlers() {
        println!(
            "{}: {} attempts in {:?}",
            handler.handler, handler.attempts, handler.total
        );
    }
    print!("{}", app.metrics().to_prometheus());
    app.stop().await?;
    engine.close().await
}
