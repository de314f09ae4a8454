//! Of a user who has left no file and no table has anything that was personal, nor had before.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on panics"
)]

use std::path::Path;
use std::time::Duration;

use accounts::accounts::Accounts;
use accounts::domain::ShownProfile;
use accounts::email::Email;
use accounts::events::UserRegistered;
use accounts::home::Home;
use accounts::ids::UserId;
use accounts::mail::{Mail, Mailbox, Post, Subject};
use accounts::operations::{Denied, OperationError};
use accounts::secrets::{Hashing, Keys, Password};
use accounts::services;
use accounts::view::View;
use ensue::engine::DeadLetterFilter;
use ensue::prelude::*;
use ensue::{FileKeys, HandlerOptions};

/// What is looked for: the address of one who was a user, of one who never confirmed, parts of a profile, the hash of
/// a password.
const CANARIES: [&str; 5] = [
    "canary-user@example.com",
    "canary-stranger@example.com",
    "Canary Name",
    "canary of a profile",
    "argon2id",
];
const PASSWORD: &str = "correct horse";
const HOME: &str = "192.0.2.7";
/// Longer than anything takes; only a failing test waits so long.
const PATIENCE: Duration = Duration::from_secs(300);

/// What a test needs of a service.
struct Service {
    accounts: Accounts,
    engine: Engine,
    view: View,
    mailbox: Mailbox,
    mails: Vec<Mail>,
}

impl Service {
    async fn mail(&mut self, subject: Subject, to: &str) -> Mail {
        let looking = async {
            loop {
                self.mails.extend(self.mailbox.new_mails().unwrap());
                let is_it = |mail: &&Mail| mail.subject == subject && mail.to.as_str() == to;
                if let Some(found) = self.mails.iter().find(is_it) {
                    return found.clone();
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, looking).await.unwrap()
    }

    async fn register(&mut self, email: &str) -> Mail {
        let address: Email = email.parse().unwrap();
        let asked = self
            .accounts
            .request_registration(address, password(PASSWORD), None);
        asked.await.unwrap();
        self.mail(Subject::Welcome, email).await
    }

    /// All that a user can do.
    async fn live(&mut self) -> UserId {
        let email: Email = CANARIES[0].parse().unwrap();
        let Mail { user, secret, .. } = self.register(email.as_str()).await;
        let secret = secret.unwrap();
        let accounts = self.accounts.clone();
        let confirmed = accounts.confirm(&user, &secret, password(PASSWORD), HOME);
        confirmed.await.unwrap();
        let again = accounts.request_registration(email.clone(), password(PASSWORD), None);
        again.await.unwrap();
        self.mail(Subject::AlreadyRegistered, email.as_str()).await;
        let wrong = accounts.log_in(&email, password("something else"), HOME);
        let wrong = wrong.await.unwrap_err();
        assert!(matches!(
            wrong,
            OperationError::Denied(Denied::WrongCredentials)
        ));
        let logged_in = accounts
            .log_in(&email, password(PASSWORD), HOME)
            .await
            .unwrap();
        let caller = accounts.caller(&logged_in.token).await.unwrap();
        accounts.request_reset(&email).await.unwrap();
        self.mail(Subject::Reset, email.as_str()).await;
        // Often enough for snapshots.
        let mut position = None;
        for number in 0..120 {
            let profile = ShownProfile {
                name: CANARIES[2].to_owned(),
                about: format!("{} {number}", CANARIES[3]),
            };
            position = accounts.publish(&caller, profile).await.unwrap();
        }
        assert!(self.view.reach(position.unwrap(), PATIENCE).await);
        let shown = self.view.of(&user).await.unwrap().unwrap();
        assert_eq!(shown.about, format!("{} 119", CANARIES[3]));
        let exported = accounts.export(&caller).await.unwrap();
        assert_eq!(exported[0].data["email"], CANARIES[0]);
        assert_eq!(accounts.log_ins(&caller).await.unwrap()[0].address, HOME);
        user
    }

    /// What is left is that of a service that runs on: nothing that can be read.
    async fn leave(&mut self, user: &UserId) {
        let email: Email = CANARIES[0].parse().unwrap();
        let logging_in = self.accounts.log_in(&email, password(PASSWORD), HOME);
        let token = logging_in.await.unwrap().token;
        let caller = self.accounts.caller(&token).await.unwrap();
        let leaving = self.accounts.forget(&caller, password(PASSWORD), HOME);
        leaving.await.unwrap();
        self.engine.settled(services::GROUPS).await.unwrap();
        assert_eq!(self.view.of(user).await.unwrap(), None);
        assert!(self.view.page(None, 10).await.unwrap().profiles.is_empty());
    }
}

fn password(text: &str) -> Password {
    Password::tried(text.to_owned()).unwrap()
}

/// Lives, leaves, and looks into what `scan` finds: before and after, with and without the mails.
async fn lives_and_leaves(
    home: &Path,
    engine: &str,
    database: &str,
    scan: impl AsyncFn(&str) -> Vec<String>,
) {
    let home = Home::new(home);
    let engine = Engine::open(engine).await.unwrap();
    let engine = engine
        .with_keys(FileKeys::open(home.keys()).unwrap())
        .unwrap();
    let post = Post::open(&home.mail()).unwrap();
    let (keys, hashing) = (Keys::open(&home.key()).unwrap(), Hashing::new().unwrap());
    let accounts = Accounts::new(engine.clone(), keys, hashing, post);
    // A service that cannot handle users: what it is given is kept as a dead letter.
    let fail = async |event: UserRegistered, _| {
        Err::<(), _>(Failure::reject(format!("cannot handle {event:?}")))
    };
    let app = services::add(App::new(engine.clone()), &accounts);
    let app = app.on_with("fails", HandlerOptions::default(), fail);
    let running = app.start().await.unwrap();
    let (view, failing) = View::start(&engine, Some(database)).await.unwrap();
    let mut service = Service {
        accounts,
        engine: engine.clone(),
        view,
        mailbox: Mailbox::new(&home.mail()),
        mails: Vec::new(),
    };
    let user = service.live().await;
    let stranger = service.register(CANARIES[1]).await.user;
    engine.settled(services::GROUPS).await.unwrap();
    engine.settled(["fails"]).await.unwrap();
    let letters = engine.dead_letters(Some("fails"), DeadLetterFilter::default());
    assert_eq!(letters.await.unwrap().len(), 2);
    assert!(
        !scan(user.as_str()).await.is_empty(),
        "the scan finds what is there"
    );
    let is_mail = |place: &String| place.ends_with("mail.jsonl");
    for canary in CANARIES {
        let found = scan(canary).await;
        assert!(found.iter().all(is_mail), "{canary} is in {found:?}");
    }
    assert_eq!(scan(CANARIES[0]).await.len(), 1, "the mails");

    service.leave(&user).await;
    let receipt = engine.forget(stranger.as_str(), PATIENCE).await.unwrap();
    assert!(receipt.is_complete(), "{receipt:?}");
    engine.settled(services::GROUPS).await.unwrap();
    drop((service, failing));
    running.stop().await.unwrap();
    engine.close().await.unwrap();
    for canary in CANARIES {
        assert_eq!(scan(canary).await, Vec::<String>::new(), "{canary}");
    }
}

/// The files below a directory that have these bytes in them.
fn files_with(directory: &Path, what: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_with(&path, what));
            continue;
        }
        // One that is replaced meanwhile is gone.
        let bytes = std::fs::read(&path).unwrap_or_default();
        if bytes.windows(what.len()).any(|it| it == what.as_bytes()) {
            found.push(path.display().to_string());
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn no_file_of_an_embedded_log_its_view_and_the_mails_has_anything_personal() {
    let directory = tempfile::tempdir().unwrap();
    let home = directory.path();
    let engine = format!(
        "embedded:{}?segment_bytes=65536",
        home.join("log").display()
    );
    let database = format!("sqlite:{}", home.join("profiles.db").display());
    let scan = async |what: &str| files_with(home, what);
    lives_and_leaves(home, &engine, &database, scan).await;
}

#[cfg(feature = "distributed")]
mod on_a_server {
    use ensue_sql::sqlx::{self, AssertSqlSafe, PgPool};
    use servers::Running;

    use super::*;

    /// The tables of a database that have these bytes in them, in any column.
    async fn tables_with(pool: &PgPool, what: &str) -> Vec<String> {
        let tables = "SELECT quote_ident(schemaname) || '.' || quote_ident(tablename) FROM pg_tables \
            WHERE schemaname NOT IN ('pg_catalog', 'information_schema')";
        let tables: Vec<String> = sqlx::query_scalar(tables).fetch_all(pool).await.unwrap();
        // Bytes are hexadecimal digits in the text of a row.
        let hex: String = what.bytes().map(|byte| format!("{byte:02x}")).collect();
        let mut found = Vec::new();
        for table in tables {
            let select = format!(
                "SELECT count(*) FROM {table} t WHERE position($1 IN t::text) > 0 OR position($2 IN t::text) > 0"
            );
            let count = sqlx::query_scalar(AssertSqlSafe(select))
                .bind(what)
                .bind(&hex);
            let count: i64 = count.fetch_one(pool).await.unwrap();
            if count > 0 {
                found.push(table);
            }
        }
        found
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn no_table_of_a_log_and_a_view_in_postgresql_has_anything_personal() {
        let Some(server) = Running::find("postgres") else {
            return;
        };
        let name = format!("accounts_{:016x}", fastrand::u64(..));
        let all = PgPool::connect(&server.url).await.unwrap();
        let create = AssertSqlSafe(format!("CREATE DATABASE {name}"));
        sqlx::query(create).execute(&all).await.unwrap();
        let (before, _) = server.url.rsplit_once('/').unwrap();
        let database = format!("{before}/{name}");
        let directory = tempfile::tempdir().unwrap();
        let home = directory.path();
        let engine = format!("{database}?replica={}", home.join("copy").display());
        let pool = PgPool::connect(&database).await.unwrap();
        let scan = async |what: &str| {
            let mut found = files_with(home, what);
            found.extend(tables_with(&pool, what).await);
            found
        };
        lives_and_leaves(home, &engine, &database, scan).await;
        let tables = tables_with(&pool, "user.registered").await;
        assert!(!tables.is_empty(), "the log is in a table");
        pool.close().await;
        let drop = AssertSqlSafe(format!("DROP DATABASE {name} WITH (FORCE)"));
        sqlx::query(drop).execute(&all).await.unwrap();
    }
}
