//! What the answers to requests say, and what they must not say.

use core::time::Duration;
use std::collections::BTreeMap;
use std::net::SocketAddr;

use turnbuckle_proto::{
    AddressFamily, IntegrityKey, IntegrityKeySha256, LongTermKey, LongTermKeySha256, Message,
    Method, PasswordAlgorithm, rest,
};
use turnbuckle_relay::{FiveTuple, Instant};
use turnbuckle_testkit::{Answer, REALM, SECRET, Step};

use super::{Allocation, CHANNEL, Mobility, Model};

/// A port that waits for its token.
pub(super) struct Reserved {
    token: [u8; 8],
    address: SocketAddr,
    /// The name without its time stamp.
    holder: String,
    until: Instant,
}

impl Model {
    pub(super) fn answered(
        &mut self,
        step: &Step,
        five_tuple: &FiveTuple,
        request: &Message<'_>,
        answer: &Answer,
    ) {
        assert_eq!(answer.message().transaction_id(), request.transaction_id());
        assert_eq!(answer.message().method(), request.method());
        if !answer.is_success() || request.method() == Method::BINDING {
            return;
        }
        let now = step.now.instant;
        let username = self.assert_genuine(request);
        let peers: Vec<SocketAddr> = request.peer_addresses().map(Result::unwrap).collect();
        for peer in &peers {
            assert!(!self.denied.contains(&peer.ip()), "{peer} is denied");
        }
        let peers: Vec<_> = peers.iter().map(|&peer| self.as_advertised(peer)).collect();
        match request.method() {
            Method::ALLOCATE => {
                self.allocated(step, five_tuple, username, request, answer);
                return;
            }
            Method::REFRESH => {
                self.refreshed(now, five_tuple, &username, request, answer);
                return;
            }
            _ => {}
        }
        let key = self.key(five_tuple, now);
        let key = key.expect("success without an allocation");
        let allocation = self.allocations.get_mut(&key).expect("known by it");
        assert_eq!(allocation.username, username);
        allocation.end_families(now);
        match request.method() {
            Method::CREATE_PERMISSION => {
                assert!(!peers.is_empty());
                allocation.permit(&peers, now);
            }
            Method::CHANNEL_BIND => {
                assert!(!allocation.is_tcp, "a channel of a TCP allocation");
                let number = request.channel_number().unwrap().unwrap();
                assert!((0x4000..=0x4FFF).contains(&number));
                for (&bound, &(peer, expires)) in &allocation.channels {
                    let same = (bound == number, peer == peers[0]);
                    assert!(
                        expires <= now || same.0 == same.1,
                        "{number:#06x} to {} while {bound:#06x} is bound to {peer}",
                        peers[0]
                    );
                }
                allocation.permit(&peers[..1], now);
                let expires = now.after(CHANNEL);
                allocation.channels.insert(number, (peers[0], expires));
                let live = allocation.channels.values();
                let live = live.filter(|(_, expires)| *expires > now).count();
                assert!(live <= self.permissions_max, "{live} channels");
            }
            other => panic!("success for {other}"),
        }
        let live = allocation.permissions.values();
        let live = live.filter(|&&expires| expires > now).count();
        assert!(live <= self.permissions_max, "{live} permissions");
    }

    /// An answer that leaves from another listener or for another port: to Binding alone, and never to another host.
    pub(super) fn detoured(
        &self,
        five_tuple: &FiveTuple,
        request: &Message<'_>,
        from: SocketAddr,
        to: SocketAddr,
        answer: &Answer,
    ) {
        let rules = self.discovery.as_ref().expect("offered");
        assert_eq!(request.method(), Method::BINDING);
        assert!(answer.is_success());
        let (client, server) = (five_tuple.client.0, five_tuple.server.0);
        let change = request.change_request().unwrap();
        let change = change.map_or((false, false), |change| (change.ip, change.port));
        assert_eq!(
            (from.ip() != server.ip(), from.port() != server.port()),
            change
        );
        assert!(rules.addresses.iter().any(|a| a.local == from.ip()));
        assert!([rules.port, rules.alternate_port].contains(&from.port()));
        let port = request
            .response_port()
            .unwrap()
            .unwrap_or_else(|| client.port());
        assert_eq!(to, SocketAddr::new(client.ip(), port));
        assert_eq!(answer.mapped(), Some(client));
    }

    fn refreshed(
        &mut self,
        now: Instant,
        five_tuple: &FiveTuple,
        username: &str,
        request: &Message<'_>,
        answer: &Answer,
    ) {
        let family = request.requested_address_family().unwrap();
        let family = family.map(|family| family.unwrap() == AddressFamily::V4);
        let id = (*five_tuple, request.transaction_id().0);
        let deletes = answer.lifetime() == Some(0);
        // Without the allocation or the family it is the retransmission of a deletion.
        let again = deletes && self.deletions.iter().any(|(known, _)| *known == id);
        let existing = self.key(five_tuple, now);
        let key = match request.mobility_ticket() {
            Some(_) if existing.is_none() && again => None,
            Some(ticket) => Some(self.followed(now, five_tuple, ticket, request, answer)),
            None => existing,
        };
        assert_eq!(
            answer.ticket().is_some(),
            request.mobility_ticket().is_some() && !deletes
        );
        let Some(key) = key else {
            assert!(again, "success without an allocation");
            return;
        };
        let allocation = self.allocations.get_mut(&key).expect("known by it");
        assert_eq!(allocation.username, username);
        if !deletes {
            allocation.end_families(now);
            let until = now.after(lifetime(answer));
            for (&held, (_, end)) in &mut allocation.relayed {
                if family.is_none_or(|family| family == held) {
                    *end = until;
                }
            }
            let named = family.is_none_or(|f| allocation.relayed.contains_key(&f));
            assert!(named, "no such family");
            return;
        }
        match family {
            Some(family) if allocation.has_live(family, now) => {
                allocation.relayed.remove(&family);
                allocation.drop_family(family);
            }
            Some(_) => assert!(again, "no such family"),
            None => allocation.relayed.clear(),
        }
        if !allocation.lives(now) {
            self.allocations.remove(&key);
        }
        self.deletions.push((id, now));
    }

    /// Whose allocation a Refresh request with a ticket is about, which knows the five-tuple from now on.
    fn followed(
        &mut self,
        now: Instant,
        five_tuple: &FiveTuple,
        ticket: &[u8],
        request: &Message<'_>,
        answer: &Answer,
    ) -> FiveTuple {
        assert!(self.mobility, "a move where there is no mobility");
        let used = (request.transaction_id().0, ticket.to_vec());
        let existing = self.key(five_tuple, now);
        if let Some(key) = existing {
            let mobility = self.allocations[&key].mobility.as_ref();
            let mobility = mobility.expect("mobility was not asked for");
            assert_eq!(
                mobility.used_by.as_ref(),
                Some(&used),
                "moved over an allocation"
            );
            if let Some(shown) = answer.ticket() {
                assert_eq!(shown, mobility.ticket);
            }
            return key;
        }
        let holder = self.allocations.iter().find(|(_, a)| {
            let good = a.mobility.as_ref().map(|mobility| &mobility.ticket);
            good.is_some_and(|good| good == ticket) && a.lives(now)
        });
        let key = *holder.expect("a ticket of nobody").0;
        assert_eq!(self.shard(&key), self.shard(five_tuple));
        let held = self.allocations.get_mut(&key).expect("known by it");
        let mobility = held.mobility.as_mut().expect("it has a ticket");
        mobility.next = Some(*five_tuple);
        mobility.used_by = Some(used);
        // A deletion is the end of both.
        let new = answer.ticket().unwrap_or_default();
        assert_ne!(new, ticket);
        mobility.ticket = new;
        key
    }

    fn allocated(
        &mut self,
        step: &Step,
        five_tuple: &FiveTuple,
        username: String,
        request: &Message<'_>,
        answer: &Answer,
    ) {
        let now = step.now.instant;
        let relayed = answer.all_relayed();
        assert!(matches!(relayed.len(), 1 | 2), "XOR-RELAYED-ADDRESS");
        let until = now.after(lifetime(answer));
        let all: BTreeMap<_, _> = relayed
            .iter()
            .map(|&address| (address.is_ipv4(), (address, until)))
            .collect();
        assert_eq!(all.len(), relayed.len(), "two of one family");
        assert_eq!(answer.mapped(), Some(five_tuple.client.0));
        if let Some(key) = self.key(five_tuple, now) {
            let existing = &self.allocations[&key];
            for address in relayed {
                let known = existing.relayed(address, now);
                assert_eq!(known, Some(address), "a second allocation");
            }
            let ticket = existing.mobility.as_ref().map(|mobility| &mobility.ticket);
            assert_eq!(answer.ticket().as_ref(), ticket);
            return;
        }
        for &relayed in &relayed {
            assert!(
                self.addresses.iter().any(|a| a.advertised == relayed.ip()),
                "{relayed} is not the server's"
            );
            assert!(self.holder(relayed, now).is_none(), "{relayed} is taken");
        }
        if let Some(name) = rest::parse(&username, ':') {
            assert!(name.expiry > step.now.unix, "{username} has expired");
        }
        let stable = stable(&username).to_owned();
        self.reservations(now, &stable, &relayed, request, answer);
        let wants_to_move = request.mobility_ticket().is_some();
        assert!(self.mobility || !wants_to_move);
        assert_eq!(answer.ticket().is_some(), wants_to_move);
        self.made += 1;
        self.allocations.insert(
            *five_tuple,
            Allocation {
                serial: self.made,
                username,
                is_tcp: request.requested_transport().unwrap() == Some(TCP),
                mobility: answer.ticket().map(|ticket| Mobility {
                    ticket,
                    used_by: None,
                    next: None,
                }),
                relayed: all,
                permissions: BTreeMap::new(),
                channels: BTreeMap::new(),
            },
        );
        let live = self.allocations.values().filter(|a| a.lives(now));
        let of_user = live.filter(|a| self::stable(&a.username) == stable).count();
        assert!(of_user <= self.per_user, "{stable} holds {of_user}");
        assert!(self.live(now) <= self.total);
    }

    /// EVEN-PORT and RESERVATION-TOKEN: what was asked for is what was given, and what is reserved is nobody else's.
    fn reservations(
        &mut self,
        now: Instant,
        stable: &str,
        relayed: &[SocketAddr],
        request: &Message<'_>,
        answer: &Answer,
    ) {
        self.reserved.retain(|reserved| reserved.until > now);
        let shown = request.reservation_token().unwrap();
        for address in relayed {
            let at = self.reserved.iter().position(|r| r.address == *address);
            let redeemed = at.map(|at| self.reserved.remove(at));
            let token = redeemed.as_ref().map(|reserved| reserved.token);
            assert_eq!(token, shown, "{address} is reserved, or is not");
            if let Some(reserved) = redeemed {
                assert_eq!(reserved.holder, stable, "reserved for another user");
            }
        }
        let even = request.even_port().unwrap();
        if even.is_some() {
            assert!(relayed.iter().all(|address| address.port() % 2 == 0));
        }
        let given = answer.message().reservation_token().unwrap();
        assert_eq!(given.is_some(), even == Some(true));
        if let Some(token) = given {
            let mut address = relayed[0];
            address.set_port(address.port() + 1);
            assert!(self.holder(address, now).is_none(), "{address} is taken");
            self.reserved.push(Reserved {
                token,
                address,
                holder: stable.to_owned(),
                until: now.after(RESERVATION),
            });
        }
    }

    /// The user's name, if the request is signed with the user's own key.
    pub(super) fn assert_genuine(&self, request: &Message<'_>) -> String {
        let username = request.username().unwrap().expect("USERNAME").to_owned();
        let password = match self.passwords.get(&username) {
            Some(password) => password.clone(),
            None => rest::password(SECRET, &username).as_str().to_owned(),
        };
        let verified = match request.password_algorithm().unwrap() {
            None => {
                let key = LongTermKey::derive(&username, REALM, &password);
                IntegrityKey::from(&key).verify(request)
            }
            Some(algorithm) => {
                assert_eq!(algorithm, PasswordAlgorithm::SHA256);
                let key = LongTermKeySha256::derive(&username, REALM, &password);
                IntegrityKeySha256::new(key.as_bytes()).verify(request)
            }
        };
        assert_eq!(verified, Ok(()), "success for a forgery");
        username
    }
}

fn lifetime(answer: &Answer) -> Duration {
    let seconds = answer.lifetime().expect("LIFETIME");
    Duration::from_secs(seconds.into())
}

/// The name without its time stamp.
fn stable(username: &str) -> &str {
    rest::parse(username, ':')
        .and_then(|name| name.user)
        .unwrap_or(username)
}

/// RFC 8656 §7.2.
const RESERVATION: Duration = Duration::from_secs(30);
/// Protocol number in REQUESTED-TRANSPORT (RFC 6062 §5.1).
const TCP: u8 = 6;
