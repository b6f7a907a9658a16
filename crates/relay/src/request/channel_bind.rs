//! ChannelBind (RFC 8656 §12): a number that stands for a peer.

use core::iter;

use crate::address::PeerAddress;
use crate::allocation::AllocationId;
use crate::channel::{ChannelBinding, Conflict, is_channel_number};
use crate::event::Event;
use crate::reject::Reject;
use crate::relay::Relay;
use crate::request::Request;
use crate::response::Success;

impl Relay {
    /// `existing` is the live allocation of the five-tuple. The steps are those of RFC 8656 §12.2.
    // compliance: 8656-12-02, 8656-12.2-01, 8656-12.2-02, 8656-12.2-03, 8656-12.2-06, 8656-12.2-07, 8656-9-04
    pub(crate) fn channel_bind(
        &mut self,
        request: &Request<'_>,
        existing: Option<AllocationId>,
    ) -> Result<Success, Reject> {
        let now = request.now.instant;
        let id = existing.ok_or(Reject::NoAllocation)?;
        if self.relays_tcp(id) {
            return Err(Reject::BadRequest("a TCP allocation has no channels"));
        }
        let (Some(number), Some(peer)) = (
            request.message.channel_number()?,
            request.message.peer_address()?,
        ) else {
            return Err(Reject::BadRequest(
                "CHANNEL-NUMBER or XOR-PEER-ADDRESS is missing",
            ));
        };
        if !is_channel_number(number, self.config.wide_channels) {
            return Err(Reject::BadRequest("the channel number is out of range"));
        }
        self.expire_parts(id, now);
        let known_as = PeerAddress(self.ports.as_advertised(peer));
        let channels = self.allocations.get(id).map(|a| &a.channels);
        match channels.and_then(|c| c.conflict(number, known_as, now)) {
            Some(Conflict::NumberTaken) => {
                return Err(Reject::BadRequest("the channel is bound to another peer"));
            }
            Some(Conflict::PeerTaken) => {
                return Err(Reject::BadRequest("the peer is bound to another channel"));
            }
            None => {}
        }
        let reach = self.check_peer(id, peer)?;
        let ip = known_as.0.ip();
        self.check_room_for_permissions(id, iter::once(ip))?;
        let limit = self.config.permissions_max;
        let full = self.allocations.get(id).is_some_and(|a| {
            a.channels.len() >= limit && a.channels.by_number(number, now).is_none()
        });
        if full {
            return Err(Reject::TooMany {
                what: "channels",
                limit,
            });
        }
        // RFC 8656 §12: a binding also installs or refreshes the permission.
        self.install_permission(id, ip, reach, now);
        let binding = ChannelBinding {
            number,
            peer: known_as,
            expires: now.after(self.config.lifetimes.channel),
        };
        if let Some(allocation) = self.allocations.get_mut(id) {
            let new = allocation.channels.bind(binding);
            self.events.push_back(Event::ChannelBound {
                id,
                number,
                peer: known_as,
                expires: binding.expires,
                new,
            });
        }
        self.reschedule(id);
        Ok(Success::ChannelBound)
    }
}
