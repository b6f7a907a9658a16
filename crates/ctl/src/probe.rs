//! Asks a TURN server what a caller would ask of it: an address of its own, an allocation of each family, data there and back.
//!
//! Owns the steps and what is concluded from them. Prints nothing, and knows nothing of configurations: whoever calls says what to
//! reach and with which credentials.

use std::fmt;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use turnbuckle_proto::{AddressFamily, LongTermKey};

pub(crate) use certificate::Trust;
pub(crate) use client::RETRANSMIT;
pub(crate) use finding::{Finding, Level};
pub(crate) use once::{allocation, binding};
pub(crate) use uri::{Carrier, TurnUri};

use client::{Client, ProbeError};
use connection::now as instant;

mod certificate;
mod client;
pub(crate) mod clock;
mod connection;
mod finding;
mod once;
mod uri;

/// A server at one address.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) uri: TurnUri,
    pub(crate) address: SocketAddr,
}

/// A user name and what proves it.
#[derive(Clone)]
pub(crate) struct Credential {
    pub(crate) username: String,
    pub(crate) password: Password,
}

/// What a long-term key is made of, or the key.
#[derive(Clone)]
pub(crate) enum Password {
    Text(String),
    Key(LongTermKey),
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential")
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

/// Everything that was found out about one target, in the order in which it was.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) target: Target,
    pub(crate) findings: Vec<Finding>,
    /// The server refused the credential: it does not know it, or has another time.
    pub(crate) unauthorized: bool,
    /// Credentials were taken.
    pub(crate) authorized: bool,
    /// This is the host of the server, so nothing came by way of its firewall.
    pub(crate) is_own_host: bool,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let by_address = self.uri.host.parse::<IpAddr>().is_ok();
        if by_address {
            write!(f, "{}", self.uri)
        } else {
            write!(f, "{} at {}", self.uri, self.address.ip())
        }
    }
}

/// Goes through all steps with one target. `now` is seconds since 1970, for certificates.
pub(crate) fn probe(target: &Target, credential: &Credential, trust: &Trust, now: u64) -> Report {
    let mut report = Report {
        target: target.clone(),
        findings: Vec::new(),
        unauthorized: false,
        authorized: false,
        is_own_host: false,
    };
    if let Err(error) = steps(&mut report, credential, trust, now) {
        report.findings.push(error.into_finding(target));
    }
    report
}

fn steps(
    report: &mut Report,
    credential: &Credential,
    trust: &Trust,
    now: u64,
) -> Result<(), ProbeError> {
    let target = report.target.clone();
    let mut client = Client::connect(&target, credential, trust)?;
    report
        .findings
        .extend(client.certificate_findings(&target.uri.host, now));
    let asked = instant();
    let mapped = client.binding()?;
    report.findings.push(Finding::ok(format!(
        "answers after {}, and sees this host as {mapped}",
        shown(asked.elapsed())
    )));
    for family in [AddressFamily::V4, AddressFamily::V6] {
        match of_family(report, family, mapped, (credential, trust)) {
            Ok(()) => report.authorized = true,
            Err(ProbeError::Refused { code: 440, .. }) => {
                report.authorized = true;
                report.findings.push(Finding::note(format!(
                    "{}: the server has no relayed addresses of this family",
                    named(family)
                )));
            }
            Err(error) => {
                report.unauthorized |= error.is_unauthorized();
                let fatal = error.is_about_credentials();
                report
                    .findings
                    .push(error.into_finding(&target).about(named(family)));
                if fatal {
                    return Ok(());
                }
            }
        }
    }
    Ok(())
}

/// Two allocations of one family exchange data, then this host and the first.
fn of_family(
    report: &mut Report,
    family: AddressFamily,
    mapped: SocketAddr,
    (credential, trust): (&Credential, &Trust),
) -> Result<(), ProbeError> {
    let target = report.target.clone();
    // An allocation belongs to its connection: each family, and each caller, has one.
    let mut caller = Client::connect(&target, credential, trust)?;
    let started = instant();
    let at_caller = caller.allocate(family)?;
    let allocated = started.elapsed();
    report.authorized = true;
    let mut callee = Client::connect(&target, credential, trust)?;
    let at_callee = callee.allocate(family)?;
    caller.create_permission(at_callee.ip())?;
    callee.create_permission(at_caller.ip())?;
    let round_trip = echo(&mut caller, &mut callee, at_caller, at_callee)?;
    report.findings.push(
        Finding::ok(format!(
            "allocates {at_caller} after {}, and data of two callers goes there and back in {}",
            shown(allocated),
            shown(round_trip)
        ))
        .about(named(family)),
    );
    let outside = from_outside(report, &mut caller, at_caller, mapped)?;
    report
        .findings
        .extend(outside.map(|finding| finding.about(named(family))));
    callee.release();
    caller.release();
    Ok(())
}

/// How long data takes from one caller to the other and back.
fn echo(
    caller: &mut Client,
    callee: &mut Client,
    at_caller: SocketAddr,
    at_callee: SocketAddr,
) -> Result<Duration, ProbeError> {
    let token = client::token()?;
    for _ in 0..SENDS {
        let sent = instant();
        caller.send(at_callee, &token)?;
        if !callee.receives(&token, Some(at_caller), WAIT)? {
            continue;
        }
        callee.send(at_caller, &token)?;
        if caller.receives(&token, Some(at_callee), WAIT)? {
            return Ok(sent.elapsed());
        }
    }
    Err(ProbeError::NoEcho)
}

/// Whether a datagram of this host reaches the relayed address by way of the network, and the answer this host. `None` if both are
/// the same host.
fn from_outside(
    report: &mut Report,
    caller: &mut Client,
    relayed: SocketAddr,
    mapped: SocketAddr,
) -> Result<Option<Finding>, ProbeError> {
    let target = &report.target;
    let opened = UdpSocket::bind(any_of(relayed)).and_then(|socket| {
        socket.connect(relayed)?;
        let own = socket.local_addr()?;
        Ok((socket, own.ip()))
    });
    let (socket, own) = match opened {
        Ok(opened) => opened,
        Err(error) => {
            let why = format!("this host has no way to {}: {error}", relayed.ip());
            return Ok(Some(not_tried(target, relayed, &why)));
        }
    };
    if own == relayed.ip() || mapped.ip() == target.address.ip() {
        report.is_own_host = true;
        return Ok(None);
    }
    // A NAT on the way shows itself in what the server sees.
    let me = if mapped.is_ipv4() == relayed.is_ipv4() {
        mapped.ip()
    } else {
        own
    };
    if let Err(error) = caller.create_permission(me) {
        return match error {
            ProbeError::Refused { code: 403, .. } => {
                let why = format!(
                    "the server refuses {me} as a peer, as it does with private addresses; run this on a host with a public \
                     address, or see `turnctl explain peer {me}` on the server"
                );
                Ok(Some(not_tried(target, relayed, &why)))
            }
            error => Err(error),
        };
    }
    let token = client::token()?;
    for _ in 0..SENDS {
        // An ICMP error of an earlier datagram would come out here.
        let _ = socket.send(&token);
        let Some(peer) = caller.receives_from(&token, WAIT)? else {
            continue;
        };
        caller.send(peer, &token)?;
        let mut buffer = [0; 64];
        let _ = socket.set_read_timeout(Some(WAIT));
        let came = socket.recv(&mut buffer);
        return Ok(Some(match came {
            Ok(len) if buffer.get(..len) == Some(&token) => {
                Finding::ok(format!("this host reaches {relayed} and is reached from it"))
            }
            _ => Finding::error(format!(
                "datagrams of this host reach {relayed}, but its answers do not come here"
            ))
            .help("let the server's host send UDP to any port: look at its firewall's rules for what goes out"),
        }));
    }
    Ok(Some(unreachable(target, relayed)))
}

fn not_tried(target: &Target, relayed: SocketAddr, why: &str) -> Finding {
    if differs(target, relayed) && !is_public(relayed.ip()) {
        return unreachable(target, relayed);
    }
    Finding::note(format!(
        "whether {relayed} can be reached is not known: {why}"
    ))
}

/// Nothing arrives at the relayed address. What is likely depends on what address it is.
fn unreachable(target: &Target, relayed: SocketAddr) -> Finding {
    let ip = relayed.ip();
    let server = target.address.ip();
    if !is_public(ip) && is_public(server) {
        return Finding::error(format!(
            "nothing reaches {relayed}: the server tells clients the private address {ip}, but it is reached as {server}"
        ))
        .help(format!("set `external-ip={server}`"));
    }
    if differs(target, relayed) {
        return Finding::error(format!(
            "nothing reaches {relayed}: the server tells clients that it is at {ip}, but it is reached as {server}"
        ))
        .help(format!(
            "if it has no second address, `external-ip` is wrong: set `external-ip={server}`"
        ));
    }
    Finding::error(format!(
        "nothing reaches {relayed}, though the server itself is reached as {server}"
    ))
    .help(
        "let UDP to `min-port` to `max-port` (49152 to 65535 unless the file says otherwise) in, in the firewall of the host and \
         in that of the provider; behind a NAT, forward these ports",
    )
}

fn differs(target: &Target, relayed: SocketAddr) -> bool {
    relayed.is_ipv4() == target.address.is_ipv4() && relayed.ip() != target.address.ip()
}

/// Whether hosts on the Internet can have this address; good enough for advice.
fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            let [first, second, ..] = ip.octets();
            let shared = first == 100 && (64..128).contains(&second);
            !(ip.is_private()
                || ip.is_loopback()
                || ip.is_link_local()
                || ip.is_unspecified()
                || shared)
        }
        IpAddr::V6(ip) => {
            !(ip.is_loopback()
                || ip.is_unspecified()
                || ip.is_unique_local()
                || ip.is_unicast_link_local())
        }
    }
}

fn any_of(other: SocketAddr) -> SocketAddr {
    if other.is_ipv4() {
        ([0; 4], 0).into()
    } else {
        ([0u16; 8], 0).into()
    }
}

const fn named(family: AddressFamily) -> &'static str {
    match family {
        AddressFamily::V4 => "IPv4",
        AddressFamily::V6 => "IPv6",
    }
}

/// A duration as people say it.
fn shown(duration: Duration) -> String {
    let milliseconds = duration.as_secs_f64() * 1000.0;
    if milliseconds < 10.0 {
        format!("{milliseconds:.1} ms")
    } else {
        format!("{milliseconds:.0} ms")
    }
}

/// How often data is sent that does not arrive.
const SENDS: usize = 3;
/// How long data may take in each direction.
const WAIT: Duration = Duration::from_millis(700);
