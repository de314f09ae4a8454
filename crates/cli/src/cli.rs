//! The command line as a whole: global options, the list of commands, and how a run ends.

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

use crate::commands;
use crate::failure::Failure;
use crate::output::{Output, Style};
use crate::target::Target;
use crate::telemetry::Telemetry;

const AFTER_HELP: &str = "\
Commands that read work while an app owns the directory; commands that write need it for themselves, or a
server that has it: `--engine ensue://localhost:3678`.
Exit codes: 0 done, 1 failed (or `status` found trouble, `check` found damage, `doctor --strict` a
weakness), 2 wrong usage.
With --json, results are JSON on stdout and errors are one JSON object on stderr:
{\"error\": {\"kind\": …, \"message\": …, \"advice\": …}}.

Examples:
  ensue status                          the log in ./data at a glance
  ensue tail 'orders.>' --follow        events as they are appended
  ensue --engine embedded:/srv/shop dead list
  ensue --json topics | jq '.[].name'";

const EVERYWHERE: &str = "With every command";

/// Inspects an Ensue log, publishes to it, and redrives what failed.
#[derive(Debug, Parser)]
#[command(name = "ensue", version, after_help = AFTER_HELP)]
#[command(
    propagate_version = true,
    subcommand_required = true,
    arg_required_else_help = true
)]
pub(crate) struct Cli {
    /// Where the log lives; `ensue engines` lists the kinds [default: embedded:./data]
    #[arg(
        long,
        global = true,
        help_heading = EVERYWHERE,
        env = "ENSUE_ENGINE",
        value_name = "URL"
    )]
    engine: Option<String>,
    /// Print JSON for programs instead of tables for people
    #[arg(long, global = true, help_heading = EVERYWHERE)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Status(commands::status::Status),
    Topics(commands::topics::Topics),
    Tail(commands::tail::Tail),
    Publish(commands::publish::Publish),
    Groups(commands::groups::Groups),
    Reset(commands::reset::Reset),
    Delete(commands::delete::Delete),
    Dead(commands::dead::Dead),
    Saga(commands::saga::Saga),
    #[cfg(feature = "sql")]
    Projection(commands::projection::Projection),
    Schedule(commands::schedule::Schedule),
    Check(commands::check::Check),
    Salvage(commands::salvage::Salvage),
    Doctor(commands::doctor::Doctor),
    Serve(commands::serve::Serve),
    Probe(commands::probe::Probe),
    Token(commands::token::Token),
    Audit(commands::audit::Audit),
    Migrate(commands::migrate::Migrate),
    Describe(commands::describe::Describe),
    Engines(commands::engines::Engines),
    Cesql(commands::cesql::Cesql),
    Completions(commands::completions::Completions),
}

/// Parses, runs and reports: everything that a process does.
pub(crate) fn run() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return refuse(&error),
    };
    let out = Output::new(cli.json);
    let telemetry = if matches!(cli.command, Command::Serve(_)) {
        Telemetry::of_env()
    } else {
        Ok(Telemetry::none())
    };
    let telemetry = match telemetry {
        Ok(telemetry) => telemetry,
        Err(failure) => return failure.report(out.is_json()),
    };
    trace_to_stderr(&telemetry);
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if !matches!(cli.command, Command::Serve(_)) {
        // One for the command, one for what the engine does beside it.
        runtime.worker_threads(2);
    }
    let target = match cli.engine {
        Some(url) => Target::new(url),
        None => Target::default(),
    };
    let result = runtime
        .enable_all()
        .build()
        .map_err(|error| Failure::io("cannot start the runtime", &error))
        .and_then(|runtime| runtime.block_on(execute(cli.command, (&target, &out), telemetry)));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(out.is_json()),
    }
}

async fn execute(
    command: Command,
    (target, out): (&Target, &Output),
    telemetry: Telemetry,
) -> Result<(), Failure> {
    match command {
        Command::Status(command) => command.run(target, out).await,
        Command::Topics(command) => command.run(target, out).await,
        Command::Tail(command) => command.run(target, out).await,
        Command::Publish(command) => command.run(target, out).await,
        Command::Groups(command) => command.run(target, out).await,
        Command::Reset(command) => command.run(target, out).await,
        Command::Delete(command) => command.run(target, out).await,
        Command::Dead(command) => command.run(target, out).await,
        Command::Saga(command) => command.run(target, out).await,
        #[cfg(feature = "sql")]
        Command::Projection(command) => command.run(out).await,
        Command::Schedule(command) => command.run(target, out).await,
        Command::Check(command) => command.run(target, out).await,
        Command::Salvage(command) => command.run(target, out).await,
        Command::Doctor(command) => command.run(target, out).await,
        Command::Serve(command) => command.run(target, out, telemetry).await,
        Command::Probe(command) => command.run(out).await,
        Command::Token(command) => command.run(out),
        Command::Audit(command) => command.run(target, out).await,
        Command::Migrate(command) => command.run(out).await,
        Command::Describe(command) => command.run(target, out).await,
        Command::Engines(command) => command.run(out),
        Command::Cesql(command) => command.run(out),
        Command::Completions(command) => command.run(Cli::command(), out),
    }
}

/// Ends a run whose command line could not be parsed, or that asked for help.
fn refuse(error: &clap::Error) -> ExitCode {
    let wants_json = std::env::args_os().any(|arg| arg == "--json");
    if error.use_stderr() && wants_json {
        let text = error.to_string();
        let text = text.trim().trim_start_matches("error: ");
        return Failure::Usage(text.to_owned()).report(true);
    }
    // Help whose reader has gone is no failure.
    let _ = error.print();
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}

/// What the engine has to say (a repaired tail, a skipped file) goes to stderr.
fn trace_to_stderr(telemetry: &Telemetry) {
    use tracing_subscriber::EnvFilter;
    use tracing_subscriber::prelude::*;
    // RabbitMQ's client calls an error what our own errors say.
    let usual = || EnvFilter::new("warn,lapin=off");
    let filter = EnvFilter::try_from_env("ENSUE_LOG").unwrap_or_else(|_| usual());
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(Style::of_stderr().has_color())
        .without_time()
        .with_target(false);
    // What goes to a collector is what is written here.
    tracing_subscriber::registry()
        .with(telemetry.layer())
        .with(lines)
        .with(filter)
        .init();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_contradicts_itself_nowhere() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_says_what_it_does_and_shows_an_example() {
        let mut todo = vec![Cli::command()];
        while let Some(command) = todo.pop() {
            let name = command.get_name().to_owned();
            assert!(command.get_about().is_some(), "`{name}` has no summary");
            let help = command.get_after_help().map(ToString::to_string);
            let is_leaf = !command.has_subcommands();
            assert!(
                !is_leaf || help.is_some_and(|help| help.contains("ensue ")),
                "`{name}` has no example"
            );
            todo.extend(command.get_subcommands().cloned());
        }
    }
}
