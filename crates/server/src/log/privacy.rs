//! What lines tell of people (`log-privacy`). Owns which fields do, by their names, and what is left of them.

#![allow(
    clippy::disallowed_types,
    reason = "the host's randomness, new at each start"
)]

use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use turnbuckle_config::LogPrivacy;

use super::record::{Record, Value};

/// The marks in place of names, which are others after each start.
#[derive(Debug, Default)]
pub(super) struct Privacy {
    key: RandomState,
}

impl Privacy {
    /// Takes out of the fields of `record` what is not to be told.
    pub(super) fn apply(&self, how: LogPrivacy, record: &mut Record) {
        if how == LogPrivacy::Off {
            return;
        }
        record.change_fields(|name, value| match (name, value) {
            ("username", _) if how == LogPrivacy::Hash => None,
            ("user", Value::Text(name)) if how == LogPrivacy::Hash => {
                let mark = self.key.hash_one(name);
                Some(Value::Plain(format!("user-{mark:016x}")))
            }
            (name, Value::Plain(list)) if ADDRESSES.contains(&name) => {
                Some(Value::Plain(networks(&list)))
            }
            (_, value) => Some(value),
        });
    }
}

/// The networks of addresses with commas between, each once.
fn networks(list: &str) -> String {
    let mut networks: Vec<String> = Vec::new();
    for text in list.split(',') {
        let ip = text.parse::<SocketAddr>().map(|address| address.ip());
        let network = match ip.or_else(|_| text.parse()) {
            Ok(ip) => network(ip),
            // Nothing that is not an address stands in these fields, and if it did it would be hidden.
            Err(_) => None,
        };
        let network = network.unwrap_or_else(|| "hidden".to_owned());
        if !networks.contains(&network) {
            networks.push(network);
        }
    }
    networks.join(",")
}

fn network(ip: IpAddr) -> Option<String> {
    let ip = ip.to_canonical();
    let length = if ip.is_ipv4() {
        SHORT_IPV4_BITS
    } else {
        SHORT_IPV6_BITS
    };
    let network = IpNet::new(ip, length).ok()?;
    Some(network.trunc().to_string())
}

/// Fields that hold addresses of clients and peers, one or several.
const ADDRESSES: [&str; 5] = ["client", "moved_to", "peer", "peers", "stands_for"];
const SHORT_IPV4_BITS: u8 = 24;
const SHORT_IPV6_BITS: u8 = 48;

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    fn told(privacy: &Privacy, how: LogPrivacy) -> Vec<(&'static str, String)> {
        let plain = |text: &str| Value::Plain(text.to_owned());
        let text = |text: &str| Value::Text(text.to_owned());
        let mut record = Record::new(Level::INFO, "");
        for (name, value) in [
            ("user", text("alice")),
            ("username", text("1:alice")),
            ("client", plain("198.51.100.77:4711")),
            ("relayed", plain("203.0.113.7:50000")),
            (
                "peers",
                plain("192.0.2.1,192.0.2.9,2001:db8:1:2::3,::ffff:192.0.2.8"),
            ),
            ("peer", plain("unreadable")),
        ] {
            record.push(name, value);
        }
        privacy.apply(how, &mut record);
        record.fields().collect()
    }

    #[test]
    fn addresses_are_shortened_to_networks() {
        let privacy = Privacy::default();
        assert_eq!(told(&privacy, LogPrivacy::Off)[2].1, "198.51.100.77:4711");
        let short = told(&privacy, LogPrivacy::Shorten);
        let expected = [
            ("user", "alice"),
            ("username", "1:alice"),
            ("client", "198.51.100.0/24"),
            ("relayed", "203.0.113.7:50000"),
            ("peers", "192.0.2.0/24,2001:db8:1::/48"),
            ("peer", "hidden"),
        ];
        assert_eq!(
            short,
            expected.map(|(name, value)| (name, value.to_owned()))
        );
    }

    #[test]
    fn a_hashed_name_is_the_same_for_one_run_only() {
        let (one, two) = (Privacy::default(), Privacy::default());
        let hashed = told(&one, LogPrivacy::Hash);
        assert_eq!(hashed, told(&one, LogPrivacy::Hash));
        assert_ne!(hashed, told(&two, LogPrivacy::Hash));
        assert!(!format!("{hashed:?}").contains("alice"), "{hashed:?}");
        assert_eq!(hashed[1], ("client", "198.51.100.0/24".to_owned()));
    }
}
