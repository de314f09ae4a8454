//! Rules about who depends on whom.

use super::Breach;
use super::workspace::{Package, Workspace};

/// What each part of the workspace may depend on within it. A path that ends in `/` stands for
/// everything below it.
const LAYERS: [(&str, &[&str]); 24] = [
    // Before `crates/ensue`, of whose tests it is a part.
    ("crates/ensue/tests/compiled-with", &[]),
    ("crates/log", &[]),
    ("crates/macros", &[]),
    ("crates/cesql", &[]),
    ("crates/core", &[]),
    ("crates/engine", &["ensue-core", "ensue-log"]),
    ("crates/brokers", &["ensue-core", "ensue-engine"]),
    ("crates/proto", &["ensue-core"]),
    ("crates/remote", &["ensue-core", "ensue-proto"]),
    (
        "crates/ensue",
        &[
            "ensue-brokers",
            "ensue-core",
            "ensue-engine",
            "ensue-macros",
            "ensue-remote",
        ],
    ),
    ("crates/blocks", &["ensue", "ensue-brokers", "ensue-core"]),
    ("crates/conformance", &["ensue", "ensue-core"]),
    ("crates/otel", &["ensue", "ensue-core"]),
    ("crates/sql", &["ensue", "ensue-core"]),
    (
        "crates/server",
        &[
            "ensue",
            "ensue-cesql",
            "ensue-core",
            "ensue-otel",
            "ensue-proto",
        ],
    ),
    (
        "crates/cli",
        &[
            "ensue",
            "ensue-cesql",
            "ensue-otel",
            "ensue-server",
            "ensue-sql",
        ],
    ),
    // Before the other examples: its view is in a database.
    ("examples/accounts", &["ensue", "ensue-blocks", "ensue-sql"]),
    ("examples/sensors", &["ensue", "ensue-blocks", "ensue-sql"]),
    ("examples/", &["ensue"]),
    (
        "bench",
        &[
            "ensue",
            "ensue-blocks",
            "ensue-log",
            "ensue-otel",
            "ensue-server",
            "ensue-sql",
            "servers",
        ],
    ),
    (
        "fuzz",
        &[
            "ensue",
            "ensue-cesql",
            "ensue-log",
            "ensue-proto",
            "ensue-server",
        ],
    ),
    ("torture", &["ensue", "ensue-log"]),
    ("servers", &[]),
    ("xtask", &["servers"]),
];

/// What the tests alone of a part may use besides.
const TEST_LAYERS: [(&str, &[&str]); 12] = [
    // The examples in the documentation name what programs depend on.
    ("crates/core", &["ensue"]),
    ("crates/ensue", &["compiled-with", "servers"]),
    // Engines are tested on real servers.
    ("crates/brokers", &["servers"]),
    ("crates/blocks", &["servers"]),
    ("crates/conformance", &["ensue-server", "servers"]),
    ("crates/cli", &["servers"]),
    ("crates/sql", &["servers"]),
    // Disks that are full, hang, or break.
    ("crates/server", &["ensue-engine"]),
    ("examples/accounts", &["servers"]),
    ("examples/orders", &["ensue-server", "servers"]),
    ("examples/sensors", &["servers"]),
    // What a macro writes names the framework.
    ("crates/macros", &["ensue"]),
];

/// Crates that serve HTTP.
const HTTP_SERVERS: [&str; 9] = [
    "actix-web",
    "axum",
    "hyper",
    "poem",
    "rocket",
    "salvo",
    "tiny_http",
    "tonic",
    "warp",
];

pub(super) fn log_is_pure(workspace: &Workspace) -> Vec<Breach> {
    let from = workspace.built_from("ensue-log");
    let impure = from.iter().filter(|name| {
        ["tokio", "serde"]
            .iter()
            .any(|root| name.strip_prefix(root).is_some_and(is_family))
    });
    impure
        .map(|name| Breach::new("crates/log/Cargo.toml", format!("built from `{name}`")))
        .collect()
}

/// Whether what follows a name makes it a relative: `serde` and `serde_json`, not `serdexyz`.
fn is_family(rest: &str) -> bool {
    rest.is_empty() || rest.starts_with(['_', '-'])
}

pub(super) fn point_one_way(workspace: &Workspace) -> Vec<Breach> {
    let ours: Vec<_> = workspace
        .members()
        .map(|package| package.name.as_str())
        .collect();
    let check = |package: &Package| -> Vec<Breach> {
        let directory = package.directory.clone().unwrap_or_default();
        let place = format!("{directory}/Cargo.toml");
        let layer = LAYERS
            .iter()
            .find(|(path, _)| match path.strip_suffix('/') {
                Some(parent) => directory.starts_with(parent),
                None => directory == *path,
            });
        let Some((_, allowed)) = layer else {
            return vec![Breach::new(place, "its layer is not in `LAYERS`")];
        };
        let besides = TEST_LAYERS.iter().find(|(path, _)| directory == *path);
        let besides = besides.map_or(&[][..], |(_, names)| names);
        let is_wrong = |name: &str| ours.contains(&name) && !allowed.contains(&name);
        let built = package.dependencies.iter().filter(|name| is_wrong(name));
        let tested = package.test_dependencies.iter();
        let tested = tested.filter(|name| is_wrong(name) && !besides.contains(&name.as_str()));
        let wrong = built.chain(tested);
        wrong
            .map(|name| Breach::new(&place, format!("depends on `{name}`")))
            .collect()
    };
    workspace.members().flat_map(check).collect()
}

pub(super) fn only_the_server_serves(workspace: &Workspace) -> Vec<Breach> {
    // An example is a user's program, which may serve what it likes; the bench compares.
    let is_free = |package: &Package| {
        let directory = package.directory.as_deref();
        directory.is_some_and(|it| it.starts_with("examples/") || it == "bench")
    };
    // The protocol's code is of both sides; the remote engine, what sends telemetry and building blocks are clients.
    let speaks = [
        "ensue-server",
        "ensue-proto",
        "ensue-remote",
        "ensue-otel",
        "ensue-blocks",
    ];
    let others = workspace
        .members()
        .filter(|package| !speaks.contains(&package.name.as_str()) && !is_free(package));
    let check = |package: &Package| -> Vec<Breach> {
        let directory = package.directory.clone().unwrap_or_default();
        let servers = package
            .dependencies
            .iter()
            .filter(|d| HTTP_SERVERS.contains(&d.as_str()));
        let breach = |name| {
            Breach::new(
                format!("{directory}/Cargo.toml"),
                format!("depends on `{name}`"),
            )
        };
        servers.map(breach).collect()
    };
    others.flat_map(check).collect()
}

pub(super) fn msrv_is_true(workspace: &Workspace) -> Vec<Breach> {
    let needed = |package: &Package| package.rust_version.as_deref().map(numbers);
    let Some(stated) = workspace.members().filter_map(needed).min() else {
        return vec![Breach::new("Cargo.toml", "no `rust-version` is stated")];
    };
    let newer = workspace
        .packages
        .iter()
        .filter(|p| needed(p).is_some_and(|it| it > stated));
    let breach = |package: &Package| {
        let needs = package.rust_version.as_deref().unwrap_or_default();
        let (name, version) = (&package.name, &package.version);
        Breach::new("Cargo.toml", format!("{name} {version} needs Rust {needs}"))
    };
    newer.map(breach).collect()
}

/// `1.88` and `1.88.0` are the same version.
fn numbers(version: &str) -> [u64; 3] {
    let mut parts = version
        .split('.')
        .map(|part| part.parse().unwrap_or_default());
    std::array::from_fn(|_| parts.next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(directory: Option<&str>, name: &str, dependencies: &[&str]) -> Package {
        Package {
            name: name.to_owned(),
            version: "1.0.0".to_owned(),
            rust_version: Some("1.88".to_owned()),
            directory: directory.map(str::to_owned),
            dependencies: dependencies.iter().map(|name| (*name).to_owned()).collect(),
            ..Package::default()
        }
    }

    fn workspace(packages: &[Package]) -> Workspace {
        Workspace {
            packages: packages.to_vec(),
        }
    }

    #[test]
    fn the_log_stays_pure_through_others_too() {
        let bytes = package(None, "bytes", &["serde_core"]);
        let serde = package(None, "serde_core", &[]);
        let good = workspace(&[package(Some("crates/log"), "ensue-log", &["crc32c"])]);
        assert_eq!(log_is_pure(&good), []);
        let bad = package(Some("crates/log"), "ensue-log", &["bytes"]);
        let found = log_is_pure(&workspace(&[bad, bytes, serde]));
        assert_eq!(
            found,
            [Breach::new(
                "crates/log/Cargo.toml",
                "built from `serde_core`"
            )]
        );
    }

    #[test]
    fn an_arrow_that_points_up_is_found() {
        let log = package(Some("crates/log"), "ensue-log", &["ensue"]);
        let ensue = package(Some("crates/ensue"), "ensue", &["ensue-engine"]);
        let orders = package(Some("examples/orders"), "orders", &["ensue-log"]);
        let stray = package(Some("crates/new"), "new", &[]);
        let found = point_one_way(&workspace(&[log, ensue, orders, stray]));
        let places: Vec<_> = found.iter().map(|breach| breach.place.as_str()).collect();
        assert_eq!(
            places,
            [
                "crates/log/Cargo.toml",
                "examples/orders/Cargo.toml",
                "crates/new/Cargo.toml"
            ]
        );
    }

    #[test]
    fn http_belongs_to_the_server() {
        let server = package(Some("crates/server"), "ensue-server", &["axum"]);
        let ensue = package(Some("crates/ensue"), "ensue", &["axum"]);
        let shop = package(Some("examples/shop"), "shop", &["axum"]);
        assert_eq!(
            only_the_server_serves(&workspace(&[server, ensue, shop])).len(),
            1
        );
    }

    #[test]
    fn a_dependency_that_needs_a_newer_rust_is_named() {
        let ours = package(Some("crates/log"), "ensue-log", &[]);
        let mut theirs = package(None, "sqlx", &[]);
        assert_eq!(
            msrv_is_true(&workspace(&[ours.clone(), theirs.clone()])),
            []
        );
        theirs.rust_version = Some("1.94.0".to_owned());
        let found = msrv_is_true(&workspace(&[ours, theirs]));
        assert_eq!(
            found,
            [Breach::new("Cargo.toml", "sqlx 1.0.0 needs Rust 1.94.0")]
        );
    }
}
