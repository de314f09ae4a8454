//! The fields that several requests have alike.

use super::form::Form;
use super::problem::Problem;
use crate::email::Email;
use crate::ids::UserId;
use crate::secrets::{Password, PasswordProblem};

/// `{email, password}`.
pub(super) fn credentials(
    body: &[u8],
    check: fn(String) -> Result<Password, PasswordProblem>,
) -> Result<(Email, Password), Problem> {
    let mut form = Form::parse(body)?;
    let email = form.parsed("email");
    let password = form.password("password", check);
    form.finish(email.zip(password))
}

/// `{user, secret, password}`: what the link in a mail has, and the password from now on.
pub(super) fn from_link(body: &[u8]) -> Result<(UserId, String, Password), Problem> {
    let mut form = Form::parse(body)?;
    let (user, secret) = (form.parsed("user"), form.text("secret"));
    let password = form.password("password", Password::chosen);
    let ((user, secret), password) = form.finish(user.zip(secret).zip(password))?;
    Ok((user, secret, password))
}
