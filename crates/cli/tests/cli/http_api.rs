//! The examples of docs/http-api.md in `curl` and Python, run against `ensue serve` with the settings of that page. Those in
//! TypeScript are a peer: they need a compiler of it.

#![allow(
    clippy::disallowed_types,
    reason = "it is a receiver of the server's webhooks"
)]

use std::io::{BufReader, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::process::{Command, Stdio};

use crate::delivering::request;
use crate::serving::Serving;
use crate::shop::Shop;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
/// Where the page says that the receiver of its webhooks is.
const RECEIVER: &str = "127.0.0.1:9000";
/// Heartbeats end `curl | head`, which sees that no one reads when it writes again.
const OFTEN: &str = "[limits]\nheartbeat = \"1s\"\n";
/// Between what one command printed and the next.
const MARK: char = '\u{1e}';

/// The blocks of the page in this language, in order.
fn blocks(language: &str) -> Vec<String> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/http-api.md");
    let page = std::fs::read_to_string(path).unwrap();
    let begin = format!("\n```{language}\n");
    let blocks = page.split(&begin).skip(1);
    blocks
        .map(|block| block.split("\n```").next().unwrap().to_owned())
        .collect()
}

/// A receiver of webhooks that takes everything.
fn receiver() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || {
                let mut reader = BufReader::new(&stream);
                while request(&mut reader).is_some() {
                    let answer = b"HTTP/1.1 204 No Content\r\n\r\n";
                    if (&stream).write_all(answer).is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

fn serve(shop: &Shop) -> Serving {
    let config = shop.path().with_extension("toml");
    let text = blocks("toml").concat();
    assert!(text.contains(RECEIVER), "{text}");
    let text = text.replace(RECEIVER, &receiver().to_string());
    std::fs::write(&config, format!("{OFTEN}\n{text}\n")).unwrap();
    let config = config.to_str().unwrap();
    let listen = ["--json", "serve", "--listen", "127.0.0.1:0"];
    let mut command = shop.command(&[&listen[..], &["--config", config]].concat());
    command.env("SHOP_WEBHOOK", SECRET);
    Serving::started(command)
}

/// Whether these programs are here; without one the test is skipped, and fails under CI.
fn has(programs: &[&str]) -> bool {
    let missing = programs.iter().find(|program| {
        let mut command = Command::new(program);
        command.arg("--version").stdout(Stdio::null());
        command.stderr(Stdio::null()).status().is_err()
    });
    if let Some(program) = missing {
        let said = format!("SKIPPED, NOT PASSED: there is no `{program}` for docs/http-api.md\n");
        assert!(std::env::var_os("CI").is_none(), "{said}");
        // Not captured, as what is printed would be.
        let _ = std::io::stderr().write_all(said.as_bytes());
    }
    missing.is_none()
}

/// What a program prints that is a text of the page, run against a server.
fn run(program: &str, text: &str) -> String {
    let shop = Shop::empty();
    let serving = serve(&shop);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("example");
    std::fs::write(&file, text).unwrap();
    let output = Command::new(program)
        .arg(&file)
        .current_dir(directory.path())
        .env("ENSUE", format!("http://{}", serving.address))
        .env("SHOP_WEBHOOK", SECRET)
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program}: {errors}\n{said}");
    assert_eq!(serving.end(), Some(0));
    said
}

/// Whether a text is as the page says, where `…` stands for anything.
fn is_as(expected: &str, text: &str) -> bool {
    let mut parts = expected.split('…');
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else {
        return false;
    };
    let parts: Vec<&str> = parts.collect();
    for (index, part) in parts.iter().enumerate() {
        let is_last = index + 1 == parts.len();
        let found = if is_last {
            rest.rfind(part)
        } else {
            rest.find(part)
        };
        let Some(at) = found else {
            return false;
        };
        rest = &rest[at + part.len()..];
    }
    rest.is_empty()
}

/// A command, and what it prints.
struct Step {
    command: String,
    printed: String,
}

/// The commands of a block: each begins with `$ `, and goes on with lines that are indented.
fn steps(block: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for line in block.lines() {
        if let Some(command) = line.strip_prefix("$ ") {
            let (command, printed) = (command.to_owned(), String::new());
            steps.push(Step { command, printed });
            continue;
        }
        let step = steps.last_mut().unwrap();
        let text = if line.starts_with("    ") {
            assert!(step.printed.is_empty(), "{line}");
            &mut step.command
        } else {
            &mut step.printed
        };
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(line);
    }
    steps
}

#[test]
fn the_examples_in_curl_print_what_the_page_says() {
    if !has(&["bash", "curl", "openssl"]) {
        return;
    }
    let steps: Vec<Step> = blocks("console").iter().flat_map(|it| steps(it)).collect();
    assert!(steps.len() > 30, "{} commands", steps.len());
    let script = steps.iter().map(|step| {
        // `printf` of bash writes the mark.
        format!("{}\nprintf '\\x1e'\n", step.command)
    });
    let said = run("bash", &format!("set -e\n{}", script.collect::<String>()));
    let said: Vec<&str> = said.split_terminator(MARK).collect();
    assert_eq!(said.len(), steps.len());
    for (step, said) in steps.iter().zip(said) {
        let (command, printed) = (&step.command, &step.printed);
        let said = said.trim_end();
        assert!(
            is_as(printed, said),
            "{command}\n{said}\nthe page has\n{printed}"
        );
    }
}

#[test]
fn the_examples_in_python_print_what_the_page_says() {
    if !has(&["python3"]) {
        return;
    }
    let program = blocks("python").join("\n\n");
    let said = run("python3", &program);
    let expected = program.lines().filter_map(|line| line.split_once("# → "));
    let expected: Vec<&str> = expected.map(|(_, expected)| expected).collect();
    let said: Vec<&str> = said.lines().collect();
    assert!(expected.len() > 15, "{expected:?}");
    assert_eq!(said.len(), expected.len(), "{said:#?}\n{expected:#?}");
    for (said, expected) in said.iter().zip(&expected) {
        assert!(is_as(expected, said), "{said}\nthe page has\n{expected}");
    }
}

#[test]
fn three_dots_stand_for_anything_and_nothing_else_does() {
    for (expected, text, is) in [
        ("", "", true),
        ("a", "a", true),
        ("a", "ab", false),
        ("…", "anything", true),
        ("{…\"b\":1,…}", "{\"a\":0,\"b\":1,\"c\":2}", true),
        ("{…\"b\":1,…}", "{\"b\":2}", false),
        ("…}", "{}}", true),
        ("a…", "ba", false),
        ("a…b…b", "ab", false),
    ] {
        assert_eq!(is_as(expected, text), is, "{expected} {text}");
    }
}
