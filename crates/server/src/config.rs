//! The settings of a server, and the file that holds them.

mod auth;
mod engine_url;
mod limits;
mod login;
mod tls;

mod error;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use percent_encoding::{AsciiSet, CONTROLS, percent_encode};
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

pub(crate) use self::auth::JWT_PREFIX;
pub use self::auth::{Auth, Jwt, Role};
pub use self::engine_url::EngineUrl;
pub use self::error::ConfigError;
use self::error::invalid;
pub use self::limits::Limits;
pub(crate) use self::login::LOGIN_PREFIX;
pub use self::login::Login;
pub use self::tls::{ClientCertificates, Tls};
use crate::address::ListenAddress;
use crate::closest::closest;
use crate::personal::{self, Personal};
use crate::range::within;
use crate::webhooks::WebhookConfig;

/// The largest configuration file, in bytes.
const TEXT_BYTES_MAX: usize = 1024 * 1024;
/// The most names that a server may be reached by.
const HOSTS_MAX: usize = 64;
/// The most roles, and the most certificates with roles.
const ROLES_MAX: usize = 1000;
/// What stands for any name among the known settings.
const ANY: &str = "*";

/// The settings of a server: what is not said has its default.
///
/// ```
/// use ensue_server::Config;
///
/// let config: Config = r#"
///     listen = "127.0.0.1:4000"
///
///     [limits]
///     batch_events_max = 500
///     request_timeout = "5s"
/// "#.parse()?;
/// assert_eq!(config.limits.batch_events_max, 500);
/// # Ok::<(), ensue_server::ConfigError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Config {
    /// The engine's URL, for `ensue serve`.
    pub engine: Option<EngineUrl>,
    /// The address to listen on.
    pub listen: ListenAddress,
    /// Names besides those of loopback that clients may reach the server by (the header `Host`): that
    /// of a proxy before it.
    pub hosts: Vec<String>,
    /// Listens on addresses that other machines reach, though there is no TLS or no authentication:
    /// everyone who reaches the server reads, changes and deletes everything.
    pub insecure_let_everyone_in: bool,
    /// TLS; without it, requests and tokens travel in plain text.
    pub tls: Option<Tls>,
    /// How callers prove who they are; without it, everyone who reaches the server is its owner.
    pub auth: Option<Auth>,
    /// Whether what operators do is written to the audit trail, by default when there is authentication:
    /// who it was is not known without.
    pub audit: Option<bool>,
    /// What callers may do, by the names of their roles.
    pub roles: BTreeMap<String, Role>,
    /// What of events is seen only by callers whose role says so.
    pub personal: Vec<Personal>,
    /// How much one client, and all of them, may ask for.
    pub limits: Limits,
    /// Where events are delivered to, and who may send them.
    pub webhooks: WebhookConfig,
    #[serde(skip)]
    file: Option<PathBuf>,
}

impl std::str::FromStr for Config {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        if text.len() > TEXT_BYTES_MAX {
            let problem = format!("it has {} bytes, the limit is {TEXT_BYTES_MAX}", text.len());
            return Err(ConfigError::Malformed(problem));
        }
        let malformed = |error: toml::de::Error| {
            ConfigError::Malformed(error.to_string().trim_end().to_owned())
        };
        let table: Table = text.parse().map_err(malformed)?;
        check_names("", &table, &known()?)?;
        let config: Self = toml::from_str(text).map_err(malformed)?;
        config.check_settings()?;
        Ok(config)
    }
}

/// As a file would have it, with what it leaves out.
impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = toml::to_string(self).map_err(|_| fmt::Error)?;
        f.write_str(text.trim_end())
    }
}

/// Every setting there is: those of a configuration that has one of everything.
fn known() -> Result<serde_json::Value, ConfigError> {
    let any = |roles: Vec<String>| BTreeMap::from([(ANY.to_owned(), roles)]);
    let whole = Config {
        tls: Some(Tls::default()),
        auth: Some(Auth {
            certificates: any(Vec::new()),
            jwt: Some(Jwt::default()),
            login: Some(Login::default()),
            ..Auth::default()
        }),
        roles: BTreeMap::from([(ANY.to_owned(), Role::default())]),
        ..Config::default()
    };
    serde_json::to_value(whole).map_err(|error| ConfigError::Malformed(error.to_string()))
}

/// The URL of an engine whose directory, if it has one, is meant from this place.
fn meant_from(place: &Path, url: &str) -> String {
    const KEPT: &AsciiSet = &CONTROLS.add(b'%').add(b'?').add(b' ');
    let directory = ensue::engine::directory_of(url).ok().flatten();
    let is_relative = directory.is_some_and(|directory| directory.is_relative());
    match url.split_once(':') {
        Some((scheme, path)) if is_relative && !place.as_os_str().is_empty() => {
            let path = path.strip_prefix("//").unwrap_or(path);
            let path = path.strip_prefix("./").unwrap_or(path);
            let place = percent_encode(place.as_os_str().as_encoded_bytes(), KEPT);
            format!("{scheme}:{place}/{path}")
        }
        _ => url.to_owned(),
    }
}

fn check_names(section: &str, table: &Table, known: &serde_json::Value) -> Result<(), ConfigError> {
    let Some(known) = known.as_object() else {
        return Ok(());
    };
    for (name, value) in table {
        let full = format!("{section}{name}");
        match (known.get(name).or_else(|| known.get(ANY)), value) {
            (Some(known), Value::Table(table)) => check_names(&format!("{full}."), table, known)?,
            (Some(_), _) => {}
            (None, _) => {
                let names = known.keys().map(String::as_str);
                let advice = match closest(name, names.clone()) {
                    Some(meant) => format!("did you mean `{section}{meant}`?"),
                    None => format!("known are {}", names.collect::<Vec<_>>().join(", ")),
                };
                let name = full.chars().take(80).collect();
                return Err(ConfigError::Unknown { name, advice });
            }
        }
    }
    Ok(())
}

impl Config {
    /// Reads a file. The server reads it again whenever it changes: certificates, tokens and permissions
    /// are followed, everything else at the next start.
    ///
    /// # Errors
    /// [`ConfigError`] when it cannot be read, or says what cannot be.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        use std::io::Read as _;
        let mut text = String::new();
        std::fs::File::open(path)
            .and_then(|file| {
                file.take(TEXT_BYTES_MAX as u64 + 1)
                    .read_to_string(&mut text)
            })
            .map_err(|error| ConfigError::Malformed(error.to_string()))?;
        Self::from_file(path, &text)
    }

    /// What the text of a file says; the paths in it are meant from where the file is.
    pub(crate) fn from_file(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let mut config: Self = text.parse()?;
        let place = path.parent().unwrap_or(Path::new("")).to_owned();
        let tls = config.tls.iter_mut().flat_map(|tls| {
            let files = [&mut tls.certificate, &mut tls.key].into_iter();
            files.chain(&mut tls.client_ca).chain(&mut tls.client_crl)
        });
        let auth = config.auth.iter_mut().flat_map(|auth| {
            let of_jwt = auth.jwt.iter_mut();
            let of_jwt = of_jwt.flat_map(|jwt| jwt.keys.iter_mut().chain(&mut jwt.ca_file));
            let of_login = auth.login.iter_mut();
            let of_login =
                of_login.flat_map(|it| it.client_secret.iter_mut().chain(&mut it.ca_file));
            of_jwt.chain(of_login).chain(&mut auth.tokens)
        });
        for file in tls.chain(auth).chain(config.webhooks.files()) {
            *file = place.join(&*file);
        }
        if let Some(engine) = &mut config.engine {
            *engine = meant_from(&place, engine.reveal()).into();
        }
        config.file = Some(path.to_owned());
        Ok(config)
    }

    /// Whether what operators do is written to the audit trail.
    pub(crate) fn has_audit(&self) -> bool {
        self.audit.unwrap_or(self.auth.is_some())
    }

    /// The file that it was read from.
    pub(crate) fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// Checks that every setting can be what it is, and that other machines do not reach a server that
    /// does not protect itself.
    ///
    /// # Errors
    /// [`ConfigError`] says which setting is at fault.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.check_settings()?;
        let lacking = match (&self.tls, &self.auth) {
            (Some(_), Some(_)) => return Ok(()),
            (None, None) => "there is neither TLS (`[tls]`) nor authentication (`[auth]`)",
            (None, Some(_)) => "there is no TLS (`[tls]`): tokens would travel in plain text",
            (Some(_), None) => "there is no authentication (`[auth]`)",
        };
        if self.listen.is_loopback() || self.insecure_let_everyone_in {
            return Ok(());
        }
        let address = self.listen;
        Err(ConfigError::Exposed { address, lacking })
    }

    fn check_settings(&self) -> Result<(), ConfigError> {
        within("hosts", self.hosts.len(), 0, HOSTS_MAX)?;
        within("roles", self.roles.len(), 0, ROLES_MAX)?;
        self.check_tls()?;
        self.check_auth()?;
        personal::check(&self.personal, self.auth.is_some())
            .map_err(|problem| invalid("personal", problem))?;
        self.limits.check()?;
        let checked = self.webhooks.check();
        checked.map_err(|(name, problem)| ConfigError::Webhook { name, problem })
    }

    fn check_tls(&self) -> Result<(), ConfigError> {
        let Some(tls) = &self.tls else {
            return Ok(());
        };
        for (name, path) in [("tls.certificate", &tls.certificate), ("tls.key", &tls.key)] {
            if path.as_os_str().is_empty() {
                return Err(invalid(name, "is missing; it names a PEM file".to_owned()));
            }
        }
        if tls.client_ca.is_some() && self.auth.is_none() {
            let problem = "says whose certificates are names of clients, and there is no `[auth]` that says \
                           what they may do";
            return Err(invalid("tls.client_ca", problem.to_owned()));
        }
        let needs_authority =
            tls.client_crl.is_some() || tls.client_certificates == ClientCertificates::Required;
        if needs_authority && tls.client_ca.is_none() {
            let problem =
                "is missing; it names a PEM file with the authorities of the clients' certificates";
            return Err(invalid("tls.client_ca", problem.to_owned()));
        }
        Ok(())
    }

    fn check_auth(&self) -> Result<(), ConfigError> {
        let Some(auth) = &self.auth else {
            return Ok(());
        };
        within("auth.certificates", auth.certificates.len(), 0, ROLES_MAX)?;
        let has_authority = self.tls.iter().any(|tls| tls.client_ca.is_some());
        if !auth.certificates.is_empty() && !has_authority {
            let problem =
                "has names in certificates, and `tls.client_ca` does not say who signs them";
            return Err(invalid("auth.certificates", problem.to_owned()));
        }
        if let Some(jwt) = &auth.jwt {
            jwt.check()?;
        }
        if let Some(login) = &auth.login {
            login.check()?;
        }
        let has_others = auth.jwt.is_some() || auth.login.is_some();
        if auth.tokens.is_none() && !has_others && !has_authority {
            let problem = "is missing, and so are `tls.client_ca`, `[auth.jwt]` and `[auth.login]`: no caller \
                           could prove who they are; name a file, and put tokens into it with `ensue token \
                           create`";
            return Err(invalid("auth.tokens", problem.to_owned()));
        }
        for (name, roles) in &auth.certificates {
            let reserved = [
                (JWT_PREFIX, "`[auth.jwt]`"),
                (LOGIN_PREFIX, "`[auth.login]`"),
            ];
            for (prefix, section) in reserved {
                if name.starts_with(prefix) {
                    let problem = format!("begins with `{prefix}`, as the names of {section} do");
                    return Err(invalid(&format!("auth.certificates.{name}"), problem));
                }
            }
            for role in roles {
                self.check_role(role)
                    .map_err(|problem| invalid(&format!("auth.certificates.{name}"), problem))?;
            }
        }
        Ok(())
    }

    /// Whether there is a role of this name; otherwise which one was meant.
    ///
    /// # Errors
    /// What to tell.
    pub fn check_role(&self, role: &str) -> Result<(), String> {
        if self.roles.contains_key(role) {
            return Ok(());
        }
        let role: String = role.chars().take(80).collect();
        let roles = self.roles.keys().map(String::as_str);
        let advice = match closest(&role, roles) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => format!("add `[roles.{role}]` to the configuration"),
        };
        Err(format!(
            "names the role `{role}`, which there is not; {advice}"
        ))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn error(text: &str) -> String {
        text.parse::<Config>().unwrap_err().to_string()
    }

    #[test]
    fn what_is_not_said_has_its_default() {
        assert_eq!("".parse::<Config>().unwrap(), Config::default());
        let config: Config = "[limits]\nconnections_max = 7\ndrain_timeout = \"2m\""
            .parse()
            .unwrap();
        assert_eq!(config.limits.connections_max, 7);
        assert_eq!(config.limits.drain_timeout, Duration::from_secs(120));
        assert_eq!(
            config.limits.body_bytes_max,
            Limits::default().body_bytes_max
        );
        assert!(Config::default().check().is_ok());
    }

    #[test]
    fn the_directory_of_an_embedded_log_is_meant_from_where_the_file_is() {
        for (file, written, meant) in [
            (
                "/etc/ensue/a.toml",
                "embedded:./data",
                "embedded:/etc/ensue/data",
            ),
            (
                "/etc/ensue/a.toml",
                "embedded:data?durability=os",
                "embedded:/etc/ensue/data?durability=os",
            ),
            (
                "/etc/ensue/a.toml",
                "embedded://../data",
                "embedded:/etc/ensue/../data",
            ),
            (
                "/etc/50 %?/a.toml",
                "embedded:./data",
                "embedded:/etc/50%20%25%3F/data",
            ),
            ("conf/a.toml", "embedded:./data", "embedded:conf/data"),
            ("a.toml", "embedded:./data", "embedded:./data"),
            (
                "/etc/ensue/a.toml",
                "embedded:/srv/data",
                "embedded:/srv/data",
            ),
            ("/etc/ensue/a.toml", "memory:", "memory:"),
            (
                "/etc/ensue/a.toml",
                "nats://localhost:4222/shop",
                "nats://localhost:4222/shop",
            ),
        ] {
            let text = format!("engine = '{written}'");
            let config = Config::from_file(Path::new(file), &text).unwrap();
            let engine = config.engine.as_ref().map(EngineUrl::reveal);
            assert_eq!(engine, Some(meant), "{file}: {written}");
            let directory = ensue::engine::directory_of(meant).unwrap();
            assert!(directory.is_none_or(|it| !it.to_string_lossy().contains("%25")));
        }
    }

    #[test]
    fn a_configuration_is_written_as_a_file_would_have_it() {
        let text = "[limits]\nlease_max = \"45m30s\"\n[[webhooks.endpoint]]\nname = \"shop\"\n\
            url = \"https://shop.example/\"\ntopics = [\"orders\"]\nsecrets = { env = \"SHOP\" }\n";
        let config: Config = text.parse().unwrap();
        let written = config.to_string();
        for line in [
            "lease_max = \"45m30s\"",
            "wait_max = \"1m\"",
            "backoff = \"1s..1h\"",
            "drain_delay = \"0s\"",
        ] {
            assert!(written.lines().any(|it| it == line), "{line}: {written}");
        }
        assert_eq!(written.parse::<Config>().unwrap(), config);
    }

    #[test]
    fn an_unknown_setting_is_an_error_with_a_suggestion() {
        let text = error("[limits]\nbody_byte_max = 1");
        assert!(text.contains("no setting `limits.body_byte_max`"), "{text}");
        assert!(
            text.contains("did you mean `limits.body_bytes_max`"),
            "{text}"
        );
        let text = error("colour = 1");
        assert!(
            text.contains("known are") && text.contains("listen"),
            "{text}"
        );
        assert!(error("[limit]\n").contains("did you mean `limits`"));
    }

    #[test]
    fn other_machines_reach_only_a_server_that_protects_itself() {
        let tls = "[tls]\ncertificate = 'c'\nkey = 'k'\n";
        let auth = "[auth]\ntokens = 't'\n";
        let everyone = "insecure_let_everyone_in = true\n";
        let check = |listen: &str, rest: &[&str]| {
            let text = format!("listen = '{listen}'\n{}", rest.concat());
            text.parse::<Config>().unwrap().check()
        };
        for rest in [&[][..], &[tls], &[auth]] {
            assert!(check("127.0.0.1:0", rest).is_ok(), "{rest:?}");
            let error = check("0.0.0.0:0", rest).unwrap_err().to_string();
            assert!(error.contains("not a loopback address"), "{error}");
            assert!(error.contains("insecure_let_everyone_in"), "{error}");
            assert!(check("[::]:0", &[&[everyone], rest].concat()).is_ok());
        }
        assert!(check("0.0.0.0:0", &[tls, auth]).is_ok());
    }

    #[test]
    fn a_value_out_of_its_range_or_of_another_type_is_an_error_that_names_it() {
        for (text, parts) in [
            (
                "[limits]\nconnections_max = 0",
                &["connections_max` is 0", "between 1"][..],
            ),
            (
                "[limits]\nbody_bytes_max = 999999999",
                &["body_bytes_max", "268435456"],
            ),
            (
                "[limits]\nbody_timeout = \"2h\"",
                &["body_timeout", "3600s"],
            ),
            ("[limits]\nbody_timeout = 5", &["body_timeout"]),
            ("[limits]\nbody_timeout = \"soon\"", &["body_timeout"]),
            ("listen = \"everywhere\"", &["listen", "not an address"]),
            ("listen = ", &["cannot be read"]),
            ("limits = 5", &["limits"]),
        ] {
            let error = error(text);
            assert!(
                parts.iter().all(|part| error.contains(part)),
                "{text}: {error}"
            );
        }
    }
}
