//! Which handler takes an event.

use std::sync::Arc;

use hashbrown::HashMap;
use tokio::sync::Semaphore;

use crate::error::{AppError, Error, Result};
use crate::service::{ATTEMPTS_MAX, CONCURRENCY_MAX, Handler};
use crate::topic::TopicPattern;

/// The handlers of one service, found by the event's type and topic. Without any they are elsewhere.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    by_type: HashMap<&'static str, Vec<Route>, foldhash::fast::RandomState>,
    any: Vec<Route>,
    all: Vec<Arc<Handler>>,
}

/// A handler, and the limit on how many events it takes at the same time.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    pub(crate) handler: Arc<Handler>,
    pub(crate) limit: Option<Arc<Semaphore>>,
}

impl Routes {
    /// Checks the handlers of a service and sorts them.
    ///
    /// # Errors
    /// [`AppError`] names the handler and what is wrong with it.
    pub(crate) fn new(group: &str, handlers: Vec<Handler>) -> Result<Self> {
        if handlers.is_empty() {
            return Err(Error::App(AppError::NoHandlers {
                service: group.to_owned(),
            }));
        }
        let all: Vec<_> = handlers.into_iter().map(Arc::new).collect();
        let mut routes = Self {
            by_type: HashMap::default(),
            any: Vec::new(),
            all: all.clone(),
        };
        for handler in all {
            check(group, &handler)?;
            let others = match handler.event() {
                Some(event) => routes.by_type.entry(event).or_default(),
                None => &mut routes.any,
            };
            let overlaps = |other: &&Route| other.handler.topics().overlaps(handler.topics());
            if let Some(Route { handler: twin, .. }) = others.iter().find(overlaps) {
                return Err(Error::App(AppError::SameEvents {
                    service: group.to_owned(),
                    first: twin.name().to_owned(),
                    second: handler.name().to_owned(),
                    events: handler.event().unwrap_or("every type").to_owned(),
                    topics: handler.topics().to_string(),
                }));
            }
            let limit = handler
                .options()
                .concurrency
                .map(|many| Arc::new(Semaphore::new(many)));
            others.push(Route { handler, limit });
        }
        Ok(routes)
    }

    /// The handler of an event, if the service has one.
    pub(crate) fn find(&self, topic: &str, event: &str) -> Option<&Route> {
        let takes = |route: &&Route| route.handler.topics().matches(topic);
        let typed = self
            .by_type
            .get(event)
            .and_then(|routes| routes.iter().find(takes));
        typed.or_else(|| self.any.iter().find(takes))
    }

    /// What waits for a handler's turn no longer gets it.
    pub(crate) fn close(&self) {
        let routes = self.by_type.values().flatten().chain(&self.any);
        for limit in routes.filter_map(|route| route.limit.as_ref()) {
            limit.close();
        }
    }

    /// The topics to subscribe to.
    pub(crate) fn topics(&self) -> Vec<TopicPattern> {
        let mut topics: Vec<_> = self
            .all
            .iter()
            .map(|handler| handler.topics().clone())
            .collect();
        topics.sort();
        topics.dedup();
        topics
    }

    /// The types to subscribe to; `None` is every type.
    pub(crate) fn types(&self) -> Option<Vec<String>> {
        if !self.any.is_empty() {
            return None;
        }
        let mut types: Vec<_> = self.by_type.keys().map(|&event| event.to_owned()).collect();
        types.sort();
        Some(types)
    }
}

fn check(group: &str, handler: &Handler) -> Result<()> {
    let name = handler.name();
    let options = handler.options();
    let wrong = |problem: String| {
        Err(Error::App(AppError::Handler {
            service: group.to_owned(),
            handler: name.to_owned(),
            problem,
        }))
    };
    if let Err(error) = handler.topics().as_str().parse::<TopicPattern>() {
        return wrong(error.to_string());
    }
    if !(1..=ATTEMPTS_MAX).contains(&options.attempts) {
        return wrong(format!(
            "{} attempts; allowed are 1 to {ATTEMPTS_MAX}",
            options.attempts
        ));
    }
    if options.timeout.is_zero() {
        return wrong("a timeout of zero leaves no time to handle anything".into());
    }
    if options.backoff.min > options.backoff.max {
        return wrong("the shortest backoff is longer than the longest".into());
    }
    match options.concurrency {
        Some(0) => wrong("a concurrency of 0 handles nothing".into()),
        Some(many) if many > CONCURRENCY_MAX => wrong(format!(
            "a concurrency of {many}; the most is {CONCURRENCY_MAX}"
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Envelope;
    use crate::service::{Context, HandlerOptions};

    fn handler(name: &'static str, topics: &str, event: Option<&'static str>) -> Handler {
        let topics = topics.parse().unwrap();
        let options = HandlerOptions::default();
        Handler::raw(
            name,
            topics,
            event,
            options,
            |_: Envelope, _: Context| async {},
        )
    }

    #[test]
    fn the_typed_handler_goes_before_the_one_for_everything() {
        let handlers = vec![
            handler("any", ">", None),
            handler("typed", "orders", Some("created")),
        ];
        let routes = Routes::new("g", handlers).unwrap();
        assert_eq!(
            routes.find("orders", "created").unwrap().handler.name(),
            "typed"
        );
        assert_eq!(
            routes.find("orders", "shipped").unwrap().handler.name(),
            "any"
        );
        assert_eq!(routes.types(), None);
        assert_eq!(routes.topics().len(), 2);
    }

    #[test]
    fn contradictions_are_refused_by_name() {
        let twins = vec![
            handler("one", "orders", Some("e")),
            handler("two", "*", Some("e")),
        ];
        let error = Routes::new("g", twins).unwrap_err().to_string();
        assert!(
            error.contains("g.one") && error.contains("g.two"),
            "{error}"
        );

        let options = HandlerOptions::default().attempts(0);
        let none = Handler::raw("none", ">".parse().unwrap(), None, options, |_, _| async {});
        let error = Routes::new("g", vec![none]).unwrap_err().to_string();
        assert!(error.contains("0 attempts"), "{error}");
        assert!(Routes::new("g", vec![]).is_err());
    }
}
