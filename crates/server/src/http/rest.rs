//! Time-limited credentials over HTTP, in the shape of the TURN REST draft, for those who hold an API key; and a page that tries the
//! relay with them.
//!
//! Owns the paths, who may ask and what is answered; the password itself is made by `turnbuckle_proto::rest`. Nothing here is written to a
//! log but the name of a key, the name of a user, a lifetime and an address.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_MAX_AGE, ALLOW, CACHE_CONTROL, HeaderName, ORIGIN, RETRY_AFTER, VARY,
    WWW_AUTHENTICATE,
};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::routing::any;
use axum::{Extension, Router};
use nix::unistd::{Gid, Uid};
use serde::Serialize;
use tokio::task::spawn_blocking;
use turnbuckle_config::{ApiKey, Endpoint, RestDoor, RestSettings, Settings, endpoints};
use turnbuckle_proto::rest;
use turnbuckle_relay as relay;

use self::keyring::{Pace, identify};
use self::question::{Parameters, Question, Shape, Wrong};
use super::{Caller, Purpose, Site, UnixSocket, json, load_certificate};
use crate::clock::{monotonic, unix_seconds};
use crate::control::Control;
use crate::listen::bind_http;
use crate::throttle::Throttle;
use crate::tls::{TlsService, Watch};

mod check;
mod keyring;
mod question;

/// The listener, bound and with its certificate, before there is anything to give out.
pub(crate) struct Rest {
    door: Door,
    tls: Option<(TlsService, Watch)>,
    settings: RestSettings,
}

enum Door {
    Tcp(std::net::TcpListener),
    Unix(UnixSocket),
}

impl Rest {
    /// Fails if the port, the socket or the certificate cannot be had.
    pub(crate) fn open(settings: &RestSettings) -> Result<Self> {
        let open = || -> Result<Self> {
            let tls = settings.certificate.as_ref().map(load_certificate);
            Ok(Self {
                door: match &settings.door {
                    RestDoor::Tcp(address) => Door::Tcp(bind_http(*address)?),
                    RestDoor::Unix(path) => Door::Unix(UnixSocket::bind(Purpose::Rest, path)?),
                },
                tls: tls.transpose()?,
                settings: settings.clone(),
            })
        };
        open().context("credentials cannot be given out over HTTP")
    }

    /// As [`UnixSocket::hand_over`]; a TCP port needs nothing.
    pub(crate) fn hand_over(&mut self, user: Uid, group: Gid) -> Result<()> {
        match &mut self.door {
            Door::Tcp(_) => Ok(()),
            Door::Unix(socket) => socket.hand_over(user, group),
        }
    }

    /// What is served from now on.
    pub(crate) fn site(self, control: Control) -> Site {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        match &self.settings.door {
            RestDoor::Tcp(address) => {
                tracing::info!(
                    "credentials are given out at {scheme}://{address}/turn, and a page that tries the relay is at {scheme}://{address}/check"
                );
            }
            RestDoor::Unix(path) => tracing::info!(
                "credentials are given out at /turn over {scheme} on {}",
                path.display()
            ),
        }
        let router = router(Desk::new(control));
        match self.door {
            Door::Tcp(listener) => Site::tcp(listener, self.tls, router),
            Door::Unix(socket) => Site::unix(socket, self.tls, router),
        }
    }
}

/// Where credentials are asked for. The settings are those of the moment, so a reload holds at once.
struct Desk {
    control: Control,
    started: Instant,
    pace: Mutex<Pace>,
    /// For lines about whom nothing was given.
    refusals: Mutex<Throttle>,
}

impl Desk {
    fn new(control: Control) -> Arc<Self> {
        Arc::new(Self {
            control,
            started: monotonic(),
            pace: Mutex::default(),
            refusals: Mutex::new(Throttle::new("requests for credentials")),
        })
    }

    fn refuse(&self, caller: Caller, why: &str) {
        let now = relay::Instant::ZERO.after(self.started.elapsed());
        let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        let who = match caller {
            Caller::Tcp(address) => Some(address.ip()),
            Caller::Local => None,
        };
        if refusals.admit(now, (who, why)) {
            tracing::warn!("no credential for {caller}: {why}");
        }
    }
}

fn router(desk: Arc<Desk>) -> Router {
    let control = desk.control.clone();
    Router::new()
        .route("/turn", any(turn))
        .merge(check::routes(move || {
            control.settings().rest_origins.clone()
        }))
        .fallback(unknown)
        .method_not_allowed_fallback(wrong_method)
        .with_state(Arc::clone(&desk))
        .layer(from_fn_with_state(desk, for_pages))
}

async fn turn(
    state: State<Arc<Desk>>,
    caller: Extension<Caller>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let control = state.control.clone();
    let response = asked(state, caller, method, uri, headers, body).await;
    let counts = control.rest();
    let count = match response.status() {
        StatusCode::OK => &counts.given,
        _ => &counts.refused,
    };
    count.fetch_add(1, Ordering::Relaxed);
    response
}

async fn asked(
    State(desk): State<Arc<Desk>>,
    Extension(caller): Extension<Caller>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    if ![Method::GET, Method::POST].contains(&method) {
        let response = refusal(
            StatusCode::METHOD_NOT_ALLOWED,
            "method-not-allowed",
            "credentials are asked for by GET or POST",
        );
        return with(response, ALLOW, "GET, POST, OPTIONS");
    }
    let body = match body {
        Ok(body) => body,
        Err(wrong) => {
            return refusal(
                wrong.status(),
                "bad-body",
                "the body is too long or broken off",
            );
        }
    };
    let parameters = Parameters::read(&method, uri.query().unwrap_or_default(), &headers, &body);
    let parameters = match parameters {
        Ok(parameters) => parameters,
        Err(wrong) => return bad_request(&wrong),
    };
    let settings = desk.control.settings();
    let Some(presented) = parameters.key(&headers) else {
        let response = refusal(
            StatusCode::UNAUTHORIZED,
            "no-key",
            "an API key is needed, as `key` or behind `Authorization: Bearer`",
        );
        return with(response, WWW_AUTHENTICATE, "Bearer");
    };
    let Some(key) = identify(&settings.rest_keys, presented) else {
        desk.refuse(caller, "its API key is not known");
        return refusal(
            StatusCode::FORBIDDEN,
            "unknown-key",
            "this API key is not known",
        );
    };
    let taken = {
        let mut pace = desk.pace.lock().unwrap_or_else(PoisonError::into_inner);
        pace.take(key, &settings.rest_keys, monotonic())
    };
    if let Err(wait) = taken {
        desk.refuse(caller, &format!("API key \"{}\" asks too often", key.name));
        return too_often(wait);
    }
    let question = match parameters.question() {
        Ok(question) => question,
        Err(wrong) => return bad_request(&wrong),
    };
    if is_revoked(&desk.control, &question.username).await {
        desk.refuse(caller, "the user is revoked");
        return refusal(
            StatusCode::FORBIDDEN,
            "revoked",
            "this user has been shut out by the operator",
        );
    }
    let Some(issued) = Issued::new(&settings, key, &question, unix_seconds()) else {
        return refusal(
            StatusCode::SERVICE_UNAVAILABLE,
            "not-ready",
            "the server has no secret, or no name to tell clients; its configuration was changed",
        );
    };
    tracing::info!(
        "credential for user {:?} given to API key \"{}\" at {caller}: {} s",
        question.username,
        key.name,
        issued.ttl
    );
    issued.answer(question.shape)
}

/// The relay would refuse the user as well, but without a word. Where the server is too busy to say, that is left to it.
async fn is_revoked(control: &Control, user: &str) -> bool {
    let (control, user) = (control.clone(), user.to_owned());
    let asked = spawn_blocking(move || {
        control
            .revoked()
            .is_ok_and(|(names, _)| names.contains(user.as_str()))
    });
    asked.await.unwrap_or(false)
}

/// A credential and how long it is good.
struct Issued {
    username: String,
    password: rest::RestPassword,
    /// Seconds.
    ttl: u64,
    /// The bound that the lifetime asked for was above.
    capped: bool,
    uris: Vec<String>,
}

impl Issued {
    /// `None` if there is nothing to make it from; `unix` is now.
    fn new(settings: &Settings, key: &ApiKey, question: &Question, unix: u64) -> Option<Self> {
        let secret = settings.secrets.first()?;
        let most = key.lifetime_max.unwrap_or(settings.rest_lifetime_max);
        let most = most.min(settings.rest_lifetime_max).as_secs();
        let ttl = question.ttl.unwrap_or(most).min(most);
        let username = rest::username(
            unix.checked_add(ttl)?,
            Some(&question.username),
            settings.rest_separator,
        );
        let uris: Vec<_> = endpoints(settings, None)
            .list
            .iter()
            .map(Endpoint::url)
            .collect();
        Some(Self {
            password: rest::password(secret.expose().as_bytes(), &username),
            username,
            ttl,
            capped: question.ttl.is_some_and(|asked| asked > most),
            uris,
        })
        .filter(|issued| !issued.uris.is_empty())
    }

    fn answer(&self, shape: Shape) -> Response {
        let note = self
            .capped
            .then(|| format!("the lifetime is capped at {} s", self.ttl));
        let mut response = match shape {
            Shape::Turn => json(
                StatusCode::OK,
                &Turn {
                    username: &self.username,
                    password: self.password.as_str(),
                    ttl: self.ttl,
                    uris: &self.uris,
                    note: note.as_deref(),
                },
            ),
            Shape::Ice => json(
                StatusCode::OK,
                &[Ice {
                    urls: &self.uris,
                    username: &self.username,
                    credential: self.password.as_str(),
                }],
            ),
        };
        if let Some(note) = note.and_then(|note| HeaderValue::try_from(note).ok()) {
            response.headers_mut().insert(NOTE, note);
        }
        response
    }
}

#[derive(Serialize)]
struct Turn<'a> {
    username: &'a str,
    password: &'a str,
    ttl: u64,
    uris: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<&'a str>,
}

#[derive(Serialize)]
struct Ice<'a> {
    urls: &'a [String],
    username: &'a str,
    credential: &'a str,
}

#[derive(Serialize)]
struct Refusal<'a> {
    /// One word for programs.
    error: &'a str,
    message: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    field: &'a str,
}

fn refusal(status: StatusCode, error: &str, message: &str) -> Response {
    let field = "";
    json(
        status,
        &Refusal {
            error,
            message,
            field,
        },
    )
}

fn bad_request(wrong: &Wrong) -> Response {
    let body = Refusal {
        error: "bad-request",
        message: &wrong.to_string(),
        field: wrong.field,
    };
    json(StatusCode::BAD_REQUEST, &body)
}

fn too_often(wait: Duration) -> Response {
    let seconds = wait.as_secs_f64().ceil().max(1.0);
    let response = refusal(
        StatusCode::TOO_MANY_REQUESTS,
        "too-often",
        &format!("this API key asks too often; ask again in {seconds} s"),
    );
    with(response, RETRY_AFTER, &seconds.to_string())
}

async fn unknown() -> Response {
    unknown_page()
}

fn unknown_page() -> Response {
    refusal(
        StatusCode::NOT_FOUND,
        "not-found",
        "credentials are at `/turn`, and a page that tries the relay is at `/check`",
    )
}

async fn wrong_method() -> Response {
    let response = refusal(
        StatusCode::METHOD_NOT_ALLOWED,
        "method-not-allowed",
        "the page is read by GET",
    );
    with(response, ALLOW, "GET, HEAD")
}

fn with(mut response: Response, name: HeaderName, value: &str) -> Response {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
    response
}

/// Lets pages of the origins of the settings ask, and keeps everything out of caches.
async fn for_pages(
    State(desk): State<Arc<Desk>>,
    request: axum::extract::Request,
    next: Next,
) -> Response {
    let settings = desk.control.settings();
    let origin = request.headers().get(ORIGIN).cloned();
    let is_listed = |origin: &HeaderValue| {
        let mut listed = settings.rest_origins.iter();
        listed.any(|listed| listed.as_bytes() == origin.as_bytes())
    };
    let admitted = origin.clone().filter(is_listed);
    let mut response = if request.method() != Method::OPTIONS {
        next.run(request).await
    } else if admitted.is_some() {
        let mut response = Response::new(axum::body::Body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        let response = with(response, ACCESS_CONTROL_ALLOW_METHODS, "GET, POST");
        let response = with(
            response,
            ACCESS_CONTROL_ALLOW_HEADERS,
            "authorization, content-type",
        );
        with(response, ACCESS_CONTROL_MAX_AGE, "600")
    } else {
        refusal(
            StatusCode::FORBIDDEN,
            "origin-not-allowed",
            "pages of this origin may not ask; see `rest-allow-origin`",
        )
    };
    let headers = response.headers_mut();
    headers.insert(VARY, HeaderValue::from_static("Origin"));
    headers
        .entry(CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    if let Some(origin) = admitted {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        let exposed = HeaderName::from_static("access-control-expose-headers");
        headers.insert(
            exposed,
            HeaderValue::from_static("retry-after, turnbuckle-note"),
        );
    }
    response
}

/// What there is to say besides the answer, which in the shape of WebRTC has no room for it.
const NOTE: HeaderName = HeaderName::from_static("turnbuckle-note");

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;
    use std::path::Path;

    use turnbuckle_config::turnserver_conf;

    use super::*;

    fn issue(conf: &str, key_max: Option<u64>, ttl: Option<u64>) -> Option<Issued> {
        let settings = turnserver_conf(Path::new("f"), conf, &[]).settings.unwrap();
        let key = ApiKey {
            name: "web".to_owned(),
            hash: [0; 32],
            lifetime_max: key_max.map(Duration::from_secs),
            per_minute: NonZeroU32::MIN,
        };
        let question = Question {
            username: "@alice:example.org".to_owned(),
            ttl,
            shape: Shape::Turn,
        };
        Issued::new(&settings, &key, &question, 1_700_000_000)
    }

    #[test]
    fn the_lower_cap_counts() {
        let conf = "realm=turn.example.org\nstatic-auth-secret=north-secret-of-the-test\nrest-listener=127.0.0.1:9642\nrest-lifetime=7200\nno-tcp\n";
        for (key_max, asked, ttl, capped) in [
            (None, None, 7200, false),
            (None, Some(60), 60, false),
            (None, Some(7201), 7200, true),
            (Some(3600), None, 3600, false),
            (Some(3600), Some(3600), 3600, false),
            (Some(3600), Some(u64::MAX), 3600, true),
            (Some(86_400), None, 7200, false),
        ] {
            let issued = issue(conf, key_max, asked).unwrap();
            assert_eq!((issued.ttl, issued.capped), (ttl, capped));
            let username = format!("{}:@alice:example.org", 1_700_000_000 + ttl);
            assert_eq!(issued.username, username);
            assert_eq!(
                issued.password.as_str(),
                rest::password(b"north-secret-of-the-test", &username).as_str()
            );
            assert_eq!(issued.uris, ["turn:turn.example.org:3478?transport=udp"]);
        }
    }

    #[test]
    fn nothing_is_made_from_nothing() {
        assert!(issue("realm=turn.example.org\n", None, None).is_none());
        assert!(issue("static-auth-secret=north-secret-of-the-test\n", None, None).is_none());
    }
}
