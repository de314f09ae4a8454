//! Runs of tests that are counted: none at all is a failure, because what is not tried finds nothing.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};

use crate::say::say;
use crate::steps::{Outcome, shown};

/// Runs a command that prints what tests print, and passes it on.
pub(crate) fn run_tests(mut command: Command, advice: &str) -> Outcome {
    let line = shown(&command);
    say(format_args!("$ {line}"));
    let failed = |error| Outcome::Failed(format!("`{line}`: {error}"));
    command.stdout(Stdio::piped());
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => return failed(error),
    };
    let passed = child.stdout.take().map_or(0, pass_on);
    match child.wait() {
        Ok(status) if status.success() && passed > 0 => Outcome::Passed,
        Ok(status) if status.success() => {
            Outcome::Failed("not one test ran: where have they gone?".to_owned())
        }
        Ok(_) => Outcome::Failed(advice.to_owned()),
        Err(error) => failed(error),
    }
}

/// Passes on what tests print, and counts those that passed.
fn pass_on(output: impl Read) -> u64 {
    let lines = BufReader::new(output).lines();
    let mut passed = 0;
    for line in lines.map_while(Result::ok) {
        passed += passed_in(&line);
        say(line);
    }
    passed
}

/// How many tests passed, by what they printed.
pub(crate) fn passed(output: &str) -> u64 {
    output.lines().map(passed_in).sum()
}

/// The number in `test result: ok. 12 passed; 0 failed; …`; 0 in every other line.
fn passed_in(line: &str) -> u64 {
    let result = line.strip_prefix("test result: ok. ");
    let number = result.and_then(|rest| rest.split(' ').next());
    number
        .and_then(|number| number.parse().ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_tests_that_passed_count() {
        let said = "running 3 tests\n\
                    test power::one_appender ... ok\n\
                    test result: ok. 3 passed; 0 failed; 0 ignored\n\
                    test result: ok. 0 passed; 0 failed; 12 filtered out\n\
                    test result: FAILED. 5 passed; 1 failed\n";
        assert_eq!(passed(said), 3);
        assert_eq!(pass_on(said.as_bytes()), 3);
        assert_eq!(passed(""), 0);
    }

    #[test]
    fn a_run_without_a_test_is_a_failure() {
        let quiet = |said| {
            let mut command = Command::new("echo");
            command.arg(said);
            run_tests(command, "advice")
        };
        assert!(matches!(
            quiet("test result: ok. 0 passed; 9 filtered out"),
            Outcome::Failed(_)
        ));
        assert_eq!(
            quiet("test result: ok. 2 passed; 0 failed"),
            Outcome::Passed
        );
    }
}
