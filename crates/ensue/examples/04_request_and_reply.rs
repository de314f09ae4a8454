//! Asking a service and waiting for its answer, or for its refusal.
//!
//! `cargo run --example 04_request_and_reply`

use std::time::Duration;

use ensue::prelude::*;

#[derive(Event, Serialize, Deserialize)]
#[event(type = "quote.requested", topic = "quotes")]
struct QuoteRequested {
    item: String,
}

#[derive(Event, Serialize, Deserialize)]
#[event(type = "quote.given", topic = "quotes")]
struct QuoteGiven {
    cents: u64,
}

struct Prices;

#[service]
impl Prices {
    #[on]
    async fn quote(&self, request: QuoteRequested) -> Result<Reply<QuoteGiven>, Failure> {
        match request.item.as_str() {
            "tea" => Ok(Reply(QuoteGiven { cents: 320 })),
            "coffee" => Ok(Reply(QuoteGiven { cents: 410 })),
            other => Err(Failure::reject(format!("we do not sell {other}"))),
        }
    }
}

#[tokio::main]
async fn main() -> ensue::Result<()> {
    let engine = Engine::open("memory:").await?;
    let app = App::new(engine.clone()).service(Prices).start().await?;
    let requester = engine.requester("/till");
    for item in ["tea", "gold", "coffee"] {
        let request = QuoteRequested { item: item.into() };
        match requester
            .request::<QuoteGiven>(request, Duration::from_secs(5))
            .await
        {
            Ok(quote) => println!("{item}: {} cents", quote.cents),
            Err(error) => println!("{item}: {error}"),
        }
    }
    app.stop().await?;
    engine.close().await
}
