//! `turnctl explain`: why a peer is refused, why a user cannot log in.

use std::fmt::Write as _;
use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr};

use serde::Deserialize;
use serde_json::json;

use super::client::segment;
use super::text::{counted, plain, time};
use super::{Client, object};
use crate::Output;
use crate::cli::{ExplainPeerArgs, ExplainUserArgs};
use crate::failure::Failure;

#[derive(Deserialize)]
struct Peer {
    address: IpAddr,
    verdict: Verdict,
    /// What decides, in the words of the file or of the built-in table.
    rule: Option<String>,
    embedded: Option<Embedded>,
    is_own_relay_address: bool,
    is_own_host: bool,
}

#[derive(Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    Allowed,
    /// Live relayed addresses of the server and nothing else.
    AllowedWhereRelayed,
    Denied,
}

/// The IPv4 address that an IPv6 address is another spelling of.
#[derive(Deserialize)]
struct Embedded {
    address: Ipv4Addr,
    spelling: String,
}

/// What the running server would say to a client that asks for this peer.
pub(crate) fn peer(args: &ExplainPeerArgs) -> Result<Output, Failure> {
    let client = Client::new(&args.socket);
    let path = format!("/v1/explain/peer/{}", segment(&args.address.to_string()));
    if args.json {
        return object(&client, &path);
    }
    let answer: Peer = client.get(&path)?;
    Ok(Output::new(about_peer(&answer)))
}

fn about_peer(peer: &Peer) -> String {
    let verdict = match peer.verdict {
        Verdict::Allowed => "allowed: clients reach every port of it but listeners of this server",
        Verdict::AllowedWhereRelayed => {
            "allowed, but only to live relayed addresses: it is this server's own relay address"
        }
        Verdict::Denied => "denied: CreatePermission and ChannelBind are answered with 403",
    };
    let mut text = format!("{} is {verdict}\n", peer.address);
    let mut row = |name: &str, value: &str| {
        // Writing to a `String` cannot fail.
        let _ = writeln!(text, "  {name:<10} {value}");
    };
    if let Some(embedded) = &peer.embedded {
        row(
            "stands for",
            &format!("{}, spelled as {}", embedded.address, embedded.spelling),
        );
    }
    if peer.is_own_host {
        row("is", "an address of this host");
    }
    match (&peer.rule, peer.verdict) {
        (Some(rule), Verdict::Denied) => row("refused by", rule),
        (Some(rule), _) => row("opened by", rule),
        (None, Verdict::Allowed) => row("because", "no rule refuses it"),
        (None, _) => {}
    }
    match (peer.verdict, &peer.embedded) {
        (Verdict::Denied, Some(embedded)) if peer.is_own_relay_address => row(
            "instead",
            &format!("clients may use {} itself", embedded.address),
        ),
        (Verdict::Denied, Some(embedded)) => row(
            "to open it",
            &format!(
                "allowed-peer-ip={}, which beats every refusal; name single addresses",
                embedded.address
            ),
        ),
        (Verdict::Denied, None) => row(
            "to open it",
            &format!(
                "allowed-peer-ip={}, which beats every refusal; name single addresses",
                peer.address
            ),
        ),
        (Verdict::AllowedWhereRelayed, _) => row(
            "to open it",
            &format!(
                "allowed-peer-ip={} opens all ports but listeners of this server",
                peer.address
            ),
        ),
        _ => {}
    }
    text
}

#[derive(Deserialize)]
struct User {
    user: String,
    stable_name: String,
    anonymous: bool,
    static_account: bool,
    time_limited: Option<TimeLimited>,
    secrets: u64,
    password: Password,
    revoked: bool,
    quota: Quota,
    failures: Vec<Attempts>,
}

#[derive(Deserialize)]
struct TimeLimited {
    expires_unix_seconds: u64,
    /// Negative once it has expired.
    expires_in_seconds: i64,
}

#[derive(Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
enum Password {
    NotGiven,
    /// That of the static account.
    OfAccount,
    /// Made with this `static-auth-secret`, counted from 1.
    OfSecret(u64),
    Wrong,
}

#[derive(Deserialize)]
struct Quota {
    held: u64,
    limit: Option<u64>,
    total_held: u64,
    total_limit: Option<u64>,
}

/// Refused requests of one kind from one address.
#[derive(Deserialize)]
struct Attempts {
    username: Option<String>,
    source: IpAddr,
    method: String,
    code: u16,
    text: String,
    count: u64,
    first_seconds_ago: u64,
    last_seconds_ago: u64,
}

/// Whether and why not a user could log in now, and what failed lately.
pub(crate) fn user(args: &ExplainUserArgs) -> Result<Output, Failure> {
    let password = match args.password_stdin {
        true => Some(password()?),
        false => None,
    };
    let body = json!({ "user": args.user, "password": password });
    let client = Client::new(&args.socket);
    if args.json {
        let answer: serde_json::Value = client.call("POST", USER_PATH, Some(&body))?;
        return Ok(Output::new(format!("{answer:#}\n")));
    }
    let answer: User = client.call("POST", USER_PATH, Some(&body))?;
    Ok(Output::new(about_user(&answer)))
}

fn password() -> Result<String, Failure> {
    let mut text = String::new();
    io::stdin()
        .lock()
        .take(PASSWORD_MAX_BYTES)
        .read_to_string(&mut text)
        .map_err(|error| Failure::new(format!("the password cannot be read: {error}")))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

fn about_user(user: &User) -> String {
    let name = plain(&user.user);
    let mut text = match obstacles(user) {
        none if none.is_empty() => format!("{name} can log in{}\n", with_what(user)),
        all => format!("{name} cannot log in: {}\n", all.join("; ")),
    };
    let mut row = |label: &str, value: &str| {
        // Writing to a `String` cannot fail.
        let _ = writeln!(text, "  {label:<10} {value}");
    };
    row("known as", &known_as(user));
    if user.stable_name != user.user {
        row("counted as", &plain(&user.stable_name));
    }
    if let Some(limited) = &user.time_limited {
        let left = time(limited.expires_in_seconds.unsigned_abs());
        let when = if limited.expires_in_seconds > 0 {
            format!("in {left}, at {}", at(limited.expires_unix_seconds))
        } else {
            format!("{left} ago, at {}", at(limited.expires_unix_seconds))
        };
        row("expires", &when);
    }
    match user.password {
        Password::NotGiven => {}
        Password::OfAccount => row("password", "it is the one of the account"),
        Password::OfSecret(number) => row(
            "password",
            &format!(
                "made with static-auth-secret number {number} of {}",
                user.secrets
            ),
        ),
        Password::Wrong => row("password", "it is none that this server takes for the name"),
    }
    let quota = &user.quota;
    row(
        "holds",
        &format!(
            "{} sessions; all users together {}",
            of(quota.held, quota.limit),
            of(quota.total_held, quota.total_limit)
        ),
    );
    if user.failures.is_empty() {
        row("refused", "nothing lately");
    }
    for attempts in &user.failures {
        row("refused", &refused(attempts, user));
    }
    text
}

/// What keeps the user out, the gravest first.
fn obstacles(user: &User) -> Vec<String> {
    if user.anonymous {
        return Vec::new();
    }
    let mut all = Vec::new();
    if user.revoked {
        all.push("it is revoked".to_owned());
    }
    match (&user.time_limited, user.static_account, user.secrets) {
        (_, true, _) => {}
        (None, false, 0) => all.push("there is no such account, and no static-auth-secret".to_owned()),
        (None, false, _) => all.push(
            "there is no such account; with a static-auth-secret it logs in as EXPIRY:USER, as `turnctl credentials` makes it"
                .to_owned(),
        ),
        (Some(_), false, 0) => all.push("there is no static-auth-secret for time-limited names".to_owned()),
        (Some(limited), false, _) if limited.expires_in_seconds <= 0 => all.push(format!(
            "it expired {} ago",
            time(limited.expires_in_seconds.unsigned_abs())
        )),
        (Some(_), false, _) => {}
    }
    if user.password == Password::Wrong {
        all.push("the password is wrong, or made with another secret".to_owned());
    }
    let quota = &user.quota;
    if quota.limit.is_some_and(|limit| quota.held >= limit) {
        all.push("its quota is used up (486)".to_owned());
    }
    if quota
        .total_limit
        .is_some_and(|limit| quota.total_held >= limit)
    {
        all.push("the quota of the whole server is used up (486)".to_owned());
    }
    all
}

fn with_what(user: &User) -> &'static str {
    match user.password {
        _ if user.anonymous => ", as anyone can: no-auth is set",
        Password::NotGiven => ", with the right password",
        _ => " with this password",
    }
}

fn known_as(user: &User) -> String {
    match (&user.time_limited, user.static_account) {
        (_, true) => "an account of the configuration".to_owned(),
        (Some(_), false) => format!(
            "a time-limited name, for {}",
            counted(user.secrets, "static-auth-secret")
        ),
        (None, false) => "nothing".to_owned(),
    }
}

fn at(unix_seconds: u64) -> String {
    i64::try_from(unix_seconds)
        .ok()
        .and_then(|seconds| jiff::Timestamp::from_second(seconds).ok())
        .map_or_else(
            || format!("{unix_seconds} s after 1970"),
            |time| time.to_string(),
        )
}

fn of(held: u64, limit: Option<u64>) -> String {
    match limit {
        Some(limit) => format!("{held} of {limit}"),
        None => format!("{held} of unlimited"),
    }
}

fn refused(attempts: &Attempts, user: &User) -> String {
    let when = match attempts.count {
        1 => format!("{} ago", time(attempts.last_seconds_ago)),
        count => format!(
            "{count} times in {}, the last {} ago",
            time(
                attempts
                    .first_seconds_ago
                    .saturating_sub(attempts.last_seconds_ago)
            ),
            time(attempts.last_seconds_ago)
        ),
    };
    let name = attempts.username.as_deref();
    let name = name.filter(|name| *name != user.user);
    format!(
        "{when} from {}{}: {} {}, {}",
        attempts.source,
        name.map(|name| format!(" as {}", plain(name)))
            .unwrap_or_default(),
        attempts.method,
        attempts.code,
        plain(&attempts.text)
    )
}

const USER_PATH: &str = "/v1/explain/user";
/// RFC 8489 lets passwords be 127 characters and less.
const PASSWORD_MAX_BYTES: u64 = 4096;
