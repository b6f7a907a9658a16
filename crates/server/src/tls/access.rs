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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn reader(uid: u32, groups: &[u32], name: Option<&str>) -> Reader {
        Reader {
            uid,
            groups: groups.to_vec(),
            name: name.map(str::to_owned),
        }
    }

    fn obstacle_at(path: &str, is_directory: bool, mode: u32) -> Obstacle {
        Obstacle {
            path: path.into(),
            is_directory,
            uid: 0,
            gid: 0,
            mode,
        }
    }

    fn text(path: &str, reader: &Reader, obstacle: &Obstacle) -> String {
        refusal(
            "the private key file",
            Path::new(path),
            reader,
            Some(obstacle),
        )
    }

    #[test]
    fn a_file_says_who_may_not_and_what_helps() {
        let reader = reader(998, &[998], Some("turnbuckle"));
        let key = obstacle_at("/etc/ssl/private/turn.pem", false, 0o640);
        assert_eq!(
            text("/etc/ssl/private/turn.pem", &reader, &key),
            "the private key file /etc/ssl/private/turn.pem cannot be read by user turnbuckle (uid 998): /etc/ssl/private/turn.pem \
             belongs to root:root with mode 0640. `setfacl -m u:turnbuckle:r /etc/ssl/private/turn.pem` lets it read; or, where keys \
             belong to the group ssl-cert: `chgrp ssl-cert /etc/ssl/private/turn.pem && chmod 0640 /etc/ssl/private/turn.pem && \
             usermod -a -G ssl-cert turnbuckle`"
        );
    }

    #[test]
    fn a_directory_in_the_way_is_named() {
        let reader = reader(61_234, &[61_234], None);
        let directory = obstacle_at("/etc/ssl/private", true, 0o710);
        let text = text("/etc/ssl/private/turn.pem", &reader, &directory);
        assert!(
            text.contains(
                "by the user with uid 61234: /etc/ssl/private belongs to root:root with mode 0710"
            ),
            "{text}"
        );
        assert!(
            text.ends_with("`setfacl -m u:61234:x /etc/ssl/private` lets it pass"),
            "{text}"
        );
    }

    #[test]
    fn certbot_files_are_to_be_handed_out() {
        let reader = reader(998, &[998], Some("turnbuckle"));
        let live = obstacle_at("/etc/letsencrypt/live", true, 0o700);
        let text = text(
            "/etc/letsencrypt/live/turn.example.org/privkey.pem",
            &reader,
            &live,
        );
        assert!(
            text.contains("/etc/letsencrypt/renewal-hooks/deploy"),
            "{text}"
        );
        assert!(
            text.contains("`install -D -o turnbuckle -m 0400 \"$RENEWED_LINEAGE\"/privkey.pem /etc/turnbuckle/privkey.pem`"),
            "{text}"
        );
    }

    #[test]
    fn what_permissions_do_not_explain_is_blamed_on_the_sandbox() {
        let open = obstacle_at("/home/turn/key.pem", false, 0o644);
        for reader in [
            reader(998, &[], Some("turnbuckle")),
            reader(0, &[0], Some("root")),
        ] {
            let text = text("/home/turn/key.pem", &reader, &open);
            assert!(text.contains("AppArmor, SELinux, or the sandbox"), "{text}");
        }
        let by_group = obstacle_at("/etc/ssl/key.pem", false, 0o040);
        assert!(reader(998, &[0], None).is_let_in(&by_group));
        assert!(!reader(998, &[998], None).is_let_in(&by_group));
        // The owner's bits count for the owner, and no others.
        let by_others = obstacle_at("/etc/ssl/key.pem", false, 0o044);
        assert!(
            !Reader {
                uid: 7,
                ..reader(7, &[7], None)
            }
            .is_let_in(&Obstacle {
                uid: 7,
                ..by_others
            })
        );
    }

    #[test]
    fn links_lead_to_what_is_in_the_way() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().canonicalize().unwrap();
        let archive = root.join("archive");
        let live = root.join("live/turn");
        fs::create_dir(&archive).unwrap();
        fs::create_dir_all(&live).unwrap();
        let key = archive.join("privkey1.pem");
        fs::write(&key, "key").unwrap();
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
        let link = live.join("privkey.pem");
        symlink("../../archive/privkey1.pem", &link).unwrap();
        let found = obstacle(&link).unwrap();
        assert_eq!((found.path.as_path(), found.mode), (key.as_path(), 0o600));
        assert!(!found.is_directory);

        fs::remove_file(&key).unwrap();
        assert!(obstacle(&link).is_none());
        let text = read("the private key file", &link).unwrap_err().to_string();
        assert!(
            text.ends_with(&format!("does not exist: there is no {}", key.display())),
            "{text}"
        );

        // Round and round.
        symlink(root.join("b"), root.join("a")).unwrap();
        symlink(root.join("a"), root.join("b")).unwrap();
        let text = read("the private key file", &root.join("a"))
            .unwrap_err()
            .to_string();
        assert!(text.contains("cannot be read"), "{text}");
    }

    #[test]
    fn a_closed_directory_is_found_by_a_user_that_it_is_closed_to() {
        let me = Reader::this_process();
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().canonicalize().unwrap();
        let closed = root.join("closed");
        fs::create_dir(&closed).unwrap();
        let key = closed.join("key.pem");
        fs::write(&key, "key").unwrap();
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o000)).unwrap();
        let outcome = read("the private key file", &key);
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
        match me.uid {
            // Nothing is closed to root.
            0 => assert_eq!(outcome.unwrap().as_slice(), b"key"),
            _ => {
                let text = outcome.unwrap_err().to_string();
                assert!(
                    text.contains(&format!("{} belongs to", closed.display())),
                    "{text}"
                );
            }
        }
    }

    #[test]
    fn this_process_is_known() {
        let me = Reader::this_process();
        let file = tempfile::NamedTempFile::new().unwrap();
        let metadata = file.as_file().metadata().unwrap();
        assert_eq!(me.uid, metadata.uid());
        assert!(me.groups.contains(&metadata.gid()));
        assert_eq!(name_of(0, "/etc/passwd").as_deref(), Some("root"));
    }

    #[test]
    fn directories_and_giants_are_no_pem_files() {
        let directory = tempfile::tempdir().unwrap();
        let text = read("the certificate file", directory.path())
            .unwrap_err()
            .to_string();
        assert!(text.contains("cannot be read: Is a directory"), "{text}");
        let giant = directory.path().join("giant.pem");
        File::create(&giant)
            .unwrap()
            .set_len(LARGEST_BYTES + 1)
            .unwrap();
        let text = read("the certificate file", &giant)
            .unwrap_err()
            .to_string();
        assert!(text.contains("is larger than 1048576 bytes"), "{text}");
    }
}
