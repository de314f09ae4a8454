//! `ensue doctor`.

use crate::shop::Shop;

#[tokio::test]
async fn a_good_place_is_good_while_an_app_owns_it() {
    let shop = Shop::empty();
    let engine = shop.open().await;
    shop.run(&["doctor"])
        .succeeds()
        .says("durability=sync")
        .says(&format!("process {}", std::process::id()));
    let report = shop.json(&["doctor"]);
    let aspects: Vec<_> = report["findings"].as_array().unwrap().iter().collect();
    assert!(aspects.iter().any(|it| it["aspect"] == "space"), "{report}");
    engine.close().await.unwrap();
}

#[tokio::test]
async fn what_weakens_a_promise_fails_only_the_strict() {
    let shop = Shop::empty();
    let url = format!("{}?durability=os", shop.url());
    let with = |rest: &[&'static str]| {
        let mut args = vec!["--engine".to_owned(), url.clone()];
        args.extend(rest.iter().map(|arg| (*arg).to_owned()));
        args
    };
    let run = |rest: &[&'static str]| {
        let args = with(rest);
        let args: Vec<_> = args.iter().map(String::as_str).collect();
        shop.run(&args)
    };
    run(&["doctor"]).succeeds().says("power cut").says("beware");
    run(&["doctor", "--strict"]).fails(1).says("power cut");
    let report = run(&["--json", "doctor", "--strict"]).fails(1).json();
    assert_eq!(report["good"], false, "{report}");
}

#[tokio::test]
async fn what_cannot_be_looked_at_fails() {
    let shop = Shop::empty();
    let run = shop.run(&["--json", "--engine", "oracle://db", "doctor"]);
    assert_eq!(run.fails(1).error()["kind"], "url");
}
