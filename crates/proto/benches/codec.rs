//! Nanoseconds for what a server does with each request and each relayed packet.
//!
//! The request has 160 bytes: REQUESTED-TRANSPORT, LIFETIME, USERNAME, REALM, NONCE, SOFTWARE,
//! MESSAGE-INTEGRITY and FINGERPRINT.

use std::hint::black_box;
use std::net::SocketAddr;

use criterion::{Criterion, criterion_group, criterion_main};
use turnbuckle_proto::{
    ChannelData, Class, DecodeError, IndicationHeader, IntegrityKey, LongTermKey, Message,
    MessageBuilder, Method, TransactionId, channel_data, indication, next_frame, rest,
};

criterion_group!(
    benches,
    request,
    response,
    channel_data,
    indications,
    credentials
);
criterion_main!(benches);

fn request(c: &mut Criterion) {
    let key = key();
    for (name, with_fingerprint) in [("", true), (" without fingerprint", false)] {
        let bytes = allocate_request(&key, with_fingerprint);
        c.bench_function(&format!("parse request{name}, read five attributes"), |b| {
            b.iter(|| read_five(black_box(&bytes)).is_ok());
        });
        c.bench_function(&format!("parse request{name}, read five, verify"), |b| {
            b.iter(|| {
                let message = read_five(black_box(&bytes));
                message.is_ok_and(|message| key.verify(&message).is_ok())
            });
        });
    }
}

fn response(c: &mut Criterion) {
    let key = key();
    let relayed: SocketAddr = "203.0.113.9:50000".parse().unwrap();
    let mapped: SocketAddr = "198.51.100.7:40000".parse().unwrap();
    let mut buf = [0; 256];
    c.bench_function(
        "build success response with integrity and fingerprint",
        |b| {
            b.iter(|| {
                let mut builder =
                    MessageBuilder::new(&mut buf, Class::Success, Method::ALLOCATE, black_box(ID))?;
                builder
                    .xor_relayed_address(black_box(relayed))?
                    .xor_mapped_address(black_box(mapped))?
                    .lifetime(600)?
                    .software("Turnbuckle")?
                    .integrity(&key)?
                    .fingerprint()?;
                Ok::<_, turnbuckle_proto::EncodeError>(builder.finish())
            });
        },
    );
}

fn channel_data(c: &mut Criterion) {
    for payload_len in [160, 1200] {
        let mut bytes = channel_data::header(0x4001, payload_len).to_vec();
        bytes.resize(bytes.len() + usize::from(payload_len), 0xA5);
        c.bench_function(&format!("parse ChannelData of {payload_len} bytes"), |b| {
            b.iter(|| ChannelData::decode(black_box(&bytes)).map(|data| data.payload.len()));
        });
        c.bench_function(&format!("frame ChannelData of {payload_len} bytes"), |b| {
            b.iter(|| next_frame(black_box(&bytes)));
        });
        c.bench_function(&format!("build ChannelData of {payload_len} bytes"), |b| {
            b.iter(|| {
                let header = channel_data::header(black_box(0x4001), black_box(payload_len));
                if let Some(headroom) = black_box(&mut bytes).first_chunk_mut() {
                    *headroom = header;
                }
            });
        });
    }
}

fn indications(c: &mut Criterion) {
    let peer: SocketAddr = "192.0.2.7:4000".parse().unwrap();
    let mut buf = [0; 256];
    let mut builder = MessageBuilder::new(&mut buf, Class::Indication, Method::SEND, ID).unwrap();
    builder
        .xor_peer_address(peer)
        .unwrap()
        .data(&[0xA5; 160])
        .unwrap();
    let len = builder.finish();
    let bytes = &buf[..len];
    c.bench_function("parse Send indication of 160 bytes", |b| {
        b.iter(|| {
            let message = Message::decode(black_box(bytes)).ok()?;
            Some((message.peer_address().ok()??, message.data()?.len()))
        });
    });
    c.bench_function("build header of a Data indication of 160 bytes", |b| {
        let mut out = [0; 256];
        b.iter(|| {
            let peer = black_box(peer);
            let header = IndicationHeader::new(Method::DATA, black_box(ID), peer, black_box(160))?;
            let bytes = header.as_bytes();
            black_box(&mut out)
                .get_mut(..bytes.len())?
                .copy_from_slice(bytes);
            Some(indication::padding(black_box(160)))
        });
    });
}

fn credentials(c: &mut Criterion) {
    c.bench_function("derive a long-term key", |b| {
        b.iter(|| LongTermKey::derive(black_box("1700000000:alice"), "example.org", "password"));
    });
    c.bench_function("prepare an integrity key", |b| {
        b.iter(|| IntegrityKey::new(black_box(&[7; 16])));
    });
    c.bench_function("password of a time-limited credential", |b| {
        b.iter(|| rest::password(black_box(b"north"), black_box("1700000000:alice")));
    });
}

fn read_five(bytes: &[u8]) -> Result<Message<'_>, DecodeError> {
    let message = Message::decode(bytes)?;
    let _ = black_box(message.username());
    let _ = black_box(message.realm());
    let _ = black_box(message.nonce());
    let _ = black_box(message.lifetime());
    let _ = black_box(message.requested_transport());
    Ok(message)
}

fn allocate_request(key: &IntegrityKey, with_fingerprint: bool) -> Vec<u8> {
    let mut buf = [0; 256];
    let mut builder = MessageBuilder::new(&mut buf, Class::Request, Method::ALLOCATE, ID).unwrap();
    builder
        .requested_transport(17)
        .unwrap()
        .lifetime(600)
        .unwrap()
        .username("1700000000:alice")
        .unwrap()
        .realm("example.org")
        .unwrap()
        .nonce("0123456789abcdef0123456789abcdef0123")
        .unwrap()
        .software("client 1.0")
        .unwrap()
        .integrity(key)
        .unwrap();
    if with_fingerprint {
        builder.fingerprint().unwrap();
    }
    let len = builder.finish();
    buf[..len].to_vec()
}

fn key() -> IntegrityKey {
    IntegrityKey::from(&LongTermKey::derive(
        "1700000000:alice",
        "example.org",
        "password",
    ))
}

const ID: TransactionId = TransactionId(*b"abcdefghijkl");
