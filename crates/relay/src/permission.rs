//! Which peer addresses an allocation exchanges data with (RFC 8656 §9).

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use turnbuckle_proto::AddressFamily;

use crate::address::family;
use crate::time::Instant;

/// Leave for all ports of one IP address.
// compliance: 8656-9-02
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Permission {
    /// The peer's address, in canonical form.
    pub ip: IpAddr,
    /// From then on the permission is gone.
    pub expires: Instant,
    /// What of that address may be reached.
    pub reach: Reach,
}

/// How far a permitted address may be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reach {
    /// Every port.
    Anything,
    /// The address is one of the server's own: only ports that are live relayed transport addresses.
    RelayedOnly,
}

/// The permissions of one allocation, in order of their addresses.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Permissions(Vec<Permission>);

/// Whether [`Permissions::install`] made something new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Installed {
    New,
    Refreshed,
}

impl Permissions {
    /// The live permission for this address.
    #[inline]
    pub(crate) fn find(&self, ip: IpAddr, now: Instant) -> Option<&Permission> {
        let found = self.0.get(self.position(ip).ok()?)?;
        (found.expires > now).then_some(found)
    }

    /// How many entries installing these addresses would add.
    pub(crate) fn missing(&self, ips: impl Iterator<Item = IpAddr>) -> usize {
        ips.filter(|&ip| self.position(ip).is_err()).count()
    }

    pub(crate) fn install(&mut self, permission: Permission, now: Instant) -> Installed {
        match self.position(permission.ip) {
            Ok(at) => match self.0.get_mut(at) {
                Some(old) => {
                    let alive = old.expires > now;
                    *old = permission;
                    if alive {
                        Installed::Refreshed
                    } else {
                        Installed::New
                    }
                }
                None => Installed::New,
            },
            Err(at) => {
                self.0.insert(at, permission);
                Installed::New
            }
        }
    }

    /// Takes out all that has expired.
    pub(crate) fn expire(&mut self, now: Instant, mut gone: impl FnMut(Permission)) {
        self.0.retain(|permission| {
            let keep = permission.expires > now;
            if !keep {
                gone(*permission);
            }
            keep
        });
    }

    /// Takes out all for addresses of this family.
    pub(crate) fn remove_family(&mut self, unwanted: AddressFamily) {
        self.0.retain(|p| family(p.ip) != unwanted);
    }

    /// Those that have not expired.
    pub(crate) fn live(&self, now: Instant) -> impl Iterator<Item = &Permission> {
        self.0.iter().filter(move |p| p.expires > now)
    }

    pub(crate) fn next_expiry(&self) -> Option<Instant> {
        self.0.iter().map(|p| p.expires).min()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    #[inline]
    fn position(&self, ip: IpAddr) -> Result<usize, usize> {
        self.0.binary_search_by(|p| p.ip.cmp(&ip))
    }
}
