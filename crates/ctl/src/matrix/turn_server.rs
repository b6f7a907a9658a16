//! What a homeserver answers to `/_matrix/client/v3/voip/turnServer`, judged. Asks nobody.

use std::net::IpAddr;

use serde_json::Value;
use turnbuckle_proto::rest;

use super::homeserver::Answer;
use crate::probe::{Finding, TurnUri};
use crate::url::TurnUrl;

/// Credentials and where to use them.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TurnServer {
    pub(super) username: String,
    pub(super) password: String,
    /// Those that clients can use.
    pub(super) uris: Vec<TurnUrl>,
}

/// The credentials, if there are any, and what is to be said of the answer; `now` is seconds since 1970.
pub(super) fn judge(answer: &Answer, now: u64) -> (Option<TurnServer>, Vec<Finding>) {
    if answer.status != 200 {
        return (None, vec![refusal(answer)]);
    }
    let Some(fields) = answer.body.as_object() else {
        let finding = Finding::error(
            "the homeserver answers with no JSON object, so clients get no TURN server",
        )
        .help("see whether this is a homeserver, or a proxy that answers for it");
        return (None, vec![finding]);
    };
    if fields.is_empty() {
        return (None, vec![none_configured("the homeserver answers `{}`")]);
    }
    let mut findings = Vec::new();
    let mut text = |name: &str| {
        let value = answer.body[name].as_str().filter(|text| !text.is_empty());
        if value.is_none() {
            findings.push(Finding::error(format!(
                "`{name}` of the answer is missing, or is no text"
            )));
        }
        value.map(str::to_owned)
    };
    let (username, password) = (text("username"), text("password"));
    let uris = uris(&answer.body["uris"], &mut findings);
    match answer.body["ttl"].as_u64() {
        None | Some(0) => findings.push(Finding::error(
            "`ttl` of the answer is missing, or is no number of seconds above 0",
        )),
        Some(ttl) => lifetime(ttl, username.as_deref(), now, &mut findings),
    }
    let (Some(username), Some(password)) = (username, password) else {
        return (None, findings);
    };
    let server = TurnServer {
        username,
        password,
        uris,
    };
    (Some(server), findings)
}

fn refusal(answer: &Answer) -> Finding {
    let code = answer.body["errcode"].as_str().unwrap_or("no errcode");
    let shown: String = code.chars().filter(|c| !c.is_control()).take(64).collect();
    match answer.status {
        401 => Finding::error(format!("the homeserver does not take the token ({shown})"))
            .help("log in again, or let `--user` do it"),
        403 => Finding::error(format!(
            "the homeserver gives this user no TURN server ({shown}); clients then stop asking for good"
        ))
        .help("try a user who is no guest; `turn_allow_guests` of Synapse lets guests in"),
        404 => none_configured(&format!("the homeserver answers 404 ({shown})")),
        429 => Finding::error(format!("the homeserver is asked too often ({shown})"))
            .help(match answer.body["retry_after_ms"].as_u64() {
                Some(ms) => format!("try again in {} s", ms.div_ceil(1000)),
                None => "try again later".to_owned(),
            }),
        status => Finding::error(format!("the homeserver answers {status} ({shown})"))
            .help("its log says why"),
    }
}

fn none_configured(what: &str) -> Finding {
    Finding::error(format!("{what}: it has no TURN server to offer")).help(
        "`turnctl snippet synapse` prints what it is to be told, and for other homeservers too; then restart it",
    )
}

fn uris(value: &Value, findings: &mut Vec<Finding>) -> Vec<TurnUrl> {
    let Some(list) = value.as_array().filter(|list| !list.is_empty()) else {
        findings.push(
            Finding::error("`uris` of the answer is missing or empty")
                .help("set `turn_uris` of the homeserver; `turnctl snippet` prints them"),
        );
        return Vec::new();
    };
    let mut good = Vec::new();
    for text in list.iter().take(URIS_MAX) {
        let text = text.as_str().unwrap_or_default();
        let shown: String = text.chars().filter(|c| !c.is_control()).take(200).collect();
        if text.starts_with("stun:") || text.starts_with("stuns:") {
            findings.push(
                Finding::warning(format!(
                    "`{shown}` is no TURN URI, and clients are sent credentials for nothing"
                ))
                .help("leave `stun:` out of `turn_uris`: a TURN server answers STUN as well"),
            );
            continue;
        }
        let parsed = TurnUrl::parse(text).and_then(|url| TurnUri::of(&url).map(|uri| (url, uri)));
        match parsed {
            Ok((url, uri)) => {
                if uri.carrier.is_secure() && uri.host.parse::<IpAddr>().is_ok() {
                    findings.push(
                        Finding::warning(format!(
                            "`{shown}` has an address, and Firefox takes none for `turns:`"
                        ))
                        .help("write the name that the certificate is for"),
                    );
                }
                good.push(url);
            }
            Err(why) => findings.push(
                Finding::error(format!("`{shown}` is no TURN URI: {why}"))
                    .help("correct `turn_uris` of the homeserver"),
            ),
        }
    }
    if list.len() > URIS_MAX {
        findings.push(Finding::note(format!(
            "only the first {URIS_MAX} of {} URIs were tried",
            list.len()
        )));
    }
    if !good.iter().any(|url| url.as_str().starts_with("turns:")) && !good.is_empty() {
        findings.push(
            Finding::note("there is no `turns:` among the URIs: networks that let nothing but TLS through are not served")
                .help("docs/tls.md says how"),
        );
    }
    good
}

fn lifetime(ttl: u64, username: Option<&str>, now: u64, findings: &mut Vec<Finding>) {
    if ttl < LIFETIME_MIN_SECONDS {
        findings.push(
            Finding::warning(format!("the credentials are good for {ttl} s only, so clients ask for new ones all the time"))
                .help("set `turn_user_lifetime: 1h` in Synapse; there a bare number is milliseconds"),
        );
    }
    let Some(expiry) = username
        .and_then(|name| rest::parse(name, ':'))
        .map(|name| name.expiry)
    else {
        findings.push(Finding::note(
            "the user name holds no time of expiry: the homeserver has a fixed user, the same for everybody",
        ));
        return;
    };
    let expected = now.saturating_add(ttl);
    if expiry <= now {
        findings.push(Finding::error("the credentials have run out already").help(
            "the clock of the homeserver, or of this host, is wrong: compare `date -u` on both",
        ));
    } else if expiry.abs_diff(expected) > CLOCKS_APART_SECONDS {
        findings.push(
            Finding::warning(format!(
                "the clocks of the homeserver and of this host are {} s apart",
                expiry.abs_diff(expected)
            ))
            .help("compare `date -u` on both, and let NTP set them"),
        );
    } else {
        findings.push(Finding::ok(format!(
            "the homeserver gives credentials for {ttl} s"
        )));
    }
}

const URIS_MAX: usize = 20;
/// Below it Element asks again all the time.
const LIFETIME_MIN_SECONDS: u64 = 600;
const CLOCKS_APART_SECONDS: u64 = 120;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::probe::Level;

    const NOW: u64 = 1_700_000_000;

    fn of(status: u16, body: Value) -> (Option<TurnServer>, Vec<Finding>) {
        judge(&Answer { status, body }, NOW)
    }

    fn good() -> Value {
        json!({
            "username": "1700003600:@a:b.org",
            "password": "x",
            "ttl": 3600,
            "uris": ["turn:turn.b.org?transport=udp", "turns:turn.b.org"],
        })
    }

    #[test]
    fn a_good_answer_has_nothing_to_be_said_of() {
        let (server, findings) = of(200, good());
        let server = server.unwrap();
        assert_eq!(server.username, "1700003600:@a:b.org");
        assert_eq!(server.uris.len(), 2);
        assert_eq!(
            findings,
            [Finding::ok("the homeserver gives credentials for 3600 s")]
        );
    }

    #[test]
    fn what_is_wrong_is_said_with_its_help() {
        let with = |name: &str, value: Value| {
            let mut body = good();
            body[name] = value;
            (200, body)
        };
        for ((status, body), level, part) in [
            ((200, json!({})), Level::Error, "no TURN server to offer"),
            (
                (404, json!({"errcode": "M_NOT_FOUND"})),
                Level::Error,
                "404 (M_NOT_FOUND)",
            ),
            (
                (401, json!({"errcode": "M_UNKNOWN_TOKEN"})),
                Level::Error,
                "token (M_UNKNOWN_TOKEN)",
            ),
            (
                (403, json!({})),
                Level::Error,
                "gives this user no TURN server",
            ),
            (
                (
                    429,
                    json!({"errcode": "M_LIMIT_EXCEEDED", "retry_after_ms": 1500}),
                ),
                Level::Error,
                "too often",
            ),
            ((502, Value::Null), Level::Error, "answers 502"),
            ((200, json!([1])), Level::Error, "no JSON object"),
            (with("username", json!(1)), Level::Error, "`username`"),
            (with("password", json!("")), Level::Error, "`password`"),
            (with("ttl", json!("3600")), Level::Error, "`ttl`"),
            (with("ttl", json!(-1)), Level::Error, "`ttl`"),
            (with("uris", json!([])), Level::Error, "`uris`"),
            (with("uris", json!("turn:a")), Level::Error, "`uris`"),
            (
                with("uris", json!(["stun:a", "turns:a"])),
                Level::Warning,
                "`stun:a`",
            ),
            (
                with("uris", json!(["https://a", 1])),
                Level::Error,
                "`https://a`",
            ),
            (
                with("uris", json!(["turns:192.0.2.1"])),
                Level::Warning,
                "Firefox",
            ),
            (with("uris", json!(["turn:a"])), Level::Note, "no `turns:`"),
            (
                with("ttl", json!(300)),
                Level::Warning,
                "good for 300 s only",
            ),
            (with("ttl", json!(7200)), Level::Warning, "clocks"),
            (
                with("username", json!("1699999999:a")),
                Level::Error,
                "have run out",
            ),
            (
                with("username", json!("18446744073709551615:a")),
                Level::Warning,
                "clocks",
            ),
            (
                with("username", json!("alice")),
                Level::Note,
                "no time of expiry",
            ),
        ] {
            let shown = body.to_string();
            let (_, findings) = of(status, body);
            let found = findings.iter().find(|finding| finding.text.contains(part));
            let found = found.unwrap_or_else(|| panic!("{part} in {findings:?} of {shown}"));
            assert_eq!(found.level, level, "{found:?}");
            assert!(
                found.help.is_some() || level == Level::Note || found.text.starts_with('`'),
                "{found:?}"
            );
        }
    }

    #[test]
    fn what_a_hostile_server_says_is_bounded() {
        let long = "x".repeat(60_000);
        let uris: Vec<_> = (0..5000)
            .map(|_| json!(format!("turn:\u{1b}[2J{long}")))
            .collect();
        let mut body = good();
        body["uris"] = json!(uris);
        let (_, findings) = of(200, body);
        assert!(findings.len() < 30);
        let (_, refused) = of(500, json!({ "errcode": format!("\u{1b}[2J{long}") }));
        for finding in findings.iter().chain(&refused) {
            assert!(finding.text.len() < 1000, "{}", finding.text.len());
            assert!(!finding.text.contains('\u{1b}'), "{finding:?}");
        }
    }
}
