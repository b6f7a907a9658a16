//! Whom the process is to run as. Owns the name as written; whether the host knows it is the server's matter.

use crate::peer::Origin;

/// A user or group by name or number, and where it was written. Two of the same name are equal.
#[derive(Clone, Debug, Eq)]
pub struct ProcessName {
    /// The name, never empty.
    pub name: String,
    /// Where it was written, for what cannot be told before the host is asked.
    pub origin: Origin,
}

impl PartialEq for ProcessName {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}
