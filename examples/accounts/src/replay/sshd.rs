//! What sshd says of an attempt to log in.
//!
//! Part of a message is the name that somebody typed, which may be anything, also a whole message
//! with an address. So a message is known by how it begins, and its address is found from its end,
//! where sshd itself writes.

use std::net::IpAddr;

/// An attempt to log in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Attempt<'a> {
    pub(crate) kind: Kind,
    pub(crate) address: &'a str,
    /// How many the message stands for.
    pub(crate) times: u64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    /// `Failed password for …`.
    Failed,
    /// `Accepted … for …`.
    Accepted,
    /// `Invalid user …`.
    InvalidUser,
}

/// Whether sshd writes as this program: newer ones have a program for each part.
pub(crate) fn is_sshd(program: &str) -> bool {
    program == "sshd" || program.starts_with("sshd-")
}

impl<'a> Attempt<'a> {
    /// What a message says of an attempt; `None` for all others, and for one that is cut off before
    /// the end of its address.
    pub(crate) fn parse(message: &'a str) -> Option<Self> {
        let (times, message) = match message.strip_prefix("message repeated ") {
            Some(repeated) => Self::repeated(repeated)?,
            None => (1, message),
        };
        let (kind, address) = if let Some(rest) = message.strip_prefix("Failed password for") {
            (Kind::Failed, address(rest, Port::Always)?)
        } else if let Some(rest) = message.strip_prefix("Accepted ") {
            let (_method, rest) = rest.split_once(' ')?;
            let rest = rest.strip_prefix("for")?;
            // A key, and in a certificate words of its issuer, may follow.
            let rest = rest.split_once(" ssh2: ").map_or(rest, |(it, _key)| it);
            (Kind::Accepted, address(rest, Port::Always)?)
        } else {
            let rest = message.strip_prefix("Invalid user")?;
            (Kind::InvalidUser, address(rest, Port::InNewer)?)
        };
        Some(Self {
            kind,
            address,
            times,
        })
    }

    /// `5 times: [ MESSAGE]`, as syslog abbreviates messages that are alike.
    fn repeated(repeated: &'a str) -> Option<(u64, &'a str)> {
        let (times, message) = repeated.split_once(" times: [")?;
        let times = times.parse().ok().filter(|times| *times > 0)?;
        let message = message.trim_start();
        Some((times, message.strip_suffix(']').unwrap_or(message)))
    }
}

/// Whether a message has the port behind the address.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Port {
    Always,
    /// Only since OpenSSH 7.2.
    InNewer,
}

/// The address at the end of ` NAME from ADDRESS port PORT ssh2`.
fn address(text: &str, port: Port) -> Option<&str> {
    let text = text.trim_end();
    let text = text.strip_suffix("[preauth]").unwrap_or(text);
    let (name, end) = text.rsplit_once(" from ")?;
    if !(name.is_empty() || name.starts_with(' ')) {
        return None;
    }
    let mut words = end.split_ascii_whitespace();
    let address = words.next()?;
    let is_port = |port: &str| port.parse::<u16>().is_ok();
    let is_whole = match (words.next(), words.next(), words.next()) {
        // Only with what follows it is a name known to be whole.
        (Some("port"), Some(port), None | Some("ssh1" | "ssh2")) => {
            is_port(port) && words.next().is_none() && is_name(address)
        }
        (None, ..) => port == Port::InNewer && address.parse::<IpAddr>().is_ok(),
        _ => false,
    };
    is_whole.then_some(address)
}

/// The longest name of a host (RFC 1035); what is longer was written by no sshd.
const NAME_BYTES_MAX: usize = 255;

/// An address, with a zone perhaps, or the name that old versions resolve it to.
fn is_name(text: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b".:-_%".contains(&byte);
    text.len() <= NAME_BYTES_MAX && text.bytes().all(is_part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn assert(message: &str, expected: Option<(Kind, &str, u64)>) {
        let found = Attempt::parse(message);
        let found = found.map(|it| (it.kind, it.address, it.times));
        assert_eq!(found, expected, "{message}");
    }

    #[test]
    fn attempts_are_failed_accepted_or_of_an_invalid_user() {
        for (message, kind, address) in [
            (
                "Failed password for root from 192.0.2.7 port 1 ssh2",
                Kind::Failed,
                "192.0.2.7",
            ),
            (
                "Failed password for invalid user a b from ::1 port 65535 ssh2",
                Kind::Failed,
                "::1",
            ),
            (
                "Failed password for invalid user  from 192.0.2.7 port 2 ssh2",
                Kind::Failed,
                "192.0.2.7",
            ),
            (
                "Failed password for root from fe80::1%eth0 port 2 ssh2 [preauth]",
                Kind::Failed,
                "fe80::1%eth0",
            ),
            (
                "Accepted password for ada from 192.0.2.7 port 3 ssh2",
                Kind::Accepted,
                "192.0.2.7",
            ),
            (
                "Accepted publickey for ada from 192.0.2.7 port 3 ssh2: RSA SHA256:xyz",
                Kind::Accepted,
                "192.0.2.7",
            ),
            (
                "Accepted publickey for ada from 192.0.2.7 port 3 ssh2: RSA-CERT ID x from 6.6.6.6 port 4 ssh2: y",
                Kind::Accepted,
                "192.0.2.7",
            ),
            (
                "Accepted keyboard-interactive/pam for ada from host.example port 3 ssh2",
                Kind::Accepted,
                "host.example",
            ),
            (
                "Invalid user webmaster from 192.0.2.7",
                Kind::InvalidUser,
                "192.0.2.7",
            ),
            (
                "Invalid user  from 2001:db8::1 port 4",
                Kind::InvalidUser,
                "2001:db8::1",
            ),
        ] {
            assert(message, Some((kind, address, 1)));
        }
    }

    #[test]
    fn other_messages_are_nothing() {
        for message in [
            "",
            "Failed none for invalid user a from 192.0.2.7 port 1 ssh2",
            "Failed publickey for a from 192.0.2.7 port 1 ssh2",
            "Failed passwords for a from 192.0.2.7 port 1 ssh2",
            "Accepted key RSA SHA256:xyz found at /root/.ssh/authorized_keys:1",
            "input_userauth_request: invalid user a [preauth]",
            "PAM 4 more authentication failures; logname= uid=0 euid=0 tty=ssh ruser= rhost=192.0.2.7",
            "error: Failed password for root from 192.0.2.7 port 1 ssh2",
            "Connection closed by 192.0.2.7 [preauth]",
        ] {
            assert(message, None);
        }
    }

    #[test]
    fn a_name_that_looks_like_a_message_changes_nothing() {
        for name in [
            "a from 6.6.6.6 port 22",
            "a from 6.6.6.6 port 22 ssh2",
            "Accepted password for root from 6.6.6.6 port 22 ssh2",
            "a ssh2: from 6.6.6.6 port 1",
            "message repeated 5 times: [ Failed password for root from 6.6.6.6 port 2 ssh2]",
            " from ",
        ] {
            let failed =
                format!("Failed password for invalid user {name} from 192.0.2.7 port 9 ssh2");
            assert(&failed, Some((Kind::Failed, "192.0.2.7", 1)));
            for end in ["", " port 9"] {
                let invalid = format!("Invalid user {name} from 192.0.2.7{end}");
                assert(&invalid, Some((Kind::InvalidUser, "192.0.2.7", 1)));
            }
        }
    }

    #[test]
    fn what_is_repeated_counts_as_often() {
        let failed = "Failed password for root from 192.0.2.7 port 1 ssh2";
        let expected = Some((Kind::Failed, "192.0.2.7", 5));
        assert(&format!("message repeated 5 times: [ {failed}]"), expected);
        assert(&format!("message repeated 5 times: [ {failed}"), expected);
        for repeated in [
            "message repeated 0 times: [ ",
            "message repeated x times: [ ",
            "message repeated 2 times: [ message repeated 5 times: [ ",
        ] {
            assert(&format!("{repeated}{failed}]"), None);
        }
        assert("message repeated 5 times: [ Connection closed]", None);
    }

    #[test]
    fn a_message_that_is_cut_off_counts_once_its_address_is_whole() {
        let message =
            "Failed password for invalid user a from 6.6.6.6 port 2 ssh2 from 192.0.2.7 port 22";
        assert(message, Some((Kind::Failed, "192.0.2.7", 1)));
        let address_end = message.len() - " port 22".len();
        for end in
            "Failed password for invalid user a from 6.6.6.6 port 2 ssh2 f".len()..=address_end
        {
            assert(&message[..end], None);
        }
        assert("Invalid user a from 192.0", None);
        let long = "x".repeat(NAME_BYTES_MAX + 1);
        let message = format!("Failed password for a from {long} port 1 ssh2");
        assert(&message, None);
        assert("Invalid user a", None);
        assert("Invalid user a from 192.0.2.\u{fffd}", None);
    }
}
