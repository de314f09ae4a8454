//! Where a broker is.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use rumqttc::MqttOptions;

/// The port of MQTT.
const PORT: u16 = 1883;
/// How much one who does not read may be told, in bytes of one packet.
const PACKET_BYTES_MAX: u32 = 1 << 20;
/// How often a client that says nothing shows that it is there, in seconds.
const KEEP_ALIVE: u16 = 30;

/// Not where a broker could be.
#[derive(Debug, thiserror::Error)]
#[error("the broker's URL is not mqtt://[USER:PASSWORD@]HOST[:PORT]: {0}")]
pub struct InvalidPlace(&'static str);

/// Where a broker is, and who one is there.
#[derive(Clone, PartialEq, Eq)]
pub struct BrokerPlace {
    host: String,
    port: u16,
    login: Option<(String, String)>,
}

impl BrokerPlace {
    /// A broker at an address, without a login.
    pub fn at(address: SocketAddr) -> Self {
        Self {
            host: address.ip().to_string(),
            port: address.port(),
            login: None,
        }
    }

    /// Its host and port.
    pub fn address(&self) -> (&str, u16) {
        (&self.host, self.port)
    }

    /// What a client of this name connects with: MQTT 5, a session that ends with the connection.
    pub fn options(&self, client: &str) -> MqttOptions {
        let mut options = MqttOptions::new(client, (self.host.clone(), self.port));
        options.set_keep_alive(KEEP_ALIVE);
        options.set_clean_start(true);
        options.set_max_packet_size(Some(PACKET_BYTES_MAX));
        if let Some((user, password)) = &self.login {
            options.set_credentials(user.clone(), password.clone());
        }
        options
    }

    /// The URL, with its password: not for people's eyes.
    pub fn url(&self) -> String {
        match &self.login {
            Some((user, password)) => format!("mqtt://{user}:{password}@{}", self.host_and_port()),
            None => format!("mqtt://{}", self.host_and_port()),
        }
    }

    fn host_and_port(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl FromStr for BrokerPlace {
    type Err = InvalidPlace;

    fn from_str(url: &str) -> Result<Self, InvalidPlace> {
        let rest = url.strip_prefix("mqtt://");
        let rest = rest.ok_or(InvalidPlace("it does not begin with mqtt://"))?;
        let (login, place) = match rest.rsplit_once('@') {
            Some((login, place)) => (Some(login), place),
            None => (None, rest),
        };
        let login = match login.map(|it| it.split_once(':')) {
            Some(None) => return Err(InvalidPlace("a user has a password")),
            Some(Some((user, password))) => Some((user.to_owned(), password.to_owned())),
            None => None,
        };
        let place = place.trim_end_matches('/');
        let (host, port) = match place.rsplit_once(':') {
            // An address of IPv6 has colons of its own, in brackets.
            Some((host, port)) if !port.ends_with(']') => {
                let port = port.parse();
                (
                    host,
                    port.map_err(|_| InvalidPlace("the port is no number"))?,
                )
            }
            _ => (place, PORT),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() {
            return Err(InvalidPlace("it has no host"));
        }
        Ok(Self {
            host: host.to_owned(),
            port,
            login,
        })
    }
}

impl fmt::Debug for BrokerPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "mqtt://{}", self.host_and_port())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_says_where_and_who() {
        for (url, address) in [
            ("mqtt://localhost", ("localhost", 1883)),
            ("mqtt://127.0.0.1:2883/", ("127.0.0.1", 2883)),
            ("mqtt://[::1]:2883", ("::1", 2883)),
            ("mqtt://ada:secret@broker:1", ("broker", 1)),
        ] {
            let place: BrokerPlace = url.parse().unwrap();
            assert_eq!(place.address(), address, "{url}");
            let again: BrokerPlace = place.url().parse().unwrap();
            assert_eq!(again, place);
            assert!(!format!("{place:?}").contains("secret"));
        }
    }

    #[test]
    fn what_is_no_broker_is_refused_with_the_reason() {
        for url in [
            "localhost:1883",
            "mqtt://",
            "mqtt://host:port",
            "mqtt://ada@host",
        ] {
            assert!(url.parse::<BrokerPlace>().is_err(), "{url}");
        }
    }
}
