//! Instructions that codec, routing and one relayed packet take, against the counts in `instructions.txt`.
//!
//! Owns the cases and the comparison. The program runs itself under valgrind's callgrind, so that the same build gives the same
//! counts on a busy machine too. `-- --update` writes the file anew.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::{env, fs, process};

use turnbuckle_proto::{
    ChannelData, Class, IndicationHeader, IntegrityKey, LongTermKey, Message, MessageBuilder,
    Method, TransactionId,
};
use turnbuckle_relay::{ClientPath, Decision, HEADROOM, Limits, Now, Packet, RelayedId, TAILROOM};
use turnbuckle_testkit::{Client, Network, Peer, Server, Setup, Shard};

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if let [argument, wanted, ..] = arguments.as_slice()
        && argument == COUNTED
    {
        cases(&mut |name, run| {
            if name == wanted {
                for _ in 0..RUNS_BEFORE {
                    run();
                }
                measured(run);
            }
        });
        return ExitCode::SUCCESS;
    }
    if !is_machine_recorded() {
        println!("SKIPPED: the counts are for x86-64 with AVX2");
        return ExitCode::SUCCESS;
    }
    let outcome = counted().and_then(|counts| {
        if arguments.iter().any(|argument| argument == "--update") {
            return record(&counts);
        }
        compare(&counts)
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("instructions: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Everything that is counted. Only what `measured` is called for counts.
fn cases(case: &mut dyn FnMut(&str, &mut dyn FnMut())) {
    codec(case);
    relayed(case);
    hairpin(case);
    limited(case);
}

fn codec(case: &mut dyn FnMut(&str, &mut dyn FnMut())) {
    let request = allocate_request();
    case("codec: read an Allocate request", &mut || {
        let message = Message::decode(black_box(&request)).expect("well formed");
        let _ = black_box((message.username(), message.realm(), message.nonce()));
        let _ = black_box((message.lifetime(), message.requested_transport()));
    });

    let mut room = [0; 256];
    let (relayed, mapped) = (address("203.0.113.9:50000"), address("198.51.100.7:40000"));
    case("codec: build an Allocate response", &mut || {
        let method = Method::ALLOCATE;
        let mut builder =
            MessageBuilder::new(&mut room, Class::Success, method, black_box(ID)).expect("room");
        builder
            .xor_relayed_address(black_box(relayed))
            .and_then(|b| b.xor_mapped_address(black_box(mapped)))
            .and_then(|b| b.lifetime(600))
            .and_then(|b| b.software("Turnbuckle"))
            .expect("room");
        black_box(builder.finish());
    });

    let data = Client::channel_data(CHANNEL, &[7; PAYLOAD_LEN]);
    case("codec: read ChannelData", &mut || {
        let _ = black_box(ChannelData::decode(black_box(&data)));
    });

    let indication = send_indication(address("192.0.2.7:4000"));
    case("codec: read a Send indication", &mut || {
        let message = Message::decode(black_box(&indication)).expect("well formed");
        let _ = black_box((message.peer_address(), message.data()));
    });

    let peer = address("192.0.2.7:4000");
    case("codec: head of a Data indication", &mut || {
        let peer = black_box(peer);
        black_box(IndicationHeader::new(Method::DATA, ID, peer, PAYLOAD_LEN));
    });
}

fn relayed(case: &mut dyn FnMut(&str, &mut dyn FnMut())) {
    let mut net = populated();
    let mut alice = Client::alice();
    let relayed = alice.allocate(&mut net);
    let [by_channel, by_indication] = ["9.9.9.9:4000", "9.9.9.8:4000"].map(Peer::new);
    alice
        .bind(&mut net, CHANNEL, by_channel.address)
        .expect_success();
    alice
        .permit(&mut net, &[by_indication.address])
        .expect_success();

    let now = net.clock.now();
    let path = Server::path(alice.five_tuple());
    let (shard, id) = net.server.relay_socket(relayed).expect("open");
    let shard = &mut net.server.shards[shard];
    let mut answer = [0; ANSWER_LEN];

    // The allocation is found, and that it has no such channel.
    let mut buffer = room(&Client::channel_data(CHANNEL + 1, &[7; PAYLOAD_LEN]));
    case("routing: five-tuple and channel", &mut || {
        let decision = from_client(shard, now, &path, &mut buffer, &mut answer);
        assert!(matches!(decision, Decision::Drop(_)));
    });
    let messages = [
        (
            "relayed: channel to peer",
            Client::channel_data(CHANNEL, &[7; PAYLOAD_LEN]),
        ),
        (
            "relayed: Send indication to peer",
            send_indication(by_indication.address),
        ),
    ];
    to_peer(case, shard, now, &path, &messages);
    let peers = [
        ("relayed: peer to channel", by_channel.address),
        ("relayed: peer to Data indication", by_indication.address),
    ];
    to_client(case, shard, now, id, &peers);
}

fn hairpin(case: &mut dyn FnMut(&str, &mut dyn FnMut())) {
    let mut net = populated();
    let (mut alice, mut bob) = (Client::alice(), Client::bob());
    let at_alice = alice.allocate(&mut net);
    let at_bob = bob.allocate(&mut net);
    alice.bind(&mut net, CHANNEL, at_bob).expect_success();
    bob.bind(&mut net, CHANNEL, at_alice).expect_success();

    let now = net.clock.now();
    let path = Server::path(alice.five_tuple());
    let shard = &mut net.server.shards[0];
    let mut answer = [0; ANSWER_LEN];
    // The header is written over the one that came, so the message stays what it is.
    let mut buffer = room(&Client::channel_data(CHANNEL, &[7; PAYLOAD_LEN]));
    case("relayed: hairpin", &mut || {
        let decision = from_client(shard, now, &path, &mut buffer, &mut answer);
        assert!(matches!(decision, Decision::ToClient { .. }));
    });
}

/// As [`relayed`], by the channel, with a rate that is limited and not reached.
fn limited(case: &mut dyn FnMut(&str, &mut dyn FnMut())) {
    let mut net = populated();
    net.server.quota.set_limits(Limits {
        rate: NonZeroU64::new(1 << 40),
        ..Limits::default()
    });
    let mut alice = Client::alice();
    let relayed = alice.allocate(&mut net);
    let peer = Peer::new("9.9.9.9:4000");
    alice.bind(&mut net, CHANNEL, peer.address).expect_success();

    let now = net.clock.now();
    let path = Server::path(alice.five_tuple());
    let (shard, id) = net.server.relay_socket(relayed).expect("open");
    let shard = &mut net.server.shards[shard];
    let message = Client::channel_data(CHANNEL, &[7; PAYLOAD_LEN]);
    let messages = [("limited: channel to peer", message)];
    to_peer(case, shard, now, &path, &messages);
    let peers = [("limited: peer to channel", peer.address)];
    to_client(case, shard, now, id, &peers);
}

/// What a client sends. As [`to_client`], one place for all cases: with a second call of the relay the compiler might inline it in
/// neither, and every count would be another.
fn to_peer(
    case: &mut dyn FnMut(&str, &mut dyn FnMut()),
    shard: &mut Shard,
    now: Now,
    path: &ClientPath,
    messages: &[(&str, Vec<u8>)],
) {
    let mut answer = [0; ANSWER_LEN];
    for (name, message) in messages {
        let mut buffer = room(message);
        case(name, &mut || {
            let decision = from_client(shard, now, path, &mut buffer, &mut answer);
            assert!(matches!(decision, Decision::ToPeer { .. }));
        });
    }
}

/// What these peers send to a relayed transport address.
fn to_client(
    case: &mut dyn FnMut(&str, &mut dyn FnMut()),
    shard: &mut Shard,
    now: Now,
    id: RelayedId,
    peers: &[(&str, SocketAddr)],
) {
    for &(name, peer) in peers {
        let mut buffer = room(&[7; PAYLOAD_LEN]);
        case(name, &mut || {
            let decision = from_peer(shard, now, id, peer, &mut buffer);
            assert!(matches!(decision, Decision::ToClient { .. }));
        });
    }
}

/// What callgrind collects.
#[inline(never)]
fn measured(run: &mut dyn FnMut()) {
    for _ in 0..RUNS {
        run();
    }
}

/// Whether hash, checksum and `memcpy` take the same ways as where the counts were recorded. valgrind shows a program AVX2 if the
/// machine has it, and never the SHA extensions.
fn is_machine_recorded() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("avx2");
    #[cfg(not(target_arch = "x86_64"))]
    return false;
}

/// Counts of each case for [`RUNS`] runs, in their order.
fn counted() -> Result<Vec<(String, u64)>, String> {
    let mut counts = Vec::new();
    cases(&mut |name, _| counts.push((name.to_owned(), 0)));
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let file = directory.join(format!("instructions-{}", process::id()));
    for (name, count) in &mut counts {
        *count = count_case(name, &file)?;
    }
    let _ = fs::remove_file(&file);
    Ok(counts)
}

/// Runs one case under callgrind, which writes to `file`.
fn count_case(name: &str, file: &Path) -> Result<u64, String> {
    let program = env::current_exe().map_err(|error| error.to_string())?;
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--toggle-collect=*measured*"])
        .arg(format!("--callgrind-out-file={}", file.display()))
        .arg(program)
        .args([COUNTED, name])
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("cannot run valgrind (package valgrind): {error}"))?;
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{name}: valgrind: {}\n{errors}", output.status));
    }
    total(file)
}

/// The sum in a file that callgrind wrote.
fn total(file: &Path) -> Result<u64, String> {
    let text = fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    text.lines()
        .find_map(|line| line.strip_prefix("totals: "))
        .and_then(|count| count.trim().parse().ok())
        .filter(|&count| count > 0)
        .ok_or_else(|| format!("{}: nothing was counted", file.display()))
}

/// Fails if a count is more than [`TOLERANCE_PERCENT`] away from the one in the file. One that has become smaller counts as
/// well: otherwise what was gained could be lost again unnoticed.
fn compare(counts: &[(String, u64)]) -> Result<(), String> {
    let recorded = read_recorded()?;
    let mut differ = Vec::new();
    for (name, count) in counts {
        let Some(&before) = recorded.get(name) else {
            println!("{name:<36} {:>9}  not recorded", shown(*count));
            differ.push(name.as_str());
            continue;
        };
        let change = (*count as f64 / before as f64 - 1.0) * 100.0;
        let outside = change.abs() > TOLERANCE_PERCENT;
        let verdict = if outside { "DIFFERS" } else { "ok" };
        println!(
            "{name:<36} {:>9} {:>9} {change:>+7.2} %  {verdict}",
            shown(*count),
            shown(before)
        );
        if outside {
            differ.push(name);
        }
    }
    for name in recorded.keys() {
        if !counts.iter().any(|(counted, _)| counted == name) {
            println!("{name:<36} is recorded, but there is no such case");
            differ.push(name);
        }
    }
    if differ.is_empty() {
        return Ok(());
    }
    Err(format!(
        "{} of {} counts are more than {TOLERANCE_PERCENT} % away from {}. If that is meant: \
         cargo bench -p turnbuckle-testkit --bench instructions -- --update",
        differ.len(),
        counts.len(),
        recorded_file().display()
    ))
}

fn read_recorded() -> Result<BTreeMap<String, u64>, String> {
    let file = recorded_file();
    let text = fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?;
    let mut recorded = BTreeMap::new();
    for (line, text) in (1..).zip(text.lines()) {
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        let entry = text.rsplit_once(" = ").and_then(|(name, count)| {
            let count = count.replacen('.', "", 1).parse().ok()?;
            Some((name.trim_end().to_owned(), count))
        });
        let (name, count) = entry.ok_or_else(|| {
            format!(
                "{}:{line}: expected `name = instructions`, with two decimals",
                file.display()
            )
        })?;
        recorded.insert(name, count);
    }
    Ok(recorded)
}

fn record(counts: &[(String, u64)]) -> Result<(), String> {
    let mut text = HEAD.to_owned();
    for (name, count) in counts {
        let line = format!("{name:<36} = {}\n", shown(*count));
        print!("{line}");
        text.push_str(&line);
    }
    let file = recorded_file();
    fs::write(&file, text).map_err(|error| format!("{}: {error}", file.display()))
}

fn recorded_file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/instructions.txt")
}

/// Instructions of one run.
fn shown(count: u64) -> String {
    format!("{}.{:02}", count / RUNS, count % RUNS)
}

fn populated() -> Network {
    let mut net = Setup::default().build();
    for number in 1..=OTHERS {
        Client::new(&format!("198.51.100.{number}:40000"))
            .rest(&format!("1700003600:caller-{number}"))
            .allocate(&mut net);
    }
    net
}

fn from_client(
    shard: &mut Shard,
    now: Now,
    path: &ClientPath,
    buffer: &mut [u8],
    answer: &mut [u8],
) -> Decision {
    let payload = HEADROOM..buffer.len() - TAILROOM;
    let packet = Packet::new(black_box(buffer), payload).expect("inside");
    let sockets = &mut shard.sockets;
    black_box(
        shard
            .relay
            .handle_client(now, path, packet, answer, sockets),
    )
}

fn from_peer(
    shard: &mut Shard,
    now: Now,
    id: RelayedId,
    peer: SocketAddr,
    buffer: &mut [u8],
) -> Decision {
    let payload = HEADROOM..buffer.len() - TAILROOM;
    let packet = Packet::new(black_box(buffer), payload).expect("inside");
    black_box(shard.relay.handle_peer(now, id, peer, packet))
}

fn room(bytes: &[u8]) -> Vec<u8> {
    [&[0; HEADROOM][..], bytes, &[0; TAILROOM]].concat()
}

fn allocate_request() -> Vec<u8> {
    let key = IntegrityKey::from(&LongTermKey::derive(
        "1700000000:alice",
        "example.org",
        "password",
    ));
    let mut room = [0; 256];
    let mut builder =
        MessageBuilder::new(&mut room, Class::Request, Method::ALLOCATE, ID).expect("room");
    builder
        .requested_transport(17)
        .and_then(|b| b.lifetime(600))
        .and_then(|b| b.username("1700000000:alice"))
        .and_then(|b| b.realm("example.org"))
        .and_then(|b| b.nonce("0123456789abcdef0123456789abcdef0123"))
        .and_then(|b| b.software("client 1.0"))
        .and_then(|b| b.integrity(&key))
        .and_then(|b| b.fingerprint())
        .expect("room");
    let len = builder.finish();
    room[..len].to_vec()
}

fn send_indication(peer: SocketAddr) -> Vec<u8> {
    let mut room = [0; 256];
    let mut builder =
        MessageBuilder::new(&mut room, Class::Indication, Method::SEND, ID).expect("room");
    builder
        .xor_peer_address(peer)
        .and_then(|b| b.data(&[7; PAYLOAD_LEN]))
        .expect("room");
    let len = builder.finish();
    room[..len].to_vec()
}

fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

const HEAD: &str = "\
# Instructions of one run, as valgrind's callgrind counts them on x86-64 with AVX2. Compared by
#   cargo bench -p turnbuckle-testkit --bench instructions
# and written anew by the same command with `-- --update`. See ARCHITECTURE.md.
";
/// Tells the program that it runs under callgrind.
const COUNTED: &str = "--counted";
const TOLERANCE_PERCENT: f64 = 2.0;
/// Counts have two decimals.
const RUNS: u64 = 100;
/// What is set up on first use must not count.
const RUNS_BEFORE: usize = 3;
/// Allocations beside those that are looked at.
const OTHERS: u8 = 60;
const CHANNEL: u16 = 0x4000;
const ID: TransactionId = TransactionId(*b"abcdefghijkl");
/// Bytes of a voice packet.
const PAYLOAD_LEN: usize = 160;
/// Bytes of the buffer for answers.
const ANSWER_LEN: usize = 1280;
