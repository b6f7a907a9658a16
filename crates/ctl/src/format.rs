//! How a credential is printed. Owns the five layouts; makes nothing up.

use serde::Serialize;

use crate::cli::Format;
use crate::url::TurnUrl;

/// A credential to print.
pub(crate) struct Credential<'a> {
    pub(crate) username: &'a str,
    pub(crate) password: &'a str,
    /// End, in seconds since 1970-01-01 00:00 UTC.
    pub(crate) expiry: u64,
    /// Seconds until then.
    pub(crate) ttl: u64,
    pub(crate) urls: &'a [TurnUrl],
}

/// Lays a credential out; the text ends with a newline.
pub(crate) fn lay_out(format: Format, credential: &Credential<'_>) -> String {
    let &Credential {
        username,
        password,
        expiry,
        ttl,
        urls,
    } = credential;
    match format {
        Format::Text => format!("Username: {username}\nPassword: {password}\n"),
        Format::Json => json(&Json {
            username,
            password,
            ttl,
            expiry,
            uris: urls,
        }),
        Format::Ice => json(&Ice {
            urls,
            username,
            credential: password,
        }),
        Format::Matrix => json(&Matrix {
            username,
            password,
            uris: urls,
            ttl,
        }),
        Format::Env => {
            let mut text = format!(
                "TURN_USERNAME={}\nTURN_PASSWORD={}\nTURN_EXPIRY={expiry}\n",
                quoted(username),
                quoted(password)
            );
            if !urls.is_empty() {
                let urls: Vec<_> = urls.iter().map(TurnUrl::as_str).collect();
                text += &format!("TURN_URLS={}\n", quoted(&urls.join(",")));
            }
            text
        }
    }
}

/// As draft-uberti-behave-turn-rest-00 §2.2 has it, with the end besides.
#[derive(Serialize)]
struct Json<'a> {
    username: &'a str,
    password: &'a str,
    ttl: u64,
    expiry: u64,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    uris: &'a [TurnUrl],
}

/// An RTCIceServer of the WebRTC API.
#[derive(Serialize)]
struct Ice<'a> {
    urls: &'a [TurnUrl],
    username: &'a str,
    credential: &'a str,
}

/// The answer to `GET /_matrix/client/v3/voip/turnServer`.
#[derive(Serialize)]
struct Matrix<'a> {
    username: &'a str,
    password: &'a str,
    uris: &'a [TurnUrl],
    ttl: u64,
}

fn json(value: &impl Serialize) -> String {
    // Strings and numbers in a struct cannot fail to serialise.
    serde_json::to_string_pretty(value).map_or_else(|_| String::new(), |text| text + "\n")
}

/// Quoted so that a POSIX shell takes the text as it is.
pub(crate) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}
