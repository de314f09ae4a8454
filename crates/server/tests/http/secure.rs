//! A configuration in a directory, with what it names: certificates, tokens, roles.

use std::net::SocketAddr;
use std::path::PathBuf;

use ensue::Timestamp;
use ensue_server::{Config, TokenFile};
use hyper::Method;
use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::client::{Answer, Client};
use crate::pki::{Authority, encrypt};
use crate::site::Site;

/// Everything that callers may be.
pub(crate) const ROLES: &str = r#"
    [roles.publisher]
    publish = ["orders.>"]

    [roles.reader]
    read = ["orders.>"]

    [roles.consumer]
    consume = ["orders.>"]

    [roles.operator]
    operate = ["orders.>"]

    [roles.stranger-to-orders]
    publish = ["photos"]
    read = ["photos"]
    consume = ["photos"]
    operate = ["photos"]

    [roles.admin]
    admin = true

    [roles.owner]
    publish = [">"]
    read = [">", "_audit"]
    consume = [">"]
    operate = [">"]
    admin = true
"#;

/// A configuration, and what it names.
pub(crate) struct Setup {
    directory: TempDir,
}

impl Setup {
    /// A configuration of this text.
    pub(crate) fn new(text: &str) -> Self {
        let directory = TempDir::new().unwrap();
        let setup = Self { directory };
        setup.write("ensue.toml", text);
        setup
    }

    /// One with tokens, and the roles above.
    pub(crate) fn with_tokens() -> Self {
        Self::new(&format!("[auth]\ntokens = \"tokens.json\"\n{ROLES}"))
    }

    /// One with TLS, tokens, certificates of clients, and the roles above; and its authority.
    pub(crate) fn with_tls() -> (Self, Authority) {
        let setup = Self::new(&format!(
            "[tls]\ncertificate = 'server.crt'\nkey = 'server.key'\nclient_ca = 'ca.crt'\n\
             [auth]\ntokens = 'tokens.json'\n[auth.certificates]\n'shop.example' = ['publisher']\n\
             'spiffe://example/reader' = ['reader']\n{ROLES}"
        ));
        let authority = Authority::new(setup.directory.path(), "ca");
        authority.sign("server", &["localhost"]);
        (setup, authority)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    pub(crate) fn config(&self) -> Config {
        Config::read(&self.path("ensue.toml")).unwrap()
    }

    pub(crate) fn tokens(&self) -> TokenFile {
        TokenFile::new(self.path("tokens.json"))
    }

    /// A new token for a caller of this name and role.
    pub(crate) fn token(&self, role: &str) -> String {
        let roles = [role.to_owned()];
        let made = self.tokens().create(role, &roles, None, Timestamp::now());
        made.unwrap().1.reveal().to_owned()
    }
}

/// A client that shows a token with every request.
pub(crate) struct Bearer {
    client: Client,
    header: String,
}

impl Bearer {
    pub(crate) async fn connect(site: &Site, token: &str) -> Self {
        Self::connect_to(site.running.address(), token).await
    }

    pub(crate) async fn connect_to(address: SocketAddr, token: &str) -> Self {
        Self {
            client: Client::connect(address).await,
            header: format!("Bearer {token}"),
        }
    }

    pub(crate) async fn send(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        let authorization = [("authorization", self.header.as_str())];
        let headers = [&authorization[..], headers].concat();
        self.client
            .send(method, path, &headers, body.to_owned())
            .await
    }

    pub(crate) async fn get(&mut self, path: &str) -> Answer {
        self.send(Method::GET, path, &[], "").await
    }

    pub(crate) async fn event(&mut self, path: &str, event: &str) -> Answer {
        let headers = [("content-type", "application/cloudevents+json")];
        self.send(Method::POST, path, &headers, event).await
    }

    pub(crate) async fn post(&mut self, path: &str, body: &str) -> Answer {
        let headers = [("content-type", "application/json")];
        self.send(Method::POST, path, &headers, body).await
    }
}

/// Connects over TLS.
pub(crate) async fn tls_client(
    site: &Site,
    config: rustls::ClientConfig,
) -> std::io::Result<Client> {
    let address = site.running.address();
    let stream = TcpStream::connect(address).await.unwrap();
    let stream = encrypt(config, stream).await?;
    Ok(Client::over(stream, address).await)
}
