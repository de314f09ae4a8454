//! UmaDB, from PyPI, whose wheel has the server: one server, beside which aggregates are measured.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::launch::Launch;
use crate::place::{Place, remove_directory};
use crate::port::first;
use crate::probe::Probe;
use crate::process::Signal;
use crate::program::{Program, find, run};
use crate::say::say;
use crate::server::{Origin, Server, Started, no_remains, nothing_to_clean_up};

const PACKAGE: &str = "umadb";
const VERSION: &str = "0.7.8";
/// Becomes the server, with the words that follow.
const MAIN: &str = "from umadb.umadb_server_cli import main; main()";
/// A frame of HTTP/2: its length is three bytes, its kind the fourth.
const SETTINGS: u8 = 4;

pub(crate) const SERVER: Server = Server {
    name: "umadb",
    started: Started::ByName,
    ports: 1,
    origin: Origin::Own { missing, obtain },
    set_up,
    probe: Probe {
        // The beginning of HTTP/2, and settings without any.
        words: b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
        is_answer: |answer| answer.get(3) == Some(&SETTINGS),
    },
    farewell: Signal::Terminate,
    has_remains: no_remains,
    clean_up: nothing_to_clean_up,
};

fn missing(place: &Place) -> Vec<&'static str> {
    match home(place).is_dir() || find("pip3").is_some() {
        true => Vec::new(),
        false => vec!["python3-pip"],
    }
}

fn home(place: &Place) -> PathBuf {
    place.programs.join(format!("{PACKAGE}-{VERSION}"))
}

/// The program itself: what is found may be a script of a tool that has several.
fn python() -> Result<PathBuf, String> {
    let found = find("python3").ok_or("there is no Python")?;
    let mut asking = Command::new(&found);
    asking.args(["-c", "import sys; print(sys.executable)"]);
    let said = asking
        .output()
        .map_err(|error| format!("cannot run {}: {error}", found.display()))?;
    Ok(PathBuf::from(String::from_utf8_lossy(&said.stdout).trim()))
}

fn obtain(place: &Place) -> Result<Program, String> {
    let python = python()?;
    let home = home(place);
    if !home.is_dir() {
        if !place.may_install {
            return Err("UmaDB is fetched from PyPI, with `--install`".to_owned());
        }
        say(format_args!("fetching UmaDB {VERSION} from PyPI"));
        // Fetched beside and moved: what is there is whole.
        let unfinished = home.with_extension("unfinished");
        remove_directory(&unfinished)?;
        let mut pip = Command::new(&python);
        pip.args(["-m", "pip", "install", "--quiet", "--no-deps", "--target"]);
        run(pip.arg(&unfinished).arg(format!("{PACKAGE}=={VERSION}")))?;
        std::fs::rename(&unfinished, &home)
            .map_err(|error| format!("cannot move what was fetched: {error}"))?;
    }
    Ok(Program {
        parts: home,
        ..Program::new(VERSION, python)
    })
}

fn set_up(program: &Program, _: &Path, ports: &[u16]) -> Result<Launch, String> {
    let address = format!("127.0.0.1:{}", first(ports)?);
    let mut launch = Launch::new(
        format!("http://{address}"),
        [
            &program.path.to_string_lossy(),
            "-c",
            MAIN,
            "--listen",
            &address,
            "--db-path",
            "uma.db",
        ],
    );
    launch.set("PYTHONPATH", program.parts.to_string_lossy());
    Ok(launch)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_that_speaks_http_2_is_ready() {
        let is_answer = SERVER.probe.is_answer;
        assert!(is_answer(b"\0\0\x12\x04\0\0\0\0\0"));
        assert!(!is_answer(b"HTTP/1.1 400 Bad Request\r\n"));
        assert!(!is_answer(b""));
    }
}
