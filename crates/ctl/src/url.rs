//! TURN URLs (RFC 7065), given or made from a configuration. Owns where a host name can come from; looks none up.

use std::net::IpAddr;

use serde::Serialize;
use turnbuckle_config::Settings;

/// A `turn:` or `turns:` URL.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub(crate) struct TurnUrl(String);

impl TurnUrl {
    /// Lets through what begins as a TURN URL and names a host.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let host = text
            .strip_prefix("turn:")
            .or_else(|| text.strip_prefix("turns:"));
        match host {
            None => Err("write `turn:` or `turns:` and the name of the server".to_owned()),
            Some(host) if host.starts_with("//") => {
                Err("a TURN URL has no slashes: write `turn:` and the name".to_owned())
            }
            Some(host) if host.is_empty() || host.starts_with([':', '?']) => {
                Err("it names no server".to_owned())
            }
            Some(host) if host.contains(|c: char| c.is_whitespace() || c.is_control()) => {
                Err("it holds a blank".to_owned())
            }
            Some(_) => Ok(Self(text.to_owned())),
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    fn over_udp(host: &str, port: u16) -> Self {
        Self(format!("turn:{host}:{port}?transport=udp"))
    }
}

/// How clients reach a server, going by its configuration.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ServerUrls {
    /// Empty if the configuration names neither address nor name.
    pub(crate) urls: Vec<TurnUrl>,
    /// A realm often is the name of the server, but need not be.
    pub(crate) from_realm: bool,
}

impl ServerUrls {
    /// The external addresses, else a realm that could be a host name, else the addresses listened on.
    pub(crate) fn of(settings: &Settings) -> Self {
        let external: Vec<_> = settings
            .external_ips
            .iter()
            .map(|external| external.public)
            .collect();
        let realm = settings
            .realm
            .as_deref()
            .filter(|realm| is_host_name(realm));
        let (hosts, from_realm) = match realm {
            Some(realm) if external.is_empty() => (vec![realm.to_owned()], true),
            None if external.is_empty() => {
                let listening = settings
                    .listening_ips
                    .iter()
                    .filter(|address| !address.is_unspecified());
                (listening.copied().map(host).collect(), false)
            }
            _ => (external.into_iter().map(host).collect(), false),
        };
        let mut urls = Vec::new();
        for host in hosts {
            let url = TurnUrl::over_udp(&host, settings.listening_port);
            if !urls.contains(&url) {
                urls.push(url);
            }
        }
        Self { urls, from_realm }
    }
}

fn host(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    }
}

/// Whether a realm could be a host name: labels with a dot between, not all of them numbers.
fn is_host_name(realm: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    realm.contains('.')
        && realm.split('.').all(label)
        && !realm
            .bytes()
            .all(|byte| byte.is_ascii_digit() || byte == b'.')
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use turnbuckle_config::turnserver_conf;

    use super::*;

    fn of(source: &str) -> Vec<String> {
        let settings = turnserver_conf(Path::new("f"), source, &[])
            .settings
            .unwrap();
        ServerUrls::of(&settings)
            .urls
            .into_iter()
            .map(|url| url.0)
            .collect()
    }

    #[test]
    fn external_addresses_come_first() {
        let source = "external-ip=203.0.113.7\nexternal-ip=2001:db8::7\nrealm=example.org\nlistening-port=3479\n";
        assert_eq!(
            of(source),
            [
                "turn:203.0.113.7:3479?transport=udp",
                "turn:[2001:db8::7]:3479?transport=udp"
            ]
        );
        let pairs = "external-ip=203.0.113.7/10.0.0.1\nexternal-ip=203.0.113.7/10.0.0.2\n";
        assert_eq!(of(pairs), ["turn:203.0.113.7:3478?transport=udp"]);
    }

    #[test]
    fn realm_counts_if_it_could_be_a_host_name() {
        assert_eq!(
            of("realm=turn.example.org\nlistening-ip=192.0.2.1\n"),
            ["turn:turn.example.org:3478?transport=udp"]
        );
        for realm in [
            "",
            "realm=north\n",
            "realm=my realm.org\n",
            "realm=a..b\n",
            "realm=-a.b\n",
            "realm=1.2\n",
        ] {
            assert_eq!(
                of(&format!("{realm}listening-ip=192.0.2.1\n")),
                ["turn:192.0.2.1:3478?transport=udp"]
            );
        }
    }

    #[test]
    fn nothing_may_be_left() {
        assert!(of("").is_empty());
        assert!(of("realm=north\nlistening-ip=0.0.0.0\nlistening-ip=::\n").is_empty());
    }

    #[test]
    fn given_urls_name_a_server() {
        for text in [
            "turn:turn.example.org",
            "turns:turn.example.org:443?transport=tcp",
            "turn:[2001:db8::7]:3478",
        ] {
            assert_eq!(TurnUrl::parse(text), Ok(TurnUrl(text.to_owned())));
        }
        for text in [
            "",
            "turn:",
            "turns::3478",
            "turn:?transport=udp",
            "turn://a",
            "stun:a",
            "https://a",
            "turn:a b",
            "a",
        ] {
            assert!(TurnUrl::parse(text).is_err(), "{text}");
        }
    }
}
