//! Who is at the other end of a Unix socket, as the kernel vouches for it.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

/// The rights of the process that connected, at the moment when it did (unix(7)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnixPeer {
    /// Effective user.
    pub uid: u32,
    /// Effective group.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
}

impl UnixPeer {
    /// Asks the kernel about the other end of a connected stream.
    ///
    /// # Errors
    /// What the kernel says, such as ENOTCONN.
    pub fn of(socket: &impl AsFd) -> io::Result<Self> {
        let fd = socket.as_fd();
        let [_pid, uid, gid] = crate::option::read(fd, libc::SOL_SOCKET, libc::SO_PEERCRED)?;
        Ok(Self {
            uid,
            gid,
            groups: groups(fd)?,
        })
    }

    /// Whether the process is in this group.
    pub fn is_in(&self, group: u32) -> bool {
        self.gid == group || self.groups.contains(&group)
    }
}

fn groups(fd: BorrowedFd<'_>) -> io::Result<Vec<u32>> {
    let mut groups = vec![0_u32; GROUPS_EXPECTED];
    loop {
        let mut len = libc::socklen_t::try_from(size_of_val(groups.as_slice()))
            .map_err(|_| io::ErrorKind::InvalidData)?;
        // SAFETY: the descriptor is open for the borrow, and the kernel writes at most `len` bytes, the size of the vector's
        // contents.
        let result = unsafe {
            libc::getsockopt(
                fd.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_PEERGROUPS,
                groups.as_mut_ptr().cast(),
                &mut len,
            )
        };
        let count = len as usize / size_of::<u32>();
        if result == 0 {
            groups.truncate(count);
            return Ok(groups);
        }
        let error = io::Error::last_os_error();
        // The kernel has said how much room it wants.
        if error.raw_os_error() != Some(libc::ERANGE) || count <= groups.len() {
            return Err(error);
        }
        groups.resize(count, 0);
    }
}

/// Most users are in fewer.
const GROUPS_EXPECTED: usize = 32;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn the_other_end_of_a_pair_is_this_process() {
        let (one, _other) = UnixStream::pair().unwrap();
        let peer = UnixPeer::of(&one).unwrap();
        let own = std::fs::metadata("/proc/self").unwrap();
        assert_eq!((peer.uid, peer.gid), (own.uid(), own.gid()));
        assert!(peer.is_in(own.gid()));
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let listed = status
            .lines()
            .find_map(|line| line.strip_prefix("Groups:"))
            .unwrap();
        let listed: Vec<u32> = listed
            .split_whitespace()
            .map(|group| group.parse().unwrap())
            .collect();
        assert_eq!(peer.groups, listed);
    }
}
