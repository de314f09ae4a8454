//! `ensue check` and `ensue salvage`.

use std::fs;
use std::path::PathBuf;

use crate::shop::Shop;

#[tokio::test]
async fn a_good_log_is_good() {
    let shop = Shop::with_history().await;
    let report = shop.json(&["check"]);
    assert_eq!(report["good"], true, "{report}");
    assert!(report["records"].as_u64().unwrap() >= 4, "{report}");
    shop.run(&["check"])
        .succeeds()
        .says("every checksum is right");
}

/// The file that holds these bytes, and where.
fn find(shop: &Shop, bytes: &[u8]) -> (PathBuf, usize) {
    for (path, content) in crate::shop::contents(&shop.path()) {
        let mut windows = content.windows(bytes.len());
        if let Some(at) = windows.position(|window| window == bytes) {
            return (path.into(), at);
        }
    }
    panic!("nothing in {} holds {bytes:?}", shop.path().display());
}

/// Changes one bit of the first place that holds these bytes; gives the file's name.
fn damage(shop: &Shop, bytes: &[u8]) -> String {
    let (file, at) = find(shop, bytes);
    let mut content = fs::read(&file).unwrap();
    content[at + bytes.len() / 2] ^= 1;
    fs::write(&file, content).unwrap();
    file.file_name().unwrap().to_string_lossy().into_owned()
}

fn assert_damage_is_named(shop: &Shop, file: &str) {
    let report = shop.run(&["--json", "check"]).fails(1).json();
    assert_eq!(report["good"], false);
    let damage = &report["damage"][0];
    assert!(damage["file"].as_str().unwrap().ends_with(file), "{damage}");
    assert!(damage["offset"].is_u64(), "{damage}");
    let people = shop.run(&["check"]).fails(1).says("BYTE").says(file);
    assert!(
        !people.out.contains("every checksum is right"),
        "{people:?}"
    );
}

#[tokio::test]
async fn damage_in_a_full_segment_is_named_by_file_and_offset() {
    let shop = Shop::empty();
    let url = format!("{}?segment_bytes=65536", shop.url());
    let engine = ensue::connect(&url).await.unwrap();
    for n in 0..40 {
        let payload = format!("\"number {n} {}\"", "x".repeat(4_000));
        let event = crate::shop::event("t", "e", "", &n.to_string(), payload.as_bytes());
        engine.append(vec![event.into()]).await.unwrap();
    }
    engine.close().await.unwrap();
    assert_eq!(shop.json(&["check"])["good"], true);
    let file = damage(&shop, b"number 3 xxxx");
    assert_damage_is_named(&shop, &file);
    let run = shop.run(&["--json", "tail", "--from", "earliest"]).fails(1);
    assert_eq!(run.error()["kind"], "corrupt");
}

#[tokio::test]
async fn damage_in_the_last_segment_is_no_torn_tail() {
    let shop = Shop::with_history().await;
    let file = damage(&shop, br#"{"cents":200}"#);
    assert_damage_is_named(&shop, &file);
}

#[tokio::test]
async fn what_is_readable_is_salvaged_and_what_is_lost_is_named() {
    let shop = Shop::with_history().await;
    let file = damage(&shop, br#"{"cents":200}"#);
    let before = crate::shop::contents(&shop.path());
    let to = shop.path().with_file_name("salvaged");
    let to = to.to_str().unwrap();
    let report = shop.json(&["salvage", "--to", to]);
    assert_eq!(report["lost"].as_array().unwrap().len(), 1, "{report}");
    let lost = &report["lost"][0];
    assert!(lost["file"].as_str().unwrap().ends_with(&file), "{lost}");
    assert_eq!(
        report["end"].as_u64().unwrap() - 1,
        report["records"].as_u64().unwrap()
    );
    // The damaged log is left as it is, but for the pid of its owner.
    let mut after = crate::shop::contents(&shop.path());
    let mut before = before;
    for contents in [&mut before, &mut after] {
        contents.retain(|(path, _)| !path.ends_with("LOCK"));
    }
    assert!(before == after);

    let salvaged = format!("embedded:{to}");
    let checked = shop
        .run(&["--json", "--engine", &salvaged, "check"])
        .succeeds();
    assert_eq!(checked.json()["good"], true);
    shop.run(&["--engine", &salvaged, "status"]).succeeds();
    let again = shop.run(&["--json", "salvage", "--to", to]).fails(1);
    assert_eq!(again.error()["kind"], "exists");
    let plain = format!("{to}.txt");
    fs::write(&plain, "mine").unwrap();
    for taken in [plain.as_str(), "/dev/null"] {
        let refused = shop.run(&["--json", "salvage", "--to", taken]).fails(1);
        assert_eq!(refused.error()["kind"], "not_a_directory", "{taken}");
    }
    shop.run(&["salvage", "--to", &plain])
        .fails(1)
        .warns("is not a directory");
    assert_eq!(fs::read_to_string(&plain).unwrap(), "mine");
    let other = format!("{to}-again");
    shop.run(&["salvage", "--to", &other])
        .succeeds()
        .says("Lost: 1 place")
        .says(&file);
}

#[tokio::test]
async fn only_an_embedded_log_can_be_checked() {
    let run = Shop::empty()
        .run(&["--json", "--engine", "memory:", "check"])
        .fails(1);
    assert_eq!(run.error()["kind"], "unsupported");
}

#[tokio::test]
async fn nothing_is_salvaged_into_the_damaged_log_itself() {
    let shop = Shop::with_history().await;
    let before = crate::shop::contents(&shop.path());
    for inner in [shop.path(), shop.path().join("inner")] {
        let to = inner.to_str().unwrap();
        let run = shop.run(&["--json", "salvage", "--to", to]).fails(1);
        assert_eq!(run.error()["kind"], "inside_source", "{to}");
    }
    assert!(before == crate::shop::contents(&shop.path()));
}
