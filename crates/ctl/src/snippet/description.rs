//! What there is to tell about one server: where clients reach it, what they authenticate with, for how long. Owns what is refused
//! because the server would not serve whoever is told; lays nothing out.

use std::path::{Path, PathBuf};

use turnbuckle_config::{
    Endpoint, Host, RestDoor, RestSettings, Secret, Settings, Transport, UserCredential, endpoints,
};
use turnbuckle_proto::rest;
use x509_cert::Certificate;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

use crate::cli::SnippetArgs;
use crate::configuration::Configuration;
use crate::expiry::Expiry;
use crate::failure::Failure;

/// One server, as another program has to know it.
pub(super) struct Description {
    /// Where clients reach it, each over one transport; never empty.
    pub(super) endpoints: Vec<Endpoint>,
    /// Seconds that a credential is good for, if the operator said so.
    asked_ttl: Option<u64>,
    secrets: Vec<Secret>,
    /// The file that holds the secret alone, if there is one.
    pub(super) secret_file: Option<PathBuf>,
    /// The first static account with a password.
    account: Option<(String, Secret)>,
    /// URL of the credential endpoint for programs on this host, if it has a port.
    pub(super) rest_url: Option<String>,
    /// Lowest and highest relay port.
    pub(super) relay_ports: (u16, u16),
    separator: char,
    /// What it was read from, for messages.
    origin: String,
    now: u64,
    /// What the operator should know.
    pub(super) notes: Vec<String>,
}

impl Description {
    pub(super) fn of(
        configuration: &Configuration,
        args: &SnippetArgs,
        now: u64,
    ) -> Result<Self, Failure> {
        let settings = &configuration.settings;
        let origin = &configuration.origin;
        if settings.stun_only {
            return Err(Failure::new(format!(
                "the server of {origin} relays nothing: it has `stun-only`"
            ))
            .help("remove `stun-only`"));
        }
        if settings.anonymous {
            return Err(Failure::new(format!(
                "{origin} has `no-auth`, so there is no secret to tell"
            ))
            .help("write `use-auth-secret` and `static-auth-secret=…` instead of `no-auth`"));
        }
        let mut notes = Vec::new();
        let host = host(settings, args, &mut notes)?;
        let mut found = endpoints(settings, host.as_ref()).list;
        if !args.over.is_empty() {
            for transport in &args.over {
                if found
                    .iter()
                    .all(|endpoint| endpoint.transport != *transport)
                {
                    return Err(not_there(settings, origin, *transport));
                }
            }
            found.retain(|endpoint| args.over.contains(&endpoint.transport));
        }
        if found.is_empty() {
            return Err(Failure::new(format!(
                "{origin} does not say how clients reach the server"
            ))
            .help("add `--host turn.example.org` with its name"));
        }
        let has_name = found
            .iter()
            .any(|endpoint| matches!(endpoint.host, Host::Name(_)));
        if settings.serves_tls() && !has_name {
            notes.push(
                "no `turns:` URL is told: clients check the certificate against a name, and only an address is known; give \
                 `--host`"
                    .to_owned(),
            );
        }
        let ttl = match args.ttl {
            Some(Expiry::After(seconds)) => Some(seconds),
            Some(Expiry::At(_)) => {
                return Err(Failure::new("`--ttl` is a length of time, not a time")
                    .help("write `--ttl 12h`"));
            }
            None => None,
        };
        // A file of several secrets is none that a consumer could read.
        let named = settings
            .secret_files
            .first()
            .filter(|_| settings.secrets.len() == 1);
        let secret_file = args.source.secret_file.as_ref().or(named);
        let account = settings
            .users
            .iter()
            .find_map(|user| match &user.credential {
                UserCredential::Password(password) => Some((user.name.clone(), password.clone())),
                UserCredential::Key(_) => None,
            });
        Ok(Self {
            endpoints: found,
            asked_ttl: ttl,
            secrets: settings.secrets.clone(),
            secret_file: secret_file.cloned(),
            account,
            rest_url: settings.rest.as_ref().and_then(rest_url),
            relay_ports: (*settings.relay_ports.start(), *settings.relay_ports.end()),
            separator: settings.rest_separator,
            origin: origin.clone(),
            now,
            notes,
        })
    }

    /// The secret for a consumer that makes credentials itself.
    pub(super) fn secret(&self) -> Result<&Secret, Failure> {
        let Some(secret) = self.secrets.first() else {
            return Err(
                Failure::new(format!("{} has no `static-auth-secret`", self.origin))
                    .help("add `static-auth-secret=` and what `openssl rand -hex 32` prints"),
            );
        };
        if self.separator != ':' {
            return Err(Failure::new(format!(
                "{} has `rest-api-separator={}`, and this program writes a colon behind the expiry",
                self.origin, self.separator
            ))
            .help("remove `rest-api-separator`"));
        }
        checked(secret)
    }

    /// The second secret, if there is one.
    pub(super) fn second_secret(&self) -> Result<Option<&Secret>, Failure> {
        self.secrets.get(1).map(checked).transpose()
    }

    /// A name and password for a consumer that can only be given those: a static account, or else a credential of `--ttl`, by
    /// default ten years, for `name`. True if it is the latter.
    pub(super) fn account(&self, name: &str) -> Result<(String, Secret, bool), Failure> {
        if let Some((name, password)) = &self.account {
            checked(&Secret::new(name.clone()))?;
            return Ok((name.clone(), checked(password)?.clone(), false));
        }
        let Some(secret) = self.secrets.first() else {
            return Err(Failure::new(format!(
                "{} has neither a static account with a password nor a secret",
                self.origin
            ))
            .help("add `user=name:password`"));
        };
        let expiry = self
            .now
            .saturating_add(self.asked_ttl.unwrap_or(TEN_YEARS_S));
        let username = rest::username(expiry, Some(name), self.separator);
        let password = rest::password(secret.expose().as_bytes(), &username);
        Ok((username, Secret::new(password.as_str()), true))
    }

    /// Seconds that a credential is good for: `--ttl`, or a day.
    pub(super) fn ttl(&self) -> u64 {
        self.asked_ttl.unwrap_or(86400)
    }

    /// Every URL, the likeliest to work well first.
    pub(super) fn urls(&self) -> Vec<String> {
        self.endpoints.iter().map(Endpoint::url).collect()
    }

    /// Where Binding requests are answered over UDP.
    pub(super) fn stun(&self) -> Vec<(&Host, u16)> {
        let udp = self
            .endpoints
            .iter()
            .filter(|endpoint| endpoint.transport == Transport::Udp);
        udp.map(|endpoint| (&endpoint.host, endpoint.port))
            .collect()
    }

    /// The file that a consumer reads the secret from: where it is, or where it might be put.
    pub(super) fn secret_path(&self, usual: &str) -> String {
        self.secret_file
            .as_deref()
            .unwrap_or_else(|| Path::new(usual))
            .display()
            .to_string()
    }
}

/// Passes a secret that every format can hold.
fn checked(secret: &Secret) -> Result<&Secret, Failure> {
    if secret.expose().chars().any(char::is_control) {
        return Err(Failure::new(
            "the secret holds a control character, which configuration files cannot",
        )
        .help("make one with `openssl rand -hex 32`"));
    }
    Ok(secret)
}

/// The host that was named, or the name in the certificate.
fn host(
    settings: &Settings,
    args: &SnippetArgs,
    notes: &mut Vec<String>,
) -> Result<Option<Host>, Failure> {
    if let Some(host) = &args.host {
        return Ok(Some(host.clone()));
    }
    if settings.serves_tls()
        && let Some(name) = settings
            .certificates
            .iter()
            .find_map(|files| name_in(&files.cert))
    {
        notes.push(format!(
            "the name {name} is taken from the certificate; give `--host` if clients reach the server by another one"
        ));
        return Ok(Some(Host::Name(name)));
    }
    let derived = endpoints(settings, None);
    if derived.from_realm {
        notes.push(
            "the name of the server is taken from `realm`; give `--host` if clients reach it by another one".to_owned(),
        );
    }
    Ok(None)
}

/// The first name of the first certificate in a PEM file that can be read and stands for one host.
fn name_in(file: &Path) -> Option<String> {
    let pem = std::fs::read(file).ok()?;
    let chain = Certificate::load_pem_chain(&pem).ok()?;
    let names: Option<(bool, SubjectAltName)> =
        chain.first()?.tbs_certificate().get_extension().ok()?;
    names?.1.0.into_iter().find_map(|name| match name {
        GeneralName::DnsName(name) if !name.as_str().contains('*') => {
            Some(name.as_str().to_ascii_lowercase())
        }
        _ => None,
    })
}

/// Why clients do not reach the server over a transport.
fn not_there(settings: &Settings, origin: &str, transport: Transport) -> Failure {
    let word = transport.as_str().to_ascii_uppercase();
    let listens = |proxied: bool| {
        let of = settings.listeners.iter();
        of.filter(|listener| listener.transport == transport)
            .any(|listener| listener.proxied == proxied)
    };
    if listens(false) {
        let (reason, help) = match transport {
            Transport::Tls => (
                "TLS clients check the certificate against a name, and only an address is known"
                    .to_owned(),
                "add `--host` with the name in the certificate",
            ),
            _ => (
                format!("{origin} does not say how clients reach the server"),
                "add `--host turn.example.org` with its name",
            ),
        };
        return Failure::new(reason).help(help);
    }
    if listens(true) {
        return Failure::new(format!(
            "over {word} clients reach the server of {origin} through a proxy alone, whose name and port are not known here"
        ))
        .help("leave out `--over` for the others, and change host and port in what is printed");
    }
    let failure = Failure::new(format!(
        "the server of {origin} is not reached over {word}: there is no such listener"
    ));
    failure.help(match transport {
        Transport::Tls if settings.certificates.is_empty() => "add `cert` and `pkey`",
        Transport::Tls => "remove `no-tls`, or add a listener for TLS",
        Transport::Udp => "remove `no-udp`, or add a listener for UDP",
        Transport::Tcp => "remove `no-tcp`, or add a listener for TCP",
        Transport::Dtls => "no program here is told of DTLS",
    })
}

const TEN_YEARS_S: u64 = 3650 * 86400;

fn rest_url(rest: &RestSettings) -> Option<String> {
    match &rest.door {
        RestDoor::Tcp(address) => {
            let scheme = match rest.certificate {
                Some(_) => "https",
                None => "http",
            };
            Some(format!("{scheme}://{address}/turn"))
        }
        RestDoor::Unix(_) => None,
    }
}
