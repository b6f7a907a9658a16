//! Users that are shut out until further notice: the list, and the file that keeps it from one run to the next.
//!
//! Owns the file's format and how it is replaced. What it means to be on the list is the relay's matter.

use std::collections::BTreeSet;
use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};

/// The list of stable names. Without a file it is gone with the process.
#[derive(Debug)]
pub(crate) struct Revoked {
    names: Arc<BTreeSet<Arc<str>>>,
    file: Option<PathBuf>,
}

impl Revoked {
    /// Reads the list out of the state directory; there is none where nobody has been revoked yet.
    ///
    /// Fails if the file is there and cannot be read to its end: to go on without it would let in whom it shuts out.
    pub(crate) fn load(directory: Option<&Path>) -> Result<Self> {
        let file = directory.map(|directory| directory.join(FILE_NAME));
        let names = match &file {
            Some(file) => read(file)?,
            None => BTreeSet::new(),
        };
        Ok(Self {
            names: Arc::new(names),
            file,
        })
    }

    pub(crate) const fn names(&self) -> &Arc<BTreeSet<Arc<str>>> {
        &self.names
    }

    /// True if the list outlives the process.
    pub(crate) const fn is_kept(&self) -> bool {
        self.file.is_some()
    }

    /// Puts a name on the list; false if it was there. On an error nothing has changed.
    pub(crate) fn add(&mut self, name: &str) -> Result<bool> {
        if name.is_empty() || name.len() > NAME_MAX_BYTES {
            bail!("a user name has 1 to {NAME_MAX_BYTES} bytes");
        }
        if self.names.contains(name) {
            return Ok(false);
        }
        if self.names.len() >= NAMES_MAX {
            bail!(
                "{NAMES_MAX} users are revoked already: unrevoke some, or change the secret that they have credentials from"
            );
        }
        let mut names = BTreeSet::clone(&self.names);
        names.insert(name.into());
        self.replace(names).map(|()| true)
    }

    /// Takes a name off the list; false if it was not there. On an error nothing has changed.
    pub(crate) fn remove(&mut self, name: &str) -> Result<bool> {
        let mut names = BTreeSet::clone(&self.names);
        if !names.remove(name) {
            return Ok(false);
        }
        self.replace(names).map(|()| true)
    }

    fn replace(&mut self, names: BTreeSet<Arc<str>>) -> Result<()> {
        if let Some(file) = &self.file {
            write(file, &names).with_context(|| format!("{} cannot be written", file.display()))?;
        }
        self.names = Arc::new(names);
        Ok(())
    }
}

/// Each line is a name as a JSON string, so that no name can be mistaken for two.
fn read(file: &Path) -> Result<BTreeSet<Arc<str>>> {
    let text = match fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
        Err(error) => {
            return Err(error).with_context(|| {
                format!(
                    "the list of revoked users in {} cannot be read",
                    file.display()
                )
            });
        }
    };
    let mut names = BTreeSet::new();
    for (number, line) in (1..).zip(text.lines()) {
        let name: String = serde_json::from_str(line).with_context(|| {
            format!(
                "the list of revoked users is broken at {}:{number}: each line is a name as a JSON string. Mend the line, or remove \
                 the file if nobody is to be revoked",
                file.display()
            )
        })?;
        names.insert(name.into());
        if names.len() > NAMES_MAX {
            bail!(
                "the list of revoked users in {} is longer than {NAMES_MAX} lines",
                file.display()
            );
        }
    }
    Ok(names)
}

/// All or nothing, and for good once it returns.
fn write(file: &Path, names: &BTreeSet<Arc<str>>) -> io::Result<()> {
    let mut text = String::new();
    for name in names {
        text.push_str(&serde_json::to_string(name)?);
        text.push('\n');
    }
    let fresh = file.with_extension("new");
    let mut out = File::create(&fresh)?;
    out.set_permissions(Permissions::from_mode(0o600))?;
    out.write_all(text.as_bytes())?;
    out.sync_all()?;
    fs::rename(&fresh, file)?;
    match file.parent() {
        Some(directory) => File::open(directory)?.sync_all(),
        None => Ok(()),
    }
}

const FILE_NAME: &str = "revoked-users";
const NAMES_MAX: usize = 10_000;
/// RFC 8489 §14.3: a USERNAME has fewer than 509 bytes.
const NAME_MAX_BYTES: usize = 508;

#[cfg(test)]
mod tests {
    use super::*;

    fn names(revoked: &Revoked) -> Vec<&str> {
        revoked.names().iter().map(AsRef::as_ref).collect()
    }

    #[test]
    fn the_list_outlives_its_process() {
        let directory = tempfile::tempdir().unwrap();
        let mut revoked = Revoked::load(Some(directory.path())).unwrap();
        assert!(revoked.is_kept() && revoked.names().is_empty());
        for name in ["eve", "mallory\n\"x\"", "zoë"] {
            assert!(revoked.add(name).unwrap());
        }
        assert!(!revoked.add("eve").unwrap());
        assert!(revoked.remove("zoë").unwrap());
        assert!(!revoked.remove("zoë").unwrap());
        let again = Revoked::load(Some(directory.path())).unwrap();
        assert_eq!(names(&again), ["eve", "mallory\n\"x\""]);
        let files = fs::read_dir(directory.path()).unwrap().count();
        assert_eq!(files, 1, "nothing is left behind");
    }

    #[test]
    fn without_a_directory_it_is_in_memory_only() {
        let mut revoked = Revoked::load(None).unwrap();
        assert!(revoked.add("eve").unwrap());
        assert!(!revoked.is_kept());
        assert_eq!(names(&revoked), ["eve"]);
    }

    #[test]
    fn a_broken_file_stops_the_start_and_stays_as_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join(FILE_NAME);
        for broken in ["\"eve\"\nmallory\n", "\"eve\"\n\"mall", "\"eve\"\n\n"] {
            fs::write(&file, broken).unwrap();
            let error = Revoked::load(Some(directory.path())).unwrap_err();
            assert!(error.to_string().contains("revoked-users:2"), "{error:#}");
            assert_eq!(fs::read_to_string(&file).unwrap(), broken);
        }
        fs::write(&file, [b'"', 0xFF, b'"']).unwrap();
        Revoked::load(Some(directory.path())).unwrap_err();
    }

    #[test]
    fn what_cannot_be_written_has_not_happened() {
        let directory = tempfile::tempdir().unwrap();
        let mut revoked = Revoked::load(Some(&directory.path().join("gone"))).unwrap();
        revoked.add("eve").unwrap_err();
        assert!(revoked.names().is_empty());
    }

    #[test]
    fn the_list_is_bounded() {
        let mut revoked = Revoked::load(None).unwrap();
        revoked.names = Arc::new((0..NAMES_MAX).map(|i| i.to_string().into()).collect());
        assert!(!revoked.add("0").unwrap());
        revoked.add("one more").unwrap_err();
        revoked.add("").unwrap_err();
        revoked.add(&"n".repeat(NAME_MAX_BYTES + 1)).unwrap_err();
    }
}
