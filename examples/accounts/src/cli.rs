//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Parser;

use crate::home::Home;
use crate::https::Certificate;

/// A user account system on Ensue, as an HTTPS service.
///
/// Without a flag it is all of it in one process: the service, and made-up users who register, log in,
/// publish what they like to show, change, forget and reset their passwords, and leave. It ends with
/// a table of what they did, and of what must never be.
#[derive(Clone, Debug, Parser)]
#[command(name = "accounts", version)]
pub struct Args {
    /// The directory for what is not in the log: the service's key, those of users, its certificate, the mails
    #[arg(long, value_name = "DIRECTORY", default_value = "data/accounts")]
    pub home: PathBuf,

    /// Where the events live [default: embedded:HOME/log; of a replay an embedded log that is removed]
    #[arg(long, value_name = "URL")]
    pub engine: Option<String>,

    /// The directory with the keys of users, for what is personal in the log; never within a backup of that
    /// [default: HOME/keys]
    #[arg(long, value_name = "DIRECTORY")]
    pub keys: Option<PathBuf>,

    /// Where the view of profiles is: sqlite:FILE, or postgres://… or mysql://… with that feature [default: on an
    /// embedded log sqlite:HOME/profiles.db, otherwise the memory of the process]
    #[arg(long, value_name = "URL")]
    pub database: Option<String>,

    /// Only serve at this address, until asked to stop
    #[arg(long, value_name = "ADDRESS", group = "part")]
    pub serve: Option<SocketAddr>,

    /// Only make up users, of a service at this address with the same --home
    #[arg(long, value_name = "ADDRESS", group = "part")]
    pub load: Option<SocketAddr>,

    /// Only read the log, and say whether there is what must never be
    #[arg(long, group = "part")]
    pub check: bool,

    /// Only look for brute force in log-ins that sshd recorded: the lines of this file become events, a
    /// service watches them, and what the log then says is printed
    #[arg(long, value_name = "SSHD.log", group = "part")]
    pub replay: Option<PathBuf>,

    /// How many users to make up
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub users: u32,

    /// Which users to make up: another seed, other users [default: others each time]
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,

    /// How many seconds a made-up user asks again and again while the service is away
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub patience: u64,

    /// Take the address of a client from the last X-Forwarded-For, where a proxy on this machine adds it
    #[arg(long)]
    pub proxied: bool,

    /// Make this user the first administrator
    #[arg(long, value_name = "USER", requires = "serve")]
    pub administrator: Option<String>,

    /// The service's certificate, in PEM, and those between it and its authority [default: one that it
    /// makes for itself]
    #[arg(long, value_name = "FILE", requires = "private_key")]
    pub certificate: Option<PathBuf>,

    /// Its private key
    #[arg(long, value_name = "FILE", requires = "certificate")]
    pub private_key: Option<PathBuf>,

    /// Print one JSON object instead of a table
    #[arg(long)]
    pub json: bool,
}

impl Args {
    /// What the service keeps for itself.
    pub fn home(&self) -> Home {
        Home::new(&self.home)
    }

    /// The engine's URL.
    pub fn engine(&self) -> String {
        let default = || format!("embedded:{}", self.home().log().display());
        self.engine.clone().unwrap_or_else(default)
    }

    /// Where the keys of users are.
    pub fn keys(&self) -> PathBuf {
        self.keys.clone().unwrap_or_else(|| self.home().keys())
    }

    /// The URL of the view's database; none is the memory of the process.
    pub fn database(&self) -> Option<String> {
        let is_embedded = self.engine().starts_with("embedded:");
        let default = || format!("sqlite:{}", self.home().database().display());
        self.database.clone().or_else(|| is_embedded.then(default))
    }

    /// The certificate that was given, if one was.
    pub fn certificate(&self) -> Option<Certificate> {
        let (certificate, key) = self.certificate.clone().zip(self.private_key.clone())?;
        Some(Certificate { certificate, key })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_one_part_or_all() {
        let args = |given: &[&str]| Args::try_parse_from(["accounts"].iter().chain(given));
        assert_eq!(args(&[]).unwrap().engine(), "embedded:data/accounts/log");
        assert_eq!(args(&["--home", "x"]).unwrap().engine(), "embedded:x/log");
        let database = args(&["--home", "x"]).unwrap().database();
        assert_eq!(database.as_deref(), Some("sqlite:x/profiles.db"));
        assert_eq!(args(&["--engine", "memory:"]).unwrap().database(), None);
        assert!(args(&["--serve", "127.0.0.1:0", "--check"]).is_err());
        assert!(args(&["--certificate", "x"]).is_err());
        assert!(args(&["--administrator", "u-1"]).is_err());
    }
}
