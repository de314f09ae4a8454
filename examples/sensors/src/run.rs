//! One run of a process: all of it, or the part that the command line asks for.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Instant;

use ensue::prelude::*;
use rumqttc::QoS;

use crate::broker::Broker;
use crate::calibration::Calibration;
use crate::cli::{Part, RunArgs};
use crate::devices::{Fleet, Manner, Sent};
use crate::error::Error;
use crate::home::Home;
use crate::mqtt::BrokerPlace;
use crate::report;
use crate::store::Store;
use crate::summary::Summary;
use crate::system::{Places, System};
use crate::world::{Recording, Simulation, World};

/// How a run ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Ended {
    /// Everything is stored.
    Stored(Summary),
    /// The devices' readings are stored, and this process has nothing else to do.
    Sent,
    /// It was asked to stop before its work was done.
    Interrupted,
    /// It was asked to stop, as the only way in which services end.
    Stopped,
}

/// Runs what the command line asks for.
///
/// # Errors
/// See [`Error`].
pub async fn run(args: &RunArgs) -> Result<Ended, Error> {
    let world = world(args)?;
    match args.part {
        None => whole(args, &world).await,
        Some(Part::Broker) => broker(args).await,
        Some(Part::Devices) => devices(args, &world).await,
        Some(Part::Services) => services(args, &world).await,
        Some(Part::Report) => {
            let home = home(args, &world)?;
            let store = Store::open(&places(args, &home).database).await?;
            let (totals, bad) = (store.totals().await?, world.bad_rows.count);
            Ok(Ended::Stored(Summary::new(totals, bad, 0, 0.0)))
        }
    }
}

fn world(args: &RunArgs) -> Result<World, Error> {
    let Some(input) = &args.input else {
        let simulation = Simulation {
            devices: args.devices,
            readings: args.readings,
            seed: args.seed,
        };
        return Ok(simulation.world()?);
    };
    let world = Recording::load(input)?;
    report::bad_rows(&world.bad_rows);
    Ok(world)
}

fn home(args: &RunArgs, world: &World) -> Result<Home, Error> {
    let is_kept = !args
        .engine
        .as_deref()
        .unwrap_or_default()
        .starts_with("memory:");
    match &args.home {
        Some(home) => Home::at(home),
        None if is_kept => Home::at(&Path::new("data/sensors").join(&world.name)),
        // Readings without their log could not be added to.
        None => Home::temporary(),
    }
}

fn places(args: &RunArgs, home: &Home) -> Places {
    Places {
        engine: args.engine.clone().unwrap_or_else(|| home.engine()),
        database: args.database.clone().unwrap_or_else(|| home.database()),
        cache: args.cache.clone(),
    }
}

/// The broker that was given, or one within the process.
async fn broker_of(args: &RunArgs) -> Result<(BrokerPlace, Option<Broker>), Error> {
    match &args.mqtt {
        Some(place) => Ok((place.clone(), None)),
        None => {
            let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
            let broker = Broker::listen(any).await?;
            Ok((broker.place().clone(), Some(broker)))
        }
    }
}

async fn broker(args: &RunArgs) -> Result<Ended, Error> {
    let place = args.mqtt.as_ref().map(BrokerPlace::address);
    let (host, port) = place.unwrap_or(("127.0.0.1", 1883));
    let ip = match host.parse::<IpAddr>() {
        Ok(ip) => ip,
        // A name would have to be looked up, and there is one that is always this machine's.
        Err(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
    };
    let _broker = Broker::listen(SocketAddr::new(ip, port)).await?;
    ensue::asked_to_stop().await;
    Ok(Ended::Stopped)
}

fn manner(args: &RunArgs, broker: BrokerPlace) -> Manner {
    let mut manner = Manner::new(broker);
    manner.rate = args.rate;
    if args.qos == 2 {
        manner.qos = QoS::ExactlyOnce;
    }
    manner.is_broker_here = args.mqtt.is_none();
    manner
}

async fn devices(args: &RunArgs, world: &World) -> Result<Ended, Error> {
    let (place, _broker) = broker_of(args).await?;
    let mut fleet = Fleet::start(world, manner(args, place))?;
    let ended = tokio::select! {
        stored = fleet.all_stored() => {
            stored?;
            Ended::Sent
        }
        () = ensue::asked_to_stop() => Ended::Interrupted,
    };
    write_down(args, &fleet.sent())?;
    Ok(ended)
}

fn write_down(args: &RunArgs, sent: &Sent) -> Result<(), Error> {
    let Some(path) = &args.acknowledged else {
        return Ok(());
    };
    let lines = sent.acknowledged.iter();
    let lines: String = lines
        .map(|(device, number)| format!("{device},{number}\n"))
        .collect();
    std::fs::write(path, lines).map_err(|source| Error::Acknowledged {
        path: path.clone(),
        source,
    })
}

async fn services(args: &RunArgs, world: &World) -> Result<Ended, Error> {
    let home = home(args, world)?;
    let (place, _broker) = broker_of(args).await?;
    let mut system = System::open(&places(args, &home), &place).await?;
    let ended = tokio::select! {
        () = ensue::asked_to_stop() => Ok(Ended::Stopped),
        error = system.failed() => Err(error),
    };
    system.stop().await?;
    ended
}

async fn whole(args: &RunArgs, world: &World) -> Result<Ended, Error> {
    let home = home(args, world)?;
    let (place, _broker) = broker_of(args).await?;
    let mut system = System::open(&places(args, &home), &place).await?;
    let before = system.stored().await;
    let mut fleet = Fleet::start(world, manner(args, place))?;
    let begun = Instant::now();
    let calibration = Calibration::new(system.engine());
    let chosen = world.devices.iter().take(args.calibrations);
    let chosen: Vec<String> = chosen.map(|it| it.device.clone()).collect();
    let (settling, told) = (system.settling(), fleet.all_told());
    let work = async {
        let calibrated = async {
            // Whoever is not there yet does not hear a command.
            told.await;
            Ok::<_, Error>(calibration.all(&chosen).await?)
        };
        let stored = async { Ok::<_, Error>(fleet.all_stored().await?) };
        let ((), ()) = tokio::try_join!(stored, calibrated)?;
        settling.await?;
        Ok::<_, Error>(begun.elapsed())
    };
    let worked = tokio::select! {
        worked = work => worked.map(Some),
        error = system.failed() => Err(error),
        () = ensue::asked_to_stop() => Ok(None),
    };
    write_down(args, &fleet.sent())?;
    drop(fleet);
    let totals = system.store().totals().await;
    system.stop().await?;
    let Some(took) = worked? else {
        return Ok(Ended::Interrupted);
    };
    let totals = totals?;
    let stored = totals.readings.saturating_sub(before);
    let (bad, seconds) = (world.bad_rows.count, took.as_secs_f64());
    Ok(Ended::Stored(Summary::new(totals, bad, stored, seconds)))
}
