//! The admin API: what `turnctl` asks of the running server, as `docs/admin-api.md` describes it.
//!
//! Owns the paths and the shape of each answer. Must not keep account of anything itself, and never answers with a secret.

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use serde_json::json;

use super::{error, json};
use crate::clock;
use crate::control::Control;

/// Everything below `/v1`.
pub(crate) fn router(control: Control) -> Router {
    Router::new()
        .route("/v1/version", get(version))
        .fallback(unknown)
        .method_not_allowed_fallback(wrong_method)
        .with_state(control)
}

async fn version(State(control): State<Control>) -> Response {
    json(
        StatusCode::OK,
        &json!({
            "version": env!("CARGO_PKG_VERSION"),
            "uptime_seconds": (clock::monotonic() - control.started()).as_secs(),
        }),
    )
}

async fn unknown() -> Response {
    error(StatusCode::NOT_FOUND, "this server does not know the path")
}

async fn wrong_method() -> Response {
    error(
        StatusCode::METHOD_NOT_ALLOWED,
        "the path does not take this method",
    )
}
