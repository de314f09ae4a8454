//! Parcels over HTTP: scans come in through axum, questions are answered from state, and the running
//! app is operated from the same process.
//!
//! ```console
//! $ cargo run -p parcels
//! $ curl -X PUT localhost:3000/depots/Leipzig
//! $ curl -X POST localhost:3000/parcels/p-1/scans -H 'content-type: application/json' -d '"Leipzig"'
//! $ curl localhost:3000/parcels/p-1
//! {"places":["Leipzig"]}
//! $ curl localhost:3000/dead
//! $ curl -X POST localhost:3000/dead/redrive
//! ```

#![allow(clippy::disallowed_types, reason = "it serves HTTP")]

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError, RwLock};

use axum::extract::{Path, State as Held};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
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

/// The depots that scans may come from, which are kept elsewhere.
#[derive(Clone, Debug, Default)]
struct Depots(Arc<RwLock<BTreeSet<String>>>);

impl Depots {
    fn add(&self, name: String) {
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        all.insert(name);
    }

    fn has(&self, name: &str) -> bool {
        let all = self.0.read().unwrap_or_else(PoisonError::into_inner);
        all.contains(name)
    }
}

struct Tracking {
    depots: Depots,
}

#[service(attempts = 3, backoff = "100ms..1s")]
impl Tracking {
    #[on]
    async fn follow(&self, scan: ParcelScanned, ctx: Context) -> anyhow::Result<Effects> {
        let mut route: Route = ctx.state().await?.unwrap_or_default();
        // Another attempt finds none either: someone has to add it, and to redrive. Until then later scans
        // of the parcel wait, in their order.
        anyhow::ensure!(
            self.depots.has(&scan.place),
            Rejection::new(format!("there is no depot `{}`", scan.place))
        );
        route.places.push(scan.place);
        Ok(Effects::none().set_state(route))
    }
}

/// What answers requests.
#[derive(Clone)]
struct Front {
    engine: Engine,
    depots: Depots,
}

/// Answers when the scan is durable; the service follows. What a client can do wrong is refused here,
/// before it is an event.
async fn scan(
    Held(Front { engine, .. }): Held<Front>,
    Path(parcel_id): Path<String>,
    Json(place): Json<String>,
) -> Result<StatusCode, Problem> {
    if place.is_empty() {
        return Ok(StatusCode::BAD_REQUEST);
    }
    engine.publish(ParcelScanned { parcel_id, place }).await?;
    Ok(StatusCode::ACCEPTED)
}

/// A question that puts nothing into the log.
async fn route(
    Held(Front { engine, .. }): Held<Front>,
    Path(parcel_id): Path<String>,
) -> Result<Response, Problem> {
    let route: Option<Route> = engine.state(Tracking::NAME, PARCELS, &parcel_id).await?;
    Ok(match route {
        Some(route) => Json(route).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    })
}

async fn add_depot(Held(front): Held<Front>, Path(name): Path<String>) {
    front.depots.add(name);
}

/// What could not be handled, and why.
async fn dead(Held(Front { engine, .. }): Held<Front>) -> Result<Json<Vec<String>>, Problem> {
    let all = DeadLetterFilter::default();
    let dead = engine.dead_letters(Some(Tracking::NAME), all).await?;
    let line = |it: &ensue::engine::DeadLetter| format!("{}: {}", it.key, it.reason);
    Ok(Json(dead.iter().map(line).collect()))
}

/// Hands all of it back to the running service.
async fn redrive(Held(Front { engine, .. }): Held<Front>) -> Result<Json<usize>, Problem> {
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
    let depots = Depots::default();
    let tracking = Tracking {
        depots: depots.clone(),
    };
    let mut app = App::new(engine.clone()).service(tracking).start().await?;
    let front = Front {
        engine: engine.clone(),
        depots,
    };
    let router = Router::new()
        .route("/depots/{name}", put(add_depot))
        .route("/parcels/{parcel_id}", get(route))
        .route("/parcels/{parcel_id}/scans", post(scan))
        .route("/dead", get(dead))
        .route("/dead/redrive", post(redrive))
        .with_state(front);
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
        let depots = Depots::default();
        let tracking = Tracking {
            depots: depots.clone(),
        };
        let mut app = App::new(engine.clone()).service(tracking).start().await?;
        let held = || {
            let (engine, depots) = (engine.clone(), depots.clone());
            Held(Front { engine, depots })
        };
        let parcel = |id: &str| Path(id.to_owned());
        for name in ["Leipzig", "Oslo"] {
            add_depot(held(), Path(name.to_owned())).await;
        }
        let slip = scan(held(), parcel("p-1"), Json(String::new())).await?;
        assert_eq!(slip, StatusCode::BAD_REQUEST);
        for (id, place) in [
            ("p-1", "Leipzig"),
            ("p-2", "Bergen"),
            ("p-2", "Oslo"),
            ("p-1", "Oslo"),
        ] {
            scan(held(), parcel(id), Json(place.to_owned())).await?;
        }
        app.settled().await?;
        let found: Option<Route> = engine.state(Tracking::NAME, PARCELS, "p-1").await?;
        let places = ["Leipzig", "Oslo"].map(str::to_owned).to_vec();
        assert_eq!(found, Some(Route { places }));
        assert_eq!(route(held(), parcel("p-1")).await?.status(), StatusCode::OK);
        let unknown = route(held(), parcel("p-9")).await?;
        assert_eq!(unknown.status(), StatusCode::NOT_FOUND);
        assert_eq!(dead(held()).await?.0, ["p-2: there is no depot `Bergen`"]);
        add_depot(held(), Path("Bergen".to_owned())).await;
        assert_eq!(redrive(held()).await?.0, 1);
        app.settled().await?;
        let found: Option<Route> = engine.state(Tracking::NAME, PARCELS, "p-2").await?;
        let places = ["Bergen", "Oslo"].map(str::to_owned).to_vec();
        assert_eq!(found, Some(Route { places }), "the later scan has waited");
        Ok(app.stop().await?)
    }
}
