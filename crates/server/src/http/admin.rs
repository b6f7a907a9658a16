//! The admin API: what `turnctl` asks of the running server, as `docs/admin-api.md` describes it.
//!
//! Owns the paths and the shape of each answer. Must not keep account of anything but what `top` compares with, and never answers
//! with a secret.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use serde_json::json;
use turnbuckle_proto::rest;

use super::{error, json};
use crate::clock;
use crate::control::Control;

mod sessions;
mod top;

/// What the answers are made from. Cheap to clone.
#[derive(Clone)]
struct Admin {
    control: Control,
    top: Arc<Mutex<top::Sampler>>,
}

/// Everything below `/v1`.
pub(crate) fn router(control: Control) -> Router {
    Router::new()
        .route("/v1/version", get(version))
        .route("/v1/sessions", get(all_sessions))
        .route(
            "/v1/users/{user}/sessions",
            get(sessions_of).delete(disconnect),
        )
        .route("/v1/top", get(heaviest))
        .fallback(unknown)
        .method_not_allowed_fallback(wrong_method)
        .with_state(Admin {
            control,
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

/// Does what waits for shards where it holds up no other answer.
async fn call<T: serde::Serialize + Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Response {
    match tokio::task::spawn_blocking(work).await {
        Ok(answer) => json(StatusCode::OK, &answer),
        Err(_) => error(
            StatusCode::INTERNAL_SERVER_ERROR,
            "answering failed, which is a bug; please report it",
        ),
    }
}
