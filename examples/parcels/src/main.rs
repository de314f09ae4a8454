//! Parcels over HTTP: scans come in through axum, questions are answered from state, and the running
//! app is operated from the same process.
//!
//! ```console
//! $ cargo run -p parcels
//! $ curl -X POST localhost:3000/parcels/p-1/scans -H 'content-type: application/json' -d '"Leipzig"'
//! $ curl localhost:3000/parcels/p-1
//! {"places":["Leipzig"]}
//! $ curl localhost:3000/dead
//! $ curl -X POST localhost:3000/dead/redrive
//! ```

#![allow(clippy::disallowed_types, reason = "it serves HTTP")]

use axum::extract::{Path, State as Held};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use ensue::engine::DeadLetterFilter;
use ensue::prelude::*;

/// The topic of [`ParcelScanned`]: state belongs to topic and key.
const PARCELS: &str = "parcels";

#[derive(Event, Serialize, Deserialize)]
#[event(type = "parcel.scanned", topic = "parcels", key = parcel_id)]
struct ParcelScanned {
    parcel_id: String,
    place: String,
}

/// Where a parcel has been: what the service remembers of each.
#[derive(State, Serialize, Deserialize, Debug, Default, PartialEq)]
#[state(name = "route")]
struct Route {
    places: Vec<String>,
}

struct Tracking;

#[service(attempts = 3, backoff = "100ms..1s")]
impl Tracking {
    #[on]
    async fn follow(&self, scan: ParcelScanned, ctx: Context) -> anyhow::Result<Effects> {
        let mut route: Route = ctx.state().await?.unwrap_or_default();
        anyhow::ensure!(
            !scan.place.is_empty(),
            Rejection::new("a scan without a place")
        );
        route.places.push(scan.place);
        Ok(Effects::none().set_state(route))
    }
}

/// Answers when the scan is durable; the service follows.
async fn scan(
    Held(engine): Held<Engine>,
    Path(parcel_id): Path<String>,
    Json(place): Json<String>,
) -> Result<StatusCode, Problem> {
    engine.publish(ParcelScanned { parcel_id, place }).await?;
    Ok(StatusCode::ACCEPTED)
}

/// A question that puts nothing into the log.
async fn route(
    Held(engine): Held<Engine>,
    Path(parcel_id): Path<String>,
) -> Result<Response, Problem> {
    let route: Option<Route> = engine.state(Tracking::NAME, PARCELS, &parcel_id).await?;
    Ok(match route {
        Some(route) => Json(route).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    })
}

/// What could not be handled, and why.
async fn dead(Held(engine): Held<Engine>) -> Result<Json<Vec<String>>, Problem> {
    let all = DeadLetterFilter::default();
    let dead = engine.dead_letters(Some(Tracking::NAME), all).await?;
    let line = |it: &ensue::engine::DeadLetter| format!("{}: {}", it.key, it.reason);
    Ok(Json(dead.iter().map(line).collect()))
}

/// Hands all of it back to the running service.
async fn redrive(Held(engine): Held<Engine>) -> Result<Json<usize>, Problem> {
    let all = DeadLetterFilter::default();
    Ok(Json(engine.redrive(Tracking::NAME, all).await?))
}

/// Any error, as an answer.
#[derive(Debug)]
struct Problem(anyhow::Error);

impl<E: Into<anyhow::Error>> From<E> for Problem {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let text = format!("{:#}\n", self.0);
        (StatusCode::INTERNAL_SERVER_ERROR, text).into_response()
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let engine = Engine::open("embedded:./data/parcels").await?;
    let mut app = App::new(engine.clone()).service(Tracking).start().await?;
    let router = Router::new()
        .route("/parcels/{parcel_id}", get(route))
        .route("/parcels/{parcel_id}/scans", post(scan))
        .route("/dead", get(dead))
        .route("/dead/redrive", post(redrive))
        .with_state(engine.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    let serving = axum::serve(listener, router).with_graceful_shutdown(ensue::asked_to_stop());
    tokio::select! {
        served = serving => served?,
        failed = app.failed() => return Err(failed.into()),
    }
    app.stop().await?;
    Ok(engine.close().await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_question_is_answered_from_state_and_a_dead_letter_is_redriven() -> Result<(), Problem>
    {
        let engine = Engine::open("memory:").await?;
        let mut app = App::new(engine.clone()).service(Tracking).start().await?;
        let held = || Held(engine.clone());
        let parcel = |id: &str| Path(id.to_owned());
        for (id, place) in [("p-1", "Leipzig"), ("p-2", ""), ("p-1", "Oslo")] {
            scan(held(), parcel(id), Json(place.to_owned())).await?;
        }
        app.settled().await?;
        let found: Option<Route> = engine.state(Tracking::NAME, PARCELS, "p-1").await?;
        let places = ["Leipzig", "Oslo"].map(str::to_owned).to_vec();
        assert_eq!(found, Some(Route { places }));
        assert_eq!(route(held(), parcel("p-1")).await?.status(), StatusCode::OK);
        let unknown = route(held(), parcel("p-9")).await?;
        assert_eq!(unknown.status(), StatusCode::NOT_FOUND);
        assert_eq!(dead(held()).await?.0, ["p-2: a scan without a place"]);
        assert_eq!(redrive(held()).await?.0, 1);
        app.settled().await?;
        assert_eq!(dead(held()).await?.0.len(), 1, "it still has no place");
        Ok(app.stop().await?)
    }
}
