//! A shard and a client on one thread, so that what either does to the heap is counted.

use std::net::{Ipv4Addr, TcpListener};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use turnbuckle_proto::channel_data;
use turnbuckle_proto::{Class, Message, MessageBuilder, Method, TransactionId};
use turnbuckle_testkit::{CountingAllocator, HeapUse};

use super::*;
use crate::shard::tests::parts;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

#[test]
fn relaying_over_tcp_takes_nothing_from_the_heap() {
    for (messages, payload_len) in [(1, 160), (8, 1_200), (60, 1_200), (1, 20_000)] {
        let (shard, address) = shard();
        let mut taken = None;
        let report = shard.run_until(async {
            let mut call = Call::start(address, messages, payload_len).await;
            for _ in 0..WARM_UP {
                call.both_ways().await;
            }
            let before = HeapUse::of_this_thread();
            for _ in 0..ROUNDS {
                call.both_ways().await;
            }
            taken = Some(HeapUse::of_this_thread().since(before));
        });
        let stats = report.unwrap().stats;
        let relayed = ((WARM_UP + ROUNDS) * messages) as u64;
        assert_eq!(
            (stats.packets_to_peers, stats.packets_to_clients),
            (relayed, relayed)
        );
        assert_eq!(
            taken,
            Some(HeapUse::default()),
            "{ROUNDS} times {messages} messages of {payload_len} bytes"
        );
    }
}

/// A client with a channel to a peer, and what is sent in one round, made beforehand.
struct Call {
    client: TcpStream,
    peer: UdpSocket,
    relayed: SocketAddr,
    count: usize,
    payload: Vec<u8>,
    messages: Vec<u8>,
    read: Vec<u8>,
}

impl Call {
    async fn start(server: SocketAddr, count: usize, payload_len: usize) -> Self {
        let peer = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let mut client = TcpStream::connect(server).await.unwrap();
        client.set_nodelay(true).unwrap();
        let mut answer = [0; 512];
        let answer = ask(&mut client, &mut answer, Method::ALLOCATE, |message| {
            message.requested_transport(17).unwrap();
        })
        .await;
        let relayed = answer.xor_relayed_address().unwrap().unwrap();
        let mut answer = [0; 512];
        let peer_address = peer.local_addr().unwrap();
        ask(&mut client, &mut answer, Method::CHANNEL_BIND, |message| {
            message.channel_number(CHANNEL).unwrap();
            message.xor_peer_address(peer_address).unwrap();
        })
        .await;
        let payload = vec![7; payload_len];
        let len = u16::try_from(payload_len).unwrap();
        let mut message = channel_data::header(CHANNEL, len).to_vec();
        message.extend_from_slice(&payload);
        message.resize(message.len().next_multiple_of(4), 0);
        let messages = message.repeat(count);
        Self {
            client,
            peer,
            relayed,
            count,
            read: vec![0; messages.len()],
            payload,
            messages,
        }
    }

    /// All messages to the peer, then as many from it.
    async fn both_ways(&mut self) {
        self.client.write_all(&self.messages).await.unwrap();
        for _ in 0..self.count {
            let (len, from) = self.peer.recv_from(&mut self.read).await.unwrap();
            assert_eq!((len, from), (self.payload.len(), self.relayed));
        }
        for _ in 0..self.count {
            let sent = self.peer.send_to(&self.payload, self.relayed).await;
            assert_eq!(sent.unwrap(), self.payload.len());
        }
        self.client.read_exact(&mut self.read).await.unwrap();
        assert_eq!(self.read, self.messages);
    }
}

async fn ask<'a>(
    client: &mut TcpStream,
    answer: &'a mut [u8],
    method: Method,
    fill: impl FnOnce(&mut MessageBuilder<'_>),
) -> Message<'a> {
    let mut bytes = [0; 128];
    let id = TransactionId([method.number() as u8; 12]);
    let mut request = MessageBuilder::new(&mut bytes, Class::Request, method, id).unwrap();
    fill(&mut request);
    let len = request.finish();
    client.write_all(&bytes[..len]).await.unwrap();
    let len = client.read(answer).await.unwrap();
    let answer = Message::decode(&answer[..len]).unwrap();
    assert_eq!(answer.class(), Class::Success);
    answer
}

fn alone() -> Post {
    Post::between(&[ShardId(0)]).pop().unwrap()
}

/// A shard that relays to loopback for anybody.
fn shard() -> (StreamShard, SocketAddr) {
    let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = socket.local_addr().unwrap();
    let parts = parts(1).remove(0);
    let listener = StreamListener {
        socket,
        proxied: false,
    };
    let rules = Rules {
        tls: None,
        proxies: Arc::new([]),
        connections_max: 16,
        pending_max: 16,
        pending_per_source_max: 16,
        handshake_timeout: PATIENCE,
        allocate_timeout: PATIENCE,
    };
    (
        StreamShard::new(parts, vec![listener], rules, alone()).unwrap(),
        address,
    )
}

const CHANNEL: u16 = 0x4000;
const WARM_UP: usize = 50;
const ROUNDS: usize = 200;
const PATIENCE: Duration = Duration::from_secs(60);
