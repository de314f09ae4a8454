//! Passwords.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use super::super::body::Body;
use super::super::fields::from_link;
use super::super::form::Form;
use super::super::origin::Origin;
use super::super::problem::Problem;
use super::super::session::InSession;
use super::super::site::Site;
use super::users::mailed;
use crate::email::Email;
use crate::secrets::Password;

/// `{old, new}`.
pub(super) async fn change(
    State(site): State<Site>,
    InSession(caller): InSession,
    origin: Origin,
    Body(body): Body,
) -> Result<StatusCode, Problem> {
    origin.admit(&site)?;
    let mut form = Form::parse(&body)?;
    let old = form.password("old", Password::tried);
    let new = form.password("new", Password::chosen);
    let (old, new) = form.finish(old.zip(new))?;
    site.0
        .accounts
        .change_password(&caller, old, new, &origin.text())
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `{email}`: the answer is the same whether there is such a user or not.
pub(super) async fn ask_reset(
    State(site): State<Site>,
    origin: Origin,
    Body(body): Body,
) -> Result<Response, Problem> {
    origin.admit(&site)?;
    let mut form = Form::parse(&body)?;
    let email = form.parsed::<Email>("email");
    let email = form.finish(email)?;
    site.0.accounts.request_reset(&email).await?;
    Ok(mailed())
}

/// `{user, secret, password}`, from the link in the mail.
pub(super) async fn reset(
    State(site): State<Site>,
    origin: Origin,
    Body(body): Body,
) -> Result<StatusCode, Problem> {
    origin.admit(&site)?;
    let (user, secret, password) = from_link(&body)?;
    site.0
        .accounts
        .reset_password(&user, &secret, password, &origin.text())
        .await?;
    Ok(StatusCode::NO_CONTENT)
}
