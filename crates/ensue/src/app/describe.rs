//! What an app is made of, for people and programs.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Serialize;

use crate::engine::{Guarantees, OnDead, Start};
use crate::handle::Engine;
use crate::service::Handler;

/// An app taken apart. Prints as text; serialises for programs.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Description {
    /// The engine's URL, without secrets.
    pub engine: String,
    /// What the engine promises.
    pub given: Guarantees,
    /// What handlers need: the guarantee and the handlers.
    pub needed: BTreeMap<&'static str, Vec<String>>,
    /// The services, by name.
    pub services: Vec<ServiceDescription>,
    /// Types that are published, as far as it is declared, and that no handler takes.
    pub unhandled: Vec<String>,
}

/// One service.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct ServiceDescription {
    /// The consumer group.
    pub name: String,
    /// Where the group starts if it does not exist yet.
    pub start: Start,
    /// Its handlers.
    pub handlers: Vec<HandlerDescription>,
}

/// One handler.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct HandlerDescription {
    /// The method's name.
    pub name: &'static str,
    /// The type it takes; `None` is every type.
    pub event: Option<&'static str>,
    /// The newest version of it that it reads.
    pub version: u16,
    /// The topics it takes it from.
    pub topics: String,
    /// The types that follow, as far as they are declared.
    pub publishes: Vec<&'static str>,
    /// How often an event is tried.
    pub attempts: u32,
    /// How long one attempt may take, in milliseconds.
    pub timeout_ms: u64,
    /// Whether it runs on the thread pool.
    pub blocking: bool,
    /// What a dead letter means to later events of its key.
    pub on_dead: OnDead,
}

impl Description {
    pub(super) fn of(
        engine: &Engine,
        services: &[(&str, Start, &[Handler])],
        published: &[&'static str],
    ) -> Self {
        let handlers = || services.iter().flat_map(|(_, _, handlers)| *handlers);
        let handled: BTreeSet<_> = handlers().filter_map(Handler::event).collect();
        let takes_all = handlers().any(|handler| handler.event().is_none());
        let follows = handlers().flat_map(|handler| handler.declared_effects());
        let published: BTreeSet<_> = follows.chain(published).copied().collect();
        let unhandled = published
            .into_iter()
            .filter(|event| !takes_all && !handled.contains(event))
            .map(str::to_owned)
            .collect();
        let mut needed: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (service, _, handlers) in services {
            for handler in *handlers {
                for need in &handler.options().needs {
                    let by = format!("{service}.{}", handler.name());
                    needed.entry(need.describe()).or_default().push(by);
                }
            }
        }
        let services = services
            .iter()
            .map(|(name, start, handlers)| ServiceDescription {
                name: (*name).to_owned(),
                start: start.clone(),
                handlers: handlers.iter().map(HandlerDescription::of).collect(),
            })
            .collect();
        let given = *engine.guarantees();
        Self {
            engine: engine.url().to_owned(),
            given,
            needed,
            services,
            unhandled,
        }
    }
}

impl HandlerDescription {
    fn of(handler: &Handler) -> Self {
        let options = handler.options();
        Self {
            name: handler.name(),
            event: handler.event(),
            version: handler.version(),
            topics: handler.topics().to_string(),
            publishes: handler.declared_effects().to_vec(),
            attempts: options.attempts,
            timeout_ms: u64::try_from(options.timeout.as_millis()).unwrap_or(u64::MAX),
            blocking: handler.is_blocking(),
            on_dead: options.on_dead,
        }
    }
}

impl fmt::Display for Description {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "engine {}", self.engine)?;
        for service in &self.services {
            let start = match &service.start {
                Start::Earliest => "the earliest event".to_owned(),
                Start::Latest => "the latest event".to_owned(),
                Start::Cursor(cursor) => format!("position {cursor}"),
                Start::Time(time) => time.to_string(),
            };
            writeln!(
                f,
                "service {}  [a new group starts at {start}]",
                service.name
            )?;
            for handler in &service.handlers {
                let event = handler.event.unwrap_or("every event");
                write!(f, "  {event} ({}) -> {}", handler.topics, handler.name)?;
                if !handler.publishes.is_empty() {
                    write!(f, " -> {}", handler.publishes.join(", "))?;
                }
                let times = if handler.attempts == 1 {
                    "attempt"
                } else {
                    "attempts"
                };
                writeln!(
                    f,
                    "  [{} {times}, {} ms]",
                    handler.attempts, handler.timeout_ms
                )?;
            }
        }
        for (need, handlers) in &self.needed {
            writeln!(f, "needs {need}: {}", handlers.join(", "))?;
        }
        if self.unhandled.is_empty() {
            writeln!(f, "every published event is handled")
        } else {
            writeln!(f, "no service handles {}", self.unhandled.join(", "))
        }
    }
}
