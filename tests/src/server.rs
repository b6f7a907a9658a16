//! The server under test, started as an operator starts it: with a file, on addresses of this host.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::{Namespace, Process, Signal, binaries, free_port};

/// A running server with its configuration file in a directory of its own. Killed when dropped; a failing test
/// prints its log.
#[derive(Debug)]
pub struct Server {
    process: Process,
    addresses: Vec<SocketAddr>,
    more_ports: Vec<(&'static str, u16)>,
    directory: TempDir,
}

impl Server {
    /// Starts the server on a free port of 127.0.0.1 with `config` in the format of `turnserver.conf`; the harness
    /// adds the listener's port and address.
    ///
    /// # Panics
    /// If the server does not say that it is ready.
    pub fn start(config: &str) -> Self {
        Self::builder(config).start()
    }

    /// As [`Server::start`], with choices.
    pub fn builder(config: &str) -> ServerBuilder<'_> {
        ServerBuilder {
            config: Some(config),
            listen: vec![Ipv4Addr::LOCALHOST.into()],
            more_ports: Vec::new(),
            namespace: None,
            limits: None,
            environment: Vec::new(),
        }
    }

    /// Starts the server as it is on its first day: no file, only the port and the address on the command line.
    ///
    /// # Panics
    /// If the server does not say that it is ready.
    pub fn start_without_file() -> Self {
        let mut builder = Self::builder("");
        builder.config = None;
        builder.start()
    }

    /// The first address it listens on.
    pub fn address(&self) -> SocketAddr {
        self.addresses[0]
    }

    /// The addresses it was told to listen on, in that order; all have the same port.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.address().port()
    }

    /// The port that [`ServerBuilder::port_for`] found for `key`.
    ///
    /// # Panics
    /// If it was not asked to.
    pub fn port_for(&self, key: &str) -> u16 {
        let found = self.more_ports.iter().find(|(known, _)| *known == key);
        found
            .unwrap_or_else(|| panic!("no port was asked for {key}"))
            .1
    }

    /// The process, for a look into `/proc`.
    pub fn process_id(&self) -> u32 {
        self.process.id()
    }

    /// The configuration file it was started with.
    pub fn config_path(&self) -> PathBuf {
        config_path(&self.directory)
    }

    /// What it printed so far.
    pub fn log(&self) -> String {
        self.process.output()
    }

    /// Waits for a line of its output for which `wanted` holds.
    ///
    /// # Panics
    /// If there is none in ten seconds.
    pub fn expect_log(&self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        self.process
            .wait_for_any_line(LOG_DEADLINE, wanted)
            .unwrap_or_else(|| panic!("the server's log has no line that says: {what}"))
    }

    /// What `turnctl credentials 1h NAME` prints for this server's configuration file.
    ///
    /// # Panics
    /// If it fails or prints anything but the two lines.
    pub fn credentials(&self, name: &str) -> Credentials {
        Credentials::from_turnctl(&self.config_path(), name)
    }

    /// Sends it `signal` and goes on.
    pub fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Waits for its end, which it comes to by itself, and returns all it printed.
    ///
    /// # Panics
    /// If it is not gone in ten seconds or its exit status is not 0.
    pub fn wait(mut self) -> String {
        let status = self.process.wait(STOP_DEADLINE);
        assert!(status.success(), "the server ended with {status}");
        self.process.output()
    }

    /// Stops it with SIGTERM and returns all it printed.
    ///
    /// # Panics
    /// If it is not gone in ten seconds or its exit status is not 0.
    pub fn stop(self) -> String {
        self.stop_with(Signal::TERM)
    }

    /// As [`Server::stop`], with another signal.
    pub fn stop_with(mut self, signal: Signal) -> String {
        self.process.signal(signal);
        let status = self.process.wait(STOP_DEADLINE);
        assert!(
            status.success(),
            "{signal:?} ended the server with {status}"
        );
        self.process.output()
    }
}

/// How a [`Server`] is started.
#[derive(Debug)]
pub struct ServerBuilder<'a> {
    /// `None`: started without a file.
    config: Option<&'a str>,
    listen: Vec<IpAddr>,
    more_ports: Vec<&'static str>,
    namespace: Option<&'a Namespace>,
    limits: Option<&'a str>,
    environment: Vec<(&'static str, OsString)>,
}

impl<'a> ServerBuilder<'a> {
    /// Listens on each of `addresses` instead of 127.0.0.1; on none means that the file names no address, so the
    /// server takes all of the host.
    #[must_use]
    pub fn listen(mut self, addresses: &[IpAddr]) -> Self {
        self.listen = addresses.to_vec();
        self
    }

    /// Adds `key` with a free port to the file, such as `tls-listening-port`; see [`Server::port_for`].
    #[must_use]
    pub fn port_for(mut self, key: &'static str) -> Self {
        self.more_ports.push(key);
        self
    }

    /// Runs the server through `prlimit` with this argument, such as `--nofile=64`; not in a namespace.
    #[must_use]
    pub fn limited(mut self, limits: &'a str) -> Self {
        self.limits = Some(limits);
        self
    }

    /// Sets a variable of the server's environment.
    #[must_use]
    pub fn env(mut self, name: &'static str, value: impl AsRef<OsStr>) -> Self {
        self.environment.push((name, value.as_ref().to_owned()));
        self
    }

    /// Runs the server in `namespace`, where the port is always 3478.
    #[must_use]
    pub fn in_namespace(mut self, namespace: &'a Namespace) -> Self {
        self.namespace = Some(namespace);
        self
    }

    /// Starts the server and waits until it says that it is ready.
    ///
    /// # Panics
    /// With its output, if it does not.
    pub fn start(self) -> Server {
        for _ in 0..PORT_ATTEMPTS {
            if let Some(server) = self.try_start() {
                return server;
            }
        }
        panic!("{PORT_ATTEMPTS} free ports in a row were taken before the server had them");
    }

    /// `None` if another process took the port in the meantime.
    fn try_start(&self) -> Option<Server> {
        let port = match self.namespace {
            Some(_) => NAMESPACE_PORT,
            None => self.free_port(),
        };
        let more_ports: Vec<_> = self
            .more_ports
            .iter()
            .map(|&key| (key, self.free_port()))
            .collect();
        let directory = TempDir::with_prefix("turnbuckle-").expect("a temporary directory");
        let program = binaries::turnbuckle();
        let mut command = match (self.namespace, self.limits) {
            (Some(namespace), _) => namespace.command(&program),
            (None, Some(limits)) => {
                let mut command = Command::new("prlimit");
                command.arg(limits).arg(&program);
                command
            }
            (None, None) => Command::new(&program),
        };
        command.current_dir(directory.path());
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        match self.config {
            Some(config) => {
                let path = config_path(&directory);
                fs::write(&path, self.file(config, port, &more_ports))
                    .expect("the file can be written");
                command.arg("-c").arg(&path);
            }
            None => {
                command.args(["-n", "-p", &port.to_string()]);
                for ip in &self.listen {
                    command.args(["-L", &ip.to_string()]);
                }
            }
        }
        let mut process = Process::start(&mut command);
        if process.wait_for_line(READY_DEADLINE, says_ready).is_none() {
            if process.output().contains("in use") && self.namespace.is_none() {
                return None;
            }
            let status = process.wait(STOP_DEADLINE);
            panic!(
                "the server ended with {status} before it was ready:\n{}",
                process.output()
            );
        }
        let addresses = if self.listen.is_empty() {
            vec![SocketAddr::from((Ipv4Addr::LOCALHOST, port))]
        } else {
            self.listen
                .iter()
                .map(|&ip| SocketAddr::new(ip, port))
                .collect()
        };
        Some(Server {
            process,
            addresses,
            more_ports,
            directory,
        })
    }

    fn free_port(&self) -> u16 {
        match self.listen.is_empty() {
            true => free_port(&[Ipv4Addr::UNSPECIFIED.into()]),
            false => free_port(&self.listen),
        }
    }

    fn file(&self, config: &str, port: u16, more_ports: &[(&str, u16)]) -> String {
        let mut text = format!("listening-port={port}\n");
        for (key, port) in more_ports {
            // The one key that takes an address with its port.
            let address = if *key == "rest-listener" {
                "127.0.0.1:"
            } else {
                ""
            };
            text.push_str(&format!("{key}={address}{port}\n"));
        }
        for ip in &self.listen {
            text.push_str(&format!("listening-ip={ip}\n"));
        }
        text + config + "\n"
    }
}

/// A user name and its password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// What goes into USERNAME.
    pub username: String,
    /// What the long-term key is made of.
    pub password: String,
}

impl Credentials {
    /// The pair `username` and `password`.
    pub fn new(username: &str, password: &str) -> Self {
        Self {
            username: username.to_owned(),
            password: password.to_owned(),
        }
    }

    fn from_turnctl(config: &Path, name: &str) -> Self {
        let output = Command::new(binaries::turnctl())
            .args(["credentials", "1h", name, "-c"])
            .arg(config)
            .output()
            .expect("turnctl runs");
        let stdout = String::from_utf8_lossy(&output.stdout);
        let lines: Vec<&str> = stdout.lines().collect();
        let &[username, password] = lines.as_slice() else {
            panic!(
                "turnctl credentials printed, with {}: {output:?}",
                output.status
            );
        };
        let (Some(username), Some(password)) = (
            username.strip_prefix("Username: "),
            password.strip_prefix("Password: "),
        ) else {
            panic!("turnctl credentials printed: {stdout}");
        };
        Self::new(username, password)
    }
}

fn config_path(directory: &TempDir) -> PathBuf {
    directory.path().join("turnserver.conf")
}

/// The word itself: "already in use" is no readiness.
fn says_ready(line: &str) -> bool {
    line.split(|character: char| !character.is_alphanumeric())
        .any(|word| word == "ready")
}

const READY_DEADLINE: Duration = Duration::from_secs(20);
const STOP_DEADLINE: Duration = Duration::from_secs(10);
const LOG_DEADLINE: Duration = Duration::from_secs(10);
const PORT_ATTEMPTS: usize = 10;
const NAMESPACE_PORT: u16 = 3478;
