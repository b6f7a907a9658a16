//! The steps of a change-over: what each says, does, and how it is undone.

use std::fs;
use std::io;

use crate::failure::Failure;

use super::host::Host;
use super::plan::{DROP_IN, Plan};
use super::verify;

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The drop-in with this text.
    Write(String),
    /// The drop-in away.
    Remove,
    Stop(String),
    Start(String),
    Restart(String),
    Enable(String),
    Disable(String),
    /// A client's look at what runs now.
    Try,
}

impl Step {
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Write(text) => {
                let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
                format!("write {DROP_IN}: {}", lines.join(" | "))
            }
            Self::Remove => format!("remove {DROP_IN}"),
            Self::Stop(unit) => format!("stop {unit}; its sessions end"),
            Self::Start(unit) => format!("start {unit}"),
            Self::Restart(unit) => format!("restart {unit}; its sessions end"),
            Self::Enable(unit) => format!("enable {unit}, so that it starts with the host"),
            Self::Disable(unit) => format!("disable {unit}"),
            Self::Try => {
                "ask for a Binding and an allocation; without them all of this is undone".to_owned()
            }
        }
    }

    /// Whether it has an effect beyond the next start of the host, or takes away what a return would need.
    pub(super) fn lasts(&self) -> bool {
        matches!(self, Self::Enable(_) | Self::Disable(_) | Self::Remove)
    }
}

/// Does all steps. Where one fails, those before it are undone, last first, and the failure says so.
pub(super) fn apply(host: &Host, plan: &Plan, now: u64) -> Result<(), Failure> {
    let mut undo = Vec::new();
    for (number, step) in plan.steps.iter().enumerate() {
        match perform(host, plan, step, now, &mut undo) {
            Ok(told) => println!("{}. done: {}{told}", number + 1, short(step)),
            Err(failure) => {
                println!("{}. failed: {}", number + 1, short(step));
                print!("{failure}");
                return Err(roll_back(host, undo));
            }
        }
    }
    Ok(())
}

/// Returns what is worth saying. The way back is noted before the step is tried, as half a step is to be undone too.
fn perform(
    host: &Host,
    plan: &Plan,
    step: &Step,
    now: u64,
    undo: &mut Vec<Undo>,
) -> Result<String, Failure> {
    let systemctl = |verb: &str, unit: &str| host.systemctl(&[verb, unit]).map(|_| String::new());
    match step {
        Step::Write(text) => {
            undo.push(Undo::DropIn(present(host)?));
            put(host, Some(text)).map(|()| String::new())
        }
        Step::Remove => {
            undo.push(Undo::DropIn(present(host)?));
            put(host, None).map(|()| String::new())
        }
        Step::Stop(unit) => {
            undo.push(Undo::Systemctl("start", unit.clone()));
            systemctl("stop", unit)
        }
        Step::Start(unit) => {
            undo.push(Undo::Systemctl("stop", unit.clone()));
            systemctl("start", unit)
        }
        Step::Restart(unit) => {
            // Behind the old drop-in, which is put back first.
            undo.insert(0, Undo::Systemctl("restart", unit.clone()));
            systemctl("restart", unit)
        }
        Step::Enable(unit) => {
            undo.push(Undo::Systemctl("disable", unit.clone()));
            systemctl("enable", unit)
        }
        Step::Disable(unit) => {
            undo.push(Undo::Systemctl("enable", unit.clone()));
            systemctl("disable", unit)
        }
        Step::Try => verify::verify(&plan.settings, now).map(|told| format!(": {told}")),
    }
}

fn roll_back(host: &Host, undo: Vec<Undo>) -> Failure {
    let mut left = Vec::new();
    for step in undo.into_iter().rev() {
        let (shown, done) = match step {
            Undo::DropIn(text) => {
                let verb = if text.is_some() {
                    "put back"
                } else {
                    "removed"
                };
                (format!("{verb} {DROP_IN}"), put(host, text.as_deref()))
            }
            Undo::Systemctl(verb, unit) => (
                format!("systemctl {verb} {unit}"),
                host.systemctl(&[verb, &unit]).map(drop),
            ),
        };
        match done {
            Ok(()) => println!("undone: {shown}"),
            Err(failure) => {
                print!("{failure}");
                left.push(shown);
            }
        }
    }
    if left.is_empty() {
        return Failure::new("it did not work, and everything is as it was before")
            .help("`journalctl -u turnbuckle -u coturn` has what the servers said");
    }
    Failure::new(format!(
        "it did not work, and could not be undone: {}",
        left.join("; ")
    ))
    .help("do that by hand; `journalctl -u turnbuckle -u coturn` has what the servers said")
}

enum Undo {
    /// What the drop-in held before.
    DropIn(Option<String>),
    Systemctl(&'static str, String),
}

fn present(host: &Host) -> Result<Option<String>, Failure> {
    match fs::read_to_string(host.path(DROP_IN)) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Failure::new(format!("{DROP_IN} cannot be read: {error}"))),
    }
}

/// Writes or removes the drop-in, and has systemd read its files anew.
fn put(host: &Host, text: Option<&str>) -> Result<(), Failure> {
    let path = host.path(DROP_IN);
    let directory = path.parent().unwrap_or(&path);
    let done = match text {
        Some(text) => {
            // Written beside it and moved, so that there is never half of it.
            let new = path.with_extension("new");
            fs::create_dir_all(directory)
                .and_then(|()| fs::write(&new, text))
                .and_then(|()| fs::rename(&new, &path))
        }
        None => fs::remove_file(&path).or_else(|error| match error.kind() {
            io::ErrorKind::NotFound => Ok(()),
            _ => Err(error),
        }),
    };
    done.map_err(|error| Failure::new(format!("{DROP_IN} cannot be written: {error}")))?;
    if text.is_none() {
        // The operator may have other files there.
        let _ = fs::remove_dir(directory);
    }
    host.systemctl(&["daemon-reload"]).map(drop)
}

fn short(step: &Step) -> String {
    match step {
        Step::Write(_) => format!("write {DROP_IN}"),
        Step::Try => "ask as a client".to_owned(),
        _ => step.describe(),
    }
}
