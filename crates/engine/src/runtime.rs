//! The engine at work: one lock over model and delivery, the log, and the tasks that go on by themselves.

pub(crate) mod admin;
pub(crate) mod append;
pub(crate) mod backlog_reader;
pub(crate) mod commit;
pub(crate) mod dropped;
pub(crate) mod embedded;
pub(crate) mod engine_inner;
pub(crate) mod examine;
pub(crate) mod inside;
pub(crate) mod locked_state;
pub(crate) mod lookup;
pub(crate) mod maintenance;
pub(crate) mod member;
pub(crate) mod pending_schedules;
pub(crate) mod query;
pub(crate) mod read_only;
pub(crate) mod refusals;
pub(crate) mod replay;
pub(crate) mod reset;
pub(crate) mod settings;
pub(crate) mod status;
pub(crate) mod unfired;
