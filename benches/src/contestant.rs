//! Who is compared: how each server is started, and what it can do.
//!
//! Owns the built-in contestants and the text of their configuration. Must not measure.

use std::env;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tempfile::TempDir;
use turnbuckle_proto::{Class, Message, MessageBuilder, Method, TransactionId};

use crate::account::Account;
use crate::clock::{Clock, nanoseconds, unix_seconds};
use crate::network::{Network, Place};
use crate::process::Process;
use crate::scenario::{Framing, Row, Scenario, Transport};

/// One of the servers that are compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Contestant {
    pub(crate) name: String,
    kind: Kind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    /// Started with these words; see [`PLACEHOLDERS`].
    Command { words: Vec<String>, limits: Limits },
    /// Runs already.
    Target(Target),
}

/// What a contestant leaves out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Limits {
    /// Nothing that is known.
    None,
    /// Clients over UDP only.
    UdpOnly,
    /// ChannelData between one client and one peer only.
    ForwardsOnly,
}

/// A server that is not started by the bench.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    /// For figures of CPU and memory, where it runs on this host.
    pub(crate) pid: Option<u32>,
    pub(crate) login: Login,
}

/// How clients get credentials of a [`Target`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Login {
    Secret(String),
    User { name: String, password: String },
}

/// Where the programs of the built-in contestants are.
#[derive(Clone, Debug)]
pub(crate) struct Programs {
    pub(crate) turnbuckle: PathBuf,
    pub(crate) coturn: PathBuf,
    /// Directory of the programs of this package.
    pub(crate) own: PathBuf,
}

impl Programs {
    /// Beside this program, where cargo puts them; coturn where `PATH` leads. `TURNBUCKLE_BIN` and `COTURN_BIN` win.
    ///
    /// # Errors
    /// If the place of this program is unknown.
    pub(crate) fn found() -> Result<Self> {
        let own = env::current_exe()?
            .parent()
            .context("this program lies in no directory")?
            .to_owned();
        let from_env = |name| env::var_os(name).map(PathBuf::from);
        Ok(Self {
            turnbuckle: from_env("TURNBUCKLE_BIN").unwrap_or_else(|| own.join("turnbuckle")),
            coturn: from_env("COTURN_BIN").unwrap_or_else(|| "turnserver".into()),
            own,
        })
    }
}

impl Contestant {
    /// One of the built-in contestants by its name, or any other as `NAME=COMMAND`.
    ///
    /// # Errors
    /// If it is neither.
    pub(crate) fn parse(text: &str, programs: &Programs) -> Result<Self> {
        let built_in = |program: &Path, arguments: &[&str], limits| {
            let mut words = vec![program.to_string_lossy().into_owned()];
            words.extend(arguments.iter().map(|&word| word.to_owned()));
            Ok(Self {
                name: text.to_owned(),
                kind: Kind::Command { words, limits },
            })
        };
        let listen = "{address}:{port}";
        match text {
            "turnbuckle" => built_in(&programs.turnbuckle, &["-c", "{config}"], Limits::None),
            "coturn" => built_in(&programs.coturn, &["-c", "{config}"], Limits::None),
            "turn-crate" => built_in(
                &programs.own.join("turn-crate-server"),
                &[listen, "{relay}", "{realm}", "{secret}"],
                Limits::UdpOnly,
            ),
            "reflector" => built_in(
                &programs.own.join("udp-reflector"),
                &[listen, "{relay}"],
                Limits::ForwardsOnly,
            ),
            _ => {
                let Some((name, command)) = text.split_once('=') else {
                    bail!(
                        "{text:?} is none of turnbuckle, coturn, turn-crate, reflector, NAME=COMMAND"
                    );
                };
                let words: Vec<String> = command.split_whitespace().map(str::to_owned).collect();
                if name.is_empty() || words.is_empty() {
                    bail!("{text:?} has no name or no command");
                }
                Ok(Self {
                    name: name.to_owned(),
                    kind: Kind::Command {
                        words,
                        limits: Limits::None,
                    },
                })
            }
        }
    }

    /// A server that runs already.
    pub(crate) fn running(name: &str, target: Target) -> Self {
        Self {
            name: name.to_owned(),
            kind: Kind::Target(target),
        }
    }

    /// Why it does not take part in `row`.
    pub(crate) fn leaves_out(&self, row: &Row) -> Option<&'static str> {
        match &self.kind {
            Kind::Command {
                limits: Limits::UdpOnly,
                ..
            } if row.transport != Transport::Udp => Some("serves UDP only"),
            Kind::Command {
                limits: Limits::ForwardsOnly,
                ..
            } if row.transport != Transport::Udp
                || row.framing != Framing::Channel
                || !row.scenario.relays()
                || row.scenario == Scenario::Hairpin =>
            {
                Some("forwards ChannelData to peers only")
            }
            _ => None,
        }
    }

    fn where_to_find(&self) -> String {
        match self.name.as_str() {
            "turnbuckle" => "build turnbuckle-server, or name it with --turnbuckle".to_owned(),
            "coturn" => {
                "install the package coturn, or name its turnserver with --coturn".to_owned()
            }
            name => format!("cannot start {name}"),
        }
    }

    /// What `--version` prints, in one line; nothing if it has no such option.
    pub(crate) fn version(&self) -> Option<String> {
        let Kind::Command { words, .. } = &self.kind else {
            return None;
        };
        let program = Path::new(words.first()?);
        if program.ends_with("turn-crate-server") {
            return Some(format!("turn {}", locked_version("turn")?));
        }
        if program.ends_with("udp-reflector") {
            return Some(env!("CARGO_PKG_VERSION").to_owned());
        }
        let output = Command::new(program).arg("--version").output().ok()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let line = text.lines().find(|line| !line.trim().is_empty())?;
        output.status.success().then(|| line.trim().to_owned())
    }

    /// Starts it for `row` and waits until it answers.
    ///
    /// # Errors
    /// If it cannot be started or does not answer in ten seconds.
    pub(crate) fn start(&self, row: &Row, network: &Network, cpu: Option<usize>) -> Result<Server> {
        let (words, expiry) = match &self.kind {
            Kind::Target(target) => return Ok(Server::running(target)),
            Kind::Command { words, .. } => (words, unix_seconds() + CREDENTIAL_SECONDS),
        };
        let directory = TempDir::with_prefix("turnbuckle-bench-")?;
        let place = Surroundings::prepare(row, network, directory.path())?;
        fs::write(&place.config, place.config_text(row, &self.name))?;
        let mut words = words.iter().map(|word| place.fill_in(word));
        let mut command = Command::new(words.next().context("no command")?);
        command.args(words);
        let process = Process::start(&mut command, directory.path(), network, cpu)
            .with_context(|| self.where_to_find())?;
        let uses_password = matches!(&self.kind, Kind::Command { words, .. }
            if words.iter().any(|word| word.contains("{password}")));
        let mut server = Server {
            address: SocketAddr::from((network.server, place.port)),
            tls_address: SocketAddr::from((network.server, place.tls_port)),
            account: if uses_password {
                Account::new(USER, PASSWORD)
            } else {
                Account::from_secret(SECRET, expiry)
            },
            process: Some(process),
            pid: None,
            _directory: Some(directory),
        };
        server.await_answer(network)?;
        Ok(server)
    }
}

/// A server that answers.
pub(crate) struct Server {
    /// For UDP and TCP.
    pub(crate) address: SocketAddr,
    pub(crate) tls_address: SocketAddr,
    pub(crate) account: Account,
    process: Option<Process>,
    pid: Option<u32>,
    _directory: Option<TempDir>,
}

impl Server {
    fn running(target: &Target) -> Self {
        Self {
            address: target.address,
            tls_address: target.address,
            account: match &target.login {
                Login::Secret(secret) => {
                    Account::from_secret(secret, unix_seconds() + CREDENTIAL_SECONDS)
                }
                Login::User { name, password } => Account::new(name, password),
            },
            process: None,
            pid: target.pid,
            _directory: None,
        }
    }

    /// Where its CPU time and memory can be read.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Process::pid).or(self.pid)
    }

    /// What it printed last.
    pub(crate) fn last_output(&self) -> String {
        self.process
            .as_ref()
            .map(Process::last_output)
            .unwrap_or_default()
    }

    /// Sends Binding requests until one is answered.
    fn await_answer(&mut self, network: &Network) -> Result<()> {
        let address = self.address;
        let clock = Clock::start();
        loop {
            let answered = network.inside(Place::Client, || answers_binding(address))??;
            if answered {
                return Ok(());
            }
            let ended = self.process.as_mut().is_some_and(Process::has_ended);
            if ended || clock.now_ns() > nanoseconds(START_DEADLINE) {
                let what = if ended {
                    "ended before it answered"
                } else {
                    "does not answer Binding requests"
                };
                bail!("the server {what}; it printed:\n{}", self.last_output());
            }
        }
    }
}

fn answers_binding(server: SocketAddr) -> Result<bool> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.set_read_timeout(Some(ANSWER_DEADLINE))?;
    let mut buf = [0; 512];
    let id = TransactionId(*b"is it there?");
    let len = MessageBuilder::new(&mut buf, Class::Request, Method::BINDING, id)?.finish();
    // Nobody listens there yet, maybe: an error is no answer.
    let _ = socket.send_to(&buf[..len], server);
    let Ok((len, _)) = socket.recv_from(&mut buf) else {
        return Ok(false);
    };
    Ok(Message::decode(&buf[..len])
        .is_ok_and(|answer| answer.transaction_id() == id && answer.class() == Class::Success))
}

/// What a server's configuration depends on.
struct Surroundings {
    address: Ipv4Addr,
    relay: Ipv4Addr,
    peers: &'static str,
    loopback: bool,
    port: u16,
    tls_port: u16,
    config: PathBuf,
    certificate: PathBuf,
    key: PathBuf,
    directory: PathBuf,
}

impl Surroundings {
    fn prepare(row: &Row, network: &Network, directory: &Path) -> Result<Self> {
        let place = network.clone();
        let ports = network.inside(Place::Server, || free_ports(place.server))??;
        let (certificate, key) = (directory.join("cert.pem"), directory.join("key.pem"));
        if row.transport == Transport::Tls {
            let made = rcgen::generate_simple_self_signed(vec![network.server.to_string()])?;
            fs::write(&certificate, made.cert.pem())?;
            fs::write(&key, made.signing_key.serialize_pem())?;
        }
        Ok(Self {
            address: network.server,
            relay: network.relay,
            peers: network.peer_range,
            loopback: network.is_loopback(),
            port: ports[0],
            tls_port: ports[1],
            config: directory.join("turnserver.conf"),
            certificate,
            key,
            directory: directory.to_owned(),
        })
    }

    fn fill_in(&self, word: &str) -> String {
        let path = |path: &Path| path.to_string_lossy().into_owned();
        let values = [
            self.config.to_string_lossy().into_owned(),
            self.address.to_string(),
            self.port.to_string(),
            self.tls_port.to_string(),
            self.relay.to_string(),
            MIN_PORT.to_string(),
            MAX_PORT.to_string(),
            REALM.to_owned(),
            SECRET.to_owned(),
            USER.to_owned(),
            PASSWORD.to_owned(),
            path(&self.certificate),
            path(&self.key),
        ];
        PLACEHOLDERS
            .iter()
            .zip(values)
            .fold(word.to_owned(), |word, (name, value)| {
                word.replace(&format!("{{{name}}}"), &value)
            })
    }

    /// A turnserver.conf with all limits off and every peer of the bench allowed.
    fn config_text(&self, row: &Row, name: &str) -> String {
        let mut text = format!(
            "listening-ip={}\nlistening-port={}\nrelay-ip={}\nmin-port={MIN_PORT}\nmax-port={MAX_PORT}\n\
             realm={REALM}\nuse-auth-secret\nstatic-auth-secret={SECRET}\nuser-quota=0\ntotal-quota=0\n\
             log-file=/dev/null\nno-stdout-log\nno-dtls\n",
            self.address, self.port, self.relay
        );
        if self.loopback {
            text.push_str("allow-loopback-peers\n");
        }
        text.push_str(&format!("allowed-peer-ip={}\n", self.peers));
        if row.transport == Transport::Tls {
            text.push_str(&format!(
                "tls-listening-port={}\ncert={}\npkey={}\n",
                self.tls_port,
                self.certificate.display(),
                self.key.display()
            ));
        } else {
            text.push_str("no-tls\n");
        }
        if name == "coturn" {
            text.push_str(&format!(
                "no-cli\nsimple-log\nuserdb={0}/turndb\npidfile={0}/turnserver.pid\n",
                self.directory.display()
            ));
        }
        text
    }
}

/// A port free for UDP and TCP, and another one that is free for TCP.
fn free_ports(address: Ipv4Addr) -> Result<[u16; 2]> {
    for _ in 0..PORT_ATTEMPTS {
        let tls = TcpListener::bind((address, 0))?;
        let tcp = TcpListener::bind((address, 0))?;
        let ports = [tcp.local_addr()?.port(), tls.local_addr()?.port()];
        if ports
            .iter()
            .all(|&port| UdpSocket::bind((address, port)).is_ok())
        {
            return Ok(ports);
        }
    }
    bail!("{address} has no free ports")
}

/// The version of `package` in the lock file this program was built with.
fn locked_version(package: &str) -> Option<&'static str> {
    let lock = include_str!("../../Cargo.lock");
    let (_, rest) = lock.split_once(&format!("\nname = \"{package}\"\nversion = \""))?;
    rest.split('"').next()
}

/// What stands in braces in the words of a command.
pub(crate) const PLACEHOLDERS: [&str; 13] = [
    "config", "address", "port", "tls_port", "relay", "min_port", "max_port", "realm", "secret",
    "user", "password", "cert", "key",
];
const REALM: &str = "bench.invalid";
const SECRET: &str = "benchmark-secret-that-guards-nothing";
const USER: &str = "bench";
const PASSWORD: &str = "bench";
/// Room for the most allocations; below the ports that the kernel gives to others.
const MIN_PORT: u16 = 10_000;
const MAX_PORT: u16 = 32_000;
const CREDENTIAL_SECONDS: u64 = 24 * 3600;
const START_DEADLINE: Duration = Duration::from_secs(10);
const ANSWER_DEADLINE: Duration = Duration::from_millis(50);
const PORT_ATTEMPTS: u32 = 50;
