//! What the server shows of itself over TCP: metrics, health, and a dashboard for a browser on this host.
//!
//! Owns the paths and who may ask. Everything is read-only. The port of loopback is open to every program of the host, so unlike on the
//! admin socket no user is named here; and browsers are pages' errand boys, so a request has to name a host that is ours.

use std::net::{IpAddr, TcpListener};
use std::sync::Arc;

use anyhow::{Context, Result};
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{ACCEPT, CONTENT_TYPE, HOST};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::routing::get;
use serde::Serialize;
use tokio::task::spawn_blocking;
use turnbuckle_config::MetricsSettings;

use super::{Site, error, json, load_certificate};
use crate::control::Control;
use crate::health::Health;
use crate::listen::bind_http;
use crate::metrics::{Format, Scrape, Source, render};
use crate::tls::{TlsService, Watch};

mod dashboard;

/// The listener, bound and with its certificate, before there is anything to show.
pub(crate) struct Insight {
    settings: MetricsSettings,
    listener: TcpListener,
    tls: Option<(TlsService, Watch)>,
}

impl Insight {
    /// Fails if the port or the certificate cannot be had.
    pub(crate) fn open(settings: &MetricsSettings) -> Result<Self> {
        let tls = settings
            .certificate
            .as_ref()
            .map(load_certificate)
            .transpose();
        Ok(Self {
            settings: settings.clone(),
            listener: bind_http(settings.address).context("metrics cannot be served")?,
            tls: tls.context("metrics cannot be served")?,
        })
    }

    /// What is served from now on.
    pub(crate) fn site(self, control: Control) -> Site {
        let own_tls = self.tls.as_ref().map(|(service, _)| service.clone());
        let scheme = if own_tls.is_some() { "https" } else { "http" };
        let MetricsSettings { address, path, .. } = &self.settings;
        tracing::info!("metrics are at {scheme}://{address}{path}");
        let realm = control.settings().realm.clone();
        let source = Source::new(control, own_tls);
        let router = router(&self.settings, realm.into_iter().collect(), source);
        Site::tcp(self.listener, self.tls, router)
    }
}

/// Everything that is served where the settings say; `names` are those that the server is known by.
fn router(settings: &MetricsSettings, names: Vec<String>, source: Source) -> Router {
    let mut router = Router::new()
        .route(&settings.path, get(metrics))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz));
    if settings.is_local() {
        router = router
            .route("/", get(|| async { dashboard::page() }))
            .route("/dashboard.css", get(|| async { dashboard::style() }))
            .route("/dashboard.js", get(|| async { dashboard::script() }))
            .route("/dashboard.json", get(figures));
    }
    let router = router
        .fallback(unknown)
        .method_not_allowed_fallback(wrong_method)
        .with_state(source);
    match settings.is_local() {
        true => router.layer(from_fn_with_state(Arc::new(names), only_ours)),
        false => router,
    }
}

async fn metrics(State(source): State<Source>, headers: HeaderMap) -> Response {
    let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok());
    let format = Format::wanted(accept);
    ask(source, move |_, scrape| {
        let mut response = Response::new(Body::from(render(scrape, format)));
        let kind = HeaderValue::from_static(format.content_type());
        response.headers_mut().insert(CONTENT_TYPE, kind);
        response
    })
    .await
}

async fn healthz(State(source): State<Source>) -> Response {
    ask(source, |_, scrape| {
        let (status, text) = match Health::is_alive(scrape) {
            true => (StatusCode::OK, "alive\n"),
            false => (
                StatusCode::SERVICE_UNAVAILABLE,
                "a shard does not answer; see /readyz\n",
            ),
        };
        let mut response = Response::new(Body::from(text));
        *response.status_mut() = status;
        response
    })
    .await
}

async fn readyz(State(source): State<Source>) -> Response {
    ask(source, |source, scrape| {
        let health = source.health(scrape);
        let status = match health.ready {
            true => StatusCode::OK,
            false => StatusCode::SERVICE_UNAVAILABLE,
        };
        json(status, &health)
    })
    .await
}

async fn figures(State(source): State<Source>) -> Response {
    ask(source, |source, scrape| {
        answer(&dashboard::Figures::of(scrape, source.health(scrape)))
    })
    .await
}

async fn unknown() -> Response {
    error(StatusCode::NOT_FOUND, "nothing is served at this path")
}

async fn wrong_method() -> Response {
    error(StatusCode::METHOD_NOT_ALLOWED, "the path is read by GET")
}

fn answer(body: &impl Serialize) -> Response {
    json(StatusCode::OK, body)
}

/// Looks at the server off the thread of the connections: a shard may take its time.
async fn ask(
    source: Source,
    answer: impl FnOnce(&Source, &Scrape) -> Response + Send + 'static,
) -> Response {
    let asked = spawn_blocking(move || answer(&source, &source.recent())).await;
    asked.unwrap_or_else(|_| {
        error(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the server cannot be looked at, which is a bug",
        )
    })
}

/// A page from elsewhere can have its name point at this host (DNS rebinding), but cannot make a browser name another one.
async fn only_ours(
    State(names): State<Arc<Vec<String>>>,
    request: Request,
    next: Next,
) -> Response {
    let host = request.headers().get(HOST).map(HeaderValue::to_str);
    let ours = match host {
        Some(Ok(host)) => is_ours(host, &names),
        Some(Err(_)) => false,
        // A page cannot leave it out.
        None => true,
    };
    if !ours {
        return error(
            StatusCode::MISDIRECTED_REQUEST,
            "this is served to localhost alone, and the request names another host",
        );
    }
    next.run(request).await
}

fn is_ours(host: &str, names: &[String]) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    let bare = name
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'))
        .unwrap_or(name);
    if let Ok(ip) = bare.parse::<IpAddr>() {
        return ip.is_loopback();
    }
    let name = name.strip_suffix('.').unwrap_or(name);
    name.eq_ignore_ascii_case("localhost")
        || names.iter().any(|ours| ours.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_that_are_ours() {
        let names = ["turn.example.org".to_owned()];
        for host in [
            "localhost",
            "localhost:9641",
            "LocalHost.:9641",
            "127.0.0.1:9641",
            "127.0.0.2",
            "[::1]:9641",
            "[::1]",
            "turn.example.org:9641",
        ] {
            assert!(is_ours(host, &names), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "evil.example:9641",
            "localhost.evil.example",
            "127.0.0.1.evil.example:80",
            "192.0.2.1:9641",
            "[2001:db8::1]:9641",
            "localhost:9641:80",
        ] {
            assert!(!is_ours(host, &names), "{host}");
        }
    }
}
