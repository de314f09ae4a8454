//! One HTTP connection that sends a request when the one before is answered: no more than a program
//! could do by hand, so that little of what is measured is the client's.

use std::net::SocketAddr;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

use crate::Outcome;

pub(super) struct Connection {
    stream: BufReader<TcpStream>,
    line: String,
    body: Vec<u8>,
}

/// A request, ready to be sent.
pub(super) fn post(path: &str, content_type: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: {content_type}\r\n\
         content-length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

pub(super) fn get(path: &str, accept: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: localhost\r\naccept: {accept}\r\n\r\n").into_bytes()
}

impl Connection {
    pub(super) async fn open(address: SocketAddr) -> Outcome<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream: BufReader::new(stream),
            line: String::new(),
            body: Vec::new(),
        })
    }

    /// Sends a request and reads the whole answer, which has to be a success.
    pub(super) async fn exchange(&mut self, request: &[u8]) -> Outcome<&[u8]> {
        self.begin(request).await?;
        Ok(&self.body)
    }

    /// Sends a request for a stream, and reads the head of the answer alone.
    pub(super) async fn subscribe(mut self, request: &[u8]) -> Outcome<TcpStream> {
        self.stream.write_all(request).await?;
        self.head().await?;
        Ok(self.stream.into_inner())
    }

    async fn begin(&mut self, request: &[u8]) -> Outcome<()> {
        self.stream.write_all(request).await?;
        self.body.clear();
        match self.head().await? {
            Some(length) => {
                self.body.resize(length, 0);
                self.stream.read_exact(&mut self.body).await?;
            }
            None => while self.chunk().await? {},
        }
        Ok(())
    }

    /// Reads the head of an answer; the length of the body, if that does not come in chunks.
    async fn head(&mut self) -> Outcome<Option<usize>> {
        let status = self.read_line().await?;
        let is_success = status
            .split(' ')
            .nth(1)
            .is_some_and(|it| it.starts_with('2'));
        if !is_success {
            return Err(format!("the server answered `{}`", status.trim_end()).into());
        }
        let mut length = None;
        loop {
            let line = self.read_line().await?;
            if line.trim_end().is_empty() {
                return Ok(length);
            }
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = Some(value.trim().parse()?);
            }
        }
    }

    /// Reads a chunk of a body; whether there are more.
    async fn chunk(&mut self) -> Outcome<bool> {
        let size = usize::from_str_radix(self.read_line().await?.trim_end(), 16)?;
        let begin = self.body.len();
        self.body.resize(begin + size, 0);
        let place = self.body.get_mut(begin..).unwrap_or_default();
        self.stream.read_exact(place).await?;
        self.read_line().await?;
        Ok(size > 0)
    }

    async fn read_line(&mut self) -> Outcome<&str> {
        self.line.clear();
        if self.stream.read_line(&mut self.line).await? == 0 {
            return Err("the server closed the connection".into());
        }
        Ok(&self.line)
    }
}
