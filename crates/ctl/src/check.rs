//! `turnctl check`: is a caller of this server served? Owns which targets are tried and how findings are printed; what is asked of
//! each is in [`probe`].

mod running;

use std::fmt::Write as _;
use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::thread;

use serde_json::json;
use turnbuckle_config::{Settings, Transport, UserCredential};
use turnbuckle_proto::{LongTermKey, rest};

use crate::Output;
use crate::cli::ProbeArgs;
use crate::configuration::{Configuration, is_colored};
use crate::failure::Failure;
use crate::probe::{
    self, Credential, Finding, Level, Password, Report, Target, Trust, TurnUri, clock,
};
use crate::url::{ServerUrls, TurnUrl};

/// Tries every target; `now` is seconds since 1970-01-01 00:00 UTC.
pub(crate) fn run(args: &ProbeArgs, now: u64) -> Result<Output, Failure> {
    let configuration = configuration(args)?;
    let credentials = Credentials::choose(args, configuration.as_ref())?;
    let trust = Trust::of_browsers(args.ca_file.as_deref())?;
    let (targets, mut general) = targets(args, configuration.as_ref())?;
    let reports = probe_all(
        &targets,
        &credentials.at(now, LIFETIME_SECONDS),
        &trust,
        now,
    );
    if reports.iter().any(|report| report.is_own_host) {
        general.push(Finding::note(
            "this is the host of the server, so nothing came by way of its firewall: to see that too, run `turnctl check NAME` on \
             another host, with `-c` and a copy of the file or `--secret-file`",
        ));
    }
    if args.host.is_none() && args.urls.is_empty() {
        let configured = configuration
            .as_ref()
            .map(|c| c.settings.admin_socket.clone());
        general.extend(running::findings(
            args.socket.clone(),
            &configured.unwrap_or_default(),
        ));
    }
    general.extend(clock_finding(&reports, &credentials, &trust, now));
    let worst = reports
        .iter()
        .flat_map(|report| &report.findings)
        .chain(&general)
        .map(|finding| finding.level)
        .max()
        .unwrap_or(Level::Ok);
    let text = if args.json {
        format!("{:#}\n", object(&reports, &general, worst))
    } else {
        lay_out(&reports, &general, worst, is_colored(&io::stdout()))
    };
    Ok(Output {
        text,
        note: None,
        status: u8::from(worst >= Level::Error),
    })
}

/// Tries several targets at once.
pub(crate) fn probe_all(
    targets: &[Target],
    credential: &Credential,
    trust: &Trust,
    now: u64,
) -> Vec<Report> {
    thread::scope(|scope| {
        let running: Vec<_> = targets
            .iter()
            .map(|target| scope.spawn(move || probe::probe(target, credential, trust, now)))
            .collect();
        running
            .into_iter()
            .filter_map(|thread| thread.join().ok())
            .collect()
    })
}

/// What was found out, target by target, then what holds for all, then the sum.
pub(crate) fn lay_out(
    reports: &[Report],
    general: &[Finding],
    worst: Level,
    color: bool,
) -> String {
    let mut text = String::new();
    // Writing to a `String` cannot fail.
    for report in reports {
        let _ = writeln!(text, "{}", report.target);
        for finding in &report.findings {
            write_finding(&mut text, finding, color);
        }
        text.push('\n');
    }
    if !general.is_empty() {
        text.push_str("in general\n");
        for finding in general {
            write_finding(&mut text, finding, color);
        }
        text.push('\n');
    }
    text.push_str(match worst {
        Level::Ok | Level::Note => "Callers are served.\n",
        Level::Warning => "Callers are served. Something should be looked at.\n",
        Level::Error => "Something is wrong.\n",
    });
    text
}

fn write_finding(text: &mut String, finding: &Finding, color: bool) {
    let (word, code) = match finding.level {
        Level::Ok => ("ok", "32"),
        Level::Note => ("note", "36"),
        Level::Warning => ("warning", "33"),
        Level::Error => ("error", "31"),
    };
    let pad = 9 - word.len();
    let word = match color {
        true => format!("\x1b[{code}m{word}\x1b[0m"),
        false => word.to_owned(),
    };
    let _ = writeln!(text, "  {word}{:pad$}{}", "", finding.text);
    if let Some(help) = &finding.help {
        let _ = writeln!(text, "{:11}= help: {help}", "");
    }
}

pub(crate) fn object(reports: &[Report], general: &[Finding], worst: Level) -> serde_json::Value {
    let targets: Vec<_> = reports
        .iter()
        .map(|report| {
            json!({
                "uri": report.target.uri.to_string(),
                "address": report.target.address.to_string(),
                "findings": report.findings,
            })
        })
        .collect();
    json!({ "worst": worst, "targets": targets, "general": general })
}

/// That of `-c`, else of the default places if there is one; nobody needs one who brings all that is wanted.
fn configuration(args: &ProbeArgs) -> Result<Option<Configuration>, Failure> {
    let named = args.source.config.is_some() || args.source.secret_file.is_some();
    let brings_all = args.username.is_some() && (args.host.is_some() || !args.urls.is_empty());
    if brings_all && !named {
        return Ok(None);
    }
    Configuration::read(&args.source).map(Some)
}

/// Whom the server should serve.
enum Credentials {
    /// Made anew for each time of expiry.
    Secret {
        secret: String,
        separator: char,
    },
    Fixed(Credential),
}

impl Credentials {
    fn choose(args: &ProbeArgs, configuration: Option<&Configuration>) -> Result<Self, Failure> {
        if let Some(username) = &args.username {
            return Ok(Self::Fixed(Credential {
                username: username.clone(),
                password: Password::Text(password_from_stdin("turnctl check ... --username NAME")?),
            }));
        }
        let Some(Configuration { settings, origin }) = configuration else {
            return Err(Failure::new("there is no credential to try"));
        };
        if let Some(secret) = settings.secrets.first() {
            return Ok(Self::Secret {
                secret: secret.expose().to_owned(),
                separator: settings.rest_separator,
            });
        }
        let user = settings.users.first().map(|user| Credential {
            username: user.name.clone(),
            password: match &user.credential {
                UserCredential::Password(password) => Password::Text(password.expose().to_owned()),
                UserCredential::Key(key) => Password::Key(LongTermKey::from_bytes(*key)),
            },
        });
        user.map(Self::Fixed).ok_or_else(|| {
            Failure::new(format!(
                "{origin} has neither a `static-auth-secret` nor a `user` to try"
            ))
            .help("give one that is good with `--username NAME` and its password on standard input")
        })
    }

    /// One that is good from `now` for so many seconds, where that can be chosen.
    fn at(&self, now: u64, seconds: i64) -> Credential {
        match self {
            Self::Fixed(credential) => credential.clone(),
            Self::Secret { secret, separator } => {
                let expiry = now.saturating_add_signed(seconds);
                let username = rest::username(expiry, Some(NAME), *separator);
                let password = rest::password(secret.as_bytes(), &username);
                Credential {
                    password: Password::Text(password.as_str().to_owned()),
                    username,
                }
            }
        }
    }
}

/// One line; `usage` is the command that it is written to.
pub(crate) fn password_from_stdin(usage: &str) -> Result<String, Failure> {
    let mut password = String::new();
    io::stdin()
        .take(PASSWORD_MAX_BYTES)
        .read_to_string(&mut password)
        .map_err(|error| Failure::new(format!("the password cannot be read: {error}")))?;
    let password = password.trim_end_matches(['\r', '\n']);
    if password.is_empty() {
        return Err(Failure::new("there is no password on standard input")
            .help(format!("write it there: `printf %s PASSWORD | {usage}`")));
    }
    Ok(password.to_owned())
}

/// Every listener at every address, and what kept one from being found.
fn targets(
    args: &ProbeArgs,
    configuration: Option<&Configuration>,
) -> Result<(Vec<Target>, Vec<Finding>), Failure> {
    let defaults = Settings::default();
    let settings = configuration.map_or(&defaults, |configuration| &configuration.settings);
    let mut targets: Vec<Target> = Vec::new();
    let mut unknown = Vec::new();
    let mut from_realm = false;
    let mut add = |target: Target| {
        let known = targets
            .iter()
            .any(|t| t.uri == target.uri && t.address == target.address);
        if !known {
            targets.push(target);
        }
    };
    let urls = match (&args.urls[..], &args.host) {
        ([], Some(host)) => of_host(settings, host)?,
        ([], None) => {
            local(settings).into_iter().for_each(&mut add);
            let urls = ServerUrls::of(settings);
            from_realm = urls.from_realm;
            urls.urls
        }
        (urls, _) => urls.to_vec(),
    };
    for url in &urls {
        let uri = TurnUri::of(url).map_err(Failure::new)?;
        match (uri.host.as_str(), uri.port).to_socket_addrs() {
            Ok(addresses) => addresses.for_each(|address| {
                add(Target {
                    uri: uri.clone(),
                    address,
                });
            }),
            Err(error) => unknown.push((uri.host.clone(), error)),
        }
    }
    unknown.dedup_by(|(a, _), (b, _)| a == b);
    let findings: Vec<Finding> = unknown
        .into_iter()
        .map(|(host, error)| match from_realm {
            true => Finding::note(format!(
                "the realm {host} is no name of a host, so only this host's own addresses were tried: {error}"
            ))
            .help("name the server as clients do: `turnctl check NAME`"),
            false => no_address(&host, &error),
        })
        .collect();
    if targets.is_empty() && findings.is_empty() {
        return Err(Failure::new("there is nothing to try: the configuration has no listener that clients reach directly")
            .help("name the server as clients do: `turnctl check turn.example.org`"));
    }
    Ok((targets, findings))
}

/// Every URL at every address of its host, none twice, and what kept one from being found.
pub(crate) fn resolve(urls: &[TurnUrl]) -> (Vec<Target>, Vec<Finding>) {
    let mut targets: Vec<Target> = Vec::new();
    let mut findings: Vec<Finding> = Vec::new();
    for url in urls {
        let uri = match TurnUri::of(url) {
            Ok(uri) => uri,
            Err(why) => {
                findings.push(Finding::error(why));
                continue;
            }
        };
        match (uri.host.as_str(), uri.port).to_socket_addrs() {
            Ok(addresses) => targets.extend(addresses.take(ADDRESSES_MAX).map(|address| Target {
                uri: uri.clone(),
                address,
            })),
            Err(error) => {
                let finding = no_address(&uri.host, &error);
                if !findings.contains(&finding) {
                    findings.push(finding);
                }
            }
        }
    }
    let mut seen: Vec<(TurnUri, SocketAddr)> = Vec::new();
    targets.retain(|target| {
        let target = (target.uri.clone(), target.address);
        let is_new = !seen.contains(&target);
        seen.push(target);
        is_new
    });
    (targets, findings)
}

fn no_address(host: &str, error: &io::Error) -> Finding {
    Finding::error(format!("{host} has no address: {error}"))
        .help("give the name an A or AAAA record, or clients another name")
}

/// The listeners, as they are reached by this name or address.
fn of_host(settings: &Settings, host: &str) -> Result<Vec<TurnUrl>, Failure> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let shown = match bare.parse::<IpAddr>() {
        Ok(IpAddr::V6(ip)) => format!("[{ip}]"),
        _ => bare.to_owned(),
    };
    let mut urls = Vec::new();
    for listener in settings
        .listeners
        .iter()
        .filter(|listener| !listener.proxied)
    {
        let port = listener.port;
        let carriers: &[(&str, &str)] = match listener.transport {
            Transport::Udp if settings.dtls => &[("turn", "udp"), ("turns", "udp")],
            Transport::Udp => &[("turn", "udp")],
            Transport::Tcp => &[("turn", "tcp")],
            Transport::Tls => &[("turns", "tcp")],
            Transport::Dtls => &[("turns", "udp")],
        };
        for (scheme, transport) in carriers {
            let url = format!("{scheme}:{shown}:{port}?transport={transport}");
            let url = TurnUrl::parse(&url)
                .map_err(|why| Failure::new(format!("`{host}` is no name of a server: {why}")))?;
            if !urls.contains(&url) {
                urls.push(url);
            }
        }
    }
    Ok(urls)
}

/// The plain listeners of this very host.
fn local(settings: &Settings) -> Vec<Target> {
    let plain = settings.listeners.iter().filter(|listener| {
        !listener.proxied && matches!(listener.transport, Transport::Udp | Transport::Tcp)
    });
    plain
        .filter_map(|listener| {
            let ip = match listener.address {
                None => Ipv4Addr::LOCALHOST.into(),
                Some(IpAddr::V4(ip)) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
                Some(IpAddr::V6(ip)) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
                Some(ip) => ip,
            };
            let address = SocketAddr::new(ip, listener.port);
            let url = format!("turn:{address}?transport={}", listener.transport);
            let uri = TurnUri::of(&TurnUrl::parse(&url).ok()?).ok()?;
            Some(Target { uri, address })
        })
        .collect()
}

/// By a target that takes credentials, or one that refuses them.
fn clock_finding(
    reports: &[Report],
    credentials: &Credentials,
    trust: &Trust,
    now: u64,
) -> Option<Finding> {
    if matches!(credentials, Credentials::Fixed(_)) {
        return None;
    }
    let asked = reports
        .iter()
        .find(|report| report.unauthorized)
        .or_else(|| reports.iter().find(|report| report.authorized))?;
    let finding = clock::compare(&asked.target, trust, |offset| credentials.at(now, offset));
    match finding {
        None if asked.unauthorized => Some(
            Finding::error("the server takes no credential made from the secret, whatever time it says")
                .help(
                    "the running server has another secret: was the file changed without a reload (`turnctl reload`), or is \
                     this another server's file?",
                ),
        ),
        finding => finding,
    }
}

/// What sessions of the check are called.
const NAME: &str = "turnctl-check";
const LIFETIME_SECONDS: i64 = 3_600;
/// Of one name; each is tried at the same time as the others.
const ADDRESSES_MAX: usize = 4;
const PASSWORD_MAX_BYTES: u64 = 4_096;
