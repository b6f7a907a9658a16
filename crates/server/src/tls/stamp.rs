//! Tells whether a file is still the one that was read, without reading it. Follows symbolic links, which certbot puts
//! new targets to.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Identity, size and times of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stamp {
    File {
        device: u64,
        inode: u64,
        size: u64,
        /// Seconds and nanoseconds since 1970.
        modified: (i64, i64),
        /// Seconds and nanoseconds since 1970. Moves with permissions too, so a file that has become readable is noticed.
        changed: (i64, i64),
    },
    /// It is not there, or the way to it is closed.
    Unseen,
}

impl Stamp {
    pub(super) fn of(path: &Path) -> Self {
        match fs::metadata(path) {
            Ok(metadata) => Self::File {
                device: metadata.dev(),
                inode: metadata.ino(),
                size: metadata.size(),
                modified: (metadata.mtime(), metadata.mtime_nsec()),
                changed: (metadata.ctime(), metadata.ctime_nsec()),
            },
            Err(_) => Self::Unseen,
        }
    }
}
