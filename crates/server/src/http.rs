//! The thread that answers HTTP: the admin API on a Unix socket, and what is served on TCP listeners of its own.
//!
//! Owns the connections and all of their bounds; what is answered is the matter of the router of each [`Site`]. Must not be
//! reachable by TURN clients, nor ever hold up a shard.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::slice;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result};
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use serde::Serialize;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::runtime;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::rustls::server::Acceptor;
use tokio_rustls::server::TlsStream;
use turnbuckle_config::CertificateFiles;

use crate::tls::{Finding, TlsOptions, TlsService, Watch};

pub(crate) use unix_socket::{Purpose, UnixSocket};

pub(crate) mod admin;
pub(crate) mod insight;
pub(crate) mod rest;
mod unix_socket;

/// The running thread; stops it when dropped.
pub(crate) struct Http {
    stop: Arc<Notify>,
    thread: Option<JoinHandle<()>>,
}

/// A listener and what is answered to its connections.
pub(crate) struct Site {
    door: Door,
    router: Router,
}

enum Door {
    Admin(UnixSocket),
    /// With TLS, or plain. The watch notices a renewed certificate.
    Tcp(TcpListener, Option<(TlsService, Watch)>),
    /// Likewise, for every user of the host.
    Unix(UnixSocket, Option<(TlsService, Watch)>),
}

/// Who is at the other end of a connection, for handlers that want to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    Tcp(SocketAddr),
    /// Some program on this host.
    Local,
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Local => f.write_str("a program on this host"),
        }
    }
}

impl Site {
    /// The admin API. Whoever may not use it is answered by 403.
    pub(crate) fn admin(socket: UnixSocket, router: Router) -> Self {
        Self {
            door: Door::Admin(socket),
            router: bounded(router),
        }
    }

    /// Anything on a TCP port, for whoever can reach it; over TLS where there is one.
    pub(crate) fn tcp(
        listener: TcpListener,
        tls: Option<(TlsService, Watch)>,
        router: Router,
    ) -> Self {
        Self {
            door: Door::Tcp(listener, tls),
            router: bounded(router),
        }
    }

    /// The same on a Unix socket.
    pub(crate) fn unix(
        socket: UnixSocket,
        tls: Option<(TlsService, Watch)>,
        router: Router,
    ) -> Self {
        Self {
            door: Door::Unix(socket, tls),
            router: bounded(router),
        }
    }
}

impl Http {
    /// Serves the sites from now on. Fails if the thread or its runtime cannot be had.
    pub(crate) fn start(sites: Vec<Site>) -> Result<Self> {
        let runtime = runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .max_blocking_threads(CALLS_AT_ONCE)
            .thread_name("http-call")
            .build()
            .context("the runtime of the HTTP thread cannot be made")?;
        let stop = Arc::new(Notify::new());
        let stopped = Arc::clone(&stop);
        let run = move || {
            runtime.block_on(async {
                for site in sites {
                    tokio::spawn(site.serve());
                }
                stopped.notified().await;
            });
            // A call into the server that hangs must not keep it from stopping.
            runtime.shutdown_timeout(STOP_TIMEOUT);
        };
        let thread = thread::Builder::new()
            .name("http".to_owned())
            .spawn(run)
            .context("the HTTP thread cannot be started")?;
        Ok(Self {
            stop,
            thread: Some(thread),
        })
    }
}

impl Drop for Http {
    fn drop(&mut self) {
        self.stop.notify_one();
        if let Some(thread) = self.thread.take() {
            // It does not panic: tasks of connections are caught by the runtime.
            let _ = thread.join();
        }
    }
}

impl Site {
    async fn serve(self) {
        let result = match self.door {
            Door::Admin(socket) => serve_admin(socket, self.router).await,
            Door::Tcp(listener, tls) => serve_tcp(listener, tls, self.router).await,
            Door::Unix(socket, tls) => serve_unix(socket, tls, self.router).await,
        };
        if let Err(error) = result {
            tracing::error!("HTTP is not served on one of its listeners: {error}");
        }
    }
}

/// The pair that a site speaks TLS with, and the watch over its files.
fn load_certificate(files: &CertificateFiles) -> Result<(TlsService, Watch)> {
    let options = TlsOptions {
        tls12: true,
        cipher_list: None,
    };
    let (service, findings) = TlsService::load(slice::from_ref(files), &options)?;
    findings.iter().for_each(Finding::log);
    let watch = Watch::start(service.clone()).context("its certificate cannot be watched")?;
    Ok((service, watch))
}

fn bounded(router: Router) -> Router {
    router.layer(DefaultBodyLimit::max(BODY_MAX_BYTES))
}

async fn serve_admin(mut socket: UnixSocket, router: Router) -> io::Result<()> {
    let listener = tokio::net::UnixListener::from_std(socket.take_listener()?)?;
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let place = Arc::clone(&places).acquire_owned().await;
        let (Ok(place), stream) = (place, listener.accept().await) else {
            return Ok(());
        };
        match stream {
            Ok((stream, _)) => {
                let router = match socket.admits(&stream) {
                    Ok(()) => router.clone(),
                    Err(reason) => {
                        Router::new().fallback(move || async move { forbidden(&reason) })
                    }
                };
                tokio::spawn(answer(stream, router, place));
            }
            Err(error) => pause(&error).await,
        }
    }
}

async fn serve_tcp(
    listener: TcpListener,
    tls: Option<(TlsService, Watch)>,
    router: Router,
) -> io::Result<()> {
    let is_local = listener.local_addr()?.ip().is_loopback();
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let places = match is_local {
        true => CONNECTIONS_MAX,
        false => CONNECTIONS_FROM_AFAR_MAX,
    };
    let places = Arc::new(Semaphore::new(places));
    loop {
        let place = Arc::clone(&places).acquire_owned().await;
        let (Ok(place), stream) = (place, listener.accept().await) else {
            return Ok(());
        };
        match stream {
            Ok((stream, from)) => {
                let tls = tls.as_ref().map(|(service, _)| service.clone());
                let router = router.clone().layer(Extension(Caller::Tcp(from)));
                tokio::spawn(answer_either(stream, tls, router, place));
            }
            Err(error) => pause(&error).await,
        }
    }
}

async fn serve_unix(
    mut socket: UnixSocket,
    tls: Option<(TlsService, Watch)>,
    router: Router,
) -> io::Result<()> {
    let listener = tokio::net::UnixListener::from_std(socket.take_listener()?)?;
    let router = router.layer(Extension(Caller::Local));
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let place = Arc::clone(&places).acquire_owned().await;
        let (Ok(place), stream) = (place, listener.accept().await) else {
            return Ok(());
        };
        match stream {
            Ok((stream, _)) => {
                let tls = tls.as_ref().map(|(service, _)| service.clone());
                tokio::spawn(answer_either(stream, tls, router.clone(), place));
            }
            Err(error) => pause(&error).await,
        }
    }
}

async fn answer_either(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    tls: Option<TlsService>,
    router: Router,
    place: OwnedSemaphorePermit,
) {
    match tls {
        None => answer(stream, router, place).await,
        Some(tls) => {
            // As with what comes behind it, the other end is to blame for a failure.
            if let Ok(Ok(stream)) = timeout(HEADER_TIMEOUT, shake_hands(stream, &tls)).await {
                answer(stream, router, place).await;
            }
        }
    }
}

async fn shake_hands<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    tls: &TlsService,
) -> io::Result<TlsStream<S>> {
    let hello = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
    let config = tls.server_config(&hello.client_hello());
    hello.into_stream(config).await
}

/// One connection, one request. Nothing it sends, or leaves out, keeps it open for longer than [`CONNECTION_TIMEOUT`].
async fn answer(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    router: Router,
    _place: OwnedSemaphorePermit,
) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEAD_MAX_BYTES)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    // What goes wrong here is the other end's doing.
    let _ = timeout(CONNECTION_TIMEOUT, connection).await;
}

/// Out of descriptors, for one: the next attempt would fail as well.
async fn pause(error: &io::Error) {
    tracing::debug!("an HTTP connection is not accepted: {error}");
    sleep(ACCEPT_PAUSE).await;
}

/// An answer in JSON.
pub(crate) fn json(status: StatusCode, body: &impl Serialize) -> Response {
    let (status, text) = match serde_json::to_vec(body) {
        Ok(text) => (status, text),
        Err(_) => (
            StatusCode::INTERNAL_SERVER_ERROR,
            br#"{"error":"the answer cannot be written as JSON"}"#.to_vec(),
        ),
    };
    let mut response = Response::new(text.into());
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert("content-type", HeaderValue::from_static("application/json"));
    response
}

/// An answer that says what is wrong.
pub(crate) fn error(status: StatusCode, message: &str) -> Response {
    json(status, &serde_json::json!({ "error": message }))
}

fn forbidden(reason: &str) -> Response {
    error(StatusCode::FORBIDDEN, reason)
}

/// Connections of one site at a time; more wait in the kernel.
const CONNECTIONS_MAX: usize = 32;
/// The same where anybody may connect, so that it takes more than a handful of silent ones to keep others out.
const CONNECTIONS_FROM_AFAR_MAX: usize = 512;
/// Calls into the server that wait for shards at the same time.
const CALLS_AT_ONCE: usize = 4;
const HEADERS_MAX: usize = 64;
const HEAD_MAX_BYTES: usize = 16 * 1024;
const BODY_MAX_BYTES: usize = 64 * 1024;
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// From the first byte of the request to the last one of the answer.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(30);
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
const STOP_TIMEOUT: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream;
    use std::os::unix::net::UnixStream;

    use axum::body::Bytes;
    use axum::routing::{get, post};
    use tempfile::TempDir;

    use super::*;

    fn router() -> Router {
        Router::new()
            .route("/hello", get(|| async { "hello" }))
            .route("/echo", post(|body: Bytes| async { body }))
    }

    fn ask(mut stream: impl Read + Write, request: &str) -> String {
        // The server may have closed already, with an answer.
        let _ = stream.write_all(request.as_bytes());
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8(answer).unwrap()
    }

    #[test]
    fn both_kinds_of_listener_are_served_and_given_up() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("admin.sock");
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = tcp.local_addr().unwrap();
        let socket = UnixSocket::bind(Purpose::Admin, &path).unwrap();
        let http = Http::start(vec![
            Site::admin(socket, router()),
            Site::tcp(tcp, None, router()),
        ])
        .unwrap();
        let request = "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n";
        for answer in [
            ask(UnixStream::connect(&path).unwrap(), request),
            ask(TcpStream::connect(address).unwrap(), request),
        ] {
            assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
            assert!(answer.ends_with("hello"), "{answer}");
        }
        // A client that says nothing does not hold up the end.
        let silent = TcpStream::connect(address).unwrap();
        drop(http);
        assert!(!path.exists());
        assert!(TcpStream::connect(address).is_err());
        drop(silent);
    }

    #[test]
    fn what_a_client_sends_is_bounded() {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = tcp.local_addr().unwrap();
        let _http = Http::start(vec![Site::tcp(tcp, None, router())]).unwrap();
        let ask = |request: &str| ask(TcpStream::connect(address).unwrap(), request);
        let long = "x".repeat(64 * 1024);
        let many = "A: b\r\n".repeat(100);
        for request in [
            format!("GET /{long} HTTP/1.1\r\nHost: x\r\n\r\n"),
            format!("GET /hello HTTP/1.1\r\nHost: {long}\r\n\r\n"),
            format!("GET /hello HTTP/1.1\r\n{many}\r\n"),
            format!("{long}{long}"),
        ] {
            let answer = ask(&request);
            let status = answer.get(9..12).unwrap_or_default().to_owned();
            assert!(["400", "414", "431", ""].contains(&&*status), "{answer}");
        }
        let post = |len: usize| {
            let body = "x".repeat(len);
            ask(&format!(
                "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: {len}\r\n\r\n{body}"
            ))
        };
        assert!(post(BODY_MAX_BYTES).starts_with("HTTP/1.1 200"));
        assert!(post(BODY_MAX_BYTES + 1).starts_with("HTTP/1.1 413"));
    }
}
