//! Nanoseconds per datagram on loopback: one call each against one call per batch.

use std::net::SocketAddr;
use std::os::fd::AsFd;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use turnbuckle_net::{
    Arena, Front, HEADROOM, ListenerOptions, Outbox, Received, RelayOptions, RelaySocket,
    SendReport, Transmit, UdpListener, send_to,
};

/// 64 datagrams to 64 sockets whose buffers are full, so that the receiver costs little.
fn send(c: &mut Criterion) {
    let listener = listener();
    let receivers: Vec<_> = (0..BATCH).map(|_| relay_socket(1)).collect();
    let arena = Arena::new(BATCH, 2048);
    let mut outbox = Outbox::with_capacity(BATCH);
    let mut report = SendReport::default();
    let source = Some(listener.local_address().ip());

    let mut group = c.benchmark_group("send");
    group.throughput(Throughput::Elements(BATCH as u64));
    for (name, source, tos) in [("plain", None, 0), ("source and DSCP", source, 0xb8)] {
        group.bench_function(format!("one by one, {name}"), |b| {
            b.iter(|| {
                for (slot, receiver) in receivers.iter().enumerate() {
                    let bytes = &arena.slot(slot)[HEADROOM..HEADROOM + LENGTH];
                    let to = receiver.local_address();
                    let result = send_to(listener.as_fd(), bytes, to, source, tos);
                    report.count(&result);
                }
            });
        });
        group.bench_function(format!("outbox, {name}"), |b| {
            b.iter(|| {
                for (slot, receiver) in receivers.iter().enumerate() {
                    outbox.push(Transmit {
                        to: receiver.local_address(),
                        source,
                        tos,
                        front: Front::NONE,
                        slot: slot as u32,
                        start: HEADROOM as u32,
                        len: LENGTH as u32,
                    });
                }
                outbox.flush(&listener, &arena, &mut report);
            });
        });
    }
    group.finish();
    assert_eq!(report.dropped(), 0);
}

/// 64 datagrams that wait in one socket.
fn receive(c: &mut Criterion) {
    let listener = listener();
    let relay = relay_socket(4 << 20);
    let sender = relay_socket(0);
    let mut arena = Arena::new(BATCH, 2048);
    let mut received: Vec<Received> = Vec::with_capacity(BATCH);
    let fill = |to: SocketAddr| {
        for _ in 0..BATCH {
            send_to(sender.as_fd(), &[0; LENGTH], to, None, 0).unwrap();
        }
    };

    let mut group = c.benchmark_group("receive");
    group.throughput(Throughput::Elements(BATCH as u64));
    group.bench_function("one by one", |b| {
        b.iter_batched(
            || fill(relay.local_address()),
            |()| {
                for slot in 0..BATCH {
                    assert!(relay.receive(&mut arena, slot).unwrap().is_some());
                }
            },
            BatchSize::PerIteration,
        );
    });
    group.bench_function("batch", |b| {
        b.iter_batched(
            || fill(listener.local_address()),
            |()| {
                received.clear();
                let count = listener.receive(&mut arena, 0, BATCH, &mut received);
                assert_eq!(count.unwrap(), BATCH);
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

fn listener() -> UdpListener {
    UdpListener::bind(&ListenerOptions::new(LOOPBACK.parse().unwrap())).unwrap()
}

fn relay_socket(receive_buffer: usize) -> RelaySocket {
    let options = RelayOptions {
        receive_buffer,
        send_buffer: 0,
    };
    RelaySocket::bind(LOOPBACK.parse().unwrap(), options).unwrap()
}

criterion_group!(benches, send, receive);
criterion_main!(benches);

const LOOPBACK: &str = "127.0.0.1:0";
const BATCH: usize = 64;

/// An audio packet in ChannelData.
const LENGTH: usize = 172;
