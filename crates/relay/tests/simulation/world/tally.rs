//! What has happened in all runs, to show that it does.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use turnbuckle_proto::{Message, Method};
use turnbuckle_relay::Event;
use turnbuckle_testkit::{Answer, Input, Outcome, Step};

/// How often things happened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally(BTreeMap<String, u64>);

impl Tally {
    pub(crate) fn add(&mut self, other: &Self) {
        for (what, count) in &other.0 {
            *self.0.entry(what.clone()).or_default() += count;
        }
    }

    pub(crate) fn assert_everything_happened(&self) {
        for what in EVERYTHING {
            let count = self.0.get(what).copied().unwrap_or(0);
            assert!(count >= 20, "{what} happened {count} times");
        }
    }

    pub(super) fn count(&mut self, what: &str) {
        *self.0.entry(what.to_owned()).or_default() += 1;
    }

    pub(super) fn count_step(&mut self, step: &Step) {
        self.count_granted(step);
        if let Outcome::ToPeer {
            to, dont_fragment, ..
        } = &step.outcome
        {
            let family = if to.is_ipv6() {
                "to an IPv6 peer"
            } else {
                "to an IPv4 peer"
            };
            self.count(family);
            if *dont_fragment {
                self.count("to peer with DF");
            }
        }
        self.count(match (&step.input, &step.outcome) {
            (Input::Client { .. }, Outcome::ToPeer { .. }) => "to peer",
            (Input::Client { .. }, Outcome::ToShard { .. }) => "to another shard",
            (Input::Handover { .. }, Outcome::ToClient { .. }) => "from another shard",
            (Input::Client { .. }, Outcome::ToClient { .. }) => "hairpin",
            (Input::Peer { .. }, Outcome::ToClient { .. }) => "to client",
            (_, Outcome::AnsweredFrom { .. }) => "answered from elsewhere",
            (_, Outcome::Deferred) => "Connect deferred",
            (_, Outcome::Bound(..)) => "ConnectionBind granted",
            (_, Outcome::Dropped(reason)) => reason.name(),
            (_, _) => return,
        });
    }

    /// Which request was granted, and what of it was out of the ordinary.
    fn count_granted(&mut self, step: &Step) {
        let (Input::Client { bytes, .. }, Outcome::Answered(answer)) = (&step.input, &step.outcome)
        else {
            return;
        };
        let answer = Answer::read(answer).expect("a response");
        let request = Message::decode(bytes).expect("only a request is answered");
        if !answer.is_success() {
            return;
        }
        self.count(match request.method() {
            Method::BINDING => "Binding granted",
            Method::ALLOCATE => "Allocate granted",
            Method::REFRESH => "Refresh granted",
            Method::CREATE_PERMISSION => "CreatePermission granted",
            Method::CHANNEL_BIND => "ChannelBind granted",
            other => panic!("{other} granted at once"),
        });
        if request.method() == Method::REFRESH && answer.ticket().is_some() {
            self.count("followed its client");
        }
        if request.method() != Method::ALLOCATE {
            return;
        }
        if answer.ticket().is_some() {
            self.count("Allocate with a ticket");
        }
        let relayed = answer.all_relayed();
        if relayed.len() == 2 {
            self.count("Allocate of both families");
        }
        if relayed.iter().any(SocketAddr::is_ipv6) {
            self.count("Allocate of IPv6");
        }
        if request.requested_transport() == Ok(Some(6)) {
            self.count("Allocate of TCP");
        }
        if request.dont_fragment() {
            self.count("Allocate with DONT-FRAGMENT");
        }
        match request.even_port() {
            Ok(Some(true)) => self.count("Allocate of a pair of ports"),
            Ok(Some(false)) => self.count("Allocate of an even port"),
            _ => {}
        }
        if request
            .reservation_token()
            .is_ok_and(|token| token.is_some())
        {
            self.count("Allocate of a reserved port");
        }
    }

    pub(super) fn count_event(&mut self, event: &Event) {
        self.count(match event {
            Event::AllocationCreated { .. } => "allocated",
            Event::AllocationRefreshed { .. } => "refreshed",
            Event::AddressDeleted { .. } => "address deleted",
            Event::AllocationMoved { .. } => "moved",
            Event::AllocationDeleted { why, .. } => why.as_str(),
            Event::PermissionInstalled { .. } => "permission installed",
            Event::PermissionExpired { .. } => "permission expired",
            Event::ChannelBound { .. } => "channel bound",
            Event::ChannelExpired { .. } => "channel expired",
            Event::Bound { .. } | Event::Rejected { .. } => return,
        });
    }
}

/// What all runs together must have met.
const EVERYTHING: [&str; 61] = [
    "allocated",
    "refreshed",
    "address deleted",
    "deleted by client",
    "expired",
    "moved",
    "permission installed",
    "permission expired",
    "channel bound",
    "channel expired",
    "Binding granted",
    "Allocate granted",
    "Allocate of IPv6",
    "Allocate of both families",
    "Allocate of an even port",
    "Allocate of a pair of ports",
    "Allocate of a reserved port",
    "Allocate with DONT-FRAGMENT",
    "Allocate with a ticket",
    "Allocate of TCP",
    "Refresh granted",
    "followed its client",
    "CreatePermission granted",
    "ChannelBind granted",
    "Connect deferred",
    "Connect granted",
    "Connect failed",
    "ConnectionAttempt",
    "ConnectionBind granted",
    "host disconnects",
    "no connection: drop_no_permission",
    "answered from elsewhere",
    "to an IPv4 peer",
    "to an IPv6 peer",
    "to peer with DF",
    "to peer",
    "to client",
    "hairpin",
    "to another shard",
    "from another shard",
    "restart",
    "answer 400",
    "answer 401",
    "answer 403",
    "answer 405",
    "answer 420",
    "answer 437",
    "answer 438",
    "answer 441",
    "answer 442",
    "answer 443",
    "answer 446",
    "answer 447",
    "answer 486",
    "answer 508",
    "drop_malformed",
    "drop_no_allocation",
    "drop_no_channel",
    "drop_no_permission",
    "drop_bad_indication",
    "drop_own_address",
];
