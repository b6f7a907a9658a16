//! A Unix socket that HTTP is spoken on. Owns its file, which is made with the mode of its purpose and taken away at the end. A file is
//! only ever removed if it is a socket that nobody answers on.

use std::fs::{self, File, Metadata, Permissions, TryLockError};
use std::io::{self, ErrorKind};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use nix::fcntl::{AtFlags, OFlag, open};
use nix::sys::stat::Mode;
use nix::unistd::{Gid, Uid, fchownat};
use turnbuckle_config as config;
use turnbuckle_net::UnixPeer;

/// What a socket is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// The admin API.
    Admin,
    /// The credential endpoint, where the API key decides and not the user who connects.
    Rest,
}

impl Purpose {
    const fn name(self) -> &'static str {
        match self {
            Self::Admin => "admin socket",
            Self::Rest => "socket of the credential endpoint",
        }
    }

    const fn key(self) -> &'static str {
        match self {
            Self::Admin => "admin-socket",
            Self::Rest => "rest-listener",
        }
    }

    const fn mode(self) -> u32 {
        match self {
            // Owner and group.
            Self::Admin => 0o660,
            Self::Rest => 0o666,
        }
    }
}

/// A bound socket.
#[derive(Debug)]
pub(crate) struct UnixSocket {
    purpose: Purpose,
    listener: Option<UnixListener>,
    path: PathBuf,
    /// What was made, so that nothing else is removed.
    file: (u64, u64),
    /// The server's own user.
    user: u32,
    /// Whose members may connect.
    group: u32,
}

impl UnixSocket {
    /// Binds the admin socket that the settings ask for; `None` if they ask for none, or for the usual one and it cannot be had.
    pub(crate) fn open(setting: &config::AdminSocket) -> Result<Option<Self>> {
        match setting {
            config::AdminSocket::Off => Ok(None),
            config::AdminSocket::At(path) => Self::bind(Purpose::Admin, path).map(Some),
            config::AdminSocket::Usual => {
                let path = Path::new(config::AdminSocket::USUAL_PATH);
                if !path.parent().is_some_and(Path::is_dir) {
                    return Ok(None);
                }
                match Self::bind(Purpose::Admin, path) {
                    Ok(socket) => Ok(Some(socket)),
                    Err(error) => {
                        tracing::warn!("turnctl cannot reach this server: {error:#}");
                        Ok(None)
                    }
                }
            }
        }
    }

    /// Fails, and says why, if there is something at the path that is not a socket left behind by a server that is gone.
    pub(crate) fn bind(purpose: Purpose, path: &Path) -> Result<Self> {
        let directory = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let bind = || -> Result<Self> {
            let _turn = take_turn(directory)?;
            remove_stale(purpose, path)?;
            let listener = UnixListener::bind(path)?;
            fs::set_permissions(path, Permissions::from_mode(purpose.mode()))?;
            let made = fs::symlink_metadata(path)?;
            Ok(Self {
                purpose,
                listener: Some(listener),
                path: path.to_owned(),
                file: identity(&made),
                user: made.uid(),
                group: made.gid(),
            })
        };
        bind().with_context(|| format!("the {} {} cannot be made", purpose.name(), path.display()))
    }

    /// Gives the file to whom the process goes on as, while it still belongs to root. Fails if root may not.
    ///
    /// Where that user may not write to the directory, the file stays behind at the end, and the next start replaces it.
    pub(crate) fn hand_over(&mut self, user: Uid, group: Gid) -> Result<()> {
        let hand_over = || -> Result<()> {
            // Held on to, so that nothing else is given away if somebody puts it there now.
            let file = open(&self.path, OFlag::O_PATH | OFlag::O_NOFOLLOW, Mode::empty())?;
            let file = File::from(file);
            if identity(&file.metadata()?) != self.file {
                bail!("somebody has replaced it");
            }
            fchownat(&file, "", Some(user), Some(group), AtFlags::AT_EMPTY_PATH)?;
            Ok(())
        };
        hand_over().with_context(|| {
            format!(
                "the {} {} cannot be given to user {user}, group {group}",
                self.purpose.name(),
                self.path.display()
            )
        })?;
        (self.user, self.group) = (user.as_raw(), group.as_raw());
        Ok(())
    }

    /// The listener, once; it does not block.
    pub(crate) fn take_listener(&mut self) -> io::Result<UnixListener> {
        let listener = self.listener.take().ok_or(ErrorKind::NotFound)?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    }

    /// Whether the other end may use the API: root, the server's own user, members of the socket's group. Else why not.
    pub(crate) fn admits(&self, stream: &impl AsFd) -> Result<(), String> {
        let peer = UnixPeer::of(stream)
            .map_err(|error| format!("the kernel does not say who connects: {error}"))?;
        self.admits_peer(&peer)
    }

    fn admits_peer(&self, peer: &UnixPeer) -> Result<(), String> {
        if peer.uid == ROOT || peer.uid == self.user || peer.is_in(self.group) {
            return Ok(());
        }
        Err(format!(
            "user id {} is neither root, nor the server's user, nor in the group with id {} of {}",
            peer.uid,
            self.group,
            self.path.display()
        ))
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for UnixSocket {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|found| identity(&found) == self.file) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Keeps two servers that start at the same time from removing each other's socket: whoever binds holds a lock on the directory.
fn take_turn(directory: &Path) -> Result<File> {
    let directory = File::open(directory)?;
    match directory.try_lock() {
        Ok(()) => Ok(directory),
        Err(TryLockError::WouldBlock) => {
            bail!("another program is busy with its directory; start again")
        }
        Err(TryLockError::Error(error)) => Err(error.into()),
    }
}

fn remove_stale(purpose: Purpose, path: &Path) -> Result<()> {
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    if !found.file_type().is_socket() {
        bail!(
            "there is a file that is no socket; remove it, or set {} to another path",
            purpose.key()
        );
    }
    match UnixStream::connect(path) {
        Ok(_) => bail!(
            "another server answers there; stop it, or set {} to a path of this server's own",
            purpose.key()
        ),
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
            fs::remove_file(path).context("a socket that nobody answers on cannot be removed")
        }
        Err(error) => Err(error)
            .context("there is a socket, and whether a server answers cannot be found out"),
    }
}

fn identity(file: &Metadata) -> (u64, u64) {
    (file.dev(), file.ino())
}

const ROOT: u32 = 0;

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    #[test]
    fn mode_and_end() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("admin.sock");
        let socket = UnixSocket::bind(Purpose::Admin, &path).unwrap();
        let made = fs::metadata(&path).unwrap();
        assert_eq!(made.permissions().mode() & 0o777, 0o660);
        let stream = UnixStream::connect(&path).unwrap();
        let (accepted, _) = socket.listener.as_ref().unwrap().accept().unwrap();
        assert_eq!(socket.admits(&accepted), Ok(()));
        drop((stream, socket));
        assert!(!path.exists());
    }

    #[test]
    fn strangers_are_not_admitted() {
        let directory = TempDir::new().unwrap();
        let mut socket =
            UnixSocket::bind(Purpose::Admin, &directory.path().join("admin.sock")).unwrap();
        (socket.user, socket.group) = (900, 901);
        for (uid, gid, groups, admitted) in [
            (0, 0, &[][..], true),
            (900, 1000, &[], true),
            (1000, 901, &[], true),
            (1000, 1000, &[4, 901], true),
            (1000, 1000, &[4, 900], false),
            (901, 900, &[], false),
        ] {
            let groups = groups.to_vec();
            let peer = UnixPeer { uid, gid, groups };
            assert_eq!(socket.admits_peer(&peer).is_ok(), admitted, "{peer:?}");
        }
    }

    #[test]
    fn only_the_own_file_is_given_away() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("admin.sock");
        let mut socket = UnixSocket::bind(Purpose::Admin, &path).unwrap();
        let own = (Uid::effective(), Gid::effective());
        socket.hand_over(own.0, own.1).unwrap();
        assert_eq!(
            (socket.user, socket.group),
            (own.0.as_raw(), own.1.as_raw())
        );
        let other = directory.path().join("other");
        fs::write(&other, "somebody else's").unwrap();
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink(&other, &path).unwrap();
        let error = format!("{:#}", socket.hand_over(own.0, own.1).unwrap_err());
        assert!(error.contains("somebody has replaced it"), "{error}");
    }

    #[test]
    fn a_socket_left_behind_is_replaced() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("admin.sock");
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let socket = UnixSocket::bind(Purpose::Admin, &path).unwrap();
        UnixStream::connect(&path).unwrap();
        drop(socket);
        assert!(!path.exists());
    }

    #[test]
    fn what_is_in_use_or_no_socket_stays() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("admin.sock");
        let first = UnixSocket::bind(Purpose::Admin, &path).unwrap();
        let error = format!("{:#}", UnixSocket::bind(Purpose::Admin, &path).unwrap_err());
        assert!(error.contains("another server answers there"), "{error}");
        UnixStream::connect(&path).unwrap();
        drop(first);
        fs::write(&path, "precious").unwrap();
        let error = format!("{:#}", UnixSocket::bind(Purpose::Admin, &path).unwrap_err());
        assert!(error.contains("no socket"), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }

    #[test]
    fn only_the_own_file_is_removed() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("admin.sock");
        let socket = UnixSocket::bind(Purpose::Admin, &path).unwrap();
        fs::remove_file(&path).unwrap();
        fs::write(&path, "somebody else's").unwrap();
        drop(socket);
        assert!(path.exists());
    }
}
