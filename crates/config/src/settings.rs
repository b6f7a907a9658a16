//! What an operator asked for, whatever file it was written in. Owns the defaults; reads no file and decides nothing
//! about sockets, clocks or credentials that were made up.

use std::net::{IpAddr, SocketAddr};
use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use crate::certificate::CertificateFiles;
use crate::facility::SyslogFacility;
use crate::listener::{Listener, Transport};
use crate::metrics::MetricsSettings;
use crate::peer::PeerRules;
use crate::process::ProcessName;
use crate::rest::{ApiKey, RestSettings};
use crate::secret::Secret;
use crate::user::User;

/// Everything the server can be told, with every default filled in.
///
/// [`Settings::default`] is what runs with no file at all. Keys in the field descriptions are those of
/// `turnserver.conf`.
// compliance: 8489-16.1.2-01, 8656-7.2-25
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Where clients are served (`listening-ip`, `listening-port`, `tls-listening-port`, `aux-server`, `tcp-proxy-port`,
    /// `tls-proxy-port`, less what `no-udp`, `no-tcp` and `no-tls` take away). Never empty and no two the same. Default: UDP
    /// and TCP on port 3478 of every address of the host, and TLS on port 5349 once there is a certificate.
    pub listeners: Vec<Listener>,
    /// Local addresses of relay sockets (`relay-ip`, repeatable). Default empty: the server chooses.
    pub relay_ips: Vec<IpAddr>,
    /// Addresses told to clients in place of the local ones (`external-ip`, repeatable). Default empty.
    pub external_ips: Vec<ExternalIp>,
    /// Ports of relayed transport addresses (`min-port`, `max-port`). Default 49152 to 65535 (RFC 8656 §7.2).
    pub relay_ports: RangeInclusive<u16>,
    /// Realm of the long-term mechanism (`realm`), at most 127 characters, prepared by OpaqueString (RFC 8265 §4.2). Default none:
    /// the server names one.
    pub realm: Option<String>,
    /// Shared secrets of time-limited credentials (`static-auth-secret`, repeatable), the first being the one that
    /// new credentials are made with. Default empty.
    pub secrets: Vec<Secret>,
    /// Files that secrets were or are to be read from (`static-auth-secret-file`, repeatable). Default empty.
    pub secret_files: Vec<PathBuf>,
    /// Files that accounts were or are to be read from (`user-file`, repeatable). Default empty.
    pub user_files: Vec<PathBuf>,
    /// Character between expiry and user in a time-limited username (`rest-api-separator`). Default `:`.
    pub rest_separator: char,
    /// Static accounts (`user`, repeatable); names are unique. Default empty.
    pub users: Vec<User>,
    /// Relaying without credentials, asked for by `no-auth` alone. Default false.
    pub anonymous: bool,
    /// Whether an allocation may outlive the time-limited credential that it was made with (`strict-expiry`). Default `Off`: it may.
    pub strict_expiry: StrictExpiry,
    /// Which mechanism was asked for, so that "asked for, but nothing to check against" can be told from silence.
    pub auth_asked: AuthAsked,
    /// Allocations one user may hold at a time (`user-quota`). Default 12; `None` (0 in the file) is no limit.
    pub user_quota: Option<NonZeroU32>,
    /// Allocations of the whole server (`total-quota`). Default 1200; `None` (0 in the file) is no limit.
    pub total_quota: Option<NonZeroU32>,
    /// Bytes per second of one allocation in each direction (`max-bps`). Default `None` (0 in the file): no limit.
    pub max_rate: Option<NonZeroU64>,
    /// Bytes per second of the whole server, of which each allocation has `max_rate` reserved (`bps-capacity`). Default `None` (0 in
    /// the file): no limit.
    pub capacity: Option<NonZeroU64>,
    /// Which peers are opened and refused besides the built-in ranges (`allowed-peer-ip`, `denied-peer-ip`).
    pub peers: PeerRules,
    /// TLS is spoken on TCP listeners of every kind (cleared by `no-tls`). Default true, which has an effect once there is a
    /// certificate: see [`Settings::serves_tls`].
    pub tls: bool,
    /// DTLS is spoken on UDP listeners of every kind (`dtls`), for which there is a certificate. Default false.
    pub dtls: bool,
    /// Certificates of TLS and DTLS (`cert` and `pkey` in pairs, repeatable), the first being the one for clients that
    /// name no server (SNI, RFC 6066 §3) or one that no certificate is for. Default empty. The files are not read here.
    pub certificates: Vec<CertificateFiles>,
    /// TLS 1.2 is offered besides TLS 1.3 (cleared by `no-tlsv1_2`). Default true.
    pub tls12: bool,
    /// Cipher suites of TLS in the words of OpenSSL, as written (`cipher-list`). Default none: all that are offered.
    pub cipher_list: Option<String>,
    /// Proxies whose header is believed (`proxy-trusted`, repeatable); no other may connect to a listener that
    /// is [`Listener::proxied`]. Default empty.
    pub proxy_trusted: Vec<IpNet>,
    /// Connections of TCP and TLS clients held at a time (`max-connections`). Default 10000; never 0.
    pub connections_max: usize,
    /// Connections from one address, for IPv6 from one /64, that have no allocation (`max-pending-connections`). Default
    /// 128; never 0.
    pub pending_connections_max: usize,
    /// Time a connection may go without an allocation (`max-allocate-timeout`, seconds). Default 60 s; never 0.
    pub max_allocate_timeout: Duration,
    /// TCP allocations of RFC 6062 are granted: only `no-tcp-relay=0` spells that out. Default false.
    pub tcp_relay: bool,
    /// UDP allocations are granted (cleared by `no-udp-relay`). Default true.
    pub udp_relay: bool,
    /// Age at which a nonce is answered with 438 (`stale-nonce`, seconds). Default 600 s; `None` (0) is never.
    pub nonce_lifetime: Option<Duration>,
    /// Secret shared with the servers whose nonces are accepted (`stateless-nonce-secret`). Default none: each start makes one up.
    pub nonce_secret: Option<Secret>,
    /// Longest lifetime an allocation is given (`max-allocate-lifetime`, seconds). Default 3600 s (RFC 8656 §7.2).
    pub max_allocate_lifetime: Duration,
    /// Lifetime of a channel binding (`channel-lifetime`, seconds). Default 600 s (RFC 8656 §12).
    pub channel_lifetime: Duration,
    /// Lifetime of a permission (`permission-lifetime`, seconds). Default 300 s (RFC 8656 §9).
    pub permission_lifetime: Duration,
    /// Family of a relayed address when the client names none (`allocation-default-address-family`,
    /// `keep-address-family`). Default IPv4 (RFC 8656 §7.2).
    pub default_family: DefaultFamily,
    /// FINGERPRINT in every answer (`fingerprint`), not only where the request carried one. Default false.
    pub fingerprint: bool,
    /// No TURN, only STUN Binding (`stun-only`). Default false.
    pub stun_only: bool,
    /// Binding requests are answered (cleared by `no-stun`). Default true.
    pub stun: bool,
    /// Binding requests need credentials (`secure-stun`). Default false.
    pub secure_stun: bool,
    /// The NAT behaviour tests of RFC 5780 (`rfc5780`, `alt-listening-port`). Default `None`: they are not offered.
    pub nat_discovery: Option<NatDiscovery>,
    /// SOFTWARE, without a version, in answers (`software-attribute`). Default false.
    pub software_attribute: bool,
    /// Reason phrases in error answers (`include-reason-string`). Default false.
    pub include_reason: bool,
    /// Channel numbers 0x5000 to 0x7FFF of RFC 5766 are accepted (`rfc5766-channel-numbers`). Default false.
    pub wide_channels: bool,
    /// Allocations of UDP clients follow them to another address (`mobility`, RFC 8016). Default false.
    pub mobility: bool,
    /// Servers that clients are sent to instead of being served (`alternate-server` and its kin). Default none.
    pub alternates: Alternates,
    /// 401 answers per second and source (`unauthorized-ratelimit`, `unauthorized-ratelimit-rps`). Default 10;
    /// `None` (`unauthorized-ratelimit=0`) is no limit.
    pub unauthorized_rate: Option<NonZeroU32>,
    /// Where the log goes and how much of it.
    pub log: LogSettings,
    /// Where metrics and health are served over HTTP (`prometheus` and its kin). Default `None`: nowhere.
    pub metrics: Option<MetricsSettings>,
    /// Where credentials are given out over HTTP (`rest-listener` and its kin). Default `None`: nowhere.
    pub rest: Option<RestSettings>,
    /// Who is given credentials there (`rest-api-key`, repeatable). Default empty.
    pub rest_keys: Vec<ApiKey>,
    /// Lifetime of such credentials, and the longest (`rest-lifetime`, seconds). Default 86400 s.
    pub rest_lifetime_max: Duration,
    /// Origins of web pages that may ask there (`rest-allow-origin`, repeatable), in lower case. Default empty.
    pub rest_origins: Vec<String>,
    /// Worker shards (`relay-threads`, else `cpus`). Default `None`: as many as the host can use.
    pub shards: Option<NonZeroUsize>,
    /// Bytes asked of the kernel for each socket buffer (`sock-buf-size`). Default `None`: the server chooses.
    pub socket_buffer: Option<usize>,
    /// File the process id is written to (`pidfile`). Default none.
    pub pidfile: Option<PathBuf>,
    /// Socket that `turnctl` speaks to the running server over (`admin-socket`). Default [`AdminSocket::Usual`].
    pub admin_socket: AdminSocket,
    /// User that a server started by root goes on as (`proc-user`). Default none: the one it was started as.
    pub process_user: Option<ProcessName>,
    /// Group, likewise (`proc-group`). Default none: that of `process_user`.
    pub process_group: Option<ProcessName>,
    /// Directory of what has to outlive the process, such as the list of revoked users (`state-directory`). Default none: the one
    /// that systemd gives the service, if it does.
    pub state_directory: Option<PathBuf>,
    /// Allocations at which a drain is over and the server ends (`drain-min-allocations`). Default 0.
    pub drain_min_allocations: usize,
    /// Where this server does otherwise than coturn would have done with the same file. Empty without a file.
    pub differences: Vec<Difference>,
}

impl Settings {
    /// Whether TLS clients are served: they are wanted and there is a certificate to serve them with.
    pub fn serves_tls(&self) -> bool {
        self.tls && !self.certificates.is_empty()
    }

    /// Whether clients of this transport have a listener of their own, behind a proxy or not.
    pub fn listens(&self, transport: Transport) -> bool {
        self.listeners
            .iter()
            .any(|listener| listener.transport == transport)
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listeners: Listener::defaults(),
            relay_ips: Vec::new(),
            external_ips: Vec::new(),
            relay_ports: DEFAULT_RELAY_PORTS,
            realm: None,
            secrets: Vec::new(),
            secret_files: Vec::new(),
            user_files: Vec::new(),
            rest_separator: ':',
            users: Vec::new(),
            anonymous: false,
            strict_expiry: StrictExpiry::Off,
            auth_asked: AuthAsked::Nothing,
            user_quota: DEFAULT_USER_QUOTA,
            total_quota: DEFAULT_TOTAL_QUOTA,
            max_rate: None,
            capacity: None,
            peers: PeerRules::default(),
            tls: true,
            dtls: false,
            certificates: Vec::new(),
            tls12: true,
            cipher_list: None,
            proxy_trusted: Vec::new(),
            connections_max: DEFAULT_CONNECTIONS_MAX,
            pending_connections_max: DEFAULT_PENDING_CONNECTIONS_MAX,
            max_allocate_timeout: DEFAULT_MAX_ALLOCATE_TIMEOUT,
            tcp_relay: false,
            udp_relay: true,
            nonce_lifetime: Some(DEFAULT_NONCE_LIFETIME),
            nonce_secret: None,
            max_allocate_lifetime: Duration::from_secs(3600),
            channel_lifetime: Duration::from_secs(600),
            permission_lifetime: Duration::from_secs(300),
            default_family: DefaultFamily::Ipv4,
            fingerprint: false,
            stun_only: false,
            stun: true,
            secure_stun: false,
            nat_discovery: None,
            software_attribute: false,
            include_reason: false,
            wide_channels: false,
            mobility: false,
            alternates: Alternates::default(),
            unauthorized_rate: DEFAULT_UNAUTHORIZED_RATE,
            log: LogSettings::default(),
            metrics: None,
            rest: None,
            rest_keys: Vec::new(),
            rest_lifetime_max: Duration::from_secs(86400),
            rest_origins: Vec::new(),
            shards: None,
            socket_buffer: None,
            pidfile: None,
            admin_socket: AdminSocket::Usual,
            process_user: None,
            process_group: None,
            state_directory: None,
            drain_min_allocations: 0,
            differences: Vec::new(),
        }
    }
}

/// Where the admin API is served.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AdminSocket {
    /// At [`AdminSocket::USUAL_PATH`] if its directory is there and can be written to, which a systemd unit sees to; else
    /// nowhere.
    #[default]
    Usual,
    /// At this path, or the server does not start.
    At(PathBuf),
    /// Nowhere.
    Off,
}

impl AdminSocket {
    /// Where `turnctl` looks unless told otherwise.
    pub const USUAL_PATH: &str = "/run/turnbuckle/admin.sock";
}

/// An address told to clients in XOR-RELAYED-ADDRESS in place of the local one, for hosts behind a one-to-one NAT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExternalIp {
    /// What clients are told.
    pub public: IpAddr,
    /// The local relay address it stands for, of the same family; `None` stands for every one of that family.
    pub private: Option<IpAddr>,
}

/// Servers that clients are sent to (RFC 8489 §10), in the order of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Alternates {
    /// For clients of every transport without a list of its own (`alternate-server`).
    pub any: Vec<SocketAddr>,
    /// For UDP clients (`udp-alternate-server`).
    pub udp: Vec<SocketAddr>,
    /// For TCP clients (`tcp-alternate-server`).
    pub tcp: Vec<SocketAddr>,
    /// For TLS and DTLS clients (`tls-alternate-server`).
    pub tls: Vec<SocketAddr>,
}

/// Which authentication the file asked for, apart from the credentials it gave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AuthAsked {
    /// No key of the kind: coturn would relay for anyone, this server makes up a secret.
    #[default]
    Nothing,
    /// Time-limited credentials (`use-auth-secret` or `static-auth-secret`). Without a secret in the file the server
    /// makes one up.
    Secret,
    /// Static accounts (`lt-cred-mech` or `user`), and at least one is given.
    LongTerm,
    /// Both of them, side by side.
    Both,
    /// `no-auth`: anonymous relaying was spelled out.
    Anonymous,
}

/// What the expiry of a time-limited credential means for the allocation that it made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StrictExpiry {
    /// Nothing: it lives as long as it is refreshed.
    #[default]
    Off,
    /// It is not refreshed any more, and lives 10 minutes longer at most.
    Refresh,
    /// It ends.
    Expiry,
}

/// Family of the relayed transport address where an Allocate request has no REQUESTED-ADDRESS-FAMILY.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DefaultFamily {
    /// IPv4, as RFC 8656 §7.2 says.
    #[default]
    Ipv4,
    /// IPv6.
    Ipv6,
    /// The family that the client's own packets came over.
    Keep,
}

/// Where the log goes and how much of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// Least severe line that is written (`verbose`, `Verbose`, `log-min-level`). Default info.
    pub level: LogLevel,
    /// Where lines go (`log-file`, `syslog`). Default standard output.
    pub target: LogTarget,
    /// Lines for a file or syslog go to standard output as well (cleared by `no-stdout-log`). Default true.
    pub stdout_copy: bool,
    /// Answered Binding requests are logged (`log-binding`). Default false.
    pub bindings: bool,
    /// The file name is used as it is, without date and process id (`simple-log`). Default false.
    pub simple: bool,
    /// How a line is laid out (`log-format`). Default text.
    pub format: LogFormat,
    /// What lines for the system log are filed under (`syslog-facility`). Default daemon.
    pub facility: SyslogFacility,
    /// How much lines about sessions tell of people (`log-privacy`). Default off.
    pub privacy: LogPrivacy,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self {
            level: LogLevel::Info,
            target: LogTarget::Stdout,
            stdout_copy: true,
            bindings: false,
            simple: false,
            format: LogFormat::Text,
            facility: SyslogFacility::DAEMON,
            privacy: LogPrivacy::Off,
        }
    }
}

/// Severity of a log line, the most severe first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Something that was asked for does not work.
    Error,
    /// Something the operator should look at.
    Warn,
    /// Starts, stops and sessions.
    #[default]
    Info,
    /// Single requests (`verbose`).
    Debug,
    /// Everything (`Verbose`).
    Trace,
}

/// How a log line is laid out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// Time, level, sentence, and `name=value` for each field.
    #[default]
    Text,
    /// One JSON object.
    Json,
}

/// How much log lines about sessions tell of people.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogPrivacy {
    /// Everything.
    #[default]
    Off,
    /// Of the addresses of clients and peers the network alone: the first 24 bits of IPv4, the first 48 of IPv6, no port.
    Shorten,
    /// As [`Shorten`](Self::Shorten), and in place of user names a mark that is the same for one user until the server stops.
    Hash,
}

/// Where log lines go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum LogTarget {
    /// Standard output, which is the journal under systemd.
    #[default]
    Stdout,
    /// A file.
    File(PathBuf),
    /// The system log.
    Syslog,
}

/// Where the NAT behaviour tests of RFC 5780 are answered: over UDP on each of these addresses, on both ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NatDiscovery {
    /// Of each family at least two, or none.
    pub ips: Vec<IpAddr>,
    /// That of the ordinary listeners.
    pub port: u16,
    /// Another one.
    pub alternate_port: u16,
}

/// One point where this server does otherwise than coturn would have done with the same file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// One sentence for the operator, without a full stop.
    pub text: String,
    /// Line of the file it is about, if it is about one; counted from 1.
    pub line: Option<u32>,
}

const DEFAULT_CONNECTIONS_MAX: usize = 10_000;
const DEFAULT_PENDING_CONNECTIONS_MAX: usize = 128;
const DEFAULT_MAX_ALLOCATE_TIMEOUT: Duration = Duration::from_secs(60);
const DEFAULT_RELAY_PORTS: RangeInclusive<u16> = 49152..=65535;
const DEFAULT_USER_QUOTA: Option<NonZeroU32> = NonZeroU32::new(12);
const DEFAULT_TOTAL_QUOTA: Option<NonZeroU32> = NonZeroU32::new(1200);
const DEFAULT_NONCE_LIFETIME: Duration = Duration::from_secs(600);
const DEFAULT_UNAUTHORIZED_RATE: Option<NonZeroU32> = NonZeroU32::new(10);
