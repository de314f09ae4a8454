//! Servers in Java, which Maven fetches from Maven Central, and the Java that runs them.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::launch::{make_directory, write};
use crate::place::{Place, remove_directory};
use crate::program::{find, major_minor, run, version};
use crate::say::say;

/// What Maven runs; without a version it takes the newest one.
const COPY_DEPENDENCIES: &str =
    "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies";
const JAVA_OLDEST: (u32, u32) = (17, 0);

/// Something that Maven Central has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Artifact {
    pub(crate) group: &'static str,
    pub(crate) name: &'static str,
    pub(crate) version: &'static str,
}

/// Debian packages without which jars that belong there cannot be fetched or run.
pub(crate) fn missing(jars: &Path) -> Vec<&'static str> {
    let mut packages = Vec::new();
    if java().is_none() {
        packages.push("openjdk-17-jre-headless");
    }
    if !jars.is_dir() && find("mvn").is_none() {
        packages.push("maven");
    }
    packages
}

/// A Java that can run them.
pub(crate) fn java() -> Option<PathBuf> {
    // Debian does not make a newer Java the default one when it already has another.
    let debian = std::fs::read_dir("/usr/lib/jvm")
        .into_iter()
        .flatten()
        .flatten();
    let debian = debian.map(|entry| entry.path().join("bin/java"));
    let mut all = find("java").into_iter().chain(debian);
    all.find(|java| {
        version(java, "-version").is_ok_and(|version| major_minor(&version) >= JAVA_OLDEST)
    })
}

/// Fetches them with all that they need, unless they are there.
pub(crate) fn fetch(
    place: &Place,
    name: &str,
    version: &str,
    artifacts: &[Artifact],
    jars: &Path,
) -> Result<(), String> {
    if jars.is_dir() {
        return Ok(());
    }
    if !place.may_install {
        return Err(format!(
            "{name} {version} is not there. With `--install` it is fetched from Maven Central"
        ));
    }
    say(format_args!("fetching {name} {version}"));
    // Fetched beside and moved: what is there is whole.
    let unfinished = jars.with_extension("unfinished");
    remove_directory(&unfinished)?;
    make_directory(&unfinished)?;
    write(&unfinished.join("pom.xml"), &project(artifacts))?;
    let mut maven = Command::new(find("mvn").ok_or("there is no Maven")?);
    maven.args(["-B", "-q", COPY_DEPENDENCIES]);
    maven.args(["-DincludeScope=runtime", "-DoutputDirectory=jars"]);
    maven.current_dir(&unfinished);
    run(&mut maven)?;
    std::fs::rename(unfinished.join("jars"), jars)
        .map_err(|error| format!("cannot move what was fetched: {error}"))?;
    remove_directory(&unfinished)
}

fn project(artifacts: &[Artifact]) -> String {
    let dependency = |it: &Artifact| {
        format!(
            "    <dependency>\n      <groupId>{}</groupId>\n      \
             <artifactId>{}</artifactId>\n      <version>{}</version>\n    \
             </dependency>\n",
            it.group, it.name, it.version
        )
    };
    let dependencies: String = artifacts.iter().map(dependency).collect();
    format!(
        "<project xmlns=\"http://maven.apache.org/POM/4.0.0\">\n  \
         <modelVersion>4.0.0</modelVersion>\n  <groupId>services</groupId>\n  \
         <artifactId>servers</artifactId>\n  <version>1</version>\n  <packaging>pom</packaging>\n  \
         <dependencies>\n{dependencies}  </dependencies>\n</project>\n"
    )
}
