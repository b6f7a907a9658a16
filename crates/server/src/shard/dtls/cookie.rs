//! Cookies of the DTLS handshake (RFC 6347 §4.2.1, RFC 9147 §5.1) and the two messages that carry them. Owns the rotating key;
//! keeps nothing about any client.

use std::net::{IpAddr, SocketAddr};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use turnbuckle_relay::{FiveTuple, Instant};

use super::client_hello::{
    COOKIE, DTLS_1_2, DTLS_1_3, HANDSHAKE, RECORD_HEADER_BYTES, SUPPORTED_VERSIONS,
};

/// Proof that a client receives what is sent to its address.
pub(super) type Cookie = [u8; COOKIE_BYTES];

/// The protocol that a cookie is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    Dtls12,
    Dtls13,
}

/// Makes cookies and knows them again, for one to two minutes.
pub(super) struct CookieKeys {
    root: Hmac<Sha256>,
    current: Hmac<Sha256>,
    previous: Hmac<Sha256>,
    /// Which period `current` is for.
    period: u64,
}

impl CookieKeys {
    pub(super) fn new(secret: &[u8; 32]) -> Self {
        let root = keyed(secret);
        Self {
            current: derived(&root, 0),
            previous: derived(&root, u64::MAX),
            root,
            period: 0,
        }
    }

    /// The cookie for a client that has sent `hello`: all of the first ClientHello that it has to repeat.
    // compliance: 8489-13-01
    pub(super) fn cookie(
        &mut self,
        now: Instant,
        version: Version,
        client: &FiveTuple,
        hello: [&[u8]; 2],
    ) -> Cookie {
        self.turn(now);
        seal(&self.current, self.period, version, client, hello)
    }

    /// True for a cookie that was made for the very same of late.
    pub(super) fn is_valid(
        &mut self,
        now: Instant,
        version: Version,
        client: &FiveTuple,
        hello: [&[u8]; 2],
        cookie: &[u8],
    ) -> bool {
        self.turn(now);
        let Some(&first) = cookie.first() else {
            return false;
        };
        let age = (self.period ^ u64::from(first)) & 1;
        let key = match age {
            0 => &self.current,
            _ => &self.previous,
        };
        let period = self.period.wrapping_sub(age);
        seal(key, period, version, client, hello)
            .ct_eq(cookie)
            .into()
    }

    fn turn(&mut self, now: Instant) {
        let period = now.as_micros() / PERIOD_MICROS;
        if period != self.period {
            self.current = derived(&self.root, period);
            self.previous = derived(&self.root, period.wrapping_sub(1));
            self.period = period;
        }
    }
}

/// The datagram that asks a DTLS 1.2 client for the cookie.
pub(super) fn hello_verify_request(cookie: &Cookie) -> [u8; VERIFY_REQUEST_BYTES] {
    let mut out = Writer::new();
    // RFC 6347 §4.2.1: both as of DTLS 1.0, whatever is agreed on later.
    out.header(DTLS_1_0, HELLO_VERIFY_REQUEST, VERIFY_REQUEST_BYTES);
    out.u16(DTLS_1_0);
    out.put(&[COOKIE_BYTES as u8]);
    out.put(cookie);
    out.bytes
}

/// The datagram that asks a DTLS 1.3 client for the cookie (RFC 8446 §4.1.4).
pub(super) fn hello_retry_request(cookie: &Cookie, suite: u16) -> [u8; RETRY_REQUEST_BYTES] {
    let mut out = Writer::new();
    out.header(DTLS_1_2, SERVER_HELLO, RETRY_REQUEST_BYTES);
    out.u16(DTLS_1_2);
    out.put(&RETRY_REQUEST_RANDOM);
    out.put(&[0]);
    out.u16(suite);
    out.put(&[0]);
    out.u16(EXTENSIONS_BYTES);
    out.u16(SUPPORTED_VERSIONS);
    out.u16(2);
    out.u16(DTLS_1_3);
    out.u16(COOKIE);
    out.u16(COOKIE_DATA_BYTES);
    out.u16(COOKIE_BYTES as u16);
    out.put(cookie);
    out.bytes
}

fn keyed(secret: &[u8; 32]) -> Hmac<Sha256> {
    // RFC 2104 §2: a key shorter than the block is filled up with zeroes.
    let mut block = [0; 64];
    let (start, _) = block.split_at_mut(secret.len());
    start.copy_from_slice(secret);
    Hmac::new(&block.into())
}

fn derived(root: &Hmac<Sha256>, period: u64) -> Hmac<Sha256> {
    let mut mac = root.clone();
    mac.update(&period.to_be_bytes());
    keyed(&mac.finalize().into_bytes().into())
}

fn seal(
    key: &Hmac<Sha256>,
    period: u64,
    version: Version,
    client: &FiveTuple,
    hello: [&[u8]; 2],
) -> Cookie {
    let mut mac = key.clone();
    mac.update(&[match version {
        Version::Dtls12 => 2,
        Version::Dtls13 => 3,
    }]);
    for address in [client.client.0, client.server.0] {
        update_with_address(&mut mac, address);
    }
    let [before, after] = hello;
    mac.update(&(before.len() as u64).to_be_bytes());
    mac.update(before);
    mac.update(after);
    let mut cookie: Cookie = mac.finalize().into_bytes().into();
    if let Some(first) = cookie.first_mut() {
        // Tells which key it was without trying both.
        *first = (*first & 0xfe) | (period & 1) as u8;
    }
    cookie
}

fn update_with_address(mac: &mut Hmac<Sha256>, address: SocketAddr) {
    match address.ip() {
        IpAddr::V4(ip) => mac.update(&ip.to_ipv6_mapped().octets()),
        IpAddr::V6(ip) => mac.update(&ip.octets()),
    }
    mac.update(&address.port().to_be_bytes());
}

/// Fills a datagram of known length from the front.
struct Writer<const LEN: usize> {
    bytes: [u8; LEN],
    at: usize,
}

impl<const LEN: usize> Writer<LEN> {
    const fn new() -> Self {
        Self {
            bytes: [0; LEN],
            at: 0,
        }
    }

    /// Record and message header with record number 0: the server's next record, which is about a client it knows, has number 1.
    fn header(&mut self, version: u16, message: u8, datagram_len: usize) {
        let message_len = datagram_len.saturating_sub(RECORD_HEADER_BYTES) as u16;
        let body = message_len.saturating_sub(12).to_be_bytes();
        self.put(&[HANDSHAKE]);
        self.u16(version);
        self.put(&[0; 8]);
        self.u16(message_len);
        self.put(&[message, 0]);
        self.put(&body);
        self.put(&[0; 6]);
        self.put(&body);
    }

    fn u16(&mut self, value: u16) {
        self.put(&value.to_be_bytes());
    }

    fn put(&mut self, bytes: &[u8]) {
        let end = self.at.saturating_add(bytes.len());
        if let Some(to) = self.bytes.get_mut(self.at..end) {
            to.copy_from_slice(bytes);
            self.at = end;
        }
    }
}

/// As long as the implementation of the handshake has them.
pub(super) const COOKIE_BYTES: usize = 32;
pub(super) const VERIFY_REQUEST_BYTES: usize = RECORD_HEADER_BYTES + 12 + 3 + COOKIE_BYTES;
pub(super) const RETRY_REQUEST_BYTES: usize = RECORD_HEADER_BYTES + 12 + 52 + COOKIE_BYTES;
const PERIOD_MICROS: u64 = 60_000_000;
/// Of the cookie extension in a HelloRetryRequest, and of all of its extensions.
const COOKIE_DATA_BYTES: u16 = 2 + COOKIE_BYTES as u16;
const EXTENSIONS_BYTES: u16 = 6 + 4 + COOKIE_DATA_BYTES;
const DTLS_1_0: u16 = 0xfeff;
/// HandshakeType.
const SERVER_HELLO: u8 = 2;
const HELLO_VERIFY_REQUEST: u8 = 3;
/// RFC 8446 §4.1.3: SHA-256 of "HelloRetryRequest".
const RETRY_REQUEST_RANDOM: [u8; 32] = [
    0xCF, 0x21, 0xAD, 0x74, 0xE5, 0x9A, 0x61, 0x11, 0xBE, 0x1D, 0x8C, 0x02, 0x1E, 0x65, 0xB8, 0x91,
    0xC2, 0xA2, 0x11, 0x16, 0x7A, 0xBB, 0x8C, 0x5E, 0x07, 0x9E, 0x09, 0xE2, 0xC8, 0xA8, 0x33, 0x9C,
];
