//! What cargo knows about the workspace: `cargo metadata`, read once.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use crate::cargo::{cargo, root};

/// One package, of the workspace or not.
#[derive(Clone, Debug, Default)]
pub(super) struct Package {
    pub(super) name: String,
    pub(super) version: String,
    /// What it says it needs.
    pub(super) rust_version: Option<String>,
    /// Where it is in the workspace; `None` for what is not ours.
    pub(super) directory: Option<String>,
    /// Names of what it depends on, without what only its tests need.
    pub(super) dependencies: Vec<String>,
    /// Names of what only its tests need.
    pub(super) test_dependencies: Vec<String>,
}

/// Every package of `Cargo.lock`.
#[derive(Debug, Default)]
pub(super) struct Workspace {
    pub(super) packages: Vec<Package>,
}

impl Workspace {
    pub(super) fn read() -> Result<Self, String> {
        let mut metadata = cargo();
        metadata.args(["metadata", "--format-version", "1", "--locked"]);
        let output = metadata
            .output()
            .map_err(|error| format!("cannot run `cargo metadata`: {error}"))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(format!("`cargo metadata --locked` failed:\n{said}"));
        }
        let json: Value = serde_json::from_slice(&output.stdout)
            .map_err(|error| format!("`cargo metadata` is not JSON: {error}"))?;
        let packages = array(&json, "packages").iter().map(package);
        Ok(Self {
            packages: packages.collect(),
        })
    }

    /// The workspace's own packages.
    pub(super) fn members(&self) -> impl Iterator<Item = &Package> {
        self.packages
            .iter()
            .filter(|package| package.directory.is_some())
    }

    /// Names of everything that `name` is built from.
    pub(super) fn built_from(&self, name: &str) -> HashSet<&str> {
        let by_name: HashMap<_, _> = self.packages.iter().map(|p| (p.name.as_str(), p)).collect();
        let mut found = HashSet::new();
        let mut names = vec![name];
        while let Some(package) = names.pop().and_then(|name| by_name.get(name)) {
            for dependency in &package.dependencies {
                if found.insert(dependency.as_str()) {
                    names.push(dependency);
                }
            }
        }
        found
    }
}

fn package(json: &Value) -> Package {
    let text = |name: &str| json.get(name).and_then(Value::as_str).map(str::to_owned);
    let is_ours = json.get("source").is_none_or(Value::is_null);
    let root = format!("{}/", root().display());
    let directory = text("manifest_path").filter(|_| is_ours).map(|path| {
        let path = path.strip_prefix(&root).unwrap_or(&path);
        path.trim_end_matches("/Cargo.toml").to_owned()
    });
    let (tests, others): (Vec<_>, Vec<_>) = array(json, "dependencies")
        .iter()
        // What others make optional they do not bring along; what we make optional is ours.
        .filter(|dependency| is_ours || !is_true(dependency, "optional"))
        .partition(|dependency| dependency.get("kind").and_then(Value::as_str) == Some("dev"));
    let names = |dependencies: Vec<&Value>| -> Vec<String> {
        let names = dependencies.iter().filter_map(|d| d.get("name")?.as_str());
        names.map(str::to_owned).collect()
    };
    Package {
        name: text("name").unwrap_or_default(),
        version: text("version").unwrap_or_default(),
        rust_version: text("rust_version"),
        directory,
        dependencies: names(others),
        test_dependencies: names(tests),
    }
}

fn array<'a>(json: &'a Value, name: &str) -> &'a [Value] {
    json.get(name)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

fn is_true(json: &Value, name: &str) -> bool {
    json.get(name).and_then(Value::as_bool).unwrap_or_default()
}
