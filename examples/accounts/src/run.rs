//! One run of a process: all of it, or the part that the command line asks for.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use ensue::prelude::*;
use serde::Serialize;

use crate::check::Checked;
use crate::cli::Args;
use crate::error::Error;
use crate::events::Role;
use crate::https::Certificate;
use crate::load::{Load, Loaded};
use crate::replay::{self, Attempts};
use crate::services;
use crate::site::{Open, Settings};
use crate::view::Profiles;

/// What a run has to say.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum Report {
    /// Of recorded log-ins.
    Replayed(Attempts),
    /// Of a log.
    Checked(Checked),
    /// Of made-up users.
    Loaded(Loaded),
    /// Of both, and of the view beside the log.
    Whole {
        /// What the users did.
        #[serde(flatten)]
        loaded: Loaded,
        /// What the log says.
        log: Checked,
        /// Whether the view is what a fold of the log gives.
        is_view_equal: bool,
        /// How many profiles are published.
        profiles: u64,
    },
    /// It was asked to stop.
    Stopped,
}

impl Report {
    /// Whether nothing is what must never be.
    pub fn is_good(&self) -> bool {
        match self {
            Self::Replayed(_) | Self::Stopped => true,
            Self::Checked(checked) => checked.is_good(),
            Self::Loaded(loaded) => loaded.lost.is_empty(),
            Self::Whole {
                loaded,
                log,
                is_view_equal,
                ..
            } => loaded.lost.is_empty() && log.is_good() && *is_view_equal,
        }
    }
}

/// Runs what the command line asks for.
///
/// # Errors
/// See [`Error`].
pub async fn run(args: &Args) -> Result<Report, Error> {
    if let Some(recording) = &args.replay {
        let replayed = replay::replay(recording, args.engine.as_deref()).await?;
        return Ok(Report::Replayed(replayed));
    }
    if let Some(address) = args.load {
        return load(args, address).await.map(Report::Loaded);
    }
    let engine = Engine::open(&args.engine()).await?;
    let reported = match (args.check, args.serve) {
        (true, _) => check(&engine).await.map(Report::Checked),
        (false, Some(address)) => serve(args, &engine, address)
            .await
            .map(|()| Report::Stopped),
        (false, None) => whole(args, &engine).await,
    };
    engine.close().await?;
    reported
}

async fn check(engine: &Engine) -> Result<Checked, Error> {
    Ok(Checked::read(engine).await?)
}

fn settings(args: &Args, listen: SocketAddr, is_proxied: bool) -> Result<Settings, Error> {
    Ok(Settings {
        listen,
        is_proxied,
        certificate: certificate(args)?,
    })
}

fn certificate(args: &Args) -> Result<Certificate, Error> {
    match args.certificate() {
        Some(given) => Ok(given),
        None => Ok(Certificate::self_made(&args.home().tls())?),
    }
}

async fn serve(args: &Args, engine: &Engine, address: SocketAddr) -> Result<(), Error> {
    let settings = settings(args, address, args.proxied)?;
    let mut site = Open::start(engine, &args.home(), &settings).await?;
    if let Some(user) = &args.administrator {
        appoint(&site, user).await?;
    }
    tracing::info!(address = %site.address, "serving");
    let stopped = tokio::select! {
        () = ensue::asked_to_stop() => Ok(()),
        error = site.failed() => Err(error),
    };
    site.stop().await?;
    Ok(stopped?)
}

/// Makes a user the first administrator; one who is one already stays it.
async fn appoint(site: &Open, name: &str) -> Result<(), Error> {
    let failed = |source| Error::Appoint {
        user: name.to_owned(),
        source: Box::new(source),
    };
    let Ok(user) = name.parse() else {
        return Err(Error::NoUser(name.to_owned()));
    };
    let accounts = &site.accounts;
    if accounts
        .roles_of(&user)
        .await
        .map_err(failed)?
        .contains(&Role::Administrator)
    {
        return Ok(());
    }
    let granted = accounts.grant(None, &user, Role::Administrator, true);
    granted.await.map_err(failed)
}

async fn load(args: &Args, address: SocketAddr) -> Result<Loaded, Error> {
    let load = Load {
        address,
        config: certificate(args)?.client()?,
        users: args.users,
        seed: args.seed.unwrap_or_else(|| fastrand::u64(..)),
        patience: Duration::from_secs(args.patience),
    };
    load.run(&args.home().mail()).await.map_err(Error::Stuck)
}

async fn whole(args: &Args, engine: &Engine) -> Result<Report, Error> {
    let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let mut site = Open::start(engine, &args.home(), &settings(args, listen, true)?).await?;
    let loaded = tokio::select! {
        loaded = load(args, site.address) => loaded,
        error = site.failed() => Err(error.into()),
        () = ensue::asked_to_stop() => {
            site.stop().await?;
            return Ok(Report::Stopped);
        }
    };
    let reported = match loaded {
        Ok(loaded) => {
            engine.settled(services::GROUPS).await?;
            let log = check(engine).await?;
            let profiles = Profiles::read(engine).await?;
            Ok(Report::Whole {
                loaded,
                log,
                is_view_equal: site.profiles.all() == profiles,
                profiles: profiles.len() as u64,
            })
        }
        Err(error) => Err(error),
    };
    site.stop().await?;
    reported
}
