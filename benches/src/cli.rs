//! The command line of `turnbuckle-bench`.
//!
//! Owns the options and what they add up to. Must not run anything.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Parser;
use turnbuckle_net::{allowed_cpus, source_toward};

use crate::comparison::Comparison;
use crate::contestant::{Contestant, Login, Programs, Target};
use crate::matrix;
use crate::measurement::Setting;
use crate::network::Network;
use crate::scenario::{Framing, Load, Row, Scenario, Traffic, Transport};
use crate::traffic::Phases;

/// Loads TURN servers and compares what that costs them.
///
/// Starts each server on this machine, sends traffic through it for a second or two, and does so in turns for several
/// rounds. Every combination of the lists given is a row of the result.
#[derive(Debug, Parser)]
#[command(name = "turnbuckle-bench", version, after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// Servers to compare: turnbuckle, coturn, turn-crate, reflector (no TURN, the floor), or NAME=COMMAND
    #[arg(long = "server", short, value_name = "SERVER")]
    servers: Vec<String>,

    /// A server that runs already, as NAME=IP:PORT; one that is not on the loopback interface is measured alone
    #[arg(long, value_name = "NAME=IP:PORT")]
    target: Option<String>,

    /// Process of the target on this machine, for figures of CPU and memory
    #[arg(long, requires = "target", value_name = "PID")]
    target_pid: Option<u32>,

    /// The target's shared secret
    #[arg(long, requires = "target", conflicts_with = "user")]
    secret: Option<String>,

    /// A user of the target
    #[arg(long, requires = "target", value_name = "NAME:PASSWORD")]
    user: Option<String>,

    /// This host's address that the target relays to, if it is not the one that clients use
    #[arg(long, requires = "target", value_name = "IP")]
    peer_ip: Option<IpAddr>,

    /// What the packets do: up, down, both, echo, hairpin, binding, handshake, hold
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "up,down",
        value_name = "LIST"
    )]
    scenario: Vec<Scenario>,

    /// Between client and server: udp, tcp, tls
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "udp",
        value_name = "LIST"
    )]
    transport: Vec<Transport>,

    /// How clients send data: channel (ChannelData) or indication (Send and Data)
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "channel",
        value_name = "LIST"
    )]
    framing: Vec<Framing>,

    /// Allocations, 1 to 10000
    #[arg(
        long,
        short = 'n',
        value_delimiter = ',',
        default_value = "50",
        value_name = "LIST"
    )]
    allocations: Vec<u32>,

    /// Bytes of application data per packet, 16 to 1400
    #[arg(
        long,
        short,
        value_delimiter = ',',
        default_value = "160",
        value_name = "LIST"
    )]
    payload: Vec<usize>,

    /// Order of packets: steady, poisson, train:N (N packets of one flow back to back), bundle:N (the same in one piece, as network cards merge them)
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "steady",
        value_name = "LIST"
    )]
    traffic: Vec<Traffic>,

    /// Packets per second, or closed:N: as fast as the server takes them with N on their way (closed: 512; handshakes at most 32)
    #[arg(
        long,
        short,
        value_delimiter = ',',
        default_value = "closed",
        value_name = "LIST"
    )]
    load: Vec<Load>,

    /// Give server and generator a CPU each: the last and the first this process may use; a target stays where it is
    #[arg(long)]
    pin: bool,

    /// Measure the standard matrix instead: the rows with goals
    #[arg(long, conflicts_with_all = ["scenario", "transport", "framing", "allocations", "payload", "traffic", "load", "pin"])]
    standard: bool,

    /// Rounds
    #[arg(long, short, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=100))]
    rounds: u16,

    /// Measured time of each round, in seconds
    #[arg(long, default_value_t = 1.5)]
    seconds: f64,

    /// Time before that in which nothing counts, in seconds
    #[arg(long, default_value_t = 0.3)]
    warm_up: f64,

    /// The server that ratios are to [default: coturn, or else the first]
    #[arg(long, value_name = "NAME")]
    baseline: Option<String>,

    /// Put client, server and peer into the namespaces of `cargo xtask bench-net`
    #[arg(long)]
    netns: bool,

    /// The turnbuckle to measure [default: TURNBUCKLE_BIN, or the one beside this program]
    #[arg(long, value_name = "PATH")]
    turnbuckle: Option<PathBuf>,

    /// The coturn to measure [default: COTURN_BIN, or turnserver in PATH]
    #[arg(long, value_name = "PATH")]
    coturn: Option<PathBuf>,

    /// Write every measurement to a file
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,

    /// Write the tables, and what they depend on, to a file
    #[arg(long, value_name = "FILE")]
    pub(crate) markdown: Option<PathBuf>,

    /// Draw server CPU and rates to an SVG file
    #[arg(long, value_name = "FILE")]
    pub(crate) plot: Option<PathBuf>,
}

impl Args {
    /// What is to be measured.
    ///
    /// # Errors
    /// If something can't be measured, named or found.
    pub(crate) fn comparison(&self) -> Result<Comparison> {
        let network = self.network()?;
        let rows = self.rows()?;
        let contestants = self.contestants()?;
        let cpus = allowed_cpus()?;
        let (Some(&generator_cpu), Some(&server_cpu)) = (cpus.first(), cpus.last()) else {
            bail!("there is no CPU to run on");
        };
        if generator_cpu == server_cpu && rows.iter().any(|row| row.pinned) {
            bail!("pinning needs two CPUs");
        }
        Ok(Comparison {
            rows,
            contestants,
            rounds: usize::from(self.rounds),
            setting: Setting {
                network,
                phases: Phases {
                    warm_up: seconds("--warm-up", self.warm_up)?,
                    measured: seconds("--seconds", self.seconds)?,
                },
                server_cpu,
                generator_cpu,
            },
        })
    }

    /// The contestant that ratios are to, if there are any ratios.
    ///
    /// # Errors
    /// If the one that was named is not among them.
    pub(crate) fn baseline<'a>(&self, contestants: &'a [Contestant]) -> Result<Option<&'a str>> {
        let find = |name: &str| contestants.iter().find(|c| c.name == name);
        let chosen = match &self.baseline {
            Some(name) => Some(
                find(name).with_context(|| format!("the baseline {name} does not take part"))?,
            ),
            None if contestants.len() > 1 => find("coturn").or_else(|| contestants.first()),
            None => None,
        };
        Ok(chosen.map(|contestant| contestant.name.as_str()))
    }

    /// Measured time of each round, in seconds.
    pub(crate) fn seconds(&self) -> f64 {
        self.seconds
    }

    fn network(&self) -> Result<Network> {
        if self.netns {
            return Network::namespaces();
        }
        let Some(target) = self.target_address()?.map(|(_, address)| address.ip()) else {
            return Ok(Network::loopback());
        };
        if target.is_loopback() && self.peer_ip.is_none() {
            return Ok(Network::loopback());
        }
        if !self.servers.is_empty() {
            bail!("a target that is not on the loopback interface is measured alone");
        }
        let clients =
            source_toward(target).with_context(|| format!("there is no way to {target}"))?;
        Ok(Network::elsewhere(clients, self.peer_ip.unwrap_or(clients)))
    }

    fn rows(&self) -> Result<Vec<Row>> {
        if self.standard {
            return Ok(matrix::standard());
        }
        let mut rows = Vec::new();
        for &scenario in &self.scenario {
            for &transport in &self.transport {
                for &framing in &self.framing {
                    for &allocations in &self.allocations {
                        for &payload in &self.payload {
                            for &traffic in &self.traffic {
                                for &load in &self.load {
                                    rows.push(Row {
                                        scenario,
                                        transport,
                                        framing,
                                        allocations,
                                        payload,
                                        traffic,
                                        load: match load {
                                            Load::Closed(window)
                                                if scenario == Scenario::Handshake =>
                                            {
                                                Load::Closed(window.min(HANDSHAKES_MAX))
                                            }
                                            load => load,
                                        },
                                        pinned: self.pin,
                                        goals: Vec::new(),
                                    });
                                }
                            }
                        }
                    }
                }
            }
        }
        for row in &rows {
            if let Err(why) = row.check() {
                bail!("{why}");
            }
        }
        Ok(rows)
    }

    fn contestants(&self) -> Result<Vec<Contestant>> {
        let mut programs = Programs::found()?;
        if let Some(path) = &self.turnbuckle {
            programs.turnbuckle.clone_from(path);
        }
        if let Some(path) = &self.coturn {
            programs.coturn.clone_from(path);
        }
        let mut servers = self.servers.clone();
        if servers.is_empty() && self.target.is_none() {
            servers = DEFAULT_SERVERS.map(str::to_owned).to_vec();
        }
        let mut contestants = servers
            .iter()
            .map(|text| Contestant::parse(text, &programs))
            .collect::<Result<Vec<_>>>()?;
        contestants.extend(self.target()?);
        for (i, contestant) in contestants.iter().enumerate() {
            if contestants[..i]
                .iter()
                .any(|other| other.name == contestant.name)
            {
                bail!("{} takes part twice: give it another name", contestant.name);
            }
        }
        Ok(contestants)
    }

    fn target(&self) -> Result<Option<Contestant>> {
        let Some((name, address)) = self.target_address()? else {
            return Ok(None);
        };
        let login = match (&self.secret, &self.user) {
            (Some(secret), _) => Login::Secret(secret.clone()),
            (None, Some(user)) => {
                let Some((name, password)) = user.split_once(':') else {
                    bail!("--user: {user:?} is no NAME:PASSWORD");
                };
                Login::User {
                    name: name.to_owned(),
                    password: password.to_owned(),
                }
            }
            (None, None) => bail!("--target needs --secret or --user"),
        };
        let target = Target {
            address,
            pid: self.target_pid,
            login,
        };
        Ok(Some(Contestant::running(name, target)))
    }

    fn target_address(&self) -> Result<Option<(&str, SocketAddr)>> {
        let Some(text) = &self.target else {
            return Ok(None);
        };
        let (name, address) = text.split_once('=').unwrap_or(("target", text));
        let address = address
            .parse()
            .with_context(|| format!("--target: {address:?} is no IP:PORT"))?;
        Ok(Some((name, address)))
    }
}

fn seconds(option: &str, value: f64) -> Result<Duration> {
    if !(0.01..=SECONDS_MAX).contains(&value) {
        bail!("{option} {value}: 0.01 to {SECONDS_MAX} seconds are possible");
    }
    Ok(Duration::from_secs_f64(value))
}

const DEFAULT_SERVERS: [&str; 3] = ["turnbuckle", "coturn", "reflector"];
/// More at a time only make a queue.
const HANDSHAKES_MAX: u32 = 32;
/// Below the five minutes of a permission, which is not refreshed.
const SECONDS_MAX: f64 = 120.0;
const AFTER_HELP: &str = "\
A COMMAND may contain {config} (a turnserver.conf for the run), {address}, {port}, {tls_port}, {relay}, {min_port}, \
{max_port}, {realm}, {secret}, {cert}, {key}, or {user} and {password}; it must answer Binding requests once it is ready, \
have no quotas, and let clients reach peers in 127.2.0.0/16 (10.79.0.0/16 with --netns).

Examples:
  turnbuckle-bench
  turnbuckle-bench --load 50000 --pin -n 50,1000 --rounds 5
  turnbuckle-bench -s turnbuckle -s 'old=/opt/old/turnbuckle -c {config}' --baseline old --scenario handshake,binding
  turnbuckle-bench --standard --netns --rounds 5 --json results.json --plot results.svg";

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::contestant::PLACEHOLDERS;

    fn parse(words: &str) -> Args {
        let words = ["turnbuckle-bench"]
            .into_iter()
            .chain(words.split_whitespace());
        Args::try_parse_from(words).unwrap()
    }

    fn error(words: &str) -> String {
        match parse(words).comparison() {
            Ok(_) => panic!("{words} was taken"),
            Err(error) => format!("{error:#}"),
        }
    }

    #[test]
    fn command_is_consistent() {
        Args::command().debug_assert();
        for name in PLACEHOLDERS {
            assert!(AFTER_HELP.contains(&format!("{{{name}}}")), "{name}");
        }
    }

    #[test]
    fn lists_are_combined() {
        let comparison = parse("--scenario up,echo -n 1,50 -p 160,1200 --load 1000 --rounds 2")
            .comparison()
            .unwrap();
        assert_eq!(comparison.rows.len(), 8);
        assert_eq!(comparison.len(), 8 * 3 * 2);
        let names: Vec<&str> = comparison.contestants.iter().map(|c| &*c.name).collect();
        assert_eq!(names, DEFAULT_SERVERS);
    }

    #[test]
    fn a_floor_takes_part_only_where_it_can() {
        let comparison = parse("--scenario binding -s reflector -s coturn --rounds 1")
            .comparison()
            .unwrap();
        assert_eq!(comparison.len(), 1);
    }

    #[test]
    fn what_cannot_be_measured_is_named() {
        assert!(error("--payload 8").contains("8 bytes"));
        assert!(error("--scenario hairpin -n 3").contains("even"));
        assert!(error("-s nobody").contains("nobody"));
        assert!(error("-s coturn -s coturn").contains("twice"));
        assert!(error("--target 127.0.0.1:3478").contains("--secret"));
        assert!(error("--target=localhost --secret s").contains("localhost"));
        assert!(error("--target 192.0.2.1:3478 --secret s -s coturn").contains("alone"));
        assert!(error("--seconds 0").contains("--seconds"));
    }

    #[test]
    fn the_baseline_is_coturn_or_the_first() {
        let baseline = |words: &str| {
            let args = parse(words);
            let comparison = args.comparison().unwrap();
            let found = args.baseline(&comparison.contestants);
            found
                .map(|name| name.map(str::to_owned))
                .map_err(|error| error.to_string())
        };
        assert_eq!(baseline("").unwrap().as_deref(), Some("coturn"));
        assert_eq!(
            baseline("-s turnbuckle -s turn-crate").unwrap().as_deref(),
            Some("turnbuckle")
        );
        assert_eq!(baseline("-s turnbuckle").unwrap(), None);
        assert!(baseline("--baseline other").unwrap_err().contains("other"));
    }
}
