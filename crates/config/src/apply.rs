//! What the value of a single key does to the settings. Owns one function per key that needs more than an assignment;
//! rules that span keys are in `check`.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use ipnet::IpNet;

use crate::certificate::file;
use crate::diagnostic::Severity;
use crate::draft::{Draft, Format, PlaceOrigin};
use crate::facility::SyslogFacility;
use crate::fault::Fault;
use crate::keys;
use crate::opaque::prepared;
use crate::peer::{self, Origin, PeerRule, is_every_mapped_address};
use crate::process::ProcessName;
use crate::secret::Secret;
use crate::settings::{
    AdminSocket, Alternates, ExternalIp, LogFormat, LogLevel, LogPrivacy, StrictExpiry,
};
use crate::user::{User, UserCredential};
use crate::value;

pub(crate) fn listening_ip(draft: &mut Draft, address: IpAddr) -> Result<(), Fault> {
    if draft.listen.ips.contains(&address) {
        draft.report(
            Severity::Note,
            format!("`{address}` is listened on already"),
            "",
        );
    } else {
        draft.listen.ips.push(address);
    }
    Ok(())
}

pub(crate) fn relay_ip(draft: &mut Draft, address: IpAddr) -> Result<(), Fault> {
    if address.is_unspecified() {
        draft.report(
            Severity::Warning,
            format!("`{address}` is no address that clients could be told; the server chooses one"),
            "name the address that peers reach, or remove the line",
        );
    } else if draft.settings.relay_ips.contains(&address) {
        draft.report(
            Severity::Note,
            format!("`{address}` is a relay address already"),
            "",
        );
    } else {
        draft.settings.relay_ips.push(address);
    }
    Ok(())
}

pub(crate) fn external_ip(draft: &mut Draft, text: &str) -> Result<(), Fault> {
    let external = external_address(text)?;
    let family = |address: IpAddr| if address.is_ipv4() { "IPv4" } else { "IPv6" };
    let from_command_line = matches!(draft.place.origin, PlaceOrigin::CommandLine(_));
    let externals = &mut draft.settings.external_ips;
    if externals.contains(&external) {
        draft.report(Severity::Note, format!("`{text}` is given already"), "");
        return Ok(());
    }
    let same_family = |other: &ExternalIp| other.public.is_ipv4() == external.public.is_ipv4();
    if from_command_line {
        externals.retain(|other| {
            !(same_family(other) && other.private.is_none() == external.private.is_none())
        });
    }
    for other in externals.iter().filter(|other| same_family(other)) {
        let (family, other_public) = (family(external.public), other.public);
        match (external.private, other.private) {
            (None, None) => {
                return Err(Fault::new(format!("a second external address for {family}: `{other_public}` is given already"))
                    .help("bare, there is one per family; with several relay addresses write `public/private` for each"));
            }
            (Some(private), Some(other_private)) if private == other_private => {
                return Err(Fault::new(format!(
                    "`{private}` has an external address already: `{other_public}`"
                ))
                .help("give each private address once"));
            }
            (Some(_), Some(_)) => {}
            (Some(_), None) | (None, Some(_)) => {
                return Err(Fault::new(format!("a bare external address and a pair for {family}"))
                    .help("write `public/private` for each relay address of the family, or one bare address for all"));
            }
        }
    }
    draft.settings.external_ips.push(external);
    Ok(())
}

/// Reads `public` or `public/private`.
pub(crate) fn external_address(text: &str) -> Result<ExternalIp, Fault> {
    // The table holds the key that this function is named in.
    let key = keys::find("external-ip").ok_or_else(|| Fault::new("unknown key"))?;
    let (public, private) = match text.split_once('/') {
        Some((public, private)) => (public.trim(), Some(private.trim())),
        None => (text, None),
    };
    if private.is_some_and(|private| private.bytes().all(|byte| byte.is_ascii_digit())) {
        return Err(Fault::new(format!("`{text}` is a range, not an address"))
            .help("write `public` or `public/private`; what stands behind the slash is the local address"));
    }
    let external = ExternalIp {
        public: value::address(key, public)?,
        private: private
            .map(|private| value::address(key, private))
            .transpose()?,
    };
    for address in [Some(external.public), external.private]
        .into_iter()
        .flatten()
    {
        if address.is_unspecified() {
            return Err(Fault::new(format!(
                "`{address}` is no address that clients could be told"
            ))
            .help("write the address that peers reach"));
        }
    }
    if external
        .private
        .is_some_and(|private| private.is_ipv4() != external.public.is_ipv4())
    {
        return Err(
            Fault::new(format!("`{text}` pairs an IPv4 with an IPv6 address"))
                .help("both addresses of a pair are of one family"),
        );
    }
    Ok(external)
}

/// A server to send clients to, in one of the lists.
pub(crate) fn alternate_server(
    draft: &mut Draft,
    text: &str,
    list: fn(&mut Alternates) -> &mut Vec<SocketAddr>,
    default_port: u16,
) -> Result<(), Fault> {
    let server = endpoint(text, default_port)?;
    if server.ip().is_unspecified() || server.port() == 0 {
        return Err(Fault::new(format!(
            "`{text}` is no server that clients could be sent to"
        ))
        .help("write the address and port that clients reach"));
    }
    let servers = list(&mut draft.settings.alternates);
    if servers.contains(&server) {
        draft.report(
            Severity::Note,
            format!("clients are sent to `{server}` already"),
            "",
        );
    } else {
        servers.push(server);
    }
    Ok(())
}

/// An address with an optional port.
fn endpoint(text: &str, default_port: u16) -> Result<SocketAddr, Fault> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let bracketed = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'));
    bracketed
        .unwrap_or(text)
        .parse::<IpAddr>()
        .map(|ip| SocketAddr::new(ip, default_port))
        .map_err(|_| {
            Fault::new(format!("`{text}` is not an address with a port"))
                .help("write `192.0.2.1:3478` or `[2001:db8::1]:3478`; names are not looked up")
        })
}

pub(crate) fn aux_server(draft: &mut Draft, text: &str) -> Result<(), Fault> {
    // The table holds the key that this function is named in.
    let key = keys::find("aux-server").ok_or_else(|| Fault::new("unknown key"))?;
    let Ok(listener) = text.parse::<SocketAddr>() else {
        let fault = Fault::new(format!("`{text}` is not an address with a port"));
        let plain = text.trim_start_matches('[').trim_end_matches(']');
        return Err(match plain.parse::<IpAddr>() {
            Ok(address) => fault.help(format!(
                "add the port: `{}`",
                SocketAddr::new(address, EXAMPLE_AUX_PORT)
            )),
            Err(_) => fault.help(
                "write `192.0.2.1:443` or `[2001:db8::1]:443`; `0.0.0.0:443` is every IPv4 address of the host",
            ),
        });
    };
    value::address(key, &listener.ip().to_string())?;
    if listener.port() == 0 {
        return Err(
            Fault::new(format!("`{text}` has no port")).help("write a port from 1 to 65535")
        );
    }
    if draft.listen.aux.contains(&listener) {
        draft.report(
            Severity::Note,
            format!("`{listener}` is listened on already"),
            "",
        );
    } else {
        draft.listen.aux.push(listener);
    }
    Ok(())
}

pub(crate) fn proxy_trusted(draft: &mut Draft, text: &str) -> Result<(), Fault> {
    let net = if text.contains('/') {
        peer::network(text)?
    } else {
        text.parse::<IpAddr>().map(IpNet::from).map_err(|_| {
            Fault::new(format!("`{text}` is not an address or an address range")).help(
                "write an address or `address/prefix`, such as `192.0.2.1` or `10.0.0.0/8`; names are not looked up",
            )
        })?
    };
    if peer::spelled_as_ipv6(net.network()) {
        let prefix = net.prefix_len().saturating_sub(MAPPED_PREFIX_BITS);
        let address = net.network().to_canonical();
        return Err(
            Fault::new(format!("`{text}` has IPv4 addresses spelled as IPv6"))
                .help(format!("write `{address}/{prefix}`")),
        );
    }
    if net.prefix_len() == 0 {
        draft.report(
            Severity::Warning,
            format!("`{text}` lets anyone connect and claim any address"),
            "name the proxies alone",
        );
    }
    if draft.settings.proxy_trusted.contains(&net) {
        draft.report(Severity::Note, format!("`{text}` is trusted already"), "");
    } else {
        draft.settings.proxy_trusted.push(net);
    }
    Ok(())
}

pub(crate) fn no_tcp_relay(draft: &mut Draft, on: bool) {
    draft.settings.tcp_relay = !on;
}

pub(crate) fn socket_buffer(draft: &mut Draft, bytes: u64) {
    draft.settings.socket_buffer = usize::try_from(bytes).ok().filter(|bytes| *bytes > 0);
}

pub(crate) fn user(draft: &mut Draft, text: &str) -> Result<(), Fault> {
    let user = User::parse(text)?;
    add_user(draft, user)
}

pub(crate) fn add_user(draft: &mut Draft, user: User) -> Result<(), Fault> {
    if let UserCredential::Password(password) = &user.credential {
        refuse_example(password)?;
    }
    let users = &mut draft.settings.users;
    match users.iter_mut().find(|other| other.name == user.name) {
        Some(other) => {
            *other = user;
            draft.report(
                Severity::Warning,
                "this account is given again; this one wins",
                "give each account once",
            );
        }
        None => users.push(user),
    }
    Ok(())
}

pub(crate) fn user_file(draft: &mut Draft, text: &str) -> Result<(), Fault> {
    let file = file("user-file", text)?;
    if draft.user_files.iter().any(|(other, _)| *other == file) {
        draft.report(Severity::Note, "this file is given already", "");
    } else {
        draft.user_files.push((file, draft.place.clone()));
    }
    Ok(())
}

pub(crate) fn static_auth_secret_file(draft: &mut Draft, text: &str) -> Result<(), Fault> {
    let file = file("static-auth-secret-file", text)?;
    if draft.secret_files.iter().any(|(other, _)| *other == file) {
        draft.report(Severity::Note, "this file is given already", "");
    } else {
        draft.secret_files.push((file, draft.place.clone()));
    }
    Ok(())
}

pub(crate) fn static_auth_secret(draft: &mut Draft, text: &str) -> Result<(), Fault> {
    if text.is_empty() {
        return Err(Fault::new("`static-auth-secret` is empty")
            .help("write a random text, such as `openssl rand -hex 32` prints; in double quotes if it begins with #"));
    }
    let secret = Secret::new(text);
    refuse_example(&secret)?;
    if draft.settings.secrets.contains(&secret) {
        draft.report(Severity::Note, "this secret is given already", "");
        return Ok(());
    }
    if text.len() < SHORT_SECRET_BYTES {
        draft.report(
            Severity::Warning,
            format!("the secret is shorter than {SHORT_SECRET_BYTES} characters: who has one credential can guess it"),
            "make one with `openssl rand -hex 32`",
        );
    }
    draft.settings.secrets.push(secret);
    Ok(())
}

pub(crate) fn strict_expiry(draft: &mut Draft, word: &'static str) {
    draft.settings.strict_expiry = match word {
        "refresh" => StrictExpiry::Refresh,
        "expiry" => StrictExpiry::Expiry,
        _ => StrictExpiry::Off,
    };
}

pub(crate) fn stateless_nonce_secret(draft: &mut Draft, text: &str) -> Result<(), Fault> {
    if text.is_empty() {
        return Err(Fault::new("`stateless-nonce-secret` is empty")
            .help("write a random text, such as `openssl rand -hex 32` prints, the same one on each server"));
    }
    let secret = Secret::new(text);
    refuse_example(&secret)?;
    if text.len() < SHORT_SECRET_BYTES {
        draft.report(
            Severity::Warning,
            format!("the secret is shorter than {SHORT_SECRET_BYTES} characters: who has one nonce can guess it, and make others"),
            "make one with `openssl rand -hex 32`",
        );
    }
    draft.settings.nonce_secret = Some(secret);
    Ok(())
}

/// Stops a file whose example was never replaced: everyone knows it.
fn refuse_example(secret: &Secret) -> Result<(), Fault> {
    let text = secret.expose();
    let bracketed = [('[', ']'), ('<', '>')]
        .iter()
        .any(|(open, close)| text.starts_with(*open) && text.ends_with(*close));
    if text == keys::EXAMPLE_SECRET || bracketed {
        return Err(
            Fault::new("this is the example of a reference file, which everyone knows")
                .help("replace it with what `openssl rand -hex 32` prints"),
        );
    }
    Ok(())
}

pub(crate) fn rest_api_separator(draft: &mut Draft, text: &str) -> Result<(), Fault> {
    let mut characters = text.chars();
    match (characters.next(), characters.next()) {
        (Some(separator), None) if separator.is_ascii_punctuation() => {
            draft.settings.rest_separator = separator;
            Ok(())
        }
        _ => Err(
            Fault::new(format!("`{text}` is not one punctuation character")).help(
                "write the character between expiry and user, such as `rest-api-separator=:`",
            ),
        ),
    }
}

pub(crate) fn realm(draft: &mut Draft, text: &str) -> Result<(), Fault> {
    if text.chars().count() > REALM_MAX_CHARS {
        return Err(Fault::new(format!(
            "the realm is longer than {REALM_MAX_CHARS} characters"
        ))
        .help("RFC 8489 §14.9 sets this limit"));
    }
    if text.is_empty() {
        draft.report(
            Severity::Warning,
            "the realm is empty, which is the same as none",
            "write `realm=example.org` with the domain of the server, or remove the line",
        );
    }
    draft.settings.realm = match text {
        "" => None,
        text => Some(prepared(text, "the realm", false)?),
    };
    Ok(())
}

pub(crate) fn allowed_peer_ip(draft: &mut Draft, text: &str) -> Result<(), Fault> {
    let rule = peer_rule(draft, text)?;
    draft.settings.peers.allowed.push(rule);
    Ok(())
}

pub(crate) fn denied_peer_ip(draft: &mut Draft, text: &str) -> Result<(), Fault> {
    if is_every_mapped_address(text) {
        draft.report(
            Severity::Note,
            "an IPv4-mapped peer is judged as the IPv4 address it stands for, so this line is not needed",
            "",
        );
        return Ok(());
    }
    let rule = peer_rule(draft, text)?;
    draft.settings.peers.denied.push(rule);
    Ok(())
}

fn peer_rule(draft: &mut Draft, text: &str) -> Result<PeerRule, Fault> {
    let rule = PeerRule::parse(text, origin(draft))?;
    if text.contains('/') && draft.format == Format::Conf {
        draft.report(
            Severity::Note,
            format!(
                "`{text}` is read as `{}-{}`; coturn refuses an address with a prefix length",
                rule.first, rule.last
            ),
            "",
        );
    }
    Ok(rule)
}

/// Where the key being read stands, for what is told later.
fn origin(draft: &Draft) -> Origin {
    match &draft.place.origin {
        PlaceOrigin::File(file, line) => Origin {
            file: Some(file.clone()),
            line: Some(*line),
        },
        PlaceOrigin::CommandLine(_) | PlaceOrigin::Nowhere => Origin {
            file: None,
            line: None,
        },
    }
}

pub(crate) fn log_file(draft: &mut Draft, text: &str) -> Result<(), Fault> {
    draft.log_file = None;
    match text {
        "" => {
            return Err(Fault::new("`log-file` needs a value")
                .help("write a file name, or `stdout`, or `syslog`"));
        }
        "stdout" | "-" => {}
        "syslog" => draft.syslog = true,
        file => draft.log_file = Some(PathBuf::from(file)),
    }
    Ok(())
}

pub(crate) fn log_min_level(draft: &mut Draft, word: &'static str) {
    draft.min_level = Some(match word {
        "error" => LogLevel::Error,
        "warning" => LogLevel::Warn,
        "info" => LogLevel::Info,
        "debug" => LogLevel::Debug,
        _ => LogLevel::Trace,
    });
}

pub(crate) fn log_format(draft: &mut Draft, word: &'static str) {
    draft.settings.log.format = match word {
        "json" => LogFormat::Json,
        _ => LogFormat::Text,
    };
}

pub(crate) fn log_privacy(draft: &mut Draft, word: &'static str) {
    draft.settings.log.privacy = match word {
        "shorten" => LogPrivacy::Shorten,
        "hash" => LogPrivacy::Hash,
        _ => LogPrivacy::Off,
    };
}

pub(crate) fn syslog_facility(draft: &mut Draft, text: &str) -> Result<(), Fault> {
    draft.settings.log.facility = SyslogFacility::parse(text).ok_or_else(|| {
        let names: Vec<_> = SyslogFacility::all().map(SyslogFacility::name).collect();
        Fault::new(format!("`{text}` is no facility of the system log"))
            .help(format!("write one of `{}`", names.join("`, `")))
    })?;
    Ok(())
}

pub(crate) fn proc_user(draft: &mut Draft, text: &str) -> Result<(), Fault> {
    draft.settings.process_user = process_name(draft, text);
    Ok(())
}

pub(crate) fn proc_group(draft: &mut Draft, text: &str) -> Result<(), Fault> {
    draft.settings.process_group = process_name(draft, text);
    Ok(())
}

/// An empty name is none, as in coturn.
fn process_name(draft: &Draft, text: &str) -> Option<ProcessName> {
    (!text.is_empty()).then(|| ProcessName {
        name: text.to_owned(),
        origin: origin(draft),
    })
}

pub(crate) fn pidfile(draft: &mut Draft, text: &str) -> Result<(), Fault> {
    draft.settings.pidfile = (!text.is_empty()).then(|| PathBuf::from(text));
    Ok(())
}

pub(crate) fn admin_socket(draft: &mut Draft, text: &str) -> Result<(), Fault> {
    draft.settings.admin_socket = match text {
        "" => AdminSocket::Off,
        path if path.len() > SOCKET_PATH_MAX_BYTES => {
            return Err(Fault::new(format!(
                "`admin-socket` is longer than {SOCKET_PATH_MAX_BYTES} bytes, the most that the path of a socket may have"
            )));
        }
        path => AdminSocket::At(PathBuf::from(path)),
    };
    Ok(())
}

pub(crate) fn state_directory(draft: &mut Draft, text: &str) -> Result<(), Fault> {
    draft.settings.state_directory = (!text.is_empty()).then(|| PathBuf::from(text));
    Ok(())
}

const EXAMPLE_AUX_PORT: u16 = 443;
/// RFC 4291 §2.5.5.2.
const MAPPED_PREFIX_BITS: u8 = 96;
/// RFC 8489 §14.9: fewer than 128 characters.
// compliance: 8489-14.9-01
const REALM_MAX_CHARS: usize = 127;
/// `sun_path` of unix(7), less the byte that ends it.
const SOCKET_PATH_MAX_BYTES: usize = 107;
const SHORT_SECRET_BYTES: usize = 16;
