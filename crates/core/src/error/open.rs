//! Why an engine could not be opened.

/// Why an engine could not be opened or connected to. Nothing happened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The engine's URL cannot be read.
    #[error("`{url}` is not an engine URL: {reason}; known are {known}")]
    Url {
        /// The URL, without its password.
        url: String,
        /// What is wrong with it.
        reason: String,
        /// The schemes that are known.
        known: String,
    },
    /// An option has a value that it may not have.
    #[error("the option `{name}` is {value}; it must be between {min} and {max}")]
    Option {
        /// The option.
        name: &'static str,
        /// Its value.
        value: u64,
        /// The smallest allowed.
        min: u64,
        /// The largest allowed.
        max: u64,
    },
    /// The engine exists but is not compiled in.
    #[error(
        "the engine `{scheme}` is not in this build; enable the cargo feature `{feature}` of `ensue`"
    )]
    FeatureMissing {
        /// The URL's scheme.
        scheme: &'static str,
        /// The cargo feature to enable.
        feature: &'static str,
    },
    /// Another process owns the directory.
    #[error(
        "the log in `{directory}` is owned by {}; stop it, or use a command that only reads",
        owner(*pid)
    )]
    Locked {
        /// The directory.
        directory: String,
        /// The owner, if it has said which process it is.
        pid: Option<u32>,
    },
    /// The directory for the copy of a shared log holds something else.
    #[error(
        "the directory {directory} holds something that is not the copy of a shared log; `replica` \
         needs an empty one"
    )]
    NotACopy {
        /// The directory.
        directory: String,
    },
    /// What is readable of a damaged log cannot be copied into its own directory.
    #[error(
        "`{directory}` lies in the damaged log's own directory, which is left as it is; name a \
         directory beside it"
    )]
    InsideSource {
        /// The directory that was named for the copy.
        directory: String,
    },
    /// Encryption cannot be set up.
    #[error("TLS cannot be set up: {reason}; check the options `ca`, `cert` and `key`")]
    Tls {
        /// What the library says.
        reason: String,
    },
    /// The server cannot be used as it is.
    #[error("the server at `{server}` cannot be used: {reason}; {advice}")]
    Unfit {
        /// The server's URL, without secrets.
        server: String,
        /// Why.
        reason: String,
        /// What to do about it.
        advice: String,
    },
    /// The engine has no server whose log could be removed.
    #[error("the engine `{engine}` has no log on a server to remove; remove its directory")]
    NoServer {
        /// The engine.
        engine: String,
    },
}

/// A process that owns a directory.
fn owner(pid: Option<u32>) -> String {
    pid.map_or_else(
        || "another process, which has not said which one it is".to_owned(),
        |pid| format!("process {pid}"),
    )
}
