//! CreatePermission (RFC 8656 §10): leave to exchange data with some peer addresses.

use std::net::{IpAddr, SocketAddr};

use crate::address::family;
use crate::allocation::AllocationId;
use crate::event::Event;
use crate::peer_policy::Verdict;
use crate::permission::{Installed, Permission, Reach};
use crate::reject::Reject;
use crate::relay::Relay;
use crate::request::Request;
use crate::response::Success;
use crate::time::Instant;

impl Relay {
    /// `existing` is the live allocation of the five-tuple. All peers are permitted or none (RFC 8656 §10.2).
    // compliance: 8656-10.2-01, 8656-10.2-05
    pub(crate) fn create_permission(
        &mut self,
        request: &Request<'_>,
        existing: Option<AllocationId>,
    ) -> Result<Success, Reject> {
        let id = existing.ok_or(Reject::NoAllocation)?;
        let mut wanted: Vec<(IpAddr, Reach)> = Vec::new();
        for peer in request.message.peer_addresses() {
            let peer = peer?;
            let reach = self.check_peer(id, peer)?;
            let ip = self.ports.ip_as_advertised(peer.ip());
            if !wanted.iter().any(|&(known, _)| known == ip) {
                wanted.push((ip, reach));
            }
        }
        if wanted.is_empty() {
            return Err(Reject::BadRequest("XOR-PEER-ADDRESS is missing"));
        }
        self.expire_parts(id, request.now.instant);
        self.check_room_for_permissions(id, wanted.iter().map(|&(ip, _)| ip))?;
        for (ip, reach) in wanted {
            self.install_permission(id, ip, reach, request.now.instant);
        }
        self.reschedule(id);
        Ok(Success::PermissionsInstalled)
    }

    /// Whether the allocation may reach this peer at all, and how far.
    // compliance: 8656-10.2-03, 8656-10.2-04, 8656-12.2-04, 8656-12.2-05
    pub(crate) fn check_peer(&self, id: AllocationId, peer: SocketAddr) -> Result<Reach, Reject> {
        let has_family = self
            .allocations
            .get(id)
            .is_some_and(|a| a.relayed.of(family(peer.ip())).is_some());
        if !has_family {
            return Err(Reject::PeerFamilyMismatch(peer));
        }
        match self.config.policy.verdict(peer.ip(), &self.ports) {
            Verdict::Allowed(reach) => Ok(reach),
            Verdict::Denied(denial) => Err(Reject::Forbidden { peer, denial }),
        }
    }

    // compliance: 8656-10.2-02
    pub(crate) fn check_room_for_permissions(
        &self,
        id: AllocationId,
        ips: impl Iterator<Item = IpAddr>,
    ) -> Result<(), Reject> {
        let limit = self.config.permissions_max;
        let needed = self.allocations.get(id).map_or(0, |allocation| {
            let missing = allocation.permissions.missing(ips);
            allocation.permissions.len().saturating_add(missing)
        });
        if needed > limit {
            return Err(Reject::TooMany {
                what: "permissions",
                limit,
            });
        }
        Ok(())
    }

    // compliance: 8656-9-01, 8656-9-04
    pub(crate) fn install_permission(
        &mut self,
        id: AllocationId,
        ip: IpAddr,
        reach: Reach,
        now: Instant,
    ) {
        let permission = Permission {
            ip,
            expires: now.after(self.config.lifetimes.permission),
            reach,
        };
        let Some(allocation) = self.allocations.get_mut(id) else {
            return;
        };
        let installed = allocation.permissions.install(permission, now);
        self.events.push_back(Event::PermissionInstalled {
            id,
            permission,
            new: installed == Installed::New,
        });
    }
}
