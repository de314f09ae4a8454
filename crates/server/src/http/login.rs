//! `/v1/login`, `/v1/logout`, `/v1/session`: how people get a session, and who a caller is.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use ensue::Timestamp;
use percent_encoding::percent_decode_str;
use serde::Serialize;
use serde_json::json;

use super::query::{Query, invalid};
use super::route::{Routes, get, post};
use crate::context::Context;
use crate::problem::{Code, Problem};
use crate::security::{
    Access, Action, AttemptCookie, CALLBACK_PATH, Callback, Caller, LOGIN_PATH, Operation,
};

/// A page that only leads on.
const PAGE_POLICY: &str =
    "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

pub(super) fn routes(routes: Routes) -> Routes {
    routes
        .add(LOGIN_PATH, [get(Access::Public, begin)])
        .add(CALLBACK_PATH, [get(Access::Public, finish)])
        .add("/v1/logout", [post(Access::Known, log_out)])
        .add("/v1/session", [get(Access::Known, show)])
}

/// Sends a browser to the provider.
async fn begin(State(context): State<Context>, uri: Uri) -> Result<Response, Problem> {
    let query = Query::of(&uri, &["return_to"])?;
    let now = context.engine().clock().now();
    let begun = context.security().begin_login(query.text("return_to"), now);
    let begun = begun.await?;
    let mut response = StatusCode::FOUND.into_response();
    set(&mut response, header::LOCATION, &begun.location)?;
    set(&mut response, header::SET_COOKIE, &begun.cookie)?;
    Ok(response)
}

/// A browser is back from the provider.
async fn finish(
    State(context): State<Context>,
    caller: Caller,
    request: Request,
) -> Result<Response, Problem> {
    let callback = callback(request.uri())?;
    let attempt = request.extensions().get::<AttemptCookie>().cloned();
    let now = context.engine().clock().now();
    let logged_in = context
        .security()
        .finish_login(callback, attempt.as_ref(), (&caller, now))
        .await?;
    note(&context, &logged_in.caller, "session.open").await?;
    let to = logged_in.return_to.replace('&', "&amp;");
    // A page, not a redirect: where it leads, the request comes from this server and not from the site of
    // the provider.
    let page = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta http-equiv=\"refresh\" content=\"0; \
         url={to}\"><title>Ensue</title><p><a href=\"{to}\">You are logged in.</a></html>\n"
    );
    let mut response = page.into_response();
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
    Ok(response)
}

/// Ends the session of the request, or all of the person's.
async fn log_out(
    State(context): State<Context>,
    caller: Caller,
    uri: Uri,
) -> Result<Response, Problem> {
    let query = Query::of(&uri, &["everywhere"])?;
    let everywhere = query.value("everywhere", "expected true or false")?;
    let cookie = context
        .security()
        .log_out(&caller, everywhere.unwrap_or(false))?;
    note(&context, &caller, "session.close").await?;
    let mut response = StatusCode::NO_CONTENT.into_response();
    set(&mut response, header::SET_COOKIE, &cookie)?;
    Ok(response)
}

/// Who a caller is, and what they may do.
#[derive(Serialize)]
struct Session {
    caller: String,
    /// `session`, `token`, `jwt`, `certificate`, or `reach` on a server that asks for nothing.
    known_by: &'static str,
    /// When the session ends, used or not.
    #[serde(skip_serializing_if = "Option::is_none")]
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
