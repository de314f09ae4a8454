//! The body of a request as JSON.

use std::convert::Infallible;
use std::marker::PhantomData;

use axum::extract::{FromRequest, Request};
use axum::http::header;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use super::body;
use crate::context::Context;
use crate::openapi::{BODY, Input, Operation};
use crate::problem::{Code, Problem};

const CONTENT_TYPE: &str = "application/json";

/// A body that is a `T` in JSON, and not read yet: who may send it is looked at first.
#[derive(Debug)]
pub(super) struct JsonBody<T>(Request, PhantomData<T>);

/// The same where it may be left out.
#[derive(Debug)]
pub(super) struct OptionalJson<T>(JsonBody<T>);

impl<T: DeserializeOwned> JsonBody<T> {
    /// Reads it.
    pub(super) async fn read(self, context: &Context) -> Result<T, Problem> {
        let (parts, body) = self.0.into_parts();
        let content_type = parts.headers.get(header::CONTENT_TYPE);
        let text = content_type
            .and_then(|it| it.to_str().ok())
            .unwrap_or_default();
        let media = text.split(';').next().unwrap_or_default().trim();
        if !media.eq_ignore_ascii_case(CONTENT_TYPE) {
            return Err(Problem::new(
                Code::UnsupportedMediaType,
                "the body has to be JSON: send the header `content-type: application/json`",
            ));
        }
        let whole = body::read(context, &parts.headers, body).await?;
        serde_json::from_slice(whole.as_ref()).map_err(|error| {
            Problem::new(
                Code::InvalidBody,
                format!("the body cannot be read: {error}"),
            )
        })
    }
}

impl<T: DeserializeOwned + Default> OptionalJson<T> {
    /// Reads it, if there is one.
    pub(super) async fn read(self, context: &Context) -> Result<T, Problem> {
        let request = &self.0.0;
        if request.headers().contains_key(header::CONTENT_TYPE) {
            self.0.read(context).await
        } else {
            Ok(T::default())
        }
    }
}

impl<S: Sync, T> FromRequest<S> for JsonBody<T> {
    type Rejection = Infallible;

    async fn from_request(request: Request, _: &S) -> Result<Self, Infallible> {
        Ok(Self(request, PhantomData))
    }
}

impl<S: Sync, T> FromRequest<S> for OptionalJson<T> {
    type Rejection = Infallible;

    async fn from_request(request: Request, _: &S) -> Result<Self, Infallible> {
        Ok(Self(JsonBody(request, PhantomData)))
    }
}

impl<T: JsonSchema> Input for JsonBody<T> {
    fn describe(operation: &mut Operation) {
        let schema = operation.read::<T>();
        operation.body(CONTENT_TYPE, schema);
        operation.refuses(BODY);
        operation.refuses(&[Code::InvalidBody]);
    }
}

impl<T: JsonSchema> Input for OptionalJson<T> {
    fn describe(operation: &mut Operation) {
        JsonBody::<T>::describe(operation);
        operation.body_may_be_left_out();
    }
}
