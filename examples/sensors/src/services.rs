//! The services, a file each; the events that they answer, and with what, stand at their heads.

mod alarms;
mod answers;
mod commands;
mod detector;
mod last_values;
mod readings;
mod silence;

use std::sync::Arc;

use ensue::prelude::*;

pub use self::last_values::LastValues;
use crate::mqtt::Line;

/// The groups of all services.
pub const GROUPS: [&str; 6] = [
    "alarms",
    "answers",
    "commands",
    "last-values",
    "readings",
    "silence",
];

/// Adds all services to an app: they speak to devices over the line, and keep the last values there.
pub fn add(app: App, line: Arc<Line>, last_values: LastValues) -> App {
    app.service(readings::Readings)
        .service(alarms::Alarms)
        .service(silence::Silence)
        .service(answers::Answers::new(line.clone()))
        .service(commands::Commands::new(line))
        .service(last_values)
}
