//! The login of people at a provider that others wrote.

use std::collections::BTreeMap;

use hyper::Method;
use serde_json::json;

use crate::client::Client;
use crate::login::{Browser, URL, text};
use crate::pki::write_private;
use crate::secure::Setup;
use crate::site::{PATIENCE, Site};

/// A provider that others wrote: `tests/peers/login.sh` installs it.
#[tokio::test]
async fn a_person_logs_in_at_a_provider_that_others_wrote() {
    let Ok(program) = std::env::var("ENSUE_OIDC_PROVIDER") else {
        let skipped =
            "SKIPPED: `ENSUE_OIDC_PROVIDER` is not set; run crates/server/tests/peers/login.sh\n";
        std::io::Write::write_all(&mut std::io::stderr(), skipped.as_bytes()).unwrap();
        return;
    };
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let mut command = std::process::Command::new(program);
    command.args(["--port", &address.port().to_string()]);
    let _provider = Program(command.spawn().unwrap());
    let host = format!("localhost:{}", address.port());
    let own = [("host", host.as_str())];
    let listening = async {
        while tokio::net::TcpStream::connect(address).await.is_err() {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, listening).await.unwrap();
    let mut at_provider = Client::connect(address).await;
    let claims = json!({"email": "erika@example.org", "roles": ["reader"]}).to_string();
    let headers = [own[0], ("content-type", "application/json")];
    let made = at_provider
        .send(Method::PUT, "/users/erika", &headers, claims)
        .await;
    assert_eq!(made.status, 204, "{}", made.text());
    let setup = Setup::new(&text(&format!("http://{host}"), "ensue"));
    write_private(&setup.path("secret"), "secret");
    let site = Site::with(setup.config()).await;
    let mut browser = Browser {
        client: site.client().await,
        cookies: BTreeMap::new(),
    };
    let begun = browser.get("/v1/login").await;
    assert_eq!(begun.status, 302, "{}", begun.text());
    let location = begun.headers["location"].to_str().unwrap();
    let path = location.strip_prefix(&format!("http://{host}")).unwrap();
    let headers = [
        own[0],
        ("content-type", "application/x-www-form-urlencoded"),
    ];
    let logged_in = at_provider
        .send(Method::POST, path, &headers, "sub=erika")
        .await;
    let back = logged_in.headers["location"].to_str().unwrap();
    let back = back.strip_prefix(URL).unwrap();
    let answer = browser.back_by(back).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let session = browser.get("/v1/session").await.ok();
    assert_eq!(session["caller"], "login:erika");
    assert_eq!(session["read"], json!(["orders.>"]));
    // The code was good for one login.
    let mut other = Browser {
        client: site.client().await,
        cookies: BTreeMap::new(),
    };
    other.back_by(back).await.problem(400, "login_failed");
    site.end().await;
}

/// A program that ends with its test.
struct Program(std::process::Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
