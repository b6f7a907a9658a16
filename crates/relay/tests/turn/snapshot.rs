//! The state can be put away in mid-call and taken up again: whoever talks to the server notices nothing.

use core::num::NonZeroU32;
use core::time::Duration;
use std::sync::Arc;

use turnbuckle_proto::AddressFamily;
use turnbuckle_relay::{
    OpenError, Quota, Rate, Relay, RelayAddress, RelayedPorts, RestoreError, Snapshot,
};
use turnbuckle_testkit::{Client, FakeSockets, Network, Peer, Request, Setup, Step};

#[test]
fn all_later_outputs_are_those_of_the_undisturbed_relay() {
    for shards in [1, 2] {
        let mut undisturbed = Call::start(shards);
        let mut restarted = Call::start(shards);
        assert_eq!(undisturbed.go_on(), restarted.go_on());
        restarted.net.server.restart(through_json);
        for _ in 0..3 {
            let (expected, actual) = (undisturbed.go_on(), restarted.go_on());
            for (at, (expected, actual)) in expected.iter().zip(&actual).enumerate() {
                assert_eq!(expected, actual, "step {at} of {shards} shards");
            }
            assert_eq!(expected.len(), actual.len());
            // And once more, between any two inputs.
            restarted.net.server.restart(through_json);
        }
    }
}

#[test]
fn a_snapshot_of_a_restored_relay_is_the_same_snapshot() {
    let mut call = Call::start(1);
    call.go_on();
    let before = json(&call.net.server.shards[0].relay.snapshot());
    call.net.server.restart(through_json);
    let after = json(&call.net.server.shards[0].relay.snapshot());
    assert_eq!(before, after);
    assert!(before.len() > 1000, "{before}");
}

// compliance: 8656-6-02, 8656-6-03
#[test]
fn no_password_is_in_a_snapshot() {
    let mut net = Setup::default().build();
    Client::alice().allocate(&mut net);
    let text = json(&net.server.shards[0].relay.snapshot());
    assert!(text.contains("alice") && !text.contains("wonderland"));
}

#[test]
fn quotas_and_ports_are_held_again() {
    let mut setup = Setup {
        ports: 50_000..=50_002,
        ..Setup::default()
    };
    setup.limits.per_user = NonZeroU32::new(1);
    let mut net = setup.build();
    let mut alice = Client::alice();
    let relayed = alice.allocate(&mut net);
    net.server.restart(through_json);
    assert_eq!(net.server.quota.held_by("alice"), 1);
    assert_eq!(net.server.ports.usage(AddressFamily::V4), (1, 3));
    assert!(net.server.relay_socket(relayed).is_some());
    let mut again = Client::new("203.0.113.11:1").user("alice", "wonderland");
    again.ask(&mut net, &Request::allocate()).expect_error(486);
    alice.refresh(&mut net, 0).expect_success();
    again.allocate(&mut net);
}

#[test]
fn what_cannot_be_taken_up_is_refused_and_holds_nothing() {
    let mut net = Setup::default().build();
    Client::alice().allocate(&mut net);
    Client::bob().allocate(&mut net);
    let addresses: Vec<RelayAddress> = net.server.ports.addresses().collect();
    let range = net.server.ports.ports().clone();
    let snapshot = || through_json(net.server.shards[0].relay.snapshot());
    let restore = |ports: &Arc<RelayedPorts>, sockets: &mut FakeSockets| {
        let quota = Quota::new(turnbuckle_relay::Limits::default());
        let config = Arc::clone(net.server.config());
        let ports = Arc::clone(ports);
        Relay::restore(snapshot(), config, quota, ports, sockets).map(|relay| relay.allocations())
    };

    let elsewhere = Arc::new(RelayedPorts::new(&addresses, 1..=2));
    let refused = restore(&elsewhere, &mut FakeSockets::default());
    assert_eq!(refused, Err(RestoreError::NotOurs));

    let ports = Arc::new(RelayedPorts::new(&addresses, range));
    let mut second_fails = SecondFails::default();
    let quota = Quota::new(turnbuckle_relay::Limits::default());
    let refused = Relay::restore(
        snapshot(),
        Arc::clone(net.server.config()),
        quota.clone(),
        Arc::clone(&ports),
        &mut second_fails,
    )
    .map(|relay| relay.allocations());
    assert_eq!(refused, Err(RestoreError::Open(OpenError::Unavailable)));
    assert_eq!(ports.usage(AddressFamily::V4).0, 0, "ports are free again");
    assert!(second_fails.sockets.is_empty(), "sockets are closed again");
    assert_eq!(quota.total(), 0);
    assert_eq!(restore(&ports, &mut FakeSockets::default()), Ok(2));
    // While that relay lives its ports are taken; it is gone by now, but they are for its shard to release.
    let refused = restore(&ports, &mut FakeSockets::default());
    assert_eq!(refused, Err(RestoreError::NotOurs));
    ports.release_shard(turnbuckle_relay::ShardId(0));
    assert_eq!(restore(&ports, &mut FakeSockets::default()), Ok(2));
}

/// Some calls under way, with a bit of everything that can be in a state.
struct Call {
    net: Network,
    alice: Client,
    bob: Client,
    carol: Client,
    stranger: Client,
    /// Who has just deleted an allocation, and how.
    gone: Option<(Client, Vec<u8>)>,
    round: u16,
}

impl Call {
    fn start(shards: u8) -> Self {
        let number = |n| NonZeroU32::new(n).unwrap();
        let mut setup = Setup::default().behind_nat().shards(shards).config(|c| {
            c.unauthorized_rate = Some(Rate {
                per_second: number(1),
                burst: number(30),
            });
        });
        setup.limits.total = NonZeroU32::new(5);
        let mut net = setup.build();
        net.record = true;
        let mut alice = Client::alice();
        let mut bob = Client::bob();
        let mut carol = Client::new("203.0.113.30:30000").rest("1700000900:carol");
        let long = Request::allocate().lifetime(3600);
        for client in [&mut alice, &mut bob] {
            client.ask(&mut net, &long).expect_success();
        }
        let v6 = Request::allocate().family(AddressFamily::V6);
        carol.ask(&mut net, &v6).expect_success();
        let (at_alice, at_bob) = (alice.relayed.unwrap(), bob.relayed.unwrap());
        alice.permit(&mut net, &[at_bob]).expect_success();
        bob.bind(&mut net, 0x4000, at_alice).expect_success();
        Self {
            net,
            alice,
            bob,
            carol,
            stranger: Client::new("203.0.113.40:40000").user("alice", "guessed"),
            gone: None,
            round: 0,
        }
    }

    /// A stretch of the calls; what the server was sent and did about it.
    fn go_on(&mut self) -> Vec<Step> {
        let net = &mut self.net;
        let (at_alice, at_bob) = (self.alice.relayed.unwrap(), self.bob.relayed.unwrap());
        let (near, far) = (Peer::new("9.9.9.9:4000"), Peer::new("[2a00:1450::1]:4000"));
        net.take_steps();
        self.round += 1;

        // What was remembered a moment ago: a deletion, and how often somebody guessed.
        if let Some((client, delete)) = &mut self.gone {
            client.exchange(net, delete).unwrap().expect_success();
        }
        self.stranger.ask_once(net, &Request::allocate());

        // Indications with transaction ids of the relay's choice, hairpin, both families.
        near.send(net, at_alice, b"permitted or not");
        self.alice.permit(net, &[near.address, at_bob]);
        near.send(net, at_alice, b"indication");
        self.alice.send(net, at_bob, b"hairpin");
        self.bob.send_channel(net, 0x4000, b"hairpin");
        self.carol.bind(net, 0x4100 + self.round, far.address);
        far.send(net, self.carol.relayed.unwrap(), b"by channel or not");

        let mut gone = Client::new(&format!("203.0.113.70:{}", self.round)).user("bob", "builder");
        gone.allocate(net);

        // Retransmissions, a credential that runs out, a place in the quota, ports by chance.
        let retransmitted = self.alice.encode(&Request::allocate());
        self.alice.exchange(net, &retransmitted);
        let mut late = Client::new(&format!("203.0.113.50:{}", self.round)).rest("1700000400:dave");
        late.ask(net, &Request::allocate());
        let mut sixth = Client::new(&format!("203.0.113.60:{}", self.round)).user("bob", "builder");
        sixth.ask(net, &Request::allocate());
        let delete = late.encode(&Request::refresh(0));
        late.exchange(net, &delete);
        late.exchange(net, &delete);

        // Expiry, with its timers; the allowance of somebody who guesses.
        net.advance(Duration::from_secs(290));
        near.send(net, at_alice, b"still permitted");
        net.advance(Duration::from_secs(20));
        near.send(net, at_alice, b"no longer");
        self.carol.refresh(net, 600);
        for _ in 0..40 {
            self.stranger.ask_once(net, &Request::allocate());
        }
        let delete = gone.encode(&Request::refresh(0));
        gone.exchange(net, &delete).unwrap().expect_success();
        self.gone = Some((gone, delete));
        self.net.take_steps()
    }
}

/// Sockets of a host that runs out of them.
#[derive(Default)]
struct SecondFails {
    sockets: FakeSockets,
}

impl turnbuckle_relay::RelaySockets for SecondFails {
    fn open(
        &mut self,
        id: turnbuckle_relay::RelayedId,
        local: std::net::SocketAddr,
    ) -> Result<(), OpenError> {
        if self.sockets.len() == 1 {
            self.sockets.fail_always = Some(OpenError::Unavailable);
        }
        self.sockets.open(id, local)
    }

    fn close(&mut self, id: turnbuckle_relay::RelayedId) {
        self.sockets.close(id);
    }
}

fn through_json(snapshot: Snapshot) -> Snapshot {
    serde_json::from_str(&json(&snapshot)).unwrap()
}

fn json(snapshot: &Snapshot) -> String {
    serde_json::to_string(snapshot).unwrap()
}
