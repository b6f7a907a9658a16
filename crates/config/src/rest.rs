//! Where time-limited credentials are given out over HTTP, and to whom. Owns what the keys of the section come to together; opens no
//! socket and no file.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use crate::certificate::{self, CertificateFiles};
use crate::diagnostic::Severity;
use crate::draft::{Draft, Place};
use crate::endpoint::endpoints;
use crate::fault::Fault;
use crate::metrics;
use crate::settings::AdminSocket;

/// The HTTP listener of credentials and of the self-test page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestSettings {
    /// Where it listens (`rest-listener`).
    pub door: RestDoor,
    /// The pair it speaks TLS with (`rest-cert`, `rest-pkey`). Default `None`: plain HTTP, which only a door of this host may speak.
    pub certificate: Option<CertificateFiles>,
}

/// What that listener is bound to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RestDoor {
    /// A TCP port; never 0.
    Tcp(SocketAddr),
    /// A Unix socket, which every user of the host may connect to.
    Unix(PathBuf),
}

impl RestDoor {
    /// Whether none but programs on this host can reach it.
    pub fn is_local(&self) -> bool {
        match self {
            Self::Tcp(address) => address.ip().is_loopback(),
            Self::Unix(_) => true,
        }
    }
}

/// Who may ask for credentials (`rest-api-key`, repeatable).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKey {
    /// What the log calls it: 1 to 64 letters, digits and `-_.`; unique.
    pub name: String,
    /// SHA-256 of the key.
    pub hash: [u8; 32],
    /// Longest lifetime of its credentials (`max-lifetime`, seconds). Default `None`: that of all keys.
    pub lifetime_max: Option<Duration>,
    /// Credentials it is given in a minute (`rate`). Default 60.
    pub per_minute: NonZeroU32,
}

/// What the keys say, each on its own.
#[derive(Default)]
pub(crate) struct RestDraft {
    pub(crate) door: Option<RestDoor>,
    pub(crate) cert: Option<(PathBuf, Place)>,
    pub(crate) key: Option<(PathBuf, Place)>,
}

pub(crate) fn listener(draft: &mut Draft, text: &str) -> Result<(), Fault> {
    let door = if text.starts_with('/') {
        if text.ends_with('/') || text.len() > UNIX_PATH_MAX_BYTES {
            return Err(Fault::new(format!("`{text}` is no path of a socket"))
                .help(format!("write a path of up to {UNIX_PATH_MAX_BYTES} bytes, such as `/run/turnbuckle/rest.sock`")));
        }
        RestDoor::Unix(PathBuf::from(text))
    } else {
        let address: SocketAddr = text.parse().map_err(|_| {
            Fault::new(format!(
                "`{text}` is neither an address with a port nor a path"
            ))
            .help("write `127.0.0.1:9642`, `[::1]:9642` or `/run/turnbuckle/rest.sock`")
        })?;
        if address.port() == 0 {
            return Err(Fault::new("port 0 is a different one at each start")
                .help("write a port, such as `127.0.0.1:9642`"));
        }
        RestDoor::Tcp(address)
    };
    draft.rest.door = Some(door);
    Ok(())
}

pub(crate) fn cert(draft: &mut Draft, text: &str) -> Result<(), Fault> {
    let file = certificate::file("rest-cert", text)?;
    draft.rest.cert = Some((file, draft.place.clone()));
    Ok(())
}

pub(crate) fn pkey(draft: &mut Draft, text: &str) -> Result<(), Fault> {
    let file = certificate::file("rest-pkey", text)?;
    draft.rest.key = Some((file, draft.place.clone()));
    Ok(())
}

/// `NAME:sha256-HEX[,max-lifetime=SECONDS][,rate=PER_MINUTE]`. What stands in the place of the hash may be the key itself, so it is
/// never repeated.
pub(crate) fn api_key(draft: &mut Draft, text: &str) -> Result<(), Fault> {
    let form = "write `NAME:sha256-HEX`, as `turnctl api-key NAME` prints it, and if wanted `,max-lifetime=SECONDS` and `,rate=PER_MINUTE` behind it";
    let mut parts = text.split(',');
    let (name, hash) = parts
        .next()
        .and_then(|first| first.split_once(':'))
        .ok_or_else(|| Fault::new("there is no name before a colon").help(form))?;
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if name.is_empty() || name.len() > NAME_MAX_BYTES || !name.bytes().all(is_name) {
        return Err(
            Fault::new("the name of an API key is letters, digits and `-_.`, at most 64")
                .help(form),
        );
    }
    let hash = hash
        .strip_prefix("sha256-")
        .and_then(digest)
        .ok_or_else(|| {
            Fault::new(format!(
                "what stands behind `{name}:` is no SHA-256 in hexadecimal"
            ))
            .help(form)
        })?;
    let mut key = ApiKey {
        name: name.to_owned(),
        hash,
        lifetime_max: None,
        per_minute: DEFAULT_PER_MINUTE,
    };
    for part in parts {
        let wrong =
            || Fault::new(format!("`{}` is no setting of an API key", shown(part))).help(form);
        let (field, value) = part.split_once('=').ok_or_else(wrong)?;
        let number: u32 = value.parse().map_err(|_| wrong())?;
        let number = NonZeroU32::new(number).ok_or_else(|| {
            Fault::new(format!("`{field}` of an API key cannot be 0"))
                .help("leave it out for the usual one")
        })?;
        match field {
            "max-lifetime" => key.lifetime_max = Some(Duration::from_secs(number.get().into())),
            "rate" => key.per_minute = number,
            _ => return Err(wrong()),
        }
    }
    let keys = &mut draft.settings.rest_keys;
    if keys.iter().any(|other| other.name == key.name) {
        return Err(
            Fault::new(format!("there are two API keys called `{}`", key.name))
                .help("give each its own name, so that the log can tell them apart"),
        );
    }
    if keys.len() == KEYS_MAX {
        return Err(
            Fault::new(format!("there are more than {KEYS_MAX} API keys"))
                .help("give one key to all who are served together"),
        );
    }
    keys.push(key);
    Ok(())
}

/// `scheme://host[:port]` as browsers write it, without a path.
pub(crate) fn allow_origin(draft: &mut Draft, text: &str) -> Result<(), Fault> {
    let form = "write it as a browser does, such as `https://app.example.org`, with the port if it is not the usual one and without a slash at the end";
    let text = text.to_ascii_lowercase();
    let wrong = || Fault::new(format!("`{}` is no origin of a web page", shown(&text))).help(form);
    if text == "*" {
        return Err(Fault::new("credentials are not for the pages of everybody").help(form));
    }
    let authority = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"))
        .ok_or_else(wrong)?;
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => {
            port.parse::<u16>().map_err(|_| wrong())?;
            host
        }
        _ => authority,
    };
    let bracketed = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    let is_host = match bracketed {
        Some(ip) => ip.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            !host.is_empty()
                && host
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"-.".contains(&b))
        }
    };
    if !is_host || text.len() > ORIGIN_MAX_BYTES {
        return Err(wrong());
    }
    let origins = &mut draft.settings.rest_origins;
    if origins.len() == ORIGINS_MAX {
        return Err(
            Fault::new(format!("there are more than {ORIGINS_MAX} origins"))
                .help("serve the pages from fewer"),
        );
    }
    if !origins.contains(&text) {
        origins.push(text);
    }
    Ok(())
}

/// Puts the keys together, once listeners, secrets and metrics are known.
pub(crate) fn check(draft: &mut Draft) {
    let Some(door) = draft.rest.door.take() else {
        without_effect(draft);
        return;
    };
    let place = draft.place_of("rest-listener");
    let certificate = certificate(draft);
    if !door.is_local() && certificate.is_none() {
        draft.report_at(
            &place,
            Severity::Error,
            "API keys and credentials would cross the network in the clear",
            "add `rest-cert` and `rest-pkey`, or listen on 127.0.0.1, ::1 or a Unix socket behind a web server that speaks TLS",
        );
    }
    if draft.settings.secrets.is_empty()
        && draft.settings.secret_files.is_empty()
        && !draft.is_given("static-auth-secret")
    {
        draft.report_at(
            &place,
            Severity::Error,
            "there is no secret to make time-limited credentials with",
            "add `static-auth-secret` or `static-auth-secret-file`, or remove `rest-listener`",
        );
    }
    if draft.settings.rest_keys.is_empty() && !draft.is_given("rest-api-key") {
        draft.report_at(
            &place,
            Severity::Warning,
            "nobody has an API key, so nobody is given credentials",
            "make one with `turnctl api-key NAME`",
        );
    }
    if endpoints(&draft.settings, None).list.is_empty() {
        draft.report_at(
            &place,
            Severity::Error,
            "there is no name or address to tell clients, so credentials would come without URIs",
            "add `realm` with the host name of this server, or `external-ip`",
        );
    }
    clash(draft, &door, &place);
    draft.settings.rest = Some(RestSettings { door, certificate });
}

fn without_effect(draft: &mut Draft) {
    let names = KEYS.iter().filter(|name| draft.is_given(name));
    for name in names.collect::<Vec<_>>() {
        let place = draft.place_of(name);
        draft.report_at(
            &place,
            Severity::Warning,
            format!("`{name}` has no effect without `rest-listener`"),
            "add `rest-listener=127.0.0.1:9642`, or remove the line",
        );
    }
}

fn certificate(draft: &mut Draft) -> Option<CertificateFiles> {
    match (draft.rest.cert.take(), draft.rest.key.take()) {
        (None, None) => None,
        (Some((cert, _)), Some((key, _))) => Some(CertificateFiles {
            cert,
            key,
            password: draft.key_password.clone(),
        }),
        (cert, key) => {
            let place = cert.or(key).map(|(_, place)| place);
            draft.report_at(
                &place.unwrap_or_default(),
                Severity::Error,
                "`rest-cert` and `rest-pkey` belong together, and one is missing",
                "give both; a file that holds both is named in both",
            );
            None
        }
    }
}

fn clash(draft: &mut Draft, door: &RestDoor, place: &Place) {
    let what = match door {
        RestDoor::Tcp(address) if metrics::is_for_clients(draft, *address) => "clients",
        RestDoor::Tcp(address)
            if draft.settings.metrics.as_ref().is_some_and(|metrics| {
                metrics.address.port() == address.port()
                    && overlap(metrics.address.ip(), address.ip())
            }) =>
        {
            "metrics"
        }
        RestDoor::Unix(path) if draft.settings.admin_socket == AdminSocket::At(path.clone()) => {
            "turnctl"
        }
        _ => return,
    };
    draft.report_at(
        place,
        Severity::Error,
        format!("{what} and credentials cannot both be served there"),
        "choose another port or path",
    );
}

/// Whether sockets of both addresses want the same port.
pub(crate) fn overlap(a: IpAddr, b: IpAddr) -> bool {
    a == b || (a.is_ipv4() == b.is_ipv4() && (a.is_unspecified() || b.is_unspecified()))
}

fn digest(hex: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if hex.len() != 2 * bytes.len() || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}

/// So much of a value that a line can be read.
fn shown(text: &str) -> String {
    text.chars().take(64).collect()
}

/// The keys that need `rest-listener`.
const KEYS: [&str; 4] = [
    "rest-cert",
    "rest-pkey",
    "rest-api-key",
    "rest-allow-origin",
];
/// What the kernel takes, less the zero byte.
const UNIX_PATH_MAX_BYTES: usize = 107;
const NAME_MAX_BYTES: usize = 64;
const KEYS_MAX: usize = 256;
const ORIGINS_MAX: usize = 64;
const ORIGIN_MAX_BYTES: usize = 262;
const DEFAULT_PER_MINUTE: NonZeroU32 = NonZeroU32::new(60).expect("60 is not 0");

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::{Settings, turnserver_conf};

    const BASE: &str = "realm=turn.example.org\nstatic-auth-secret=north-secret-of-the-test\n";

    fn read(lines: &str) -> Result<Settings, Vec<String>> {
        let outcome = turnserver_conf(Path::new("f"), &format!("{BASE}{lines}"), &[]);
        outcome.settings.ok_or_else(|| {
            let errors = outcome.diagnostics.into_iter();
            errors
                .filter(|found| found.severity == Severity::Error)
                .map(|found| found.message)
                .collect()
        })
    }

    fn refused(lines: &str) -> String {
        read(lines).unwrap_err().join("; ")
    }

    #[test]
    fn everything_together() {
        let hash = "ab".repeat(32);
        let settings = read(&format!(
            "rest-listener=192.0.2.1:443\nrest-cert=/c\nrest-pkey=/k\nrest-lifetime=600\n\
             rest-api-key=web:sha256-{hash},max-lifetime=60,rate=6\nrest-api-key=janus:sha256-{hash}\n\
             rest-allow-origin=https://App.example.org\nrest-allow-origin=http://[::1]:8080\n"
        ))
        .unwrap();
        let rest = settings.rest.unwrap();
        assert_eq!(rest.door, RestDoor::Tcp("192.0.2.1:443".parse().unwrap()));
        assert_eq!(rest.certificate.unwrap().key, Path::new("/k"));
        let [web, janus] = &settings.rest_keys[..] else {
            panic!("{:?}", settings.rest_keys)
        };
        assert_eq!((web.hash, web.per_minute.get()), ([0xab; 32], 6));
        assert_eq!(web.lifetime_max, Some(Duration::from_secs(60)));
        assert_eq!((janus.lifetime_max, janus.per_minute.get()), (None, 60));
        assert_eq!(settings.rest_lifetime_max, Duration::from_secs(600));
        assert_eq!(
            settings.rest_origins,
            ["https://app.example.org", "http://[::1]:8080"]
        );
    }

    #[test]
    fn nothing_by_default() {
        let settings = read("").unwrap();
        assert_eq!(settings.rest, None);
        assert_eq!(settings.rest_lifetime_max, Duration::from_secs(86400));
    }

    #[test]
    fn doors() {
        for (text, door) in [
            ("/run/rest.sock", RestDoor::Unix("/run/rest.sock".into())),
            (
                "127.0.0.1:9642",
                RestDoor::Tcp("127.0.0.1:9642".parse().unwrap()),
            ),
            ("[::1]:9642", RestDoor::Tcp("[::1]:9642".parse().unwrap())),
        ] {
            let settings = read(&format!("rest-listener={text}\n")).unwrap();
            assert_eq!(settings.rest.unwrap().door, door);
        }
        let long = format!("/{}", "x".repeat(107));
        for (text, part) in [
            ("", "needs a value"),
            ("localhost:80", "neither an address"),
            ("127.0.0.1", "neither an address"),
            ("127.0.0.1:0", "port 0"),
            ("/run/", "no path"),
            (&long, "no path"),
            ("192.0.2.1:9642", "in the clear"),
            ("0.0.0.0:9642", "in the clear"),
            ("[::ffff:127.0.0.1]:9642", "in the clear"),
            ("127.0.0.1:3478", "clients and credentials"),
        ] {
            let error = refused(&format!("rest-listener={text}\n"));
            assert!(error.contains(part), "{text}: {error}");
        }
        let error = refused("rest-listener=127.0.0.1:9641\nprometheus\n");
        assert!(error.contains("metrics and credentials"), "{error}");
        let error = refused("rest-listener=/run/a\nadmin-socket=/run/a\n");
        assert!(error.contains("turnctl and credentials"), "{error}");
    }

    #[test]
    fn something_to_give_out_is_needed() {
        let without = |base: &str| {
            let text = format!("{base}rest-listener=127.0.0.1:9642\n");
            let outcome = turnserver_conf(Path::new("f"), &text, &[]);
            assert_eq!(outcome.settings, None);
            let error = outcome
                .diagnostics
                .into_iter()
                .find(|d| d.severity == Severity::Error);
            error.unwrap().message
        };
        assert!(without("realm=turn.example.org\nuser=a:b\n").contains("no secret"));
        assert!(
            without("static-auth-secret=north-secret-of-the-test\n").contains("no name or address")
        );
    }

    #[test]
    fn api_keys_are_checked_and_never_repeated() {
        let hash = format!("sha256-{}", "0".repeat(64));
        for (value, part) in [
            ("", "no name"),
            (&*hash, "no name"),
            ("web:hunter2hunter2", "no SHA-256"),
            ("web:sha256-00", "no SHA-256"),
            (&format!("web:sha256-{}", "g".repeat(64)), "no SHA-256"),
            (&format!("web:sha256-{}", "é".repeat(32)), "no SHA-256"),
            (&format!("we b:{hash}"), "the name"),
            (&format!(":{hash}"), "the name"),
            (&format!("web:{hash},rate=0"), "cannot be 0"),
            (&format!("web:{hash},rate"), "no setting"),
            (&format!("web:{hash},rate=-1"), "no setting"),
            (&format!("web:{hash},rate=4294967296"), "no setting"),
            (&format!("web:{hash},speed=1"), "no setting"),
        ] {
            let error = refused(&format!(
                "rest-listener=127.0.0.1:9642\nrest-api-key={value}\n"
            ));
            assert!(
                error.contains(part) && !error.contains("hunter2"),
                "{value}: {error}"
            );
        }
        let twice =
            format!("rest-listener=127.0.0.1:9642\nrest-api-key=a:{hash}\nrest-api-key=a:{hash}\n");
        assert!(refused(&twice).contains("two API keys called `a`"));
    }

    #[test]
    fn origins_are_those_of_browsers() {
        for origin in [
            "*",
            "null",
            "app.example.org",
            "https://",
            "https://app.example.org/",
            "https://a b",
            "https://a:99999",
            "https://a:",
            "https://user@a",
            "https://[::1",
            "https://a;b",
            "ftp://a",
        ] {
            let lines = format!("rest-listener=127.0.0.1:9642\nrest-allow-origin={origin}\n");
            assert!(read(&lines).is_err(), "{origin}");
        }
    }
}
