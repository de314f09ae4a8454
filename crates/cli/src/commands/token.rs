//! `ensue token`: who may call a server.

mod create;
mod list;
mod revoke;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use ensue_server::{Config, TokenError, TokenFile};

use super::serve;
use crate::failure::Failure;
use crate::output::Output;

/// Make, list and revoke the tokens that callers of a server prove themselves with
#[derive(Args, Debug)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct Token {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    Create(create::Create),
    List(list::List),
    Revoke(revoke::Revoke),
}

/// Which server's tokens.
#[derive(Args, Debug)]
struct Place {
    /// The configuration of the server, which names the file of tokens
    #[arg(long, env = "ENSUE_CONFIG", value_name = "FILE")]
    config: PathBuf,
}

impl Token {
    pub(crate) fn run(self, out: &Output) -> Result<(), Failure> {
        match self.action {
            Action::Create(action) => action.run(out),
            Action::List(action) => action.run(out),
            Action::Revoke(action) => action.run(out),
        }
    }
}

impl Place {
    /// The configuration, and the file of tokens that it names.
    fn open(&self) -> Result<(Config, TokenFile), Failure> {
        let config = serve::read(&self.config)?;
        let tokens = config.auth.as_ref().and_then(|auth| auth.tokens.clone());
        let Some(tokens) = tokens else {
            let shown = self.config.display();
            return Err(Failure::new(
                "config",
                format!("`{shown}` names no file of tokens"),
                "add `[auth]` with `tokens = \"tokens.json\"` to it",
            ));
        };
        Ok((config, TokenFile::new(tokens)))
    }
}

impl From<TokenError> for Failure {
    fn from(error: TokenError) -> Self {
        let kind = match &error {
            TokenError::Io { .. } => "io",
            TokenError::Open { .. } => "permissions",
            TokenError::Malformed { .. } => "corrupt",
            _ => "token",
        };
        Self::without_advice(kind, error.to_string())
    }
}
