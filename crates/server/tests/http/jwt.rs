//! JSON Web Tokens of an issuer whose keys are in a file.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::secure::{Bearer, ROLES, Setup};
use crate::signer::{Signer, claims, seconds};
use crate::site::Site;

/// The modulus of an RSA key whose private half is gone.
const RSA_MODULUS: &str = "\
    n44ctgQmmNw0SH0vgL8wdJFCV3lXAqAssuhoOgDPirwQKYfyww-bxjjalY3TYsFdzsDBzE3PyfciJcJvXZqWYrgxWc3H9eEWj7xE\
    8sUQN24owQTD7JrLV_faU2AcNYCu7PHvUD0KuoCo5BMiySurcxTKdIqh47vADB2syStsRQjHPmGRTrOIdOt8RpXFMUaNqDWK2yaX\
    r5pd8aOZ-CE0uicKUybINi_amQZmfA3KfSlH9F-nfJHFeRbelGemFD-obvuBDa1qFtRLyrXGW-mLY0c7IU_FKsLCkpzr5zmxG_17\
    7o1JIwbQsC6sA40U2rWa4c4aRmaJh5UOKgyWtr2IQw";
/// A token that it has signed, for `rosa`, a reader, until 2100.
const RSA_TOKEN: &str = "\
    eyJhbGciOiAiUlMyNTYiLCAia2lkIjogInJzYSJ9.eyJpc3MiOiAiaHR0cHM6Ly9pZHAuZXhhbXBsZSIsICJhdWQiOiAiZW5zdWU\
    iLCAic3ViIjogInJvc2EiLCAicm9sZXMiOiBbInJlYWRlciJdLCAiZXhwIjogNDEwMjQ0NDgwMH0.XIq2sNdnRCdn5a68ZENmGzH\
    s-9gZvN_D8vUgAJIS0dH6B4d_WTwnXDHeG_5ecffW-Ev45tqJBKUfeDX8tJ_InEjnAWXu17DUoA9UmiZXt8gh9tAVNwlPheyzw7e\
    AHv6yjC2aFrDe_BDC4-_mFFQHrX44OMz7O95jsXBEVWomYRXOJsCLCvQDKY2leBC1_fl1K1BDsMrpIiU_q-ktPpB-psTWWU_KGLS\
    xzEU9_HRCaArWh5_SqGHDe2T-VlagXgk4JId3haGdOIeQ6S8QzK5H_PgvuhuEtBTIPUuew0R81445Mhbao9h03lg6-iEH1l_8Vxh\
    wAYwfAD3Q2ERkIm4i0g";

/// A configuration that takes tokens signed by these keys.
fn setup(keys: &Value) -> Setup {
    let setup = Setup::new(&format!(
        "[auth.jwt]\nissuer = 'https://idp.example'\naudience = 'ensue'\nkeys = 'jwks.json'\n{ROLES}"
    ));
    setup.write("jwks.json", &json!({ "keys": keys }).to_string());
    setup
}

#[tokio::test]
async fn a_token_of_the_issuer_is_known_by_its_claims_in_each_algorithm() {
    let (one, other) = (Signer::ed25519(), Signer::p256());
    let rsa = json!({"kty": "RSA", "kid": "rsa", "n": RSA_MODULUS, "e": "AQAB"});
    let to_encrypt = json!({"kty": "RSA", "use": "enc", "n": RSA_MODULUS, "e": "AQAB"});
    let setup = setup(&json!([
        to_encrypt,
        one.jwk("one"),
        other.jwk("other"),
        rsa
    ]));
    let site = Site::with(setup.config()).await;
    let mut tokens = vec![RSA_TOKEN.to_owned()];
    for (signer, id) in [(&one, "one"), (&other, "other")] {
        let with_id = json!({"alg": signer.algorithm(), "kid": id, "typ": "JWT"});
        let without = json!({"alg": signer.algorithm()});
        tokens.push(signer.token(&with_id, &claims(json!({}))));
        tokens.push(signer.token(&without, &claims(json!({"aud": ["other", "ensue"]}))));
        tokens.push(signer.token(&without, &claims(json!({"roles": "writer reader"}))));
    }
    for token in &tokens {
        let mut caller = Bearer::connect(&site, token).await;
        caller.get("/v1/events").await.ok();
        let refused = caller.get("/metrics").await.problem(403, "forbidden");
        let detail = refused["detail"].as_str().unwrap();
        assert!(
            detail.contains("erika") || detail.contains("rosa"),
            "{detail}"
        );
    }
    site.end().await;
}

#[tokio::test]
async fn a_token_that_is_not_the_issuers_or_not_for_us_is_refused() {
    let (signer, stranger) = (Signer::p256(), Signer::p256());
    let setup = setup(&json!([signer.jwk("one")]));
    let site = Site::with(setup.config()).await;
    let header = json!({"alg": "ES256", "kid": "one"});
    let good = signer.token(&header, &claims(json!({})));
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let none = URL_SAFE_NO_PAD.encode(json!({"alg": "none"}).to_string());
    let payload = signed.split_once('.').unwrap().1;
    let of = |more: Value| signer.token(&header, &claims(more));
    let mut tokens = vec![
        stranger.token(&header, &claims(json!({}))),
        format!("{none}.{payload}."),
        format!("{none}.{payload}.{signature}"),
        format!("{signed}."),
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode([0; 64])),
        "a.b.c".to_owned(),
        "..".to_owned(),
        format!("{signed}.{signature}.{signature}"),
        signer.token(&json!({"alg": "EdDSA", "kid": "one"}), &claims(json!({}))),
        signer.token(&json!({"alg": "HS256", "kid": "one"}), &claims(json!({}))),
        signer.token(&json!({"alg": "ES256", "kid": "two"}), &claims(json!({}))),
        signer.token(
            &json!({"alg": "ES256", "crit": ["exp"]}),
            &claims(json!({})),
        ),
        of(json!({"iss": "https://evil.example"})),
        of(json!({"aud": "other"})),
        of(json!({"aud": []})),
        of(json!({"exp": seconds() - 1})),
        of(json!({"exp": null})),
        of(json!({"exp": "tomorrow"})),
        of(json!({"nbf": seconds() + 3600})),
        of(json!({"sub": ""})),
        of(json!({"sub": "a\nb"})),
        of(json!({"sub": null})),
        "x".repeat(10_000) + ".b.c",
    ];
    // With another payload under the same signature.
    let forged = URL_SAFE_NO_PAD.encode(claims(json!({"roles": ["owner"]})).to_string());
    let head = signed.split_once('.').unwrap().0;
    tokens.push(format!("{head}.{forged}.{signature}"));
    for token in &tokens {
        let mut caller = Bearer::connect(&site, token).await;
        let answer = caller.get("/v1/status").await;
        let problem = answer.problem(401, "unauthenticated").to_string();
        assert!(
            token.len() < 10 || !problem.contains(token.as_str()),
            "{problem}"
        );
    }
    let mut caller = Bearer::connect(&site, &good).await;
    caller.get("/v1/status").await.ok();
    // Without a role that is known, it is known and may do nothing.
    let mut other = Bearer::connect(&site, &of(json!({"roles": ["unknown"]}))).await;
    other.get("/v1/events").await.problem(403, "forbidden");
    site.end().await;
}

#[tokio::test]
async fn a_name_of_an_issuer_is_not_that_of_a_token() {
    let signer = Signer::ed25519();
    let setup = setup(&json!([signer.jwk("one")]));
    let text = std::fs::read_to_string(setup.path("ensue.toml")).unwrap();
    setup.write(
        "ensue.toml",
        &format!("[auth]\ntokens = 'tokens.json'\n{text}"),
    );
    let token = setup.token("reader");
    let mut config = setup.config();
    config.limits.caller_streams_max = 1;
    let site = Site::with(config).await;
    let claims = claims(json!({"sub": "reader"}));
    let issued = signer.token(&json!({"alg": "EdDSA"}), &claims);
    let path = "/v1/events/stream?topic=orders.eu";
    let first = site
        .client()
        .await
        .stream_as(path, &format!("Bearer {token}"))
        .await;
    let _first = first.unwrap();
    // They do not share what one caller may use, nor anything else that goes by the name.
    let second = site
        .client()
        .await
        .stream_as(path, &format!("Bearer {issued}"))
        .await;
    drop(second.unwrap());
    let mut caller = Bearer::connect(&site, &issued).await;
    let refused = caller.get("/metrics").await.problem(403, "forbidden");
    let detail = refused["detail"].as_str().unwrap();
    assert!(detail.contains("`jwt:reader`"), "{detail}");
    site.end().await;
    let text =
        "[tls]\ncertificate = 'a'\nkey = 'b'\nclient_ca = 'c'\n[auth.certificates]\n'jwt:x' = []";
    let error = text
        .parse::<ensue_server::Config>()
        .unwrap_err()
        .to_string();
    assert!(error.contains("begins with `jwt:`"), "{error}");
}

#[tokio::test]
async fn a_key_that_is_gone_ends_what_it_has_signed() {
    let (old, new) = (Signer::ed25519(), Signer::ed25519());
    let setup = setup(&json!([old.jwk("old")]));
    let site = Site::with(setup.config()).await;
    let header = json!({"alg": "EdDSA"});
    let token = old.token(&header, &claims(json!({})));
    let path = "/v1/events/stream?topic=orders.eu";
    let client = site.client().await;
    let mut stream = client
        .stream_as(path, &format!("Bearer {token}"))
        .await
        .unwrap();
    setup.write("jwks.json", &json!({"keys": [new.jwk("new")]}).to_string());
    site.running.reload().await.unwrap();
    let last = stream.next().await.unwrap();
    assert_eq!(last.data.unwrap()["code"], "unauthenticated");
    let mut caller = Bearer::connect(&site, &token).await;
    caller
        .get("/v1/events")
        .await
        .problem(401, "unauthenticated");
    let token = new.token(&header, &claims(json!({})));
    let mut caller = Bearer::connect(&site, &token).await;
    caller.get("/v1/events").await.ok();
    for bad in [
        "",
        "{}",
        r#"{"keys": []}"#,
        r#"{"keys": [{"kty": "oct", "k": "AAAA"}]}"#,
    ] {
        setup.write("jwks.json", bad);
        let error = site.running.reload().await.unwrap_err().to_string();
        assert!(error.contains("auth.jwt.keys"), "{error}");
        caller.get("/v1/events").await.ok();
    }
    site.end().await;
}

#[test]
fn an_issuer_without_what_it_takes_is_an_error() {
    for (text, part) in [
        ("[auth.jwt]", "auth.jwt.issuer"),
        ("[auth.jwt]\nissuer = 'i'", "auth.jwt.audience"),
        ("[auth.jwt]\nissuer = 'i'\naudience = 'a'", "auth.jwt.keys"),
        ("[auth.jwt]\nisuer = 'i'", "did you mean `auth.jwt.issuer`"),
        (
            "[auth.jwt]\nissuer = 'http://id.example'\naudience = 'a'",
            "not protected by TLS",
        ),
        (
            "[auth.jwt]\nissuer = 'i'\naudience = 'a'\nkeys_url = 'http://10.0.0.1/keys'",
            "auth.jwt.keys_url",
        ),
        (
            "[auth.jwt]\nissuer = 'i'\naudience = 'a'\nkeys = 'k'\nkeys_url = 'https://a/k'",
            "contradicts `auth.jwt.keys`",
        ),
        (
            "[auth.jwt]\nissuer = 'i'\naudience = 'a'\nkeys = 'k'\nca_file = 'ca'",
            "auth.jwt.ca_file",
        ),
    ] {
        let error = text
            .parse::<ensue_server::Config>()
            .unwrap_err()
            .to_string();
        assert!(error.contains(part), "{error}");
    }
}
