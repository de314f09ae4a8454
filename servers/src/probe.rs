//! Whether a server answers in its own protocol. An open port is not enough: several servers listen
//! long before they serve.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// How long the first question waits for its answer. A server that has not said everything by then
/// may have begun to serve since, and says so only to those who ask again.
const PATIENCE_MIN: Duration = Duration::from_millis(500);
/// How long the last ones wait: a busy machine takes its time.
const PATIENCE_MAX: Duration = Duration::from_secs(30);

/// What to say to a server, and how to see that it serves.
pub(crate) struct Probe {
    pub(crate) words: &'static [u8],
    /// Is given all that was answered so far.
    pub(crate) is_answer: fn(&[u8]) -> bool,
}

/// How long to wait for an answer: longer each time that waiting was in vain, so that a server on a
/// slow machine is heard, however slow that is.
#[derive(Debug)]
pub(crate) struct Patience(Duration);

impl Patience {
    pub(crate) fn new() -> Self {
        Self(PATIENCE_MIN)
    }

    fn grow(&mut self) {
        self.0 = (self.0 * 2).min(PATIENCE_MAX);
    }
}

impl Probe {
    /// Asks once.
    pub(crate) fn is_answered(&self, port: u16, patience: &mut Patience) -> bool {
        let asked = connect(port, patience).and_then(|stream| self.ask(stream));
        if let Err(error) = &asked
            && matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
        {
            patience.grow();
        }
        asked.unwrap_or(false)
    }

    fn ask(&self, mut stream: impl Read + Write) -> std::io::Result<bool> {
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

fn connect(port: u16, patience: &Patience) -> std::io::Result<TcpStream> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let stream = TcpStream::connect_timeout(&address, patience.0)?;
    stream.set_read_timeout(Some(patience.0))?;
    stream.set_write_timeout(Some(patience.0))?;
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::net::TcpListener;

    use super::*;

    const PROBE: Probe = Probe {
        words: b"HELLO",
        is_answer: |answer| answer == b"WELCOME",
    };

    /// A server that answers in these pieces, and then as a socket whose time is up.
    struct Scripted {
        heard: Vec<u8>,
        pieces: VecDeque<&'static [u8]>,
    }

    impl Scripted {
        fn new<const N: usize>(pieces: [&'static [u8]; N]) -> Self {
            Self {
                heard: Vec::new(),
                pieces: pieces.into(),
            }
        }
    }

    impl Write for Scripted {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.heard.write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl Read for Scripted {
        fn read(&mut self, part: &mut [u8]) -> std::io::Result<usize> {
            assert_eq!(self.heard, b"HELLO");
            match self.pieces.pop_front() {
                Some(piece) => (&*piece).read(part),
                None => Err(ErrorKind::WouldBlock.into()),
            }
        }
    }

    #[test]
    fn an_answer_may_come_in_pieces() {
        let pieces = Scripted::new([b"WEL", b"COME"]);
        assert!(PROBE.ask(pieces).unwrap());
    }

    #[test]
    fn another_answer_and_silence_are_none() {
        // An empty read is the end of the stream.
        let refused = Scripted::new([b"NOT", b" YET", b""]);
        assert!(!PROBE.ask(refused).unwrap());
        let silent = PROBE.ask(Scripted::new([b"WEL"])).unwrap_err();
        assert_eq!(silent.kind(), ErrorKind::WouldBlock);
    }

    #[test]
    fn patience_grows_with_each_silence_and_has_an_end() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut patience = Patience(Duration::from_millis(1));
        assert!(!PROBE.is_answered(port, &mut patience));
        assert_eq!(patience.0, Duration::from_millis(2));
        patience.0 = PATIENCE_MAX;
        patience.grow();
        assert_eq!(patience.0, PATIENCE_MAX);
    }
}
