//! Whom the process goes on as once root has done what only root can (`proc-user`, `proc-group`). Owns the look-up of names and the
//! change itself, which is for all threads: the C library's functions see to that, the bare system calls do not.
//!
//! No capability is kept. A listener on a port below 1024 that a reload adds can only be bound where systemd gives
//! CAP_NET_BIND_SERVICE, as the unit does.

use std::ffi::CString;
use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use nix::unistd::{
    Gid, Group, Uid, User, getegid, geteuid, getresgid, getresuid, initgroups, setgroups,
    setresgid, setresuid,
};
use turnbuckle_config::{ProcessName, Settings};

/// Another user, or another group, than those that the process has.
#[derive(Debug)]
pub(crate) struct Identity {
    /// Known by name, so that its further groups can be taken over.
    user: Option<User>,
    uid: Uid,
    gid: Gid,
}

impl Identity {
    /// Who is asked for; `None` if the process is that already. Fails if the host knows no such name, or if only root could go over
    /// to it; the error names the key and the line.
    pub(crate) fn of(settings: &Settings) -> Result<Option<Self>> {
        let (user, group) = (&settings.process_user, &settings.process_group);
        let Some(asked) = user.as_ref().or(group.as_ref()) else {
            return Ok(None);
        };
        let found = user.as_ref().map(find_user).transpose()?;
        let uid = found.as_ref().map_or_else(geteuid, |(uid, _)| *uid);
        let known = found.and_then(|(_, user)| user);
        let gid = match group {
            Some(group) => find_group(group)?,
            None => known.as_ref().map_or_else(getegid, |user| user.gid),
        };
        if (uid, gid) == (geteuid(), getegid()) && !geteuid().is_root() {
            return Ok(None);
        }
        if !geteuid().is_root() {
            let key = if user.is_some() {
                "proc-user"
            } else {
                "proc-group"
            };
            bail!(
                "{}only root can go over to another user or group, and this process belongs to user {}: start it as root, or \
                 remove the line and name the user by `User=` in its systemd unit",
                place(asked, key),
                geteuid()
            );
        }
        Ok(Some(Self {
            user: known,
            uid,
            gid,
        }))
    }

    /// Who it will be.
    pub(crate) fn ids(&self) -> (Uid, Gid) {
        (self.uid, self.gid)
    }

    /// Gives up root, in all threads and for good.
    pub(crate) fn assume(&self) -> Result<()> {
        match &self.user {
            Some(user) => {
                let name =
                    CString::new(user.name.as_str()).context("the name of a user has a NUL")?;
                initgroups(&name, self.gid)
            }
            None => setgroups(&[self.gid]),
        }
        .context("the further groups cannot be given up")?;
        setresgid(self.gid, self.gid, self.gid)
            .with_context(|| format!("group {} cannot be taken", self.gid))?;
        setresuid(self.uid, self.uid, self.uid)
            .with_context(|| format!("user {} cannot be taken", self.uid))?;
        let (users, groups) = (getresuid()?, getresgid()?);
        let taken = [users.real, users.effective, users.saved] == [self.uid; 3]
            && [groups.real, groups.effective, groups.saved] == [self.gid; 3];
        if !taken
            || (!self.uid.is_root() && setresuid(Uid::from_raw(0), self.uid, self.uid).is_ok())
        {
            bail!("the rights of root are still there");
        }
        tracing::info!("going on as {self}");
        Ok(())
    }

    /// Says which files cannot be read any more, though they are to be read again while the server runs.
    pub(crate) fn warn_of_unreadable(&self, settings: &Settings, file: Option<&Path>) {
        let certificates = settings
            .certificates
            .iter()
            .flat_map(|files| [&files.cert, &files.key]);
        let read_again = certificates
            .chain(&settings.secret_files)
            .chain(&settings.user_files)
            .map(PathBuf::as_path)
            .chain(file);
        for path in read_again {
            if let Err(error) = File::open(path) {
                tracing::warn!(
                    "{} cannot be read by {self} ({error}), so changes of it are not taken over until the server is started anew; \
                     to mend that, let this user read it",
                    path.display()
                );
            }
        }
    }
}

impl std::fmt::Display for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.user {
            Some(user) => write!(f, "user {}", user.name)?,
            None => write!(f, "user {}", self.uid)?,
        }
        write!(f, ", group {}", self.gid)
    }
}

fn find_user(wanted: &ProcessName) -> Result<(Uid, Option<User>)> {
    let place = || place(wanted, "proc-user");
    let by_name = User::from_name(&wanted.name)
        .map_err(|error| anyhow!("{}users cannot be looked up: {error}", place()))?;
    match (by_name, wanted.name.parse()) {
        (Some(user), _) => Ok((user.uid, Some(user))),
        (None, Ok(number)) => {
            let uid = Uid::from_raw(number);
            Ok((uid, User::from_uid(uid).ok().flatten()))
        }
        (None, Err(_)) => bail!(
            "{}this host has no user `{}`: make it, or name another one",
            place(),
            wanted.name
        ),
    }
}

fn find_group(wanted: &ProcessName) -> Result<Gid> {
    let place = || place(wanted, "proc-group");
    let by_name = Group::from_name(&wanted.name)
        .map_err(|error| anyhow!("{}groups cannot be looked up: {error}", place()))?;
    match (by_name, wanted.name.parse()) {
        (Some(group), _) => Ok(group.gid),
        (None, Ok(number)) => Ok(Gid::from_raw(number)),
        (None, Err(_)) => bail!(
            "{}this host has no group `{}`: make it, or name another one",
            place(),
            wanted.name
        ),
    }
}

/// Where the key stands, for the head of an error.
fn place(name: &ProcessName, key: &str) -> String {
    match (&name.origin.file, name.origin.line) {
        (Some(file), Some(line)) => format!("{}, line {line}: `{key}`: ", file.display()),
        _ => format!("`--{key}` on the command line: "),
    }
}

#[cfg(test)]
mod tests {
    use turnbuckle_config::Origin;

    use super::*;

    fn named(name: &str) -> Option<ProcessName> {
        Some(ProcessName {
            name: name.to_owned(),
            origin: Origin {
                file: Some("turnserver.conf".into()),
                line: Some(7),
            },
        })
    }

    #[test]
    fn who_is_not_asked_for_is_not_looked_up() {
        assert!(Identity::of(&Settings::default()).unwrap().is_none());
    }

    #[test]
    fn unknown_names_are_errors_with_key_and_line() {
        let error = |user, group| {
            let settings = Settings {
                process_user: user,
                process_group: group,
                ..Settings::default()
            };
            format!("{:#}", Identity::of(&settings).unwrap_err())
        };
        let user = error(named("no-such-user-here"), None);
        assert!(
            user.starts_with(
                "turnserver.conf, line 7: `proc-user`: this host has no user `no-such"
            ),
            "{user}"
        );
        let group = error(None, named("no-such-group-here"));
        assert!(
            group.starts_with("turnserver.conf, line 7: `proc-group`: this host has no group"),
            "{group}"
        );
    }

    #[test]
    fn the_group_is_that_of_the_user_unless_given() {
        if !geteuid().is_root() {
            // Another user than one's own is refused then.
            let settings = Settings {
                process_user: named("0"),
                ..Settings::default()
            };
            let error = format!("{:#}", Identity::of(&settings).unwrap_err());
            assert!(error.contains("only root"), "{error}");
            return;
        }
        let identity = |group| {
            let settings = Settings {
                process_user: named("nobody"),
                process_group: group,
                ..Settings::default()
            };
            Identity::of(&settings).unwrap().unwrap()
        };
        let nobody = User::from_name("nobody").unwrap().unwrap();
        let plain = identity(None);
        assert_eq!((plain.uid, plain.gid), (nobody.uid, nobody.gid));
        assert_eq!(identity(named("1234")).gid, Gid::from_raw(1234));
    }
}
