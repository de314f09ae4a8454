//! Configuration from files, the environment and a server: checked as a whole, followed while the program runs,
//! and known even when the server is away.
//!
//! ```
//! use ensue_blocks::config::{Config, EnvironmentSource, FileSource};
//! use serde::Deserialize;
//!
//! #[derive(Debug, Deserialize)]
//! struct Shop { port: u16, workers: usize }
//!
//! # tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
//! # let directory = tempfile::tempdir()?;
//! # let file = directory.path().join("shop.toml");
//! # std::fs::write(&file, "port = 4000\nworkers = 2\n")?;
//! let config = Config::<Shop>::builder()
//!     .source(FileSource::new(&file)?)
//!     .source(EnvironmentSource::new("SHOP_"))  // SHOP_PORT=4001 is stronger
//!     .validate(|it: &Shop| match it.workers {
//!         0 => Err("there must be workers".to_owned()),
//!         _ => Ok(()),
//!     })
//!     .last_good(directory.path().join("shop.last-good.json"))
//!     .load()
//!     .await?;
//! assert_eq!(config.get().port, 4000);
//!
//! let mut changes = config.subscribe();
//! tokio::spawn(async move {
//!     while changes.changed().await.is_ok() {
//!         println!("{} workers from now on", changes.borrow_and_update().workers);
//!     }
//! });
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! - **A whole or nothing.** Sources are laid over each other, later ones are stronger; what comes out is read as a
//!   `T` and validated. What fails changes nothing, and is said once with its reason, in the log and by
//!   [`Config::status`].
//! - **Hot.** Files are looked at every second, etcd is watched, Nacos listened to; [`Config::get`] gives what counts now.
//! - **The last good one** is kept in a file, for a start while the server is away or has a bad version.
//! - **Values are not logged.** Reasons name the setting and what kind of value it has. What validation says, and
//!   the errors of your own types, are shown as they are.

mod builder;
mod document;
mod environment;
mod error;
#[cfg(feature = "etcd")]
mod etcd;
mod file;
mod following;
mod last_good;
#[cfg(feature = "nacos")]
mod nacos;
mod source;
mod typed;
mod watched;

pub use self::builder::ConfigBuilder;
pub use self::document::Format;
pub use self::environment::EnvironmentSource;
pub use self::error::ConfigError;
#[cfg(feature = "etcd")]
pub use self::etcd::EtcdSource;
pub use self::file::FileSource;
#[cfg(feature = "nacos")]
pub use self::nacos::{NACOS_DEFAULT_GROUP, NacosSource};
pub use self::source::{ConfigSource, Document};
pub use self::watched::{Config, ConfigStatus};
