//! Reads a file, or says who cannot read it, what stands in the way, and what lets them in. Judges no contents.

use std::ffi::OsStr;
use std::fs::{self, File, Metadata};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use anyhow::{Result, anyhow, bail};
use zeroize::Zeroizing;

/// The contents of `path`, wiped when dropped. `what` is how the operator calls it: "the private key file".
///
/// Fails if it is missing, may not be read or is larger than [`LARGEST_BYTES`].
pub(super) fn read(what: &str, path: &Path) -> Result<Zeroizing<Vec<u8>>> {
    let shown = path.display();
    let mut contents = Zeroizing::new(Vec::with_capacity(USUAL_BYTES));
    let outcome = File::open(path).and_then(|file| {
        file.take(LARGEST_BYTES + 1)
            .read_to_end(&mut contents)
            .map(|_| ())
    });
    match outcome {
        Ok(()) if contents.len() as u64 > LARGEST_BYTES => {
            bail!("{what} {shown} is larger than {LARGEST_BYTES} bytes, so it can be no PEM file")
        }
        Ok(()) => Ok(contents),
        Err(error) => match error.kind() {
            ErrorKind::NotFound => Err(missing(what, path)),
            ErrorKind::PermissionDenied => Err(anyhow!(refusal(
                what,
                path,
                &Reader::this_process(),
                obstacle(path).as_ref()
            ))),
            _ => Err(anyhow!("{what} {shown} cannot be read: {error}")),
        },
    }
}

/// Who reads.
#[derive(Debug)]
pub(super) struct Reader {
    uid: u32,
    groups: Vec<u32>,
    /// `None` if the host's list of users does not have it, as with systemd's DynamicUser.
    name: Option<String>,
}

impl Reader {
    fn this_process() -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let field = |name: &str| -> Vec<u32> {
            status
                .lines()
                .find_map(|line| line.strip_prefix(name))
                .map(|numbers| {
                    numbers
                        .split_whitespace()
                        .filter_map(|number| number.parse().ok())
                        .collect()
                })
                .unwrap_or_default()
        };
        // Real, effective, saved, file system.
        let effective = |ids: &[u32]| ids.get(1).copied();
        let uid = effective(&field("Uid:")).unwrap_or(u32::MAX);
        let mut groups = field("Groups:");
        groups.extend(effective(&field("Gid:")));
        Self {
            uid,
            groups,
            name: name_of(uid, "/etc/passwd"),
        }
    }

    /// As `setfacl` and `install` take it.
    fn handle(&self) -> String {
        self.name.clone().unwrap_or_else(|| self.uid.to_string())
    }

    fn describe(&self) -> String {
        match &self.name {
            Some(name) => format!("user {name} (uid {})", self.uid),
            None => format!("the user with uid {}", self.uid),
        }
    }

    /// Whether plain permissions let it in; access lists are not looked at.
    fn is_let_in(&self, obstacle: &Obstacle) -> bool {
        let bit = if obstacle.is_directory { 0o1 } else { 0o4 };
        let bits = if obstacle.uid == self.uid {
            bit << 6
        } else if self.groups.contains(&obstacle.gid) {
            bit << 3
        } else {
            bit
        };
        self.uid == 0 || obstacle.mode & bits != 0
    }
}

/// The first thing on the way to a file that does not let the reader pass.
#[derive(Debug)]
pub(super) struct Obstacle {
    path: PathBuf,
    is_directory: bool,
    uid: u32,
    gid: u32,
    mode: u32,
}

impl Obstacle {
    fn new(path: &Path, metadata: &Metadata) -> Self {
        Self {
            path: path.to_owned(),
            is_directory: metadata.is_dir(),
            uid: metadata.uid(),
            gid: metadata.gid(),
            mode: metadata.mode() & 0o7777,
        }
    }

    fn describe(&self) -> String {
        let name = |id: u32, list: &str| name_of(id, list).unwrap_or_else(|| id.to_string());
        format!(
            "{} belongs to {}:{} with mode {:04o}",
            self.path.display(),
            name(self.uid, "/etc/passwd"),
            name(self.gid, "/etc/group"),
            self.mode
        )
    }
}

/// The whole message, one line.
fn refusal(what: &str, path: &Path, reader: &Reader, obstacle: Option<&Obstacle>) -> String {
    let who = reader.describe();
    let shown = path.display();
    let Some(obstacle) = obstacle else {
        return format!("{what} {shown} cannot be read by {who}: permission denied");
    };
    let head = format!(
        "{what} {shown} cannot be read by {who}: {}",
        obstacle.describe()
    );
    if reader.is_let_in(obstacle) {
        return format!(
            "{head}, which would let it in, so something else forbids it: AppArmor, SELinux, or the sandbox of the systemd unit \
             (ProtectHome=, InaccessiblePaths=)"
        );
    }
    let handle = reader.handle();
    let at = obstacle.path.display();
    if path.components().any(|c| c.as_os_str() == LETS_ENCRYPT) {
        let file = path
            .file_name()
            .unwrap_or_else(|| OsStr::new("privkey.pem"));
        return format!(
            "{head}. certbot keeps its files from other users, so have it hand out a copy after each renewal: in an executable file \
             in /etc/letsencrypt/renewal-hooks/deploy, write `install -D -o {handle} -m 0400 \"$RENEWED_LINEAGE\"/{file} \
             /etc/turnbuckle/{file}` for each of the two files, and name the copies in the configuration",
            file = file.display(),
        );
    }
    if obstacle.is_directory {
        return format!("{head}. `setfacl -m u:{handle}:x {at}` lets it pass");
    }
    format!(
        "{head}. `setfacl -m u:{handle}:r {at}` lets it read; or, where keys belong to the group ssl-cert: `chgrp ssl-cert {at} && \
         chmod 0640 {at} && usermod -a -G ssl-cert {handle}`"
    )
}

/// The first directory on the way that may not be passed, links followed, or the file itself.
fn obstacle(path: &Path) -> Option<Obstacle> {
    let reached = walk(path);
    match reached.error {
        Some(error) if error.kind() == ErrorKind::PermissionDenied => {
            let directory = reached.path.parent()?;
            let metadata = fs::metadata(directory).ok()?;
            Some(Obstacle::new(directory, &metadata))
        }
        Some(_) => None,
        None => {
            let metadata = fs::metadata(&reached.path).ok()?;
            Some(Obstacle::new(&reached.path, &metadata))
        }
    }
}

fn missing(what: &str, path: &Path) -> anyhow::Error {
    let shown = path.display();
    let reached = walk(path).path;
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    if reached == absolute && path.is_absolute() {
        return anyhow!("{what} {shown} does not exist");
    }
    anyhow!(
        "{what} {shown} does not exist: there is no {}",
        reached.display()
    )
}

/// How far a path leads.
struct Reached {
    /// The end, or the first part that could not be looked at. No symbolic link.
    path: PathBuf,
    error: Option<io::Error>,
}

fn walk(path: &Path) -> Reached {
    let mut whole = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut links = 0;
    'again: loop {
        let mut here = PathBuf::new();
        let mut rest = whole.components();
        while let Some(component) = rest.next() {
            // All links before have been followed, so this is the directory above.
            if component == Component::ParentDir {
                here.pop();
                continue;
            }
            here.push(component);
            let target = match fs::symlink_metadata(&here) {
                Ok(metadata) if metadata.is_symlink() && links < MOST_LINKS => fs::read_link(&here),
                Ok(_) => continue,
                Err(error) => Err(error),
            };
            match target {
                Ok(target) => {
                    links += 1;
                    here.pop();
                    here.push(target);
                    here.push(rest.as_path());
                    whole = here;
                    continue 'again;
                }
                Err(error) => {
                    return Reached {
                        path: here,
                        error: Some(error),
                    };
                }
            }
        }
        return Reached {
            path: here,
            error: None,
        };
    }
}

/// The name that a list such as `/etc/passwd` has for an id.
fn name_of(id: u32, list: &str) -> Option<String> {
    let list = fs::read_to_string(list).ok()?;
    list.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(id)).then(|| name.to_owned())
    })
}

const USUAL_BYTES: usize = 16 * 1024;
/// A chain of dozens of certificates stays far below.
const LARGEST_BYTES: u64 = 1024 * 1024;
const MOST_LINKS: usize = 40;
const LETS_ENCRYPT: &str = "letsencrypt";
