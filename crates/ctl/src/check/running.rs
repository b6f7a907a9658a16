//! How the running server of this host says that it is. Owns the words around its findings; the figures and bounds are the server's.

use std::path::PathBuf;

use serde::Deserialize;
use turnbuckle_config::AdminSocket;

use crate::live::Client;
use crate::probe::Finding;

/// `GET /v1/health`.
#[derive(Deserialize)]
struct Health {
    checks: Vec<Check>,
}

#[derive(Deserialize)]
struct Check {
    name: String,
    status: Status,
    figure: String,
    advice: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    Ok,
    Warning,
    Critical,
}

/// Asks at `socket`, else where the configuration has it. Never fails: that nobody can be asked is a note.
pub(super) fn findings(socket: Option<PathBuf>, configured: &AdminSocket) -> Vec<Finding> {
    let at = match (socket, configured) {
        (Some(path), _) => path,
        (None, AdminSocket::At(path)) => path.clone(),
        (None, AdminSocket::Usual) => AdminSocket::USUAL_PATH.into(),
        (None, AdminSocket::Off) => {
            return vec![
                Finding::note(
                    "the server is not asked for its ports, descriptors and buffers, as it has no admin socket",
                )
                .help("take the empty `admin-socket` out of its configuration"),
            ];
        }
    };
    match Client::at(at).get::<Health>("/v1/health") {
        Ok(health) => health.checks.into_iter().map(told).collect(),
        Err(failure) => {
            let (message, help) = failure.into_parts();
            let note = Finding::note(format!(
                "the server is not asked for its ports, descriptors and buffers: {message}"
            ));
            vec![match help {
                Some(help) => note.help(help),
                None => note,
            }]
        }
    }
}

fn told(check: Check) -> Finding {
    let text = format!("{}: {}", check.name, check.figure);
    let finding = match check.status {
        Status::Ok => Finding::ok(text),
        Status::Warning => Finding::warning(text),
        Status::Critical => Finding::error(text),
    };
    match check.advice {
        Some(advice) => finding.help(advice),
        None => finding,
    }
}
