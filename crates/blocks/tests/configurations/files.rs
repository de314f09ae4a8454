//! Files and the environment.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use ensue_blocks::config::{Config, ConfigBuilder, ConfigError, EnvironmentSource, FileSource};

use super::{LOOK, Shop, has_workers, shop, until};

struct Place {
    _directory: tempfile::TempDir,
    file: PathBuf,
    last_good: PathBuf,
}

impl Place {
    fn new(text: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("shop.toml");
        std::fs::write(&file, text).unwrap();
        Self {
            last_good: directory.path().join("last-good.json"),
            file,
            _directory: directory,
        }
    }

    /// In one step, as editors do.
    fn write(&self, text: &str) {
        let new = self.file.with_extension("new");
        std::fs::write(&new, text).unwrap();
        std::fs::rename(&new, &self.file).unwrap();
    }

    fn source(&self) -> FileSource {
        FileSource::new(&self.file).unwrap().look_every(LOOK)
    }

    fn builder(&self) -> ConfigBuilder<Shop> {
        Config::builder()
            .source(self.source())
            .validate(has_workers)
    }
}

#[tokio::test]
async fn a_change_is_used_and_told() {
    let place = Place::new("workers = 1\npassword = 'a'\n");
    let config = place.builder().load().await.unwrap();
    assert_eq!(*config.get(), shop(1, "a"));
    let mut changes = config.subscribe();
    place.write("workers = 2\npassword = 'a'\n");
    changes.changed().await.unwrap();
    assert_eq!(changes.borrow_and_update().workers, 2);
    assert_eq!(config.get().workers, 2);
    assert_eq!(config.status().changes, 1);
    // Rewritten unchanged: no one is told.
    place.write("password = 'a' # the same\nworkers = 2\n");
    place.write("password = 'a'\nworkers = 3\n");
    changes.changed().await.unwrap();
    assert_eq!(changes.borrow_and_update().workers, 3);
    assert_eq!(config.status().changes, 2);
    drop(config);
    assert!(
        changes.changed().await.is_err(),
        "nobody follows it any more"
    );
}

#[tokio::test]
async fn a_bad_version_changes_nothing_and_is_said_without_its_values() {
    let place = Place::new("workers = 1\npassword = 'a'\n");
    let config = place.builder().load().await.unwrap();
    let changes = config.subscribe();
    let bad = [
        ("workers = 0\npassword = 'a'\n", "there must be workers"),
        ("workers = 'hunter2'\npassword = 'a'\n", "`workers`"),
        ("workers = 2\npassword = 'hunter2'\nport = 1\n", "port"),
        ("workers = 2\npassword = 'hunter2\n", "line 2"),
        ("workers = 2\n", "password"),
    ];
    for (text, reason) in bad {
        place.write(text);
        let told =
            |problem: &Option<String>| problem.as_ref().is_some_and(|it| it.contains(reason));
        let status = until(&config, |status| told(&status.problem)).await;
        let problem = status.problem.unwrap();
        assert!(!problem.contains("hunter2"), "{problem}");
        assert_eq!(*config.get(), shop(1, "a"));
    }
    assert!(!changes.has_changed().unwrap());
    place.write("workers = 4\npassword = 'b'\n");
    until(&config, |status| status.problem.is_none()).await;
    assert_eq!(*config.get(), shop(4, "b"));
    std::fs::remove_file(&place.file).unwrap();
    until(&config, |status| status.problem.is_some()).await;
    assert_eq!(*config.get(), shop(4, "b"));
}

#[tokio::test]
async fn a_validation_that_panics_refuses_and_the_next_version_is_looked_at() {
    let place = Place::new("workers = 1\npassword = 'a'\n");
    let validate = |shop: &Shop| match shop.workers {
        7 => panic!("seven: that belongs to the test"),
        _ => Ok::<_, String>(()),
    };
    let builder = Config::builder().source(place.source()).validate(validate);
    let config = builder.load().await.unwrap();
    place.write("workers = 7\npassword = 'a'\n");
    let status = until(&config, |status| status.problem.is_some()).await;
    let problem = status.problem.unwrap();
    assert!(
        problem.contains("panicked") && problem.contains("seven"),
        "{problem}"
    );
    assert_eq!(config.get().workers, 1);
    place.write("workers = 8\npassword = 'a'\n");
    let status = until(&config, |status| status.changes == 1).await;
    assert_eq!((status.problem, config.get().workers), (None, 8));
}

#[tokio::test]
async fn the_environment_is_stronger_than_the_file() {
    let place = Place::new("workers = 1\npassword = 'a'\n");
    let variables = [("SHOP_WORKERS", "8"), ("SHOP_PASSWORD", "12345")];
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let environment = || EnvironmentSource::of("SHOP_", variables.clone());
    let builder = place.builder().source(environment());
    let config = builder.last_good(&place.last_good).load().await.unwrap();
    assert_eq!(*config.get(), shop(8, "12345"));
    drop(config);
    // The last good one is whole: it needs no environment.
    std::fs::remove_file(&place.file).unwrap();
    let builder = place.builder().last_good(&place.last_good);
    let config = builder.load().await.unwrap();
    assert_eq!(*config.get(), shop(8, "12345"));
}

#[tokio::test]
async fn the_last_good_one_starts_where_there_is_no_good_one() {
    let place = Place::new("workers = 1\npassword = 'a'\n");
    let load = || place.builder().last_good(&place.last_good).load();
    drop(load().await.unwrap());
    let mode = std::fs::metadata(&place.last_good).unwrap().permissions();
    assert_eq!(mode.mode() & 0o777, 0o600, "it may have secrets");

    place.write("workers = 0\npassword = 'a'\n");
    let config = load().await.unwrap();
    assert_eq!(*config.get(), shop(1, "a"));
    let status = config.status();
    assert!(status.is_last_good);
    assert!(status.problem.unwrap().contains("there must be workers"));
    place.write("workers = 5\npassword = 'a'\n");
    let status = until(&config, |status| !status.is_last_good).await;
    assert_eq!((status.problem, status.changes), (None, 1));
    assert_eq!(config.get().workers, 5);
    drop(config);
    let kept = std::fs::read_to_string(&place.last_good).unwrap();
    assert!(kept.contains('5'), "{kept}");

    // Without one, and with one that is not good itself, the start fails with the first reason.
    place.write("workers = 0\npassword = 'a'\n");
    for last_good in [
        None,
        Some("{"),
        Some("{\"workers\": 0, \"password\": \"a\"}"),
    ] {
        match last_good {
            Some(text) => std::fs::write(&place.last_good, text).unwrap(),
            None => std::fs::remove_file(&place.last_good).unwrap(),
        }
        let refused = load().await.unwrap_err();
        assert!(
            matches!(refused, ConfigError::Refused { .. }),
            "{refused:?}"
        );
    }
}

#[tokio::test]
async fn a_kill_while_it_is_kept_leaves_no_half() {
    let place = Place::new("workers = 1\npassword = 'a'\n");
    // As one that was killed has left it.
    let left = Path::new("last-good.json.new");
    std::fs::write(place.last_good.with_file_name(left), "{ \"workers").unwrap();
    let load = || place.builder().last_good(&place.last_good).load();
    drop(load().await.unwrap());
    std::fs::remove_file(&place.file).unwrap();
    assert_eq!(*load().await.unwrap().get(), shop(1, "a"));
}

#[test]
fn another_kind_of_file_is_refused() {
    let refused = FileSource::new("shop.yaml");
    assert!(
        matches!(refused, Err(ConfigError::Source { .. })),
        "{refused:?}"
    );
}
