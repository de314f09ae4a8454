//! A handler that fails, its further attempts, its dead letter, and handing it back.
//!
//! `cargo run --example 03_retry_and_dead_letter`

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ensue::engine::DeadLetterFilter;
use ensue::prelude::*;

#[derive(Event, Serialize, Deserialize)]
#[event(type = "mail.requested", topic = "mails", key = to)]
struct MailRequested {
    to: String,
    text: String,
}

struct Mailer {
    server_is_up: Arc<AtomicBool>,
}

#[service]
impl Mailer {
    #[on(attempts = 3, backoff = "50ms..200ms")]
    async fn send(&self, mail: MailRequested, context: &Context) -> Result<(), Failure> {
        if !self.server_is_up.load(Ordering::Relaxed) {
            println!(
                "attempt {} for {}: the server is down",
                context.attempt(),
                mail.to
            );
            return Err(Failure::retry("the mail server is down"));
        }
        println!("sent to {}: {}", mail.to, mail.text);
        Ok(())
    }
}

#[tokio::main]
async fn main() -> ensue::Result<()> {
    let engine = Engine::open("memory:").await?;
    let server_is_up = Arc::new(AtomicBool::new(false));
    let mailer = Mailer {
        server_is_up: server_is_up.clone(),
    };
    let mut app = App::new(engine.clone()).service(mailer).start().await?;
    let publisher = app.publisher("/shop");
    for (to, text) in [
        ("ann", "first"),
        ("ann", "second, which waits behind the first"),
    ] {
        publisher
            .publish(MailRequested {
                to: to.into(),
                text: text.into(),
            })
            .await?;
    }

    let all = DeadLetterFilter::default();
    app.settled().await?; // a dead letter is an end, if a bad one
    for dead in engine.dead_letters(None, all.clone()).await? {
        let kind = &dead.event_type;
        println!(
            "dead after {} attempts: {kind}: {}",
            dead.attempts, dead.reason
        );
    }

    println!("the server is up again: redrive");
    server_is_up.store(true, Ordering::Relaxed);
    engine.redrive("mailer", all).await?;
    app.settled().await?;
    app.stop().await?;
    engine.close().await
}
