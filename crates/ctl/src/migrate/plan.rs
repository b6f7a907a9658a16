//! What has to be done to change over, what stands in the way, and what the operator should know. Changes nothing.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};

use turnbuckle_config::{LogTarget, Settings, Severity, Transport, default_paths, read};

use crate::cli::MigrateArgs;
use crate::configuration;
use crate::failure::Failure;

use super::host::{Host, Service};
use super::steps::Step;

/// The way to one of the two servers.
pub(crate) struct Plan {
    pub(super) file: PathBuf,
    pub(super) settings: Settings,
    pub(super) steps: Vec<Step>,
    pub(super) problems: Vec<String>,
    facts: Vec<String>,
    notes: Vec<String>,
    /// Where it leads to.
    target: &'static str,
}

impl Plan {
    /// From coturn to this server.
    pub(super) fn forward(host: &Host, args: &MigrateArgs) -> Result<Self, Failure> {
        let (coturn, turnbuckle, mut plan) = Self::look(host, args, "Turnbuckle")?;
        if !turnbuckle.is_loaded {
            plan.problem(format!(
                "{}; install its package first",
                turnbuckle.describe()
            ));
        }
        let extra_groups = plan.check_files(host)?;
        let wanted = drop_in(host, &plan.file, &plan.settings, &extra_groups);
        let present = fs::read_to_string(host.path(DROP_IN)).ok();
        let drop_in_is_new = present.as_deref() != Some(&wanted);
        if drop_in_is_new {
            plan.steps.push(Step::Write(wanted));
        }
        if coturn.is_active {
            plan.steps.push(Step::Stop(coturn.unit.clone()));
        } else if !turnbuckle.is_active {
            plan.check_ports();
        }
        match (turnbuckle.is_active, drop_in_is_new) {
            (true, true) => plan.steps.push(Step::Restart(turnbuckle.unit.clone())),
            (true, false) => {}
            (false, _) => plan.steps.push(Step::Start(turnbuckle.unit.clone())),
        }
        if coturn.is_enabled {
            plan.steps.push(Step::Disable(coturn.unit));
        }
        if !turnbuckle.is_enabled {
            plan.steps.push(Step::Enable(turnbuckle.unit));
        }
        plan.put_trial();
        Ok(plan)
    }

    /// From this server to coturn.
    pub(super) fn back(host: &Host, args: &MigrateArgs) -> Result<Self, Failure> {
        let (coturn, turnbuckle, mut plan) = Self::look(host, args, "coturn")?;
        if !coturn.is_loaded {
            plan.problem(format!("{}, so there is no way back", coturn.describe()));
        }
        if turnbuckle.is_active {
            plan.steps.push(Step::Stop(turnbuckle.unit.clone()));
        }
        if !coturn.is_active {
            plan.steps.push(Step::Start(coturn.unit.clone()));
        }
        if turnbuckle.is_enabled {
            plan.steps.push(Step::Disable(turnbuckle.unit));
        }
        if !coturn.is_enabled {
            plan.steps.push(Step::Enable(coturn.unit));
        }
        if host.exists(DROP_IN) {
            plan.steps.push(Step::Remove);
        }
        plan.put_trial();
        Ok(plan)
    }

    fn look(
        host: &Host,
        args: &MigrateArgs,
        target: &'static str,
    ) -> Result<(Service, Service, Self), Failure> {
        let coturn = host.service(&args.unit)?;
        let turnbuckle = host.service(TURNBUCKLE)?;
        let file = match (&args.from, &coturn.configuration) {
            (Some(file), _) | (None, Some(file)) => file.clone(),
            (None, None) => COTURN_FILES
                .iter()
                .find(|path| host.exists(path))
                .map(PathBuf::from)
                .ok_or_else(|| {
                    Failure::new("coturn has no configuration file here").help(
                        "name it with `--from FILE`; without one there is nothing to take over",
                    )
                })?,
        };
        let source = configuration::text(&host.path(&file))?;
        let outcome = read(&file, &source, &[], host);
        let count = |severity| {
            let found = outcome.diagnostics.iter();
            found.filter(|found| found.severity == severity).count()
        };
        let mut facts = vec![coturn.describe(), turnbuckle.describe()];
        facts.push(format!(
            "{} has {} errors and {} warnings for this server; `turnctl config check {}` shows them",
            file.display(),
            count(Severity::Error),
            count(Severity::Warning),
            file.display()
        ));
        let settings = configuration::usable(&file, &source, outcome)?;
        let differences = settings.differences.len();
        if differences > 0 {
            facts.push(format!(
                "in {differences} points this server does otherwise than coturn with that file; the same command names them"
            ));
        }
        let plan = Self {
            file,
            settings,
            steps: Vec::new(),
            problems: Vec::new(),
            facts,
            notes: Vec::new(),
            target,
        };
        Ok((coturn, turnbuckle, plan))
    }

    /// The plan for a person, in the order in which it is done.
    pub(super) fn describe(&self) -> String {
        let mut text = String::new();
        // Writing to a `String` cannot fail.
        for (heading, lines) in [("What there is:", &self.facts), ("To know:", &self.notes)] {
            if lines.is_empty() {
                continue;
            }
            let _ = writeln!(text, "{heading}");
            for line in lines {
                let _ = writeln!(text, "  {line}");
            }
        }
        if !self.problems.is_empty() {
            let _ = writeln!(text, "In the way:");
            for problem in &self.problems {
                let _ = writeln!(text, "  {}", problem.replace('\n', "\n    "));
            }
            return text;
        }
        if !self.steps.is_empty() {
            let _ = writeln!(text, "To do, to run {}:", self.target);
        }
        for (number, step) in self.steps.iter().enumerate() {
            let _ = writeln!(text, "  {}. {}", number + 1, step.describe());
        }
        text
    }

    /// What is said at the end.
    pub(super) fn afterwards(&self) -> String {
        let back = match self.target {
            "coturn" => "turnctl migrate --apply",
            _ => "turnctl migrate --back --apply",
        };
        format!(
            "\n{} serves with {}. The way back: `{back}`.\n",
            self.target,
            self.file.display()
        )
    }

    /// A trial comes before anything that lasts over a restart of the host.
    fn put_trial(&mut self) {
        if self.steps.is_empty() {
            return;
        }
        let after = self
            .steps
            .iter()
            .position(Step::lasts)
            .unwrap_or(self.steps.len());
        self.steps.insert(after, Step::Try);
    }

    fn problem(&mut self, text: String) {
        self.problems.push(text);
    }

    /// Groups that the server's user has to be in to read what the file names, and the file itself.
    fn check_files(&mut self, host: &Host) -> Result<Vec<u32>, Failure> {
        if !host.is_root() {
            self.notes.push(format!(
                "whether the user {USER} can read the files is only known to root; run this with sudo"
            ));
            return Ok(Vec::new());
        }
        let Some(user) = host.user(USER) else {
            self.problem(format!(
                "there is no user {USER}; `systemd-sysusers turnbuckle.conf` makes it"
            ));
            return Ok(Vec::new());
        };
        let mut groups: Vec<u32> = Vec::new();
        for file in self.files() {
            if let Some(hidden) = HIDDEN.iter().find(|hidden| file.starts_with(hidden)) {
                self.problem(format!(
                    "{} lies in {hidden}, which the service does not see; copy it to /etc/turnbuckle and name it there",
                    file.display()
                ));
                continue;
            }
            if !host.exists(&file) {
                self.problem(format!("{} is not there", file.display()));
                continue;
            }
            if host.is_readable(&file, user, &groups)? {
                continue;
            }
            let mut more = groups.clone();
            more.extend(host.groups_of(&file));
            if host.is_readable(&file, user, &more)? {
                groups = more;
            } else {
                self.problem(unreadable(&file));
            }
        }
        groups.sort_unstable();
        groups.dedup();
        for &group in &groups {
            self.notes.push(format!(
                "the service is put into the group {}, which may read those files; owners, modes and groups stay as they are",
                host.group_name(group)
            ));
        }
        Ok(groups)
    }

    fn files(&self) -> Vec<PathBuf> {
        let settings = &self.settings;
        let certificates = settings
            .certificates
            .iter()
            .flat_map(|pair| [&pair.cert, &pair.key]);
        let mut files = vec![self.file.clone()];
        files.extend(certificates.cloned());
        files.extend(settings.secret_files.iter().cloned());
        files.extend(settings.user_files.iter().cloned());
        files
    }

    /// While neither server runs, nobody may have the ports.
    fn check_ports(&mut self) {
        let mut held = Vec::new();
        for listener in &self.settings.listeners {
            if listener.transport != Transport::Udp {
                continue;
            }
            let ip = listener
                .address
                .unwrap_or_else(|| Ipv4Addr::UNSPECIFIED.into());
            let address = SocketAddr::new(ip, listener.port);
            match UdpSocket::bind(address) {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => held.push(address),
                _ => {}
            }
        }
        for address in held {
            self.problem(format!(
                "another program has UDP {address}; `ss -lunp 'sport = :{}'` names it",
                address.port()
            ));
        }
    }
}

/// What the unit is told besides: the file, where it is not the one that would be found, places that the service may write to,
/// and groups.
fn drop_in(host: &Host, file: &Path, settings: &Settings, groups: &[u32]) -> String {
    let mut options = Vec::new();
    let found = default_paths().iter().find(|path| host.exists(path));
    if found.is_none_or(|found| Path::new(found) != file) {
        options.push(format!("-c {}", quoted(file)));
    }
    if let LogTarget::File(path) = &settings.log.target
        && !is_writable(path)
    {
        options.push("--log-file=/var/log/turnbuckle/turnbuckle.log".to_owned());
    }
    if let Some(path) = &settings.pidfile
        && !is_writable(path)
    {
        options.push("--pidfile=/run/turnbuckle/turnbuckle.pid".to_owned());
    }
    let mut text = format!(
        "# Written by `turnctl migrate`, and removed by `turnctl migrate --back`.\n# Configuration: {}\n[Service]\n",
        file.display()
    );
    if !options.is_empty() {
        text.push_str("ExecStart=\n");
        let _ = writeln!(text, "ExecStart=/usr/bin/turnbuckle {}", options.join(" "));
    }
    for &group in groups {
        let _ = writeln!(text, "SupplementaryGroups={}", host.group_name(group));
    }
    text
}

/// A word of a command as systemd reads it.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let text = text
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('%', "%%")
        .replace('$', "$$");
    format!("\"{text}\"")
}

/// The directories that the unit opens for writing.
fn is_writable(path: &Path) -> bool {
    path.starts_with("/var/log/turnbuckle") || path.starts_with("/run/turnbuckle")
}

fn unreadable(file: &Path) -> String {
    let shown = file.display();
    format!(
        "the user {USER} cannot read {shown}\n\
         with access lists (package acl): setfacl -m u:{USER}:r {shown}, and u:{USER}:x for the directories above it\n\
         with a group: chgrp turnserver {shown} && chmod g+r {shown}\n\
         for a certificate that is renewed, do so in the hook that runs after each renewal"
    )
}

/// The unit of this server.
pub(super) const TURNBUCKLE: &str = "turnbuckle.service";
/// What is laid over it; also the mark that a change-over was made.
pub(super) const DROP_IN: &str = "/etc/systemd/system/turnbuckle.service.d/migrated.conf";
/// The user that the unit names.
const USER: &str = "turnbuckle";
/// What `ProtectHome=` hides.
const HIDDEN: [&str; 3] = ["/home", "/root", "/run/user"];
const COTURN_FILES: [&str; 4] = [
    "/etc/turnserver.conf",
    "/etc/coturn/turnserver.conf",
    "/usr/local/etc/turnserver.conf",
    "/usr/local/etc/coturn/turnserver.conf",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_word_for_systemd() {
        let path = Path::new("/etc/my \"turn\" $1 %n.conf");
        assert_eq!(quoted(path), "\"/etc/my \\\"turn\\\" $$1 %%n.conf\"");
    }
}
