//! Where a server is and how to log in: what the URLs of all distributed engines share.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::engine::Url;
use crate::error::{EngineError, Error, OpenError, Result};

/// How long a server that is away is tried at the start, unless the URL says otherwise.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// The longest name of a namespace, in bytes.
const NAMESPACE_BYTES_MAX: usize = 64;

/// A server's URL, taken apart: `scheme://user:password@host:port,host:port/path?option=value`.
#[derive(Clone, Debug)]
pub struct Server {
    /// The URL without secrets, for people.
    pub shown: String,
    /// One or more.
    pub addresses: Vec<Address>,
    /// Who logs in, if the URL says.
    pub login: Option<Login>,
    /// What follows the first `/` after the address, decoded.
    pub path: String,
    /// How the connection is encrypted, if it is.
    pub tls: Option<Tls>,
    /// Which log on the server.
    pub namespace: String,
    /// How long a server that is away is tried at the start.
    pub connect_timeout: Duration,
}

/// A host and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// A name or an IP address.
    pub host: String,
    /// A TCP port.
    pub port: u16,
}

/// A name and a password. Not shown by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// The name.
    pub user: String,
    /// The password.
    pub password: String,
}

/// How the connection is encrypted: files in PEM form.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// Who signs the server's certificate; `None` is whom the system trusts.
    pub ca: Option<PathBuf>,
    /// The client's certificate and private key.
    pub client: Option<(PathBuf, PathBuf)>,
}

impl Server {
    /// Takes `url` apart; `port` is the usual one.
    ///
    /// # Errors
    /// [`OpenError::Url`] says what is wrong, [`EngineError::Io`] which file cannot be read.
    pub fn of(url: &Url, port: u16) -> Result<Self> {
        let Some(rest) = url.rest.strip_prefix("//") else {
            let advice = format!("write `{}://host:{port}`", url.scheme);
            return Err(url.invalid(format!("it names no server; {advice}")));
        };
        let (place, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (login, hosts) = match place.rsplit_once('@') {
            Some((login, hosts)) => (Some(login), hosts),
            None => (None, place),
        };
        let addresses = hosts.split(',').map(|host| address(url, host, port));
        Ok(Self {
            shown: url.to_string(),
            addresses: addresses.collect::<Result<_>>()?,
            login: login_of(url, login)?,
            path: url.decoded(path)?,
            tls: tls_of(url)?,
            namespace: namespace_of(url)?,
            connect_timeout: url.duration("connect_timeout")?.unwrap_or(CONNECT_TIMEOUT),
        })
    }

    /// For servers that have no databases, which a path would name.
    ///
    /// # Errors
    /// [`OpenError::Url`] when there is a path.
    pub fn check_pathless(&self, url: &Url) -> Result<()> {
        match self.path.as_str() {
            "" => Ok(()),
            path => Err(url.invalid(format!(
                "`{}` has no databases: drop `/{path}`; `?namespace=…` keeps logs apart",
                url.scheme
            ))),
        }
    }

    /// The error of a server that is away.
    pub fn unavailable(&self, reason: impl fmt::Display) -> Error {
        Error::Engine(EngineError::Unavailable {
            server: self.shown.clone(),
            reason: reason.to_string(),
        })
    }

    /// The error of a server that cannot be used as it is: too old, read-only, without rights.
    pub fn unfit(&self, reason: impl fmt::Display, advice: impl fmt::Display) -> Error {
        Error::Open(OpenError::Unfit {
            server: self.shown.clone(),
            reason: reason.to_string(),
            advice: advice.to_string(),
        })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login")
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

fn address(url: &Url, text: &str, usual: u16) -> Result<Address> {
    // An IPv6 address stands in brackets.
    let (host, rest) = match text.strip_prefix('[').and_then(|it| it.split_once(']')) {
        Some((host, rest)) => (host, rest),
        None => text.split_at(text.find(':').unwrap_or(text.len())),
    };
    let port = match rest.strip_prefix(':') {
        None if rest.is_empty() => Ok(usual),
        None => Err(()),
        Some(port) => port.parse().map_err(drop),
    };
    match port {
        Ok(port) if !host.is_empty() => Ok(Address {
            host: host.to_owned(),
            port,
        }),
        _ => Err(url.invalid(format!("`{text}` is no host with a port"))),
    }
}

fn login_of(url: &Url, text: Option<&str>) -> Result<Option<Login>> {
    let file = url.option("password_file");
    let Some(text) = text else {
        return match file {
            Some(_) => Err(url.invalid("`password_file` needs a user: `user@host`".to_owned())),
            None => Ok(None),
        };
    };
    let (user, password) = text.split_once(':').unwrap_or((text, ""));
    let password = match file {
        None => url.decoded(password)?,
        Some(file) => {
            let password = std::fs::read_to_string(file).map_err(|source| {
                Error::Engine(EngineError::Io {
                    what: format!("could not read the password file {file}"),
                    reason: source,
                })
            })?;
            password.trim_end_matches(['\r', '\n']).to_owned()
        }
    };
    let user = url.decoded(user)?;
    Ok(Some(Login { user, password }))
}

fn tls_of(url: &Url) -> Result<Option<Tls>> {
    let is_on = match url.option("tls") {
        None | Some("false") => false,
        Some("true") => true,
        Some(other) => {
            return Err(url.invalid(format!("`tls` is `{other}`, it must be `true` or `false`")));
        }
    };
    let client = match (url.option("cert"), url.option("key")) {
        (Some(cert), Some(key)) => Some((PathBuf::from(cert), PathBuf::from(key))),
        (None, None) => None,
        _ => return Err(url.invalid("`cert` and `key` need each other".to_owned())),
    };
    let ca = url.option("ca").map(PathBuf::from);
    if !is_on && (ca.is_some() || client.is_some()) {
        return Err(url.invalid("`ca`, `cert` and `key` need `tls=true`".to_owned()));
    }
    Ok(is_on.then_some(Tls { ca, client }))
}

fn namespace_of(url: &Url) -> Result<String> {
    let namespace = url.option("namespace").unwrap_or("ensue");
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if namespace.is_empty()
        || namespace.len() > NAMESPACE_BYTES_MAX
        || !namespace.chars().all(is_allowed)
    {
        return Err(url.invalid(format!(
            "`namespace` is `{namespace}`, it must be 1 to {NAMESPACE_BYTES_MAX} letters, digits, \
             `_` or `-`"
        )));
    }
    Ok(namespace.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(url: &str) -> Result<Server> {
        Server::of(&Url::parse(url).unwrap(), 4222)
    }

    #[test]
    fn a_url_is_taken_apart() {
        let url = "nats://bob:p%40ss@one,two:5,[::1]:6/a%20b?namespace=shop&tls=true&ca=/x";
        let server = of(url).unwrap();
        let addresses: Vec<_> = server.addresses.iter().map(ToString::to_string).collect();
        assert_eq!(addresses, ["one:4222", "two:5", "[::1]:6"]);
        let login = server.login.clone().unwrap();
        assert_eq!(
            (login.user.as_str(), login.password.as_str()),
            ("bob", "p@ss")
        );
        assert_eq!(
            (server.path.as_str(), server.namespace.as_str()),
            ("a b", "shop")
        );
        assert_eq!(server.tls.unwrap().ca, Some(PathBuf::from("/x")));
        assert!(!format!("{:?}{}", login, server.shown).contains("p@ss"));
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (url, part) in [
            ("nats:host", "names no server"),
            ("nats://host:port", "no host with a port"),
            ("nats://", "no host with a port"),
            ("nats://h?namespace=a.b", "letters, digits"),
            ("nats://h?tls=maybe", "`true` or `false`"),
            ("nats://h?ca=/x", "need `tls=true`"),
            ("nats://h?tls=true&cert=/x", "need each other"),
            ("nats://h?connect_timeout=5", "`connect_timeout`"),
            ("nats://h?password_file=/x", "needs a user"),
            ("nats://%zz@h", "two hexadecimal digits"),
            ("nats://%+f@h", "two hexadecimal digits"),
            ("nats://%ff@h", "not UTF-8"),
        ] {
            let error = of(url).unwrap_err().to_string();
            assert!(error.contains(part), "{url}: {error}");
        }
    }

    #[test]
    fn a_server_without_databases_refuses_a_path() {
        let check = |url: &str| of(url).unwrap().check_pathless(&Url::parse(url).unwrap());
        assert!(check("nats://h").is_ok() && check("nats://h/?tls=true").is_ok());
        let error = check("nats://h/orders").unwrap_err().to_string();
        assert!(error.contains("no databases"), "{error}");
    }
}
