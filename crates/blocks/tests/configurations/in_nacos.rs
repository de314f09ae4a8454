//! A configuration in Nacos, which is killed and comes back. The server is installed by hand alone: `cargo xtask
//! services up nacos --install`.

#![allow(
    clippy::disallowed_types,
    reason = "it publishes by hand, as others do"
)]

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use ensue_blocks::config::{Config, ConfigError, Format, NACOS_DEFAULT_GROUP, NacosSource};
use servers::Running;
use tokio::sync::RwLock;

use super::{LOOK, PATIENCE, Shop, has_workers, shop, until};

/// Who kills the server has it alone.
static ACCESS: RwLock<()> = RwLock::const_new(());

/// A configuration that no other test has, and a client that writes it.
struct Place {
    server: Running,
    namespace: &'static str,
    data_id: String,
    last_good: tempfile::TempDir,
}

impl Place {
    fn new(server: &Running, namespace: &'static str) -> Self {
        Self {
            server: server.clone(),
            namespace,
            data_id: format!("shop-{:016x}.json", fastrand::u64(..)),
            last_good: tempfile::tempdir().unwrap(),
        }
    }

    fn url(&self) -> String {
        format!("{}/{}", self.server.url, self.namespace)
    }

    /// As Nacos' own console and clients do; it may just have come back.
    async fn publish(&self, shop: &Shop) {
        let text = serde_json::to_string(shop).unwrap();
        let body = format!(
            "dataId={}&group={NACOS_DEFAULT_GROUP}&tenant={}&content={}",
            self.data_id,
            self.namespace,
            in_form(&text)
        );
        let publish = async {
            while self.ask("/nacos/v1/cs/configs", &body).as_deref() != Some("true") {
                tokio::time::sleep(LOOK).await;
            }
        };
        tokio::time::timeout(PATIENCE, publish).await.unwrap();
    }

    fn ask(&self, path: &str, body: &str) -> Option<String> {
        let (user, password) = self.login();
        let login = format!("username={user}&password={password}");
        let token = post(&self.server.address(), "/nacos/v1/auth/login", "", &login)?;
        let token: serde_json::Value = serde_json::from_str(&token).ok()?;
        let token = format!("accessToken: {}\r\n", token["accessToken"].as_str()?);
        post(&self.server.address(), path, &token, body)
    }

    fn login(&self) -> (&str, &str) {
        let (_, rest) = self.server.url.split_once("://").unwrap();
        let (login, _) = rest.split_once('@').unwrap();
        login.split_once(':').unwrap()
    }

    async fn load(&self) -> Result<Config<Shop>, ConfigError> {
        let (url, group) = (self.url(), NACOS_DEFAULT_GROUP);
        let source = NacosSource::new(&url, group, &self.data_id, Format::Json)?;
        let builder = Config::builder().source(source).validate(has_workers);
        let last_good = self.last_good.path().join("last-good.json");
        builder.last_good(last_good).load().await
    }
}

/// The body of the answer; nothing if the server is away.
fn post(address: &str, path: &str, headers: &str, body: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    let length = body.len();
    let request = format!(
        "POST {path} HTTP/1.0\r\nhost: {address}\r\n{headers}content-type: application/x-www-form-urlencoded\r\n\
         content-length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (_, body) = answer.split_once("\r\n\r\n")?;
    Some(body.to_owned())
}

fn in_form(text: &str) -> String {
    let in_form = |byte: u8| match byte.is_ascii_alphanumeric() {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    text.bytes().map(in_form).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_configuration_is_listened_to() {
    let Some(server) = Running::find_if_there("nacos") else {
        return;
    };
    let _shared = ACCESS.read().await;
    for namespace in ["", "blue"] {
        let place = Place::new(&server, namespace);
        let missing = place.load().await;
        assert!(
            matches!(missing, Err(ConfigError::Away { .. })),
            "{missing:?}"
        );
        place.publish(&shop(1, "a")).await;
        let config = place.load().await.unwrap();
        let mut changes = config.subscribe();
        for workers in 2..6 {
            place.publish(&shop(workers, "käse & %02")).await;
            changes.changed().await.unwrap();
            assert_eq!(
                *changes.borrow_and_update(),
                shop(workers, "käse & %02").into()
            );
        }
        place.publish(&shop(0, "a")).await;
        let status = until(&config, |status| status.problem.is_some()).await;
        assert!(status.problem.unwrap().contains("there must be workers"));
        assert_eq!(config.get().workers, 5);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_namespace_does_not_see_what_is_in_another() {
    let Some(server) = Running::find_if_there("nacos") else {
        return;
    };
    let _shared = ACCESS.read().await;
    let place = Place::new(&server, "blue");
    place.publish(&shop(1, "a")).await;
    let elsewhere = Place {
        namespace: "green",
        ..place
    };
    let missing = elsewhere.load().await;
    let said = missing.unwrap_err().to_string();
    assert!(said.contains("no such configuration"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_good_one_counts_while_nacos_is_away() {
    let Some(server) = Running::find_if_there("nacos") else {
        return;
    };
    let _alone = ACCESS.write().await;
    let place = Place::new(&server, "");
    place.publish(&shop(1, "a")).await;
    let running = place.load().await.unwrap();

    server.kill();
    until(&running, |status| status.problem.is_some()).await;
    assert_eq!(*running.get(), shop(1, "a"));
    let started = place.load().await.unwrap();
    assert!(started.status().is_last_good);
    assert_eq!(*started.get(), shop(1, "a"));

    server.start();
    place.publish(&shop(2, "b")).await;
    for config in [running, started] {
        let status = until(&config, |status| status.changes == 1).await;
        assert_eq!((status.is_last_good, status.problem), (false, None));
        assert_eq!(*config.get(), shop(2, "b"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_not_read_is_told_so_without_the_password() {
    let Some(server) = Running::find_if_there("nacos") else {
        return;
    };
    let _shared = ACCESS.read().await;
    let place = Place::new(&server, "");
    let (user, _) = place.login();
    for login in ["", &format!("{user}:hunter2@")] {
        let url = format!("nacos://{login}{}", server.address());
        let source = NacosSource::new(&url, NACOS_DEFAULT_GROUP, "shop", Format::Json).unwrap();
        let refused = Config::<Shop>::builder().source(source).load().await;
        let said = refused.unwrap_err().to_string();
        assert!(said.contains("403") && !said.contains("hunter2"), "{said}");
    }
}

#[test]
fn names_that_nacos_does_not_have_are_refused() {
    let url = "nacos://127.0.0.1:1";
    for (url, group, name) in [
        (url, "", "shop"),
        (url, NACOS_DEFAULT_GROUP, "shop&tenant=other"),
        (url, NACOS_DEFAULT_GROUP, "shop%02"),
        ("nacos://127.0.0.1:1/a&b", NACOS_DEFAULT_GROUP, "shop"),
        ("etcd://127.0.0.1:1", NACOS_DEFAULT_GROUP, "shop"),
    ] {
        let refused = NacosSource::new(url, group, name, Format::Json);
        assert!(
            matches!(refused, Err(ConfigError::Source { .. })),
            "{refused:?}"
        );
    }
}
