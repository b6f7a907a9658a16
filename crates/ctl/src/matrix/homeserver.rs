//! Requests to a homeserver (Matrix client-server API). Owns what is bounded: time, size, redirects, and where a token may go. Judges
//! nothing of what comes back.

use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::aws_lc_rs;
use serde_json::Value;
use ureq::http::{Response, Uri};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Body, Error};

use crate::failure::Failure;

/// What a request came to: the status, and the answer if it is JSON.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// `Value::Null` where it is no JSON.
    pub(super) body: Value,
}

/// One homeserver, asked by nobody or by one user.
pub(super) struct Homeserver {
    /// For certificates of the authorities that browsers know, then for those of a file.
    agents: Vec<Agent>,
    /// Without a slash at the end.
    base: String,
    token: Option<String>,
}

impl Homeserver {
    /// `server` is a URL or a bare name; nothing is asked yet. Fails where a token would cross the network in the clear.
    pub(super) fn new(server: &str, authorities: Option<&Path>) -> Result<Self, Failure> {
        let mut agents = vec![agent(RootCerts::WebPki)];
        if let Some(path) = authorities {
            agents.push(agent(RootCerts::new_with_certs(&certificates(path)?)));
        }
        Ok(Self {
            agents,
            base: base_url(server).map_err(Failure::new)?,
            token: None,
        })
    }

    pub(super) fn base(&self) -> &str {
        &self.base
    }

    /// Goes on with another server, as `.well-known` has it.
    ///
    /// Fails where that is nothing to ask, or plain HTTP on this host for what is asked over TLS: what comes from afar must not lead a
    /// password to a service here.
    pub(super) fn move_to(&mut self, base: &str) -> Result<(), String> {
        let base = base_url(base)?;
        if self.is_secure() && !base.starts_with(SECURE) {
            return Err(format!("`{base}` is not reached over TLS"));
        }
        self.base = base;
        Ok(())
    }

    fn is_secure(&self) -> bool {
        self.base.starts_with(SECURE)
    }

    pub(super) fn use_token(&mut self, token: String) {
        self.token = Some(token);
    }

    /// What is at this path, which begins with a slash. Only here are redirects followed, so they see no token; and from TLS to TLS
    /// alone, as the answer says where passwords go.
    pub(super) fn public(&self, path: &str) -> Result<Answer, Failure> {
        self.answered(|agent| {
            let request = agent.get(format!("{}{path}", self.base));
            let config = request.config().https_only(self.is_secure());
            config.max_redirects(REDIRECTS_MAX).build().call()
        })
    }

    /// The same, as the user.
    pub(super) fn get(&self, path: &str) -> Result<Answer, Failure> {
        self.answered(|agent| {
            let mut request = agent.get(format!("{}{path}", self.base));
            if let Some(token) = &self.token {
                request = request.header("authorization", format!("Bearer {token}"));
            }
            request.call()
        })
    }

    pub(super) fn post(&self, path: &str, body: &Value) -> Result<Answer, Failure> {
        self.answered(|agent| {
            let mut request = agent.post(format!("{}{path}", self.base));
            if let Some(token) = &self.token {
                request = request.header("authorization", format!("Bearer {token}"));
            }
            request
                .header("content-type", "application/json")
                .send(body.to_string())
        })
    }

    fn answered(
        &self,
        ask: impl Fn(&Agent) -> Result<Response<Body>, Error>,
    ) -> Result<Answer, Failure> {
        let mut first = None;
        for agent in &self.agents {
            match ask(agent) {
                Ok(response) => return self.read(response),
                // Another choice of authorities can be of help; nothing was asked yet.
                Err(error) if is_about_trust(&error) => {
                    first.get_or_insert(error);
                }
                Err(error) => return Err(self.unreachable(&error)),
            }
        }
        Err(match first {
            Some(error) => self.unreachable(&error),
            None => Failure::new("there is no way to ask"),
        })
    }

    fn read(&self, mut response: Response<Body>) -> Result<Answer, Failure> {
        let status = response.status().as_u16();
        let body = response.body_mut().with_config().limit(BODY_MAX_BYTES);
        let body = body.read_to_vec().map_err(|error| match error {
            Error::BodyExceedsLimit(_) => Failure::new(format!(
                "{} answers with more than {BODY_MAX_BYTES} bytes, which no homeserver does",
                self.base
            )),
            error => self.unreachable(&error),
        })?;
        Ok(Answer {
            status,
            body: serde_json::from_slice(&body).unwrap_or_default(),
        })
    }

    fn unreachable(&self, error: &Error) -> Failure {
        let failure = Failure::new(format!("{} is not reached: {error}", self.base));
        match error {
            Error::HostNotFound => failure.help("write the name as it is in the DNS"),
            error if is_about_trust(error) => failure.help(
                "its certificate has to be of an authority that browsers know; `--ca-file FILE` adds others",
            ),
            Error::TooManyRedirects => failure.help("it sends from one place to the next"),
            _ => failure.help("see whether the homeserver runs and is reached from this host"),
        }
    }
}

/// The handshake failed, so no request was sent.
fn is_about_trust(error: &Error) -> bool {
    match error {
        Error::Rustls(_) => true,
        Error::Io(error) => {
            matches!(error.get_ref(), Some(inner) if inner.is::<rustls::Error>())
        }
        _ => false,
    }
}

fn agent(roots: RootCerts) -> Agent {
    let tls = TlsConfig::builder()
        .root_certs(roots)
        .unversioned_rustls_crypto_provider(Arc::new(aws_lc_rs::default_provider()))
        .build();
    Agent::config_builder()
        .tls_config(tls)
        .timeout_global(Some(TIMEOUT))
        .max_redirects(0)
        .max_response_header_size(HEAD_MAX_BYTES)
        .http_status_as_error(false)
        .user_agent("turnctl")
        .proxy(None)
        .build()
        .into()
}

fn certificates(path: &Path) -> Result<Vec<Certificate<'static>>, Failure> {
    let unreadable = |why: String| {
        Failure::new(format!(
            "the authorities in {} cannot be read: {why}",
            path.display()
        ))
        .help("it should hold certificates in PEM")
    };
    let pem = fs::read(path).map_err(|error| unreadable(error.to_string()))?;
    let certificates: Vec<_> = parse_pem(&pem)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        })
        .collect();
    match certificates.is_empty() {
        true => Err(unreadable("there is no certificate in it".to_owned())),
        false => Ok(certificates),
    }
}

/// A URL, or a name that stands for one, without a slash at the end.
fn base_url(server: &str) -> Result<String, String> {
    let shown: String = server.chars().take(200).collect();
    let wrong = || {
        format!(
            "`{shown}` is no homeserver: write a URL such as `https://matrix.example.org`, or its name"
        )
    };
    let url = match server.contains("://") {
        true => server.to_owned(),
        false => format!("https://{server}"),
    };
    let url = url.trim_end_matches('/');
    if url.len() > URL_MAX_BYTES {
        return Err(wrong());
    }
    let uri: Uri = url.parse().map_err(|_| wrong())?;
    let host = uri
        .host()
        .filter(|host| !host.is_empty())
        .ok_or_else(wrong)?;
    if uri.query().is_some() || uri.authority().is_some_and(|a| a.as_str().contains('@')) {
        return Err(wrong());
    }
    match uri.scheme_str() {
        Some("https") => Ok(url.to_owned()),
        Some("http") if is_local(host) => Ok(url.to_owned()),
        Some("http") => Err(format!(
            "`{shown}` would have password and token cross the network in the clear: write `https://`"
        )),
        _ => Err(wrong()),
    }
}

fn is_local(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

const SECURE: &str = "https://";
const URL_MAX_BYTES: usize = 512;
const TIMEOUT: Duration = Duration::from_secs(20);
const REDIRECTS_MAX: u32 = 3;
const HEAD_MAX_BYTES: usize = 32 * 1024;
const BODY_MAX_BYTES: u64 = 64 * 1024;

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    /// A server that answers everybody in this way.
    fn answering(answer: &str) -> Homeserver {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let answer = answer.replace("SELF", &url);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let _ = stream.read(&mut [0; 4096]);
                // Whoever has heard enough may go.
                let _ = stream.write_all(answer.as_bytes());
            }
        });
        Homeserver::new(&url, None).unwrap()
    }

    fn ok(body: &str) -> String {
        let len = body.len();
        format!("HTTP/1.1 200 OK\r\nContent-Length: {len}\r\nConnection: close\r\n\r\n{body}")
    }

    #[test]
    fn a_hostile_server_is_borne() {
        let said = |homeserver: &Homeserver| homeserver.public("/x").unwrap_err().to_string();
        let answer = answering(&ok("{\"a\":1}")).public("/x").unwrap();
        assert_eq!((answer.status, &answer.body["a"]), (200, &Value::from(1)));
        let answer = answering(&ok("<html>")).public("/x").unwrap();
        assert_eq!(answer.body, Value::Null);
        let long = said(&answering(&ok(&" ".repeat(70_000))));
        assert!(long.contains("more than 65536 bytes"), "{long}");
        let round = answering(
            "HTTP/1.1 302 Found\r\nLocation: SELF/y\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        );
        let said_of_it = said(&round);
        assert!(
            said_of_it.contains("from one place to the next"),
            "{said_of_it}"
        );
        // As the user, not even one is followed.
        if let Ok(answer) = round.get("/x") {
            assert_eq!(answer.status, 302);
        }
        for broken in [
            "",
            "nonsense",
            "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{",
        ] {
            assert!(answering(broken).public("/x").is_err());
        }
    }

    #[test]
    fn what_comes_from_afar_leads_nowhere_here() {
        let mut afar = Homeserver::new("https://example.org", None).unwrap();
        for base in [
            "http://127.0.0.1:8008",
            "http://localhost",
            "http://example.org",
            "",
            "x y",
        ] {
            assert!(afar.move_to(base).is_err(), "{base}");
        }
        assert_eq!(afar.base(), "https://example.org");
        let long = format!("https://{}", "a".repeat(5000));
        assert!(afar.move_to(&long).unwrap_err().len() < 400);
        afar.move_to("https://matrix.example.org/").unwrap();
        assert_eq!(afar.base(), "https://matrix.example.org");
    }

    #[test]
    fn homeservers_are_named_by_url_or_name() {
        for (text, url) in [
            ("example.org", "https://example.org"),
            ("example.org:8448", "https://example.org:8448"),
            ("https://matrix.example.org/", "https://matrix.example.org"),
            ("https://example.org/matrix/", "https://example.org/matrix"),
            ("http://localhost:8008", "http://localhost:8008"),
            ("http://127.0.0.1:8008", "http://127.0.0.1:8008"),
            ("http://[::1]:8008", "http://[::1]:8008"),
        ] {
            assert_eq!(base_url(text).as_deref(), Ok(url));
        }
        for text in [
            "",
            "https://",
            "ftp://example.org",
            "http://example.org",
            "http://127.0.0.1.example.org",
            "https://a@example.org",
            "https://example.org?a=b",
            "exa mple.org",
            "@alice:example.org",
        ] {
            assert!(base_url(text).is_err(), "{text}");
        }
    }
}
