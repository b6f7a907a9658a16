//! What changes the server: log level, reload, drain, revoked users.

use std::net::SocketAddr;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use serde_json::json;
use turnbuckle_config::{Change, LogLevel};

use super::{Admin, answered, call, read};
use crate::http::error;
use crate::operation::DrainTarget;

#[derive(Deserialize)]
struct Level {
    level: String,
}

#[derive(Deserialize)]
struct Drain {
    /// Null or left out is for ever.
    deadline_seconds: Option<u64>,
    /// One address for each family.
    #[serde(default)]
    redirect: Vec<SocketAddr>,
}

pub(super) async fn log_level(State(admin): State<Admin>) -> Response {
    call(move || json!({ "level": word(admin.control.log().level()) })).await
}

pub(super) async fn set_log_level(State(admin): State<Admin>, body: Bytes) -> Response {
    let asked: Level = match read(&body) {
        Ok(asked) => asked,
        Err(wrong) => return *wrong,
    };
    let Some((level, word)) = LEVELS.into_iter().find(|(_, word)| *word == asked.level) else {
        let words: Vec<&str> = LEVELS.iter().map(|(_, word)| *word).collect();
        return error(
            StatusCode::BAD_REQUEST,
            &format!("level is one of {}", words.join(", ")),
        );
    };
    answered(move || {
        admin.control.log().set_level(level)?;
        Ok(json!({ "level": word }))
    })
    .await
}

pub(super) async fn reload(State(admin): State<Admin>) -> Response {
    let told = |changes: &[Change]| -> Vec<_> {
        let one = |change: &Change| json!({ "key": change.key, "text": change.text });
        changes.iter().map(one).collect()
    };
    answered(move || {
        let reloaded = admin.control.reload()?;
        Ok(json!({
            "applied": told(&reloaded.applied),
            "needs_restart": told(&reloaded.needs_restart),
            "warnings": reloaded.warnings,
        }))
    })
    .await
}

pub(super) async fn drain(State(admin): State<Admin>, body: Bytes) -> Response {
    let asked: Drain = match read(&body) {
        Ok(asked) => asked,
        Err(wrong) => return *wrong,
    };
    if asked
        .deadline_seconds
        .is_some_and(|seconds| seconds > DEADLINE_MAX_SECONDS)
    {
        return error(
            StatusCode::BAD_REQUEST,
            &format!("deadline_seconds is {DEADLINE_MAX_SECONDS} at most"),
        );
    }
    answered(move || {
        admin.control.drain(DrainTarget {
            deadline: asked.deadline_seconds.map(Duration::from_secs),
            redirect: asked.redirect,
        })?;
        Ok(json!({ "sessions": admin.control.quota().total() }))
    })
    .await
}

pub(super) async fn cancel_drain(State(admin): State<Admin>) -> Response {
    answered(move || Ok(json!({ "was_draining": admin.control.cancel_drain()? }))).await
}

pub(super) async fn revoked(State(admin): State<Admin>) -> Response {
    answered(move || {
        let (users, kept) = admin.control.revoked()?;
        let users: Vec<&str> = users.iter().map(|user| &**user).collect();
        Ok(json!({ "users": users, "outlives_restart": kept }))
    })
    .await
}

pub(super) async fn revoke(State(admin): State<Admin>, Path(user): Path<String>) -> Response {
    let user = admin.stable_name(&user);
    answered(move || {
        let ended = admin.control.revoke(&user)?;
        let (_, kept) = admin.control.revoked()?;
        Ok(json!({
            "user": user,
            "was_revoked": ended.is_none(),
            "ended": ended.unwrap_or(0),
            "outlives_restart": kept,
        }))
    })
    .await
}

pub(super) async fn unrevoke(State(admin): State<Admin>, Path(user): Path<String>) -> Response {
    let user = admin.stable_name(&user);
    answered(move || {
        let was_revoked = admin.control.unrevoke(&user)?;
        Ok(json!({ "user": user, "was_revoked": was_revoked }))
    })
    .await
}

fn word(level: LogLevel) -> &'static str {
    LEVELS
        .into_iter()
        .find(|(known, _)| *known == level)
        .map_or("info", |(_, word)| word)
}

/// As `log-min-level` has them.
const LEVELS: [(LogLevel, &str); 5] = [
    (LogLevel::Error, "error"),
    (LogLevel::Warn, "warning"),
    (LogLevel::Info, "info"),
    (LogLevel::Debug, "debug"),
    (LogLevel::Trace, "trace"),
];
/// A month.
const DEADLINE_MAX_SECONDS: u64 = 31 * 86_400;
