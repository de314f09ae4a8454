//! An aggregate: state that decides, by many at the same time, and no booking is lost or made twice.
//!
//! Eight tellers of one theatre sell the same ten seats; each decision is made on all that was decided
//! before, and a seat that is gone is a refusal.
//!
//! `cargo run -p ensue --example 09_aggregate`

use ensue::prelude::*;
use tokio::task::JoinSet;

#[derive(Event, Serialize, Deserialize)]
#[event(type = "seat.booked", topic = "shows")]
struct SeatBooked {
    seat: u32,
    teller: u32,
}

/// The state: who has sold which seat.
#[derive(Default, Serialize, Deserialize)]
struct Show {
    sold: Vec<(u32, u32)>,
}

#[aggregate]
impl Show {
    #[apply]
    fn seat_booked(&mut self, SeatBooked { seat, teller }: SeatBooked) {
        self.sold.push((seat, teller));
    }

    /// A decision: what follows, or why not.
    fn book(&self, seat: u32, teller: u32) -> Result<SeatBooked, String> {
        match self.sold.iter().find(|(sold, _)| *sold == seat) {
            None => Ok(SeatBooked { seat, teller }),
            Some((_, by)) => Err(format!("teller {by} has sold seat {seat}")),
        }
    }
}

#[tokio::main]
async fn main() -> ensue::Result<()> {
    let engine = Engine::open("memory:").await?;
    let mut tellers = JoinSet::new();
    for teller in 0..8 {
        let shows = engine.aggregates::<Show>("/theatre"); // one each, as in processes of their own
        tellers.spawn(async move {
            for seat in 0..10 {
                match shows
                    .decide("hamlet", |show| show.book(seat, teller))
                    .await?
                {
                    Ok(receipt) => println!(
                        "teller {teller} sells seat {seat}, version {}",
                        receipt.version
                    ),
                    Err(refusal) => println!("teller {teller} is told that {refusal}"),
                }
            }
            Ok::<_, ensue::Error>(())
        });
    }
    for sold in tellers.join_all().await {
        sold?;
    }
    let show = engine.aggregates::<Show>("/theatre").load("hamlet").await?;
    println!("{} seats sold, each once", show.state.sold.len());
    assert_eq!((show.state.sold.len(), show.version), (10, 10));
    engine.close().await
}
