//! Small documents of servers that the configuration names, such as the keys of an issuer: bounded in
//! time and size. Redirects are not followed.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::{HeaderValue, Method, Request, StatusCode, Uri, header};
use ensue::error::with_causes;
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy;
use hyper_util::rt::TokioExecutor;

use super::connector::{Connector, Reachable};

/// How long a document may take, from the connection to its last byte.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The largest document, in bytes.
const BYTES_MAX: usize = 256 * 1024;
/// The most headers of an answer, and the largest buffer for them, in bytes.
const HEADERS_MAX: usize = 100;
const HEADERS_BYTES_MAX: usize = 64 * 1024;

/// A client for them.
#[derive(Clone)]
pub(crate) struct Documents(legacy::Client<Connector, Full<Bytes>>);

/// What was answered.
pub(crate) struct Document {
    pub(crate) status: StatusCode,
    pub(crate) body: Vec<u8>,
}

impl Documents {
    /// A client that trusts the authorities of `ca_file`, or those of the system. Says why it cannot.
    pub(crate) fn new(ca_file: Option<&Path>) -> Result<Self, String> {
        let connector = Connector::new(Reachable::Configured, ca_file)?;
        let mut builder = legacy::Client::builder(TokioExecutor::new());
        builder
            // Too seldom to keep connections.
            .pool_max_idle_per_host(0)
            .http1_max_headers(HEADERS_MAX)
            .http1_max_buf_size(HEADERS_BYTES_MAX);
        Ok(Self(builder.build(connector)))
    }

    /// The document at `uri`, or why it could not be fetched.
    pub(crate) async fn get(&self, uri: Uri) -> Result<Vec<u8>, String> {
        let request = Request::get(uri)
            .header(header::ACCEPT, "application/json")
            .body(Full::default())
            .map_err(|error| error.to_string())?;
        let document = self.send(request).await?;
        if document.status == StatusCode::OK {
            Ok(document.body)
        } else {
            Err(format!("it answers {}; expected 200", document.status))
        }
    }

    /// What is answered to a form. Says why nothing is.
    pub(crate) async fn post_form(
        &self,
        uri: Uri,
        authorization: Option<HeaderValue>,
        form: String,
    ) -> Result<Document, String> {
        let mut request = Request::new(Full::from(form));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = uri;
        let headers = request.headers_mut();
        let form = HeaderValue::from_static("application/x-www-form-urlencoded");
        headers.insert(header::CONTENT_TYPE, form);
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        if let Some(value) = authorization {
            headers.insert(header::AUTHORIZATION, value);
        }
        self.send(request).await
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> Result<Document, String> {
        let whole = async {
            let response = self.0.request(request).await;
            let (parts, mut body) = response.map_err(|error| with_causes(&error))?.into_parts();
            let mut bytes = Vec::new();
            while let Some(frame) = body.frame().await {
                let frame = frame.map_err(|error| with_causes(&error))?;
                let data = frame.into_data().unwrap_or_default();
                if bytes.len() + data.len() > BYTES_MAX {
                    return Err(format!("its answer is larger than {BYTES_MAX} bytes"));
                }
                bytes.extend_from_slice(&data);
            }
            Ok(Document {
                status: parts.status,
                body: bytes,
            })
        };
        let answered = tokio::time::timeout(TIMEOUT, whole).await;
        answered.unwrap_or_else(|_| Err(format!("it did not answer within {TIMEOUT:?}")))
    }
}

impl fmt::Debug for Documents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Documents")
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_server_that_says_nothing_is_given_up_in_time() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let documents = Documents::new(None).unwrap();
        let before = tokio::time::Instant::now();
        let uri = format!("http://{address}/keys").parse().unwrap();
        let problem = documents.get(uri).await.unwrap_err();
        assert!(problem.contains("within 5s"), "{problem}");
        assert_eq!(before.elapsed().as_secs(), TIMEOUT.as_secs());
    }
}
