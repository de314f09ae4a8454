//! `/v1/login`, `/v1/logout`, `/v1/session`: how people get a session, and who a caller is.

use axum::Json;
use axum::body::Body;
use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use ensue::Timestamp;
use percent_encoding::percent_decode_str;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;

use super::query::{Asked, Parameters, invalid};
use super::route::{Routes, get, post};
use crate::context::Context;
use crate::openapi::Operation as Description;
use crate::openapi::{Answer, Input, Kind, Parameter, Place, Tag, Time, Written, about};
use crate::problem::{Code, Problem};
use crate::security::{
    ATTEMPT_COOKIE, Access, Action, AttemptCookie, CALLBACK_PATH, Callback, Caller, LOGIN_PATH,
    Operation,
};

/// A page that only leads on.
const PAGE_POLICY: &str =
    "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

pub(super) fn routes(routes: Routes) -> Routes {
    let begins = about("beginLogin", "Sends a browser to the provider").refuses(OF_PROVIDERS);
    let finishes =
        about("finishLogin", "Where the provider sends the browser").refuses(OF_PROVIDERS);
    let ends = about("logOut", "Ends the session").refuses(&[Code::Forbidden, Code::NotFound]);
    let shows = about("getSession", "Says who the caller is, and what it may do");
    routes
        .tag(TAG)
        .add(LOGIN_PATH, [get(Access::Public, begins, begin)])
        .add(CALLBACK_PATH, [get(Access::Public, finishes, finish)])
        .add("/v1/logout", [post(Access::Known, ends, log_out)])
        .add("/v1/session", [get(Access::Known, shows, show)])
}

const TAG: Tag = Tag {
    name: "login",
    what: "Sessions of people, and who a caller is.",
};
/// What may be wrong with a login.
const OF_PROVIDERS: &[Code] = &[
    Code::NotFound,
    Code::LoginFailed,
    Code::IssuerUnavailable,
    Code::Unauthenticated,
];

/// The query of a login.
#[derive(Debug)]
enum Beginning {}

impl Parameters for Beginning {
    const KNOWN: &'static [&'static [Parameter]] = &[&[Parameter::new(
        "return_to",
        Kind::Text,
        "The path where the browser goes when it is back.",
    )]];
}

/// A browser goes to the provider.
struct SentAway;

impl Answer for SentAway {
    fn describe(operation: &mut Description) {
        operation
            .answers(302, "The browser goes to the provider.")
            .header("Location", "Where it goes.")
            .header("Set-Cookie", "What it comes back with.");
    }
}

/// Sends a browser to the provider.
async fn begin(
    State(context): State<Context>,
    query: Asked<Beginning>,
) -> Result<Written<SentAway>, Problem> {
    let now = context.engine().clock().now();
    let begun = context.security().begin_login(query.text("return_to"), now);
    let begun = begun.await?;
    let mut response = StatusCode::FOUND.into_response();
    set(&mut response, header::LOCATION, &begun.location)?;
    set(&mut response, header::SET_COOKIE, &begun.cookie)?;
    Ok(Written::new(response))
}

/// A browser that comes back from the provider: what the provider says, and whether it is the one that was sent.
struct Back {
    callback: Callback,
    attempt: Option<AttemptCookie>,
}

impl<S: Sync> FromRequestParts<S> for Back {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Ok(Self {
            callback: callback(&parts.uri)?,
            attempt: parts.extensions.get::<AttemptCookie>().cloned(),
        })
    }
}

impl Input for Back {
    fn describe(operation: &mut Description) {
        for (name, what) in [
            ("code", "What the provider gives for the ID token."),
            ("state", "Which login it is."),
            ("iss", "The provider."),
            ("error", "Why the provider refuses."),
        ] {
            operation.takes(Place::Query, &Parameter::new(name, Kind::Text, what));
        }
        let what = "What the browser was sent away with; without TLS its name is `ensue-login`.";
        let cookie = Parameter::new(ATTEMPT_COOKIE, Kind::Text, what);
        operation.takes(Place::Cookie, &cookie);
        operation.refuses(&[Code::InvalidParameter]);
    }
}

/// A page that leads on, with a session.
struct LoggedIn;

impl Answer for LoggedIn {
    fn describe(operation: &mut Description) {
        let page = operation.written::<String>();
        operation
            .answers(200, "The person is logged in; the page leads on.")
            .header("Set-Cookie", "The session.")
            .content("text/html", page);
    }
}

/// A browser is back from the provider.
async fn finish(
    State(context): State<Context>,
    caller: Caller,
    back: Back,
) -> Result<Written<LoggedIn>, Problem> {
    let now = context.engine().clock().now();
    let logged_in = context
        .security()
        .finish_login(back.callback, back.attempt.as_ref(), (&caller, now))
        .await?;
    note(&context, &logged_in.caller, "session.open").await?;
    let to = logged_in.return_to.replace('&', "&amp;");
    // A page, not a redirect: where it leads, the request comes from this server and not from the site of
    // the provider.
    let page = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta http-equiv=\"refresh\" content=\"0; \
         url={to}\"><title>Ensue</title><p><a href=\"{to}\">You are logged in.</a></html>\n"
    );
    let mut response = Body::from(page).into_response();
    for (name, value) in [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, PAGE_POLICY),
        (header::REFERRER_POLICY, "no-referrer"),
    ] {
        set(&mut response, name, value)?;
    }
    for cookie in &logged_in.cookies {
        set(&mut response, header::SET_COOKIE, cookie)?;
    }
    Ok(Written::new(response))
}

/// The query of a logout.
#[derive(Debug)]
enum Ending {}

impl Parameters for Ending {
    const KNOWN: &'static [&'static [Parameter]] = &[&[Parameter::new(
        "everywhere",
        Kind::Flag,
        "`true`: all sessions of the person on this server.",
    )]];
}

/// A session is over.
struct Ended;

impl Answer for Ended {
    fn describe(operation: &mut Description) {
        operation
            .answers(204, "The session is over.")
            .header("Set-Cookie", "What removes it.");
    }
}

/// Ends the session of the request, or all of the person's.
async fn log_out(
    State(context): State<Context>,
    caller: Caller,
    query: Asked<Ending>,
) -> Result<Written<Ended>, Problem> {
    let everywhere = query.value("everywhere", "expected true or false")?;
    let cookie = context
        .security()
        .log_out(&caller, everywhere.unwrap_or(false))?;
    note(&context, &caller, "session.close").await?;
    let mut response = StatusCode::NO_CONTENT.into_response();
    set(&mut response, header::SET_COOKIE, &cookie)?;
    Ok(Written::new(response))
}

/// Who a caller is, and what they may do.
#[derive(Serialize, JsonSchema)]
struct Session {
    caller: String,
    /// `session`, `token`, `jwt`, `certificate`, or `reach` on a server that asks for nothing.
    known_by: &'static str,
    /// When the session ends, used or not.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Time")]
    ends: Option<Timestamp>,
    /// Whether the caller is the owner of the server, for all that it can tell.
    everything: bool,
    publish: Vec<String>,
    read: Vec<String>,
    consume: Vec<String>,
    operate: Vec<String>,
    admin: bool,
}

async fn show(State(context): State<Context>, caller: Caller) -> Json<Session> {
    Json(Session {
        caller: caller.name().to_owned(),
        known_by: caller.known_by(),
        ends: context.security().session_ends(&caller),
        everything: caller.may_everything(),
        publish: caller.patterns(Action::Publish),
        read: caller.patterns(Action::Read),
        consume: caller.patterns(Action::Consume),
        operate: caller.patterns(Action::Operate),
        admin: caller.is_admin(),
    })
}

async fn note(context: &Context, caller: &Caller, action: &'static str) -> Result<(), Problem> {
    let Some(trail) = context.trail() else {
        return Ok(());
    };
    let operation = Operation::new(action, json!({}));
    trail.note(context.engine(), caller, operation).await
}

/// What the provider says. It may say more than is known here.
fn callback(uri: &Uri) -> Result<Callback, Problem> {
    let mut callback = Callback::default();
    let pairs = uri.query().unwrap_or_default().split('&');
    for pair in pairs {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let place = match name {
            "code" => &mut callback.code,
            "state" => &mut callback.state,
            "iss" => &mut callback.issuer,
            "error" => &mut callback.error,
            _ => continue,
        };
        let value = value.replace('+', " ");
        let value = percent_decode_str(&value).decode_utf8();
        let value = value.map_err(|_| invalid(name, "is not UTF-8 once it is percent-decoded"))?;
        if place.replace(value.into_owned()).is_some() {
            return Err(invalid(name, "is there twice; expected once"));
        }
    }
    Ok(callback)
}

fn set(response: &mut Response, name: HeaderName, value: &str) -> Result<(), Problem> {
    let value = HeaderValue::from_str(value).map_err(|_| {
        let detail = format!("the header `{name}` cannot be written");
        Problem::new(Code::Internal, detail)
    })?;
    response.headers_mut().append(name, value);
    Ok(())
}
