//! Why an app does not run.

use super::Outlook;

/// Why an app did not start, or a service of it stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AppError {
    /// A service has nothing to do. Nothing was started.
    #[error("the service `{service}` has no handlers; mark its methods with #[on]")]
    NoHandlers {
        /// The service.
        service: String,
    },
    /// The app has options for a service that it does not have. Nothing was started.
    #[error(
        "the app has options for the service `{service}`, which has no handler: add the service, or \
         give its name as `App::describe` shows it"
    )]
    UnknownService {
        /// The service.
        service: String,
    },
    /// Two services of the app have one name. Nothing was started.
    #[error(
        "the app has the service `{service}` twice: add it once, or give the second a name of its own, \
         `#[service(name = \"...\")]`"
    )]
    ServiceTwice {
        /// The service.
        service: String,
    },
    /// Two handlers of one service take the same events. Nothing was started.
    #[error(
        "`{service}.{first}` and `{service}.{second}` take the same events ({events} from \
         `{topics}`); an event goes to one handler of a service: make two services of them"
    )]
    SameEvents {
        /// The service.
        service: String,
        /// One handler.
        first: String,
        /// The other.
        second: String,
        /// The events.
        events: String,
        /// Where they come from.
        topics: String,
    },
    /// An option of a handler cannot be. Nothing was started.
    #[error("`{service}.{handler}`: {problem}")]
    Handler {
        /// The service.
        service: String,
        /// The handler.
        handler: String,
        /// What is wrong, and what is allowed.
        problem: String,
    },
    /// A setting is out of its range. Nothing was started.
    #[error("`{name}` of {of} is {value}; allowed are 1 to {max}")]
    Setting {
        /// The setting.
        name: &'static str,
        /// The app, or the service.
        of: String,
        /// Its value.
        value: usize,
        /// The largest allowed.
        max: usize,
    },
    /// A handler needs what the engine does not promise. Nothing was started.
    #[error("the engine `{engine}` does not offer {what}, which `{handler}` needs")]
    Unsupported {
        /// The engine.
        engine: String,
        /// What it lacks.
        what: String,
        /// The handler that needs it.
        handler: String,
    },
    /// A service ended by itself. What it had not committed is delivered again.
    #[error(
        "the service `{group}` stopped: {reason}; what it had not committed is delivered again"
    )]
    ServiceStopped {
        /// The service.
        group: String,
        /// Why.
        reason: String,
    },
}

impl AppError {
    pub(super) fn outlook(&self) -> Outlook {
        match self {
            Self::ServiceStopped { .. } => Outlook::Engine,
            Self::NoHandlers { .. }
            | Self::UnknownService { .. }
            | Self::ServiceTwice { .. }
            | Self::SameEvents { .. }
            | Self::Handler { .. }
            | Self::Setting { .. }
            | Self::Unsupported { .. } => Outlook::Content,
        }
    }
}
