//! Whether a server answers in its own protocol. An open port is not enough: several servers listen
//! long before they serve.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_millis(500);
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// What to say to a server, and how to see that it serves.
pub(super) struct Greeting {
    pub(super) words: &'static [u8],
    /// Is given all that was answered so far.
    pub(super) is_answer: fn(&[u8]) -> bool,
}

impl Greeting {
    /// Asks once.
    pub(super) fn is_answered(&self, port: u16) -> bool {
        self.ask(port).unwrap_or(false)
    }

    fn ask(&self, port: u16) -> std::io::Result<bool> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        stream.write_all(self.words)?;
        let mut answer = Vec::new();
        let mut part = [0; 4096];
        while answer.len() < ANSWER_BYTES_MAX {
            let count = stream.read(&mut part)?;
            answer.extend(part.iter().take(count));
            if (self.is_answer)(&answer) {
                return Ok(true);
            }
            if count == 0 {
                break;
            }
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    const GREETING: Greeting = Greeting {
        words: b"HELLO",
        is_answer: |answer| answer == b"WELCOME",
    };

    /// Listens, and answers its one caller in two pieces.
    fn answering(first: &'static [u8], second: &'static [u8]) -> u16 {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut heard = [0; 5];
            stream.read_exact(&mut heard).unwrap();
            assert_eq!(&heard, b"HELLO");
            stream.write_all(first).unwrap();
            std::thread::sleep(Duration::from_millis(20));
            stream.write_all(second).unwrap();
        });
        port
    }

    #[test]
    fn an_answer_may_come_in_pieces() {
        assert!(GREETING.is_answered(answering(b"WEL", b"COME")));
    }

    #[test]
    fn another_answer_and_silence_are_none() {
        assert!(!GREETING.is_answered(answering(b"NOT", b" YET")));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        assert!(!GREETING.is_answered(listener.local_addr().unwrap().port()));
    }
}
