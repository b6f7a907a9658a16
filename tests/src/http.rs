//! A request over HTTP, made by hand so that nothing of it is put right on the way.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpAnswer {
    /// Such as 200.
    pub status: u16,
    /// Status line and header fields.
    pub head: String,
    /// All behind them.
    pub body: String,
}

impl HttpAnswer {
    /// Sends one GET request with these header fields besides, and reads to the end of the connection. There is no Host but that of
    /// `fields`.
    ///
    /// # Panics
    /// If there is no answer within ten seconds.
    pub fn get(address: SocketAddr, path: &str, fields: &[(&str, &str)]) -> Self {
        Self::ask(address, "GET", path, fields, "")
    }

    /// As [`HttpAnswer::get`], by another method and with a body.
    ///
    /// # Panics
    /// If there is no answer within ten seconds.
    pub fn ask(
        address: SocketAddr,
        method: &str,
        path: &str,
        fields: &[(&str, &str)],
        body: &str,
    ) -> Self {
        let mut stream = TcpStream::connect(address).expect("somebody listens");
        stream
            .set_read_timeout(Some(DEADLINE))
            .expect("a timeout can be set");
        let mut request = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n");
        if !body.is_empty() {
            request += &format!("Content-Length: {}\r\n", body.len());
        }
        for (name, value) in fields {
            request += &format!("{name}: {value}\r\n");
        }
        stream
            .write_all(format!("{request}\r\n{body}").as_bytes())
            .expect("the request can be sent");
        Self::read(stream)
    }

    /// Reads an answer to the end of the connection.
    ///
    /// # Panics
    /// If it is none.
    pub fn read(mut stream: impl Read) -> Self {
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("an answer");
        let (head, body) = text.split_once("\r\n\r\n").expect("a head and a body");
        let status = head.split(' ').nth(1).expect("a status");
        let mut answer = Self {
            status: status.parse().expect("a number"),
            head: head.to_owned(),
            body: body.to_owned(),
        };
        if answer.field("transfer-encoding") == Some("chunked") {
            answer.body = joined(body);
        }
        answer
    }

    /// The value of a header field.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (field, value) = line.split_once(':')?;
            field.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

/// A body that came in chunks.
fn joined(mut chunks: &str) -> String {
    let mut body = String::new();
    loop {
        let (size, rest) = chunks.split_once("\r\n").expect("a size");
        let size = usize::from_str_radix(size, 16).expect("a number");
        if size == 0 {
            return body;
        }
        body += rest.get(..size).expect("a whole chunk");
        chunks = rest.get(size + 2..).expect("the end of a line");
    }
}

const DEADLINE: Duration = Duration::from_secs(10);
