//! `/v1/dead-letters` and those of a group: listing, showing, redriving, discarding.

use axum::Json;
use axum::extract::State;
use ensue::engine::DeadLetterFilter;
use ensue::{Position, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;

use super::audited::{Loss, Why, audited};
use super::json::JsonBody;
use super::letter::{self, LISTED_MAX, Letter};
use super::path::Path;
use super::place::Place;
use super::query::{Asked, Parameters, invalid};
use super::route::{Routes, get, post};
use super::{deadline, groups};
use crate::context::Context;
use crate::openapi::{AnyEvent, Kind, Parameter, Tag, Time, about};
use crate::problem::{Code, Problem};
use crate::security::{Access, Action, Caller, Operation};

const TAG: Tag = Tag {
    name: "dead letters",
    what: "Events that a group could not handle, and what becomes of them.",
};

pub(super) fn routes(routes: Routes) -> Routes {
    let operate = Access::May(Action::Operate);
    let lists = about("listDeadLetters", "Lists dead letters")
        .refuses(&[Code::UnknownGroup, Code::Forbidden]);
    let redrives = about(
        "redriveDeadLetters",
        "Hands dead letters back to their group, before what is parked behind them",
    )
    .refuses(&[Code::UnknownGroup, Code::NoDeadLetter]);
    let discards = about(
        "discardDeadLetters",
        "Gives dead letters up for good; what is parked behind them goes on",
    )
    .refuses(&[Code::UnknownGroup, Code::NoDeadLetter]);
    let shows = about("getDeadLetter", "Shows a dead letter with its event").refuses(&[
        Code::UnknownGroup,
        Code::NoDeadLetter,
        Code::Forbidden,
    ]);
    routes
        .tag(TAG)
        .add("/v1/dead-letters", [get(Access::Known, lists, list)])
        .add(
            "/v1/groups/{group}/dead-letters/redrive",
            [post(operate, redrives, redrive)],
        )
        .add(
            "/v1/groups/{group}/dead-letters/discard",
            [post(operate, discards, discard)],
        )
        .add(
            "/v1/groups/{group}/dead-letters/{position}",
            [get(Access::Known, shows, show)],
        )
}

/// The query of a list.
#[derive(Debug)]
enum Listing {}

impl Parameters for Listing {
    const KNOWN: &'static [&'static [Parameter]] = &[&[
        Parameter::new("group", Kind::Name, "Those of this group."),
        Parameter::new(
            "id",
            Kind::Text,
            "An event's id; several times for several.",
        )
        .repeatable(),
        Parameter::new("source", Kind::Text, "An event's source."),
        Parameter::new(
            "type",
            Kind::Text,
            "An event's type; several times for several.",
        )
        .repeatable(),
        Parameter::new("key", Kind::Text, "An event's key."),
        Parameter::new("reason", Kind::Text, "A part of the reason."),
        Parameter::new("since", Kind::Time, "Those that died then or later."),
        letter::LIMIT,
    ]];
}

/// Dead letters.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "DeadLetters")]
struct Letters {
    dead_letters: Vec<Letter>,
    /// Whether there are more.
    more: bool,
}

async fn list(
    State(context): State<Context>,
    caller: Caller,
    query: Asked<Listing>,
) -> Result<Json<Letters>, Problem> {
    let limit = letter::limit(&query)?;
    let text = |name: &str| query.text(name).map(str::to_owned);
    let filter = DeadLetterFilter {
        positions: Vec::new(),
        ids: query.texts("id").map(str::to_owned).collect(),
        source: text("source"),
        types: query.texts("type").map(str::to_owned).collect(),
        key: text("key"),
        reason: text("reason"),
        since: query.value("since", "expected a time such as 2030-01-31T12:00:00Z")?,
        limit: 0,
    };
    let groups = match query.text("group") {
        Some(group) => {
            groups::must_handle(&context, &caller, group).await?;
            vec![Some(group.to_owned())]
        }
        None => context.groups_with_letters(&caller).await?,
    };
    let (mut letters, mut is_more) = (Vec::new(), false);
    for group in groups {
        let left = limit - letters.len();
        let filter = DeadLetterFilter {
            limit: left + 1,
            ..filter.clone()
        };
        let (found, more) = listed(&context, group.as_deref(), filter, left).await?;
        letters.extend(found);
        if more {
            is_more = true;
            break;
        }
    }
    Ok(Json(Letters {
        dead_letters: letters,
        more: is_more,
    }))
}

/// Up to `limit` letters, and whether there are more.
async fn listed(
    context: &Context,
    group: Option<&str>,
    filter: DeadLetterFilter,
    limit: usize,
) -> Result<(Vec<Letter>, bool), Problem> {
    let _turn = context.turn_to_list().await;
    let letters = context.engine().dead_letters(group, filter);
    let letters = deadline::within(context, letters).await?;
    let is_more = letters.len() > limit;
    Ok((
        letters.iter().take(limit).map(Letter::of).collect(),
        is_more,
    ))
}

// Not made with `json!`, which would read payloads and write them again in its own words.
/// A dead letter and its event, if the caller may read it.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "DeadLetterWithEvent")]
struct Shown {
    dead_letter: Letter,
    #[schemars(with = "Option<AnyEvent>")]
    event: Option<Box<RawValue>>,
}

async fn show(
    State(context): State<Context>,
    caller: Caller,
    Path((group, position)): Path<(String, String)>,
) -> Result<Json<Shown>, Problem> {
    let number = position
        .parse()
        .map_err(|_| invalid("position", "is not a number"))?;
    groups::must_handle(&context, &caller, &group).await?;
    let filter = DeadLetterFilter {
        positions: vec![Position::new(number)],
        ..DeadLetterFilter::default()
    };
    let letters = context.engine().dead_letters(Some(&group), filter);
    let letters = deadline::within(&context, letters).await?;
    let Some(found) = letters.first() else {
        return Err(Problem::new(
            Code::NoDeadLetter,
            format!("the group `{group}` has no dead letter at position {number}"),
        ));
    };
    let event = if caller.may(Action::Read, &found.topic) {
        letter::event(&caller, &found.envelope).0
    } else {
        None
    };
    Ok(Json(Shown {
        dead_letter: Letter::of(found),
        event,
    }))
}

/// Which dead letters of a group, all of which has to hold; and whether only to say which.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "DeadLetterSelection")]
struct Selection {
    /// All of them: instead of everything below.
    all: bool,
    positions: Vec<Place>,
    ids: Vec<String>,
    source: Option<String>,
    types: Vec<String>,
    key: Option<String>,
    /// A part of the reason.
    reason: Option<String>,
    /// Those that died then or later.
    #[schemars(with = "Option<Time>")]
    since: Option<Timestamp>,
    /// How many at the most; 0 is any number.
    limit: usize,
    /// Only say which they are.
    dry_run: bool,
}

impl Selection {
    /// The engine's form of the restrictions; all letters must be asked for by name.
    fn filter(&self) -> Result<DeadLetterFilter, Problem> {
        let filter = DeadLetterFilter {
            positions: self.positions.iter().map(|place| place.0).collect(),
            ids: self.ids.clone(),
            source: self.source.clone(),
            types: self.types.clone(),
            key: self.key.clone(),
            reason: self.reason.clone(),
            since: self.since,
            limit: self.limit,
        };
        if self.all != filter.is_unrestricted() {
            let detail = "which dead letters? restrict them by `positions`, `ids`, `source`, `types`, `key`, \
                          `reason`, `since` or `limit`, or say `\"all\": true`, and not both";
            return Err(Problem::new(Code::InvalidBody, detail));
        }
        Ok(filter)
    }
}

#[derive(Clone, Copy)]
enum Fate {
    Redrive,
    Discard,
}

/// What happened, or would happen, to how many.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "DeadLetterOutcome")]
struct Outcome {
    group: String,
    dry_run: bool,
    /// How many dead letters.
    count: usize,
    /// Which they would be: what a dry run found, to be given as `positions`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Vec<Letter>")]
    dead_letters: Option<Vec<Letter>>,
    /// Whether there are more than a dry run shows.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "bool")]
    more: Option<bool>,
}

async fn redrive(
    State(context): State<Context>,
    caller: Caller,
    Path(group): Path<String>,
    why: Why,
    body: JsonBody<Selection>,
) -> Result<Json<Outcome>, Problem> {
    settle(&context, &caller, group, (why, body), Fate::Redrive).await
}

async fn discard(
    State(context): State<Context>,
    caller: Caller,
    Path(group): Path<String>,
    why: Why,
    body: JsonBody<Selection>,
) -> Result<Json<Outcome>, Problem> {
    settle(&context, &caller, group, (why, body), Fate::Discard).await
}

async fn settle(
    context: &Context,
    caller: &Caller,
    group: String,
    (why, body): (Why, JsonBody<Selection>),
    fate: Fate,
) -> Result<Json<Outcome>, Problem> {
    groups::must_operate(context, caller, &group).await?;
    let selection = body.read(context).await?;
    let mut filter = selection.filter()?;
    if selection.dry_run {
        let limit = match filter.limit {
            0 => LISTED_MAX,
            limit => limit.min(LISTED_MAX),
        };
        let is_cut = filter.limit == 0 || filter.limit > LISTED_MAX;
        filter.limit = limit + usize::from(is_cut);
        let (letters, is_more) = listed(context, Some(&group), filter, limit).await?;
        return Ok(Json(Outcome {
            group,
            dry_run: true,
            count: letters.len(),
            dead_letters: Some(letters),
            more: Some(is_more),
        }));
    }
    let engine = context.engine();
    let (action, loss) = match fate {
        Fate::Redrive => ("dead_letters.redrive", Loss::Nothing),
        Fate::Discard => ("dead_letters.discard", Loss::Something),
    };
    let target = json!({ "group": group, "selection": selection });
    let work = async {
        let count = match fate {
            Fate::Redrive => deadline::within(context, engine.redrive(&group, filter)).await?,
            Fate::Discard => deadline::within(context, engine.discard(&group, filter)).await?,
        };
        Ok(Outcome {
            group: group.clone(),
            dry_run: false,
            count,
            dead_letters: None,
            more: None,
        })
    };
    let operation = Operation::new(action, target);
    let done = audited(context, caller, operation, (&why, loss), work).await;
    done.map(Json)
}
