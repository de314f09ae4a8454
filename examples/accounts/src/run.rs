//! One run of a process: all of it, or the part that the command line asks for.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use ensue::prelude::*;
use ensue::{FileKeys, Position};
use serde::Serialize;
use tokio::time::Instant;

use crate::check::Checked;
use crate::cli::Args;
use crate::error::Error;
use crate::events::Role;
use crate::https::Certificate;
use crate::load::{Load, Loaded};
use crate::replay::{self, Attempts};
use crate::services;
use crate::site::{Open, Settings};
use crate::view::{Profiles, View};

/// How long a view may take to have everything, after all is over.
const REACHED_WITHIN: Duration = Duration::from_secs(60);
/// When it is first said that an engine does not answer, and how often then.
const SAY_AFTER: Duration = Duration::from_secs(1);
const SAY_EVERY: Duration = Duration::from_secs(5);

/// What a run has to say.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum Report {
    /// Of recorded log-ins.
    Replayed(Attempts),
    /// Of a log, and of the view beside it.
    Checked {
        /// What the log says.
        #[serde(flatten)]
        log: Checked,
        /// Whether the view is what a fold of the log gives.
        is_view_equal: bool,
    },
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
            Self::Checked { log, is_view_equal } => log.is_good() && *is_view_equal,
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

/// Runs what the command line asks for. `waiting` is told of an engine, by its URL, as long as it does not answer.
///
/// # Errors
/// See [`Error`].
pub async fn run(args: &Args, waiting: impl Fn(&str)) -> Result<Report, Error> {
    if let Some(recording) = &args.replay {
        let replayed = replay::replay(recording, args.engine.as_deref()).await?;
        return Ok(Report::Replayed(replayed));
    }
    if let Some(address) = args.load {
        return load(args, address).await.map(Report::Loaded);
    }
    let engine = open(args, waiting).await?;
    let reported = match (args.check, args.serve) {
        (true, _) => check(args, &engine).await,
        (false, Some(address)) => serve(args, &engine, address)
            .await
            .map(|()| Report::Stopped),
        (false, None) => whole(args, &engine).await,
    };
    engine.close().await?;
    reported
}

/// The log, with the keys of users. As long as a server does not answer, that is said.
async fn open(args: &Args, waiting: impl Fn(&str)) -> Result<Engine, Error> {
    let home = args.home();
    home.make().map_err(|source| Error::Home {
        path: args.home.clone(),
        source,
    })?;
    let keys = FileKeys::open(args.keys()).map_err(ensue::Error::from)?;
    let url = args.engine();
    let mut opening = std::pin::pin!(Engine::open(&url));
    let mut say = tokio::time::interval_at(Instant::now() + SAY_AFTER, SAY_EVERY);
    let engine = loop {
        tokio::select! {
            engine = opening.as_mut() => break engine?,
            _ = say.tick() => waiting(&url),
        }
    };
    Ok(engine.with_keys(keys)?)
}

/// Lets the view catch up, and compares.
async fn check(args: &Args, engine: &Engine) -> Result<Report, Error> {
    let database = args.database();
    let (view, failing) = View::start(engine, database.as_deref()).await?;
    let (profiles, last) = Profiles::read(engine).await?;
    let is_view_equal = tokio::select! {
        is_equal = is_equal(engine, &view, &profiles, last) => is_equal?,
        error = failing => return Err(error.into()),
    };
    let log = Checked::read(engine).await?;
    Ok(Report::Checked { log, is_view_equal })
}

fn settings(args: &Args, listen: SocketAddr, is_proxied: bool) -> Result<Settings, Error> {
    Ok(Settings {
        listen,
        is_proxied,
        database: args.database(),
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
    stopped
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
        error = site.failed() => Err(error),
        () = ensue::asked_to_stop() => {
            site.stop().await?;
            return Ok(Report::Stopped);
        }
    };
    let reported = match loaded {
        Ok(loaded) => {
            engine.settled(services::GROUPS).await?;
            let log = Checked::read(engine).await?;
            let (profiles, last) = Profiles::read(engine).await?;
            Ok(Report::Whole {
                loaded,
                log,
                is_view_equal: is_equal(engine, &site.profiles, &profiles, last).await?,
                profiles: profiles.len() as u64,
            })
        }
        Err(error) => Err(error),
    };
    site.stop().await?;
    reported
}

/// Whether a view is what the log says, once it has what stands at this position.
async fn is_equal(
    engine: &Engine,
    view: &View,
    expected: &Profiles,
    last: Option<Position>,
) -> Result<bool, Error> {
    if let Some(last) = last
        && !view.reach(last, REACHED_WITHIN).await
    {
        return Ok(false);
    }
    // One more than there should be: that would be seen, too.
    let found = view.page(None, expected.len() + 1).await?.profiles;
    Ok(found.into_iter().collect::<BTreeMap<_, _>>() == expected.shown(engine).await?)
}
