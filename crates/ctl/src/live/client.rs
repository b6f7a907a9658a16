//! One request to the server over its admin socket: HTTP/1.1 on a Unix stream, a connection for each (see `docs/admin-api.md`).
//!
//! Everything is bounded: how long the server may take, and how much it may say. Tells why it cannot be reached and what to do.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::Value;
use turnbuckle_config::AdminSocket;

use crate::cli::SocketArgs;
use crate::failure::Failure;

/// A server that may be running.
#[derive(Debug)]
pub(crate) struct Client {
    socket: PathBuf,
}

impl Client {
    pub(crate) fn new(args: &SocketArgs) -> Self {
        Self::at(
            args.socket
                .clone()
                .unwrap_or_else(|| AdminSocket::USUAL_PATH.into()),
        )
    }

    pub(crate) const fn at(socket: PathBuf) -> Self {
        Self { socket }
    }

    /// False where certainly nobody answers.
    pub(crate) fn is_there(&self) -> bool {
        !UnixStream::connect(&self.socket).is_err_and(|error| {
            matches!(
                error.kind(),
                ErrorKind::NotFound | ErrorKind::ConnectionRefused
            )
        })
    }

    /// What is at `path`.
    pub(crate) fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.call("GET", path, None)
    }

    /// Any request.
    pub(crate) fn call<T: DeserializeOwned>(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Result<T, Failure> {
        let answer = self.request(method, path, body)?;
        serde_json::from_slice(&answer).map_err(|error| {
            Failure::new(format!("the server's answer is not understood: {error}"))
                .help("turnctl and the server should be of the same version: `turnctl version`")
        })
    }

    fn request(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Vec<u8>, Failure> {
        let mut stream = self.connect()?;
        let raw = exchange(&mut stream, method, path, body).map_err(|error| {
            let at = self.socket.display();
            Failure::new(match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::TimedOut => {
                    format!(
                        "the server at {at} did not answer in {} s",
                        ANSWER_TIMEOUT.as_secs()
                    )
                }
                _ => format!("the server at {at} broke off: {error}"),
            })
        })?;
        let (status, body) = read_answer(&raw).ok_or_else(|| {
            Failure::new(format!(
                "what answers at {} is no Turnbuckle server",
                self.socket.display()
            ))
        })?;
        if (200..300).contains(&status) {
            return Ok(body.to_vec());
        }
        Err(self.refused(status, body))
    }

    fn connect(&self) -> Result<UnixStream, Failure> {
        let stream = UnixStream::connect(&self.socket).map_err(|error| self.unreachable(&error))?;
        let timeouts = stream
            .set_write_timeout(Some(ANSWER_TIMEOUT))
            .and_then(|()| stream.set_read_timeout(Some(ANSWER_TIMEOUT)));
        timeouts.map_err(|error| Failure::new(format!("the socket cannot be set up: {error}")))?;
        Ok(stream)
    }

    fn unreachable(&self, error: &io::Error) -> Failure {
        let at = self.socket.display();
        let not_running = "see whether it runs: `systemctl status turnbuckle`; one with `admin-socket` in its configuration is \
                           reached with `--socket PATH`";
        match error.kind() {
            ErrorKind::NotFound => {
                Failure::new(format!("no server is reached: there is no socket {at}"))
                    .help(not_running)
            }
            ErrorKind::ConnectionRefused => Failure::new(format!(
                "no server is reached: nobody answers at the socket {at}, which one has left behind"
            ))
            .help(not_running),
            ErrorKind::PermissionDenied => self.not_permitted(),
            _ => Failure::new(format!("no server is reached at {at}: {error}")).help(not_running),
        }
    }

    fn refused(&self, status: u16, body: &[u8]) -> Failure {
        let answer: Value = serde_json::from_slice(body).unwrap_or_default();
        let text = |name: &str| answer[name].as_str().map(str::to_owned);
        let message = text("error").unwrap_or_else(|| format!("the server answered {status}"));
        match status {
            403 => self.not_permitted(),
            _ => {
                let failure = Failure::new(message).findings(text("findings").unwrap_or_default());
                match text("help") {
                    Some(help) => failure.help(help),
                    None => failure,
                }
            }
        }
    }

    fn not_permitted(&self) -> Failure {
        let at = self.socket.display();
        let failure = Failure::new(format!("the socket {at} is not for this user"));
        match group_of(&self.socket) {
            Some(group) => failure.help(format!(
                "use sudo, or become a member of the group {group}: `usermod -a -G {group} USER`, and log in again"
            )),
            None => failure.help("use sudo, or become a member of the group that the socket belongs to"),
        }
    }
}

/// `text` as one segment of a path.
pub(crate) fn segment(text: &str) -> String {
    let mut segment = String::new();
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                segment.push(char::from(byte));
            }
            // Writing to a `String` cannot fail.
            _ => drop(write!(segment, "%{byte:02X}")),
        }
    }
    segment
}

fn exchange(
    stream: &mut UnixStream,
    method: &str,
    path: &str,
    body: Option<&Value>,
) -> io::Result<Vec<u8>> {
    let body = body.map(Value::to_string).unwrap_or_default();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(body.as_bytes())?;
    let mut answer = Vec::new();
    stream.take(ANSWER_MAX_BYTES).read_to_end(&mut answer)?;
    Ok(answer)
}

/// Status and body. `None` if it is no answer, or not all of it: the server gives the length of each.
fn read_answer(answer: &[u8]) -> Option<(u16, &[u8])> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(head) = response.parse(answer).ok()? else {
        return None;
    };
    let status = response.code?;
    let length = response
        .headers
        .iter()
        .find(|header| header.name.eq_ignore_ascii_case("content-length"))?;
    let length: usize = str::from_utf8(length.value).ok()?.trim().parse().ok()?;
    let body = answer.get(head..)?;
    (body.len() == length).then_some((status, body))
}

/// The group that a file belongs to, by name if it has one.
fn group_of(path: &Path) -> Option<String> {
    let id = fs::metadata(path).ok()?.gid().to_string();
    let groups = fs::read_to_string("/etc/group").unwrap_or_default();
    let name = groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == id).then(|| name.to_owned())
    });
    Some(name.unwrap_or(id))
}

/// Longer than the server takes for anything.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(35);
const ANSWER_MAX_BYTES: u64 = 64 << 20;
const HEADERS_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_segments() {
        assert_eq!(segment("@alice:example.org"), "%40alice%3Aexample.org");
        assert_eq!(segment("a/b ?#%"), "a%2Fb%20%3F%23%25");
        assert_eq!(segment("jörg"), "j%C3%B6rg");
    }

    #[test]
    fn answers_are_taken_whole_or_not_at_all() {
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
        assert_eq!(read_answer(answer), Some((200, &b"{}"[..])));
        for wrong in [
            &b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{}"[..],
            b"HTTP/1.1 200 OK\r\n\r\n{}",
            b"HTTP/1.1 200 OK\r\nContent-Le",
            b"SSH-2.0-OpenSSH",
            b"",
        ] {
            assert_eq!(read_answer(wrong), None, "{wrong:?}");
        }
    }
}
