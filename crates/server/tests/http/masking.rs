//! What is personal in events, for callers who may not see it: everything that they ask for.

use hyper::Method;
use serde_json::{Value, json};

use crate::owasp::ROUTES;
use crate::receiver::Receiver;
use crate::secure::{Bearer, ROLES, Setup};
use crate::site::{PATIENCE, Site, event};

/// What nothing says to who may not see it.
pub(crate) const SECRET: &str = "erika@example.org";
/// Of JSON payloads a part, of others all, and an attribute.
pub(crate) const PERSONAL: &str = "[[personal]]\ntopic = 'orders.>'\nfields = ['/email', '/to/*/email', 'mail']\n\
    [roles.officer]\nread = ['>']\nconsume = ['>']\npublish = ['>']\noperate = ['>']\npersonal = true\n";
const TOPIC: &str = "/v1/events?topic=orders.eu";

pub(crate) fn setup(more: &str) -> Setup {
    Setup::new(&format!(
        "{more}[auth]\ntokens = 'tokens.json'\n{PERSONAL}{ROLES}"
    ))
}

/// Events with something personal, one of which is a dead letter, and one of which is scheduled.
struct Scene {
    site: Site,
    /// May do everything but see what is personal.
    owner: Bearer,
    /// Sees it.
    officer: Bearer,
}

fn personal(id: &str) -> String {
    let data = format!(
        r#"{{"n": 1.10, "email" :"{SECRET}","to":[{{"email":"{SECRET}","k":"v"}}],"big":36893488147419103232}}"#
    );
    event(
        id,
        &format!(r#","subject":"k-{id}","mail":"{SECRET}","data":{data}"#),
    )
}

impl Scene {
    async fn start(setup: &Setup) -> Self {
        let (owner, officer) = (setup.token("owner"), setup.token("officer"));
        let site = Site::with(setup.config()).await;
        let mut owner = Bearer::connect(&site, &owner).await;
        let officer = Bearer::connect(&site, &officer).await;
        owner.event(TOPIC, &personal("0")).await.ok();
        let headers = [
            ("content-type", "text/plain"),
            ("ce-specversion", "1.0"),
            ("ce-id", "text"),
            ("ce-source", "/shop"),
            ("ce-type", "note"),
        ];
        owner.send(Method::POST, TOPIC, &headers, SECRET).await.ok();
        let later = format!("{TOPIC}&at=2100-01-01T00:00:00Z");
        owner.event(&later, &personal("later")).await.ok();
        Self {
            site,
            owner,
            officer,
        }
    }
}

/// A member of the group that the routes of the tests name.
async fn join(caller: &mut Bearer, group: &str) -> String {
    let path = format!("/v1/groups/{group}/members");
    let joined = caller
        .post(&path, r#"{"topics": ["orders.eu"]}"#)
        .await
        .ok();
    format!("{path}/{}", joined["member"].as_str().unwrap())
}

#[tokio::test]
async fn no_route_tells_what_is_personal_to_a_caller_who_may_not_see_it() {
    let setup = setup("");
    let mut scene = Scene::start(&setup).await;
    let owner = &mut scene.owner;
    // The first becomes a dead letter.
    let member = join(owner, "payments").await;
    let taken = owner.post(&format!("{member}/take?max=1"), "").await;
    assert!(!taken.text().contains(SECRET), "{}", taken.text());
    let taken = taken.ok()["deliveries"][0].clone();
    assert_eq!(taken["event"]["ensuemasked"], true);
    let dead = json!({"dead": [{
        "position": taken["position"], "generation": taken["generation"], "reason": "no",
    }]});
    owner
        .post(&format!("{member}/commit"), &dead.to_string())
        .await
        .ok();
    owner.send(Method::DELETE, &member, &[], "").await.ok();
    // Those that only ask come first: the others take away what could be asked for.
    let (asking, others): (Vec<_>, Vec<_>) = ROUTES.iter().partition(|it| it.0 == "GET");
    let (mut seen, headers) = (
        0,
        [
            ("ensue-reason", "a try"),
            ("content-type", "application/json"),
        ],
    );
    for (method, route, path) in asking.into_iter().chain(others) {
        if route == "/v1/events/stream" {
            continue;
        }
        let method: Method = method.parse().unwrap();
        let body = if method == Method::GET {
            ""
        } else {
            r#"{"all": true}"#
        };
        let answer = owner.send(method.clone(), path, &headers, body).await;
        let text = String::from_utf8_lossy(&answer.body);
        assert!(!text.contains(SECRET), "{method} {path}: {text}");
        seen += text.matches("ensuemasked").count();
    }
    // Two events that were read, a dead letter, one that is scheduled.
    assert_eq!(seen, 4);
    scene.site.end().await;
}

#[tokio::test]
async fn a_stream_and_every_format_leave_out_what_is_personal_and_nothing_else() {
    let setup = setup("");
    let mut scene = Scene::start(&setup).await;
    let token = format!("Bearer {}", setup.token("reader"));
    scene.site.running.reload().await.unwrap();
    let path = "/v1/events/stream?topic=orders.eu&from=earliest";
    let client = scene.site.client().await;
    let mut stream = client.stream_as(path, &token).await.unwrap();
    for _ in 0..2 {
        let data = stream.next().await.unwrap().data.unwrap();
        assert!(!data.to_string().contains(SECRET), "{data}");
        assert_eq!(data["ensuemasked"], true);
    }
    for accept in [
        "application/json",
        "application/x-ndjson",
        "application/cloudevents-batch+json",
    ] {
        let headers = [("accept", accept)];
        let masked = scene.owner.send(Method::GET, TOPIC, &headers, "").await;
        assert!(!masked.text().contains(SECRET), "{}", masked.text());
        let expected = r#""data":{"n": 1.10, "email" :null,"to":[{"email":null,"k":"v"}],"big":36893488147419103232}"#;
        assert!(masked.text().contains(expected), "{}", masked.text());
        assert!(!masked.text().contains("\"mail\""), "{}", masked.text());
        let whole = scene.officer.send(Method::GET, TOPIC, &headers, "").await;
        assert_eq!(whole.text().matches(SECRET).count(), 4, "{}", whole.text());
        assert!(!whole.text().contains("ensuemasked"));
    }
    scene.site.end().await;
}

#[tokio::test]
async fn a_filter_finds_nothing_out_about_what_is_personal() {
    let setup = setup("");
    let mut scene = Scene::start(&setup).await;
    for filter in [
        "mail%20%3D%20'erika%40example.org'",
        "mail%20LIKE%20'e%25'",
        "EXISTS%20mail",
        "NOT%20(mail%20%3D%20'other')",
    ] {
        let path = format!("{TOPIC}&filter={filter}");
        let page = scene.owner.get(&path).await.ok();
        assert_eq!(page["events"], json!([]), "{filter}");
        let page = scene.officer.get(&path).await.ok();
        assert_eq!(page["events"].as_array().unwrap().len(), 1, "{filter}");
    }
    scene.site.end().await;
}

#[tokio::test]
async fn a_reply_is_as_personal_as_what_it_answers() {
    let setup = setup("");
    let mut scene = Scene::start(&setup).await;
    let token = setup.token("officer");
    scene.site.running.reload().await.unwrap();
    let body = r#"{"topics": ["orders.questions"]}"#;
    let path = "/v1/groups/answers/members";
    let joined = scene.officer.post(path, body).await.ok();
    let member = format!("{path}/{}", joined["member"].as_str().unwrap());
    let ask = "/v1/requests?topic=orders.questions&deadline=60s";
    let reply = json!({"type": "answer", "data": {"email": SECRET, "n": 1}});
    let mut answering = async || {
        let taken = scene
            .officer
            .post(&format!("{member}/take?wait=60s"), "")
            .await
            .ok();
        let taken = &taken["deliveries"][0];
        let settled = json!({"settle": [{
            "position": taken["position"], "generation": taken["generation"],
            "effects": [{"reply": reply}],
        }]});
        scene
            .officer
            .post(&format!("{member}/commit"), &settled.to_string())
            .await
            .ok();
    };
    let question = event("q", "");
    let (masked, ()) = tokio::join!(scene.owner.event(ask, &question), answering());
    let masked = masked.ok();
    assert_eq!(masked["data"], json!({"email": null, "n": 1}));
    // The same question of another, who may know.
    let mut other = Bearer::connect(&scene.site, &token).await;
    let whole = other.event(ask, &question).await.ok();
    assert_eq!(whole["data"]["email"], SECRET);
    // A reply belongs to the topic that was asked: by the same id in another one nobody gets it.
    let elsewhere = "/v1/requests?topic=questions&deadline=60s";
    let refused = other.event(elsewhere, &question).await;
    refused.problem(409, "not_a_request");
    scene.site.end().await;
}

#[tokio::test]
async fn a_permission_that_is_taken_away_holds_for_a_stream_under_way() {
    let setup = setup("");
    let mut scene = Scene::start(&setup).await;
    let token = setup.token("officer");
    scene.site.running.reload().await.unwrap();
    let path = "/v1/events/stream?topic=orders.eu";
    let client = scene.site.client().await;
    let mut stream = client
        .stream_as(path, &format!("Bearer {token}"))
        .await
        .unwrap();
    scene.owner.event(TOPIC, &personal("1")).await.ok();
    let before = stream.next().await.unwrap().data.unwrap();
    assert_eq!(before["data"]["email"], SECRET);
    let text = std::fs::read_to_string(setup.path("ensue.toml")).unwrap();
    setup.write(
        "ensue.toml",
        &text.replace("personal = true", "personal = false"),
    );
    scene.site.running.reload().await.unwrap();
    scene.owner.event(TOPIC, &personal("2")).await.ok();
    let after = stream.next().await.unwrap().data.unwrap();
    assert_eq!(after["data"]["email"], Value::Null);
    scene.site.end().await;
}

#[tokio::test]
async fn what_is_personal_stays_so_while_the_file_is_written() {
    let setup = setup("");
    let mut scene = Scene::start(&setup).await;
    let token = setup.token("reader");
    scene.site.running.reload().await.unwrap();
    let mut reader = Bearer::connect(&scene.site, &token).await;
    let text = std::fs::read_to_string(setup.path("ensue.toml")).unwrap();
    let without = text.replace(&PERSONAL[..PERSONAL.find("[roles").unwrap()], "");
    let less = text.replace(", 'mail'", "");
    for changed in [without, less] {
        assert_ne!(changed, text);
        setup.write("ensue.toml", &changed);
        let error = scene.site.running.reload().await.unwrap_err().to_string();
        assert!(
            error.contains("`personal`") && error.contains("restart"),
            "{error}"
        );
        let events = reader.get("/v1/events?topic=orders.eu").await;
        assert_eq!(events.status, 200);
        assert!(!events.text().contains(SECRET));
    }
    // More may be added.
    setup.write("ensue.toml", &text.replace(", 'mail'", ", 'mail', '/n'"));
    scene.site.running.reload().await.unwrap();
    scene.owner.event(TOPIC, &personal("1")).await.ok();
    scene.site.end().await;
}

#[tokio::test]
async fn what_a_receiver_sends_back_is_not_shown_to_who_may_not_see_what_it_was_sent() {
    let receiver = Receiver::start().await;
    receiver.answer(|received| (500, &[], received.body.clone()));
    let setup = setup(&format!(
        "[webhooks]\nallow = ['127.0.0.1']\n[[webhooks.endpoint]]\nname = 'whole'\nurl = '{}'\n\
         topics = ['orders.>']\nsecrets = {{ file = 'secret' }}\npersonal = true\n",
        receiver.url()
    ));
    crate::pki::write_private(&setup.path("secret"), crate::endpoint::SECRET);
    let mut scene = Scene::start(&setup).await;
    scene.owner.event(TOPIC, &personal("1")).await.ok();
    // What is asked for is there when the delivery has been counted.
    let seen = async {
        loop {
            let seen = scene.officer.get("/v1/webhooks/whole").await;
            if seen.text().contains(SECRET) {
                return seen.ok();
            }
        }
    };
    let seen = tokio::time::timeout(PATIENCE, seen).await.unwrap();
    assert_eq!(seen["last"]["masked"], false);
    for path in ["/v1/webhooks/whole", "/v1/webhooks", "/v1/status"] {
        let answer = scene.owner.get(path).await;
        assert!(!answer.text().contains(SECRET), "{path}: {}", answer.text());
    }
    let shown = scene.owner.get("/v1/webhooks/whole").await.ok();
    assert_eq!(shown["last"]["masked"], true);
    assert_eq!(shown["responses"][0]["body"], "");
    scene.site.end().await;
}

#[tokio::test]
async fn a_webhook_sends_what_is_personal_only_where_that_is_said() {
    let (masked, whole) = (Receiver::start().await, Receiver::start().await);
    let guessing = Receiver::start().await;
    let endpoint = |name: &str, receiver: &Receiver, more: &str| {
        format!(
            "[[webhooks.endpoint]]\nname = '{name}'\nurl = '{}'\ntopics = ['orders.>']\n\
             secrets = {{ file = 'secret' }}\n{more}\n",
            receiver.url()
        )
    };
    let webhooks = format!(
        "[webhooks]\nallow = ['127.0.0.1']\n{}{}{}",
        endpoint("masked", &masked, ""),
        endpoint("whole", &whole, "personal = true"),
        endpoint(
            "guessing",
            &guessing,
            &format!("filter = \"id = '2' OR mail = '{SECRET}'\"")
        )
    );
    let setup = setup(&webhooks);
    let secret = setup.path("secret");
    crate::pki::write_private(&secret, crate::endpoint::SECRET);
    let mut scene = Scene::start(&setup).await;
    scene.owner.event(TOPIC, &personal("1")).await.ok();
    let is_there = |it: &crate::receiver::Received| it.id() == "1";
    let received = masked.until(|all| all.iter().any(is_there)).await;
    let text = format!("{received:?}");
    assert!(
        !text.contains(SECRET) && text.contains("ensuemasked"),
        "{text}"
    );
    let received = whole.until(|all| all.iter().any(is_there)).await;
    assert!(format!("{received:?}").contains(SECRET));
    // Whether an event passes a filter says nothing about what is masked: of one key, the first would come
    // first.
    let next = event("2", r#","subject":"k-1""#);
    scene.owner.event(TOPIC, &next).await.ok();
    let received = guessing.until(|all| !all.is_empty()).await;
    assert_eq!(received[0].id(), "2");
    scene.site.end().await;
}

#[test]
fn what_cannot_be_masked_is_an_error() {
    let auth = "[auth]\ntokens = 't'\n";
    for (text, part) in [
        (
            "[[personal]]\ntopic = 'a'\nfields = ['/b']",
            "without `[auth]`",
        ),
        (
            &format!("{auth}[[personal]]\ntopic = 'a'\nfields = []"),
            "no fields",
        ),
        (
            &format!("{auth}[[personal]]\ntopic = 'a'\nfields = ['subject']"),
            "subject",
        ),
        (
            &format!("{auth}[[personal]]\ntopic = 'a'\nfields = ['Mail']"),
            "extension",
        ),
        (
            &format!("{auth}[[personal]]\ntopic = 'a'\nfield = ['/b']"),
            "field",
        ),
        (
            &format!("{auth}[[personal]]\ntopic = 'a b'\nfields = ['/b']"),
            "topic",
        ),
    ] {
        let error = text
            .parse::<ensue_server::Config>()
            .unwrap_err()
            .to_string();
        assert!(error.contains(part), "{text}: {error}");
    }
}

/// The one door for events is [`Caller::disclose`]: what writes an event is counted here, file by file, so
/// that another one is seen by who adds it.
#[test]
fn what_writes_events_for_callers_is_known() {
    let known: &[(&str, usize)] = &[
        ("grpc/read.rs", 1),
        ("grpc/session.rs", 1),
        // For no caller: a fuzzer's.
        ("http/events/fuzzing.rs", 1),
        ("http/events/page.rs", 1),
        ("http/events/stream.rs", 1),
        ("http/letter.rs", 1),
        ("http/members/take.rs", 1),
        ("http/requests.rs", 1),
        ("webhooks/content.rs", 1),
    ];
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    let mut directories = vec![root.clone()];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            let text = text.split("#[cfg(test)]").next().unwrap();
            let writers = [
                ".to_cloudevent()",
                "v1::Event::from",
                "v1::RecordedEvent::from",
                "v1::Delivery::from",
            ];
            let count = writers
                .iter()
                .map(|it| text.matches(it).count())
                .sum::<usize>();
            if count > 0 {
                let name = path.strip_prefix(&root).unwrap().display().to_string();
                found.push((name, count));
            }
        }
    }
    found.sort();
    let found: Vec<_> = found
        .iter()
        .map(|(name, count)| (name.as_str(), *count))
        .collect();
    assert_eq!(found, known, "does it pass `Caller::disclose`?");
}
