//! The admin API: what `turnctl` asks of the running server, as `docs/admin-api.md` describes it.
//!
//! Owns the paths and the shape of each answer. Must not keep account of anything but what `top` compares with, and never answers
//! with a secret.

use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Result;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, post, put};
use serde_json::json;
use turnbuckle_proto::rest;

use super::{error, json};
use crate::clock;
use crate::control::Control;
use crate::failures::Failures;
use crate::metrics::Source;

mod explain;
mod operations;
mod overview;
mod sessions;
mod top;

/// What the answers are made from. Cheap to clone.
#[derive(Clone)]
struct Admin {
    control: Control,
    failures: Failures,
    source: Source,
    top: Arc<Mutex<top::Sampler>>,
}

/// Everything below `/v1`.
pub(crate) fn router(control: Control, source: Source, failures: Failures) -> Router {
    Router::new()
        .route("/v1/version", get(version))
        .route("/v1/status", get(status))
        .route("/v1/health", get(health))
        .route("/v1/info", get(info))
        .route("/v1/sessions", get(all_sessions))
        .route(
            "/v1/users/{user}/sessions",
            get(sessions_of).delete(disconnect),
        )
        .route("/v1/top", get(heaviest))
        .route(
            "/v1/loglevel",
            get(operations::log_level).put(operations::set_log_level),
        )
        .route("/v1/reload", post(operations::reload))
        .route(
            "/v1/drain",
            put(operations::drain).delete(operations::cancel_drain),
        )
        .route("/v1/revoked", get(operations::revoked))
        .route(
            "/v1/revoked/{user}",
            put(operations::revoke).delete(operations::unrevoke),
        )
        .route("/v1/explain/peer/{address}", get(explain_peer))
        .route("/v1/explain/user", post(explain_user))
        .fallback(unknown)
        .method_not_allowed_fallback(wrong_method)
        .with_state(Admin {
            control,
            failures,
            source,
            top: Arc::default(),
        })
}

async fn version(State(admin): State<Admin>) -> Response {
    json(
        StatusCode::OK,
        &json!({
            "version": env!("CARGO_PKG_VERSION"),
            "uptime_seconds": (clock::monotonic() - admin.control.started()).as_secs(),
        }),
    )
}

async fn status(State(admin): State<Admin>) -> Response {
    let source = admin.source.clone();
    let Ok(before) = tokio::task::spawn_blocking(move || source.recent()).await else {
        return broken();
    };
    tokio::time::sleep(RATES_OVER).await;
    call(move || {
        let now = admin.source.recent();
        overview::status(&before, &now, &admin.source.health(&now))
    })
    .await
}

async fn health(State(admin): State<Admin>) -> Response {
    call(move || admin.source.health(&admin.source.recent())).await
}

async fn info(State(admin): State<Admin>) -> Response {
    call(move || overview::info(&admin.source.recent())).await
}

async fn all_sessions(State(admin): State<Admin>, RawQuery(query): RawQuery) -> Response {
    list(admin, None, query).await
}

async fn sessions_of(
    State(admin): State<Admin>,
    Path(user): Path<String>,
    RawQuery(query): RawQuery,
) -> Response {
    let user = admin.stable_name(&user);
    list(admin, Some(user), query).await
}

async fn list(admin: Admin, user: Option<String>, query: Option<String>) -> Response {
    let limit = match sessions::limit(query.as_deref()) {
        Ok(limit) => limit,
        Err(wrong) => return error(StatusCode::BAD_REQUEST, &wrong),
    };
    call(move || sessions::told(&admin.control.sessions(user.as_deref()), limit)).await
}

async fn disconnect(State(admin): State<Admin>, Path(user): Path<String>) -> Response {
    let user = admin.stable_name(&user);
    call(move || {
        let ended = admin.control.disconnect(&user);
        tracing::info!(user, ended, "sessions ended by the operator");
        json!({ "user": user, "ended": ended })
    })
    .await
}

async fn heaviest(State(admin): State<Admin>) -> Response {
    // The wait for a second sample is here, so that it holds up no thread.
    let first = admin.clone();
    let is_ready = tokio::task::spawn_blocking(move || first.with_top(top::Sampler::prepare)).await;
    if !is_ready.unwrap_or(true) {
        tokio::time::sleep(top::INTERVAL).await;
    }
    call(move || admin.with_top(top::Sampler::heaviest)).await
}

async fn explain_peer(State(admin): State<Admin>, Path(address): Path<String>) -> Response {
    let Ok(address) = address.parse::<IpAddr>() else {
        return error(StatusCode::BAD_REQUEST, "this is no IP address");
    };
    answered(move || {
        let config = admin.control.config()?;
        Ok(explain::peer(&config, admin.control.ports(), address))
    })
    .await
}

async fn explain_user(State(admin): State<Admin>, body: Bytes) -> Response {
    let question: explain::Question = match read(&body) {
        Ok(question) => question,
        Err(wrong) => return *wrong,
    };
    answered(move || {
        let config = admin.control.config()?;
        let stable = admin.stable_name(&question.user);
        Ok(explain::user(
            &admin.control,
            &config,
            &admin.failures,
            stable,
            question,
        ))
    })
    .await
}

async fn unknown() -> Response {
    error(
        StatusCode::NOT_FOUND,
        "this server does not know the path; turnctl may be newer than it",
    )
}

async fn wrong_method() -> Response {
    error(
        StatusCode::METHOD_NOT_ALLOWED,
        "the path does not take this method",
    )
}

impl Admin {
    /// The name that quotas, sessions and the list of revoked users know a user by, whether given as such or as a client has it.
    fn stable_name(&self, name: &str) -> String {
        let settings = self.control.settings();
        if settings.users.iter().any(|user| user.name == name) {
            return name.to_owned();
        }
        rest::parse(name, settings.rest_separator)
            .and_then(|parsed| parsed.user)
            .unwrap_or(name)
            .to_owned()
    }

    fn with_top<T>(&self, work: impl FnOnce(&mut top::Sampler, &Control) -> T) -> T {
        let mut sampler = self
            .top
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        work(&mut sampler, &self.control)
    }
}

/// As [`call`], for what can fail; why is for the operator to read.
async fn answered<T: serde::Serialize + Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Response {
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(answer)) => json(StatusCode::OK, &answer),
        Ok(Err(wrong)) => error(StatusCode::CONFLICT, &format!("{wrong:#}")),
        Err(_) => broken(),
    }
}

/// A body of JSON, or the answer that it is none.
fn read<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<T, Box<Response>> {
    // The words of the parser would show what it read, which may be a password.
    serde_json::from_slice(body).map_err(|wrong| {
        let message = format!(
            "the body is not the JSON that is expected here: see line {} column {}",
            wrong.line(),
            wrong.column()
        );
        Box::new(error(StatusCode::BAD_REQUEST, &message))
    })
}

fn broken() -> Response {
    error(
        StatusCode::INTERNAL_SERVER_ERROR,
        "answering failed, which is a bug; please report it",
    )
}

/// Does what waits for shards where it holds up no other answer.
async fn call<T: serde::Serialize + Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Response {
    match tokio::task::spawn_blocking(work).await {
        Ok(answer) => json(StatusCode::OK, &answer),
        Err(_) => broken(),
    }
}

/// What rates of traffic are measured over.
const RATES_OVER: Duration = Duration::from_millis(500);
