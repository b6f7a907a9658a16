//! Reads the ClientHello of a DTLS client in place. Owns its layout and how the first ClientHello of a client follows from its
//! second; decides nothing and keeps nothing.

use std::ops::Range;

/// A whole ClientHello in one record that fills its datagram: what can be answered without keeping anything.
#[derive(Clone, Debug)]
pub(super) struct ClientHello<'a> {
    /// Of the handshake message, which is what the transcript of DTLS 1.3 is made of (RFC 9147 §5.2).
    body: &'a [u8],
    random: [u8; 32],
    legacy_cookie: Range<usize>,
    suites: &'a [u8],
    parameters_end: usize,
    /// Where the first extension starts.
    extensions_start: usize,
    cookie: Option<Extension>,
    padding: Option<Extension>,
    /// Versions of `supported_versions`, two octets each.
    versions: Option<&'a [u8]>,
    /// Entries of `key_share`.
    shares: &'a [u8],
    server_name: Option<&'a str>,
}

/// Where an extension lies in the body.
#[derive(Clone, Debug)]
struct Extension {
    whole: Range<usize>,
    data: Range<usize>,
}

/// How the first ClientHello of a client differed from its second, apart from the cookie (RFC 8446 §4.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Padding {
    /// Not at all.
    Kept,
    /// The padding extension filled the room that the cookie takes now.
    Grown,
}

/// True if a datagram starts with a ClientHello, or a part of one, in the clear.
pub(super) fn is_client_hello(datagram: &[u8]) -> bool {
    datagram.first() == Some(&HANDSHAKE)
        && datagram.get(3..5) == Some(&[0, 0])
        && datagram.get(RECORD_HEADER_BYTES) == Some(&CLIENT_HELLO)
}

impl<'a> ClientHello<'a> {
    /// `None` for everything but a whole ClientHello, alone in its datagram.
    pub(super) fn decode(datagram: &'a [u8]) -> Option<Self> {
        if datagram.len() > HELLO_MAX_BYTES || !is_client_hello(datagram) {
            return None;
        }
        let mut record = Reader(datagram);
        record.take(1)?;
        if record.take(1)? != [0xfe] {
            return None;
        }
        record.take(9)?;
        let mut message = Reader(record.vector16()?);
        if !record.0.is_empty() {
            return None;
        }
        message.take(1)?;
        let length = message.take(3)?;
        message.take(2)?;
        // A fragment cannot be answered before the others are there, and they would have to be kept.
        if message.take(3)? != [0, 0, 0] || message.take(3)? != length {
            return None;
        }
        let body = message.0;
        match length {
            [0, high, low] if body.len() == usize::from(u16::from_be_bytes([*high, *low])) => {
                Self::decode_body(body)
            }
            _ => None,
        }
    }

    fn decode_body(body: &'a [u8]) -> Option<Self> {
        let mut reader = Reader(body);
        let at = |reader: &Reader<'_>| body.len().saturating_sub(reader.0.len());
        reader.take(2)?;
        let random = reader.take(32)?.try_into().ok()?;
        reader.vector8()?;
        let cookie_start = at(&reader).checked_add(1)?;
        reader.vector8()?;
        let legacy_cookie = cookie_start..at(&reader);
        let suites = reader.vector16()?;
        reader.vector8()?;
        let parameters_end = at(&reader);
        let mut hello = Self {
            body,
            random,
            legacy_cookie,
            suites,
            parameters_end,
            extensions_start: parameters_end,
            cookie: None,
            padding: None,
            versions: None,
            shares: &[],
            server_name: None,
        };
        if reader.0.is_empty() {
            return Some(hello);
        }
        hello.extensions_start = parameters_end.checked_add(2)?;
        let mut extensions = Reader(reader.vector16()?);
        if !reader.0.is_empty() {
            return None;
        }
        while !extensions.0.is_empty() {
            let start = at(&extensions);
            let kind = extensions.u16()?;
            let data = extensions.vector16()?;
            let end = at(&extensions);
            let place = Extension {
                whole: start..end,
                data: start.checked_add(4)?..end,
            };
            let mut inner = Reader(data);
            match kind {
                COOKIE => hello.cookie = Some(place),
                PADDING => hello.padding = Some(place),
                SUPPORTED_VERSIONS => hello.versions = Some(inner.vector8()?),
                KEY_SHARE => hello.shares = inner.vector16()?,
                SERVER_NAME => hello.server_name = host_name(inner),
                _ => {}
            }
        }
        Some(hello)
    }

    pub(super) const fn random(&self) -> &[u8; 32] {
        &self.random
    }

    /// The body as the client sent it.
    pub(super) const fn body(&self) -> &[u8] {
        self.body
    }

    /// The cookie of a HelloVerifyRequest, which a first ClientHello leaves empty.
    pub(super) fn legacy_cookie(&self) -> &[u8] {
        self.body
            .get(self.legacy_cookie.clone())
            .unwrap_or_default()
    }

    /// The cookie of a HelloRetryRequest.
    pub(super) fn cookie(&self) -> Option<&[u8]> {
        let mut data = Reader(self.body.get(self.cookie.clone()?.data)?);
        data.vector16().filter(|_| data.0.is_empty())
    }

    /// What a client does not change between its two ClientHellos in DTLS 1.2: all up to the extensions, without the cookie (RFC
    /// 6347 §4.2.1).
    pub(super) fn parameters(&self) -> [&[u8]; 2] {
        let part = |range: Range<usize>| self.body.get(range).unwrap_or_default();
        [
            part(0..self.legacy_cookie.start.saturating_sub(1)),
            part(self.legacy_cookie.end..self.parameters_end),
        ]
    }

    /// The client's first choice among `known` cipher suites.
    pub(super) fn first_suite(&self, known: &[u16]) -> Option<u16> {
        pairs(self.suites).find(|suite| known.contains(suite))
    }

    pub(super) fn offers_dtls12(&self) -> bool {
        match self.versions {
            Some(versions) => pairs(versions).any(|version| version == DTLS_1_2),
            None => self.body.get(..2) == Some(&DTLS_1_2.to_be_bytes()),
        }
    }

    pub(super) fn offers_dtls13(&self) -> bool {
        self.versions
            .is_some_and(|versions| pairs(versions).any(|version| version == DTLS_1_3))
    }

    /// True if the client has sent its half of a key exchange in one of these groups.
    pub(super) fn shares_key_of(&self, groups: &[u16]) -> bool {
        let mut shares = Reader(self.shares);
        while let Some(group) = shares.u16() {
            if shares.vector16().is_none() {
                return false;
            }
            if groups.contains(&group) {
                return true;
            }
        }
        false
    }

    /// The name that the client knows the server by (RFC 6066 §3).
    pub(super) const fn server_name(&self) -> Option<&str> {
        self.server_name
    }

    /// Makes `datagram` the first ClientHello of a DTLS 1.2 client that sent this one as its second: the same without cookie.
    pub(super) fn write_first_of_dtls12(&self, datagram: &mut Vec<u8>) -> Option<()> {
        let [before, _] = self.parameters();
        write_header(datagram);
        datagram.extend_from_slice(before);
        datagram.push(0);
        datagram.extend_from_slice(self.body.get(self.legacy_cookie.end..)?);
        write_lengths(datagram)
    }

    /// The same for DTLS 1.3: without the cookie extension, and with the padding that was there before. `None` if it cannot have
    /// been so. The body starts at [`FIRST_BODY_AT`].
    pub(super) fn write_first_of_dtls13(
        &self,
        padding: Padding,
        datagram: &mut Vec<u8>,
    ) -> Option<()> {
        let cookie = self.cookie.clone()?.whole;
        write_header(datagram);
        datagram.extend_from_slice(self.body.get(..cookie.start)?);
        datagram.extend_from_slice(self.body.get(cookie.end..)?);
        if padding == Padding::Grown {
            let padding = self.padding.clone()?;
            let removed = cookie.len();
            let moved = if padding.whole.start > cookie.start {
                removed
            } else {
                0
            };
            let place = |at: usize| {
                FIRST_BODY_AT
                    .checked_add(at)
                    .and_then(|at| at.checked_sub(moved))
            };
            let len = u16::try_from(padding.data.len().checked_add(removed)?).ok()?;
            put(
                datagram,
                place(padding.data.start.checked_sub(2)?)?,
                &len.to_be_bytes(),
            )?;
            let end = place(padding.data.end)?;
            datagram.splice(end..end, std::iter::repeat_n(0, removed));
        }
        let block = datagram
            .len()
            .checked_sub(FIRST_BODY_AT)?
            .checked_sub(self.extensions_start)?;
        put(
            datagram,
            FIRST_BODY_AT
                .checked_add(self.extensions_start)?
                .checked_sub(2)?,
            &u16::try_from(block).ok()?.to_be_bytes(),
        )?;
        write_lengths(datagram)
    }
}

/// The octets not yet read.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    fn u16(&mut self) -> Option<u16> {
        let bytes = self.take(2)?.try_into().ok()?;
        Some(u16::from_be_bytes(bytes))
    }

    /// A vector behind its length in one octet.
    fn vector8(&mut self) -> Option<&'a [u8]> {
        let &[len] = self.take(1)? else { return None };
        self.take(usize::from(len))
    }

    /// A vector behind its length in two octets.
    fn vector16(&mut self) -> Option<&'a [u8]> {
        let len = self.u16()?;
        self.take(usize::from(len))
    }
}

fn pairs(bytes: &[u8]) -> impl Iterator<Item = u16> {
    bytes
        .as_chunks()
        .0
        .iter()
        .map(|&pair| u16::from_be_bytes(pair))
}

/// The first host name of a `server_name` extension.
fn host_name(mut extension: Reader<'_>) -> Option<&str> {
    let mut names = Reader(extension.vector16()?);
    match names.take(1)? {
        [0] => std::str::from_utf8(names.vector16()?).ok(),
        _ => None,
    }
}

/// Record and message header of a first ClientHello, lengths left open.
fn write_header(datagram: &mut Vec<u8>) {
    datagram.clear();
    datagram.extend_from_slice(&[HANDSHAKE, 0xfe, 0xfd]);
    datagram.resize(RECORD_HEADER_BYTES, 0);
    datagram.push(CLIENT_HELLO);
    datagram.resize(FIRST_BODY_AT, 0);
}

fn write_lengths(datagram: &mut [u8]) -> Option<()> {
    let body = u16::try_from(datagram.len().checked_sub(FIRST_BODY_AT)?).ok()?;
    let message = u16::try_from(datagram.len().checked_sub(RECORD_HEADER_BYTES)?).ok()?;
    put(datagram, 11, &message.to_be_bytes())?;
    // The length of the message and that of its only fragment.
    put(datagram, 15, &body.to_be_bytes())?;
    put(datagram, 23, &body.to_be_bytes())
}

fn put(datagram: &mut [u8], at: usize, bytes: &[u8]) -> Option<()> {
    datagram
        .get_mut(at..at.checked_add(bytes.len())?)?
        .copy_from_slice(bytes);
    Some(())
}

/// Where the body of a rewritten first ClientHello starts in its datagram.
pub(super) const FIRST_BODY_AT: usize = RECORD_HEADER_BYTES + 12;
/// Record header of DTLS 1.2 and of records in the clear (RFC 6347 §4.1).
pub(super) const RECORD_HEADER_BYTES: usize = 13;
/// ContentType `handshake`.
pub(super) const HANDSHAKE: u8 = 22;
pub(super) const DTLS_1_2: u16 = 0xfefd;
pub(super) const DTLS_1_3: u16 = 0xfefc;
/// Extension types.
pub(super) const SUPPORTED_VERSIONS: u16 = 43;
pub(super) const COOKIE: u16 = 44;
const SERVER_NAME: u16 = 0;
const PADDING: u16 = 21;
const KEY_SHARE: u16 = 51;
/// HandshakeType `client_hello`.
const CLIENT_HELLO: u8 = 1;
/// More than fits into a packet of any common link; bounds what is hashed for somebody unknown.
const HELLO_MAX_BYTES: usize = 2048;
