//! The PROXY protocol header in front of a connection, versions 1 and 2: who the client behind a load balancer is.

use std::io;
use std::net::SocketAddr;

use proxy_header::{ParseConfig, ProxyHeader};
use tokio::io::{AsyncRead, AsyncReadExt};

/// Source and destination of the connection as the proxy got it.
pub(super) type Proxied = (SocketAddr, SocketAddr);

/// Takes exactly the header off the stream. `None` if the proxy speaks for itself, as in a health check.
///
/// Fails on anything that is no header, without having read much further.
pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Proxied>> {
    let mut header = vec![0; SIGNATURE.len()];
    stream.read_exact(&mut header).await?;
    if header == SIGNATURE {
        header.resize(V2_FIXED_LEN, 0);
        stream.read_exact(&mut header[SIGNATURE.len()..]).await?;
        let rest = usize::from(u16::from_be_bytes([header[14], header[15]]));
        if rest > V2_REST_MAX_LEN {
            return Err(invalid("its PROXY header is too long"));
        }
        header.resize(V2_FIXED_LEN + rest, 0);
        stream.read_exact(&mut header[V2_FIXED_LEN..]).await?;
    } else if header.starts_with(b"PROXY ") {
        // The header has no length, so it is read byte by byte: nothing behind it may be taken.
        while !header.ends_with(b"\r\n") {
            if header.len() >= V1_MAX_LEN {
                return Err(invalid("its PROXY header is too long"));
            }
            header.push(stream.read_u8().await?);
        }
    } else {
        return Err(invalid("it does not begin with a PROXY header"));
    }
    let (parsed, len) = ProxyHeader::parse(&header, ParseConfig::default())
        .map_err(|_| invalid("its PROXY header is malformed"))?;
    if len != header.len() {
        return Err(invalid("its PROXY header is malformed"));
    }
    Ok(parsed
        .proxied_address()
        .map(|address| (address.source, address.destination)))
}

fn invalid(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
const V2_FIXED_LEN: usize = 16;
/// Addresses and a few extensions; the format allows 65,535.
const V2_REST_MAX_LEN: usize = 2048;
/// Longest header of version 1, as its specification says.
const V1_MAX_LEN: usize = 107;

#[cfg(test)]
mod tests {
    use proxy_header::ProxiedAddress;

    use super::*;

    fn parse(mut bytes: &[u8]) -> (io::Result<Option<Proxied>>, &[u8]) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let result = runtime.block_on(read(&mut bytes));
        (result, bytes)
    }

    fn headers(source: &str, destination: &str) -> [Vec<u8>; 2] {
        let address = ProxiedAddress::stream(source.parse().unwrap(), destination.parse().unwrap());
        let header = ProxyHeader::with_address(address);
        let mut both = [Vec::new(), Vec::new()];
        header.encode_v1(&mut both[0]).unwrap();
        header.encode_v2(&mut both[1]).unwrap();
        both
    }

    #[test]
    fn takes_the_header_and_nothing_else() {
        for (source, destination) in [
            ("192.0.2.1:1000", "192.0.2.2:3478"),
            ("[2001:db8::1]:1000", "[2001:db8::2]:3478"),
        ] {
            for mut bytes in headers(source, destination) {
                bytes.extend_from_slice(b"rest");
                let (result, rest) = parse(&bytes);
                let expected = (source.parse().unwrap(), destination.parse().unwrap());
                assert_eq!(result.unwrap(), Some(expected));
                assert_eq!(rest, b"rest");
            }
        }
    }

    #[test]
    fn local_and_unknown_speak_for_the_proxy() {
        let mut local = SIGNATURE.to_vec();
        local.extend_from_slice(&[0x20, 0, 0, 0]);
        assert_eq!(parse(&local).0.unwrap(), None);
        assert_eq!(parse(b"PROXY UNKNOWN\r\n").0.unwrap(), None);
    }

    #[test]
    fn refuses_what_is_no_header() {
        let too_long = [b"PROXY TCP4 ".as_slice(), &[b'1'; 200], b"\r\n"].concat();
        let mut huge = SIGNATURE.to_vec();
        huge.extend_from_slice(&[0x21, 0x11, 0xff, 0xff]);
        for bytes in [
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03abc".as_slice(),
            b"PROXY TCP4 a b c d\r\n",
            &too_long,
            &huge,
            b"PROXY",
        ] {
            parse(bytes).0.unwrap_err();
        }
    }
}
