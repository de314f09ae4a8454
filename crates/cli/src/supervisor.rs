//! What a supervisor is told (systemd's `sd_notify`): that the server is ready, stops, and lives.
//!
//! Without `NOTIFY_SOCKET` in the environment, nothing is.

#[cfg(unix)]
use std::os::unix::net::UnixDatagram;
use std::pin::pin;
use std::time::Duration;

/// The supervisor, if there is one that listens.
#[derive(Debug)]
pub(crate) struct Supervisor {
    #[cfg(unix)]
    socket: Option<UnixDatagram>,
    /// How often it wants a sign of life, if it does.
    watchdog: Option<Duration>,
}

impl Supervisor {
    /// The one of the environment.
    pub(crate) fn new() -> Self {
        let watchdog = number("WATCHDOG_USEC").map(Duration::from_micros);
        let is_ours = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
        Self {
            #[cfg(unix)]
            socket: std::env::var("NOTIFY_SOCKET").ok().and_then(|name| {
                let connected = connect(&name);
                let warn = |error: &_| tracing::warn!(%error, name, "the supervisor is not told");
                connected.inspect_err(warn).ok()
            }),
            watchdog: watchdog.filter(|every| is_ours && !every.is_zero()),
        }
    }

    /// The server listens, and how it is called in the supervisor's status.
    pub(crate) fn ready(&self, status: &str) {
        let status: String = status.chars().filter(|it| !it.is_control()).collect();
        self.tell(&format!("READY=1\nSTATUS={status}"));
    }

    /// The server drains.
    pub(crate) fn stopping(&self) {
        self.tell("STOPPING=1\nSTATUS=answers what is under way");
    }

    /// Does `work`, and gives signs of life meanwhile, twice as often as they are wanted.
    pub(crate) async fn watch<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        let Some(watchdog) = self.watchdog else {
            return work.await;
        };
        loop {
            self.tell("WATCHDOG=1");
            tokio::select! {
                done = work.as_mut() => return done,
                () = tokio::time::sleep(watchdog / 2) => {}
            }
        }
    }

    #[cfg(unix)]
    fn tell(&self, text: &str) {
        if let Some(socket) = &self.socket
            && let Err(error) = socket.send(text.as_bytes())
        {
            tracing::debug!(%error, "the supervisor was not told");
        }
    }

    #[cfg(not(unix))]
    fn tell(&self, _text: &str) {}
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// A socket that sends to `name`: a path, or with `@` a name of Linux that is in no directory.
#[cfg(unix)]
fn connect(name: &str) -> std::io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    // A supervisor that does not read must not keep the server.
    socket.set_nonblocking(true)?;
    match name.strip_prefix('@') {
        #[cfg(target_os = "linux")]
        Some(name) => {
            use std::os::linux::net::SocketAddrExt as _;
            let address = std::os::unix::net::SocketAddr::from_abstract_name(name)?;
            socket.connect_addr(&address)?;
        }
        _ => socket.connect(name)?,
    }
    Ok(socket)
}
