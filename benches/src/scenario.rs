//! What is measured: one [`Row`] is one kind of traffic, the same for every contestant.
//!
//! Owns the words of the command line for it. Must not know how it is carried out.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use crate::goal::Goal;
use crate::stamp::Stamp;

/// One row of a result: everything that describes the load.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Row {
    pub(crate) scenario: Scenario,
    pub(crate) transport: Transport,
    pub(crate) framing: Framing,
    /// Allocations; connections on a stream transport.
    pub(crate) allocations: u32,
    /// Bytes of application data per packet.
    pub(crate) payload: usize,
    pub(crate) traffic: Traffic,
    pub(crate) load: Load,
    /// Server and generator each on a CPU of its own.
    pub(crate) pinned: bool,
    /// What Turnbuckle has to reach.
    #[serde(skip)]
    pub(crate) goals: Vec<Goal>,
}

/// What the packets do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Scenario {
    /// Client to peer.
    Up,
    /// Peer to client.
    Down,
    /// Both, alternating.
    Both,
    /// Client to peer and back; a packet counts when it is back.
    Echo,
    /// Client to client, each relayed.
    Hairpin,
    /// Binding requests.
    Binding,
    /// Allocate, 401, Allocate, Refresh to 0: a session that ends at once.
    Handshake,
    /// Allocations that carry nothing: memory, and CPU while idle.
    Hold,
}

impl Scenario {
    /// What its figures count.
    pub(crate) fn unit(self) -> &'static str {
        match self {
            Self::Up | Self::Down | Self::Both | Self::Hairpin => "packets",
            Self::Echo => "round trips",
            Self::Binding => "answers",
            Self::Handshake => "handshakes",
            Self::Hold => "allocations",
        }
    }

    /// Whether application data flows.
    pub(crate) fn relays(self) -> bool {
        !matches!(self, Self::Binding | Self::Handshake | Self::Hold)
    }
}

/// Between client and server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Transport {
    Udp,
    Tcp,
    Tls,
}

/// How data travels between client and server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Framing {
    /// ChannelData (RFC 8656 §12).
    Channel,
    /// Send and Data indications (RFC 8656 §11).
    Indication,
}

/// How packets follow each other within a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Traffic {
    /// Evenly, the flows in turn.
    Steady,
    /// At random times with the given mean rate.
    Poisson,
    /// So many packets of one flow back to back, as video frames are sent.
    Train(u32),
    /// As trains, and handed over in one piece, as a network card does that merges datagrams. Over streams, and where
    /// each client has a socket, the same as trains.
    Bundle(u32),
}

impl Traffic {
    /// Packets of one flow in a row.
    pub(crate) fn train_len(self) -> u32 {
        match self {
            Self::Steady | Self::Poisson => 1,
            Self::Train(len) | Self::Bundle(len) => len,
        }
    }
}

/// How much is sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Load {
    /// Packets per second, whatever arrives.
    Rate(f64),
    /// As fast as the server takes them: so many packets are on their way at any time.
    Closed(u32),
}

impl Row {
    /// Names what cannot be measured together.
    pub(crate) fn check(&self) -> Result<(), String> {
        let Self {
            scenario,
            transport,
            framing,
            allocations,
            payload,
            ..
        } = *self;
        if !(1..=ALLOCATIONS_MAX).contains(&allocations) {
            return Err(format!(
                "{allocations} allocations: 1 to {ALLOCATIONS_MAX} are possible"
            ));
        }
        if !(Stamp::LEN..=PAYLOAD_MAX).contains(&payload) {
            return Err(format!(
                "a payload of {payload} bytes: {} to {PAYLOAD_MAX} are possible",
                Stamp::LEN
            ));
        }
        if scenario == Scenario::Hairpin && !allocations.is_multiple_of(2) {
            return Err("hairpin needs an even number of allocations".into());
        }
        if transport != Transport::Udp && !scenario.relays() {
            return Err(format!("{scenario} is measured over udp only"));
        }
        if framing == Framing::Indication && !scenario.relays() {
            return Err(format!("{scenario} carries no indications"));
        }
        match self.load {
            Load::Rate(_) if matches!(scenario, Scenario::Handshake | Scenario::Hold) => {
                Err(format!("{scenario} has no rate"))
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.scenario)?;
        if self.transport != Transport::Udp {
            write!(f, " {}", self.transport)?;
        }
        if self.framing == Framing::Indication {
            f.write_str(" by indications")?;
        }
        match self.scenario {
            Scenario::Hold => return write!(f, ", {} held", self.allocations),
            Scenario::Handshake => {}
            Scenario::Binding => write!(f, ", {} clients", self.allocations)?,
            _ => write!(f, ", {} × {} B", self.allocations, self.payload)?,
        }
        if self.traffic != Traffic::Steady {
            write!(f, ", {}", self.traffic)?;
        }
        match self.load {
            Load::Rate(rate) => write!(f, ", {rate}/s")?,
            Load::Closed(window) => write!(f, ", closed {window}")?,
        }
        if self.pinned {
            f.write_str(", pinned")?;
        }
        Ok(())
    }
}

/// A word of the command line for each value, both ways.
macro_rules! words {
    ($type:ident { $($word:literal => $value:ident),+ $(,)? }) => {
        impl FromStr for $type {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                match text {
                    $($word => Ok(Self::$value),)+
                    _ => Err(format!("{text:?} is none of: {}", [$($word),+].join(", "))),
                }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self {
                    $(Self::$value => $word,)+
                })
            }
        }
    };
}

words!(Scenario {
    "up" => Up,
    "down" => Down,
    "both" => Both,
    "echo" => Echo,
    "hairpin" => Hairpin,
    "binding" => Binding,
    "handshake" => Handshake,
    "hold" => Hold,
});
words!(Transport { "udp" => Udp, "tcp" => Tcp, "tls" => Tls });
words!(Framing { "channel" => Channel, "indication" => Indication });

impl FromStr for Traffic {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "steady" => Ok(Self::Steady),
            "poisson" => Ok(Self::Poisson),
            _ => Self::train(text).ok_or_else(|| {
                format!(
                    "{text:?} is none of: steady, poisson, train:N, bundle:N, with N from 2 to {TRAIN_MAX}"
                )
            }),
        }
    }
}

impl Traffic {
    fn train(text: &str) -> Option<Self> {
        let (kind, len) = text.split_once(':')?;
        let len = len
            .parse()
            .ok()
            .filter(|len| (2..=TRAIN_MAX).contains(len))?;
        match kind {
            "train" => Some(Self::Train(len)),
            "bundle" => Some(Self::Bundle(len)),
            _ => None,
        }
    }
}

impl fmt::Display for Traffic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Steady => f.write_str("steady"),
            Self::Poisson => f.write_str("poisson"),
            Self::Train(len) => write!(f, "train:{len}"),
            Self::Bundle(len) => write!(f, "bundle:{len}"),
        }
    }
}

impl FromStr for Load {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "{text:?} is neither packets per second nor closed nor closed:PACKETS_ON_THEIR_WAY"
            )
        };
        if text == "closed" {
            return Ok(Self::Closed(WINDOW_DEFAULT));
        }
        if let Some(window) = text.strip_prefix("closed:") {
            return match window.parse() {
                Ok(window @ 1..=WINDOW_MAX) => Ok(Self::Closed(window)),
                _ => Err(wrong()),
            };
        }
        match text.parse() {
            Ok(rate) if (1.0..=RATE_MAX).contains(&rate) => Ok(Self::Rate(rate)),
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rate(rate) => write!(f, "{rate}"),
            Self::Closed(window) => write!(f, "closed:{window}"),
        }
    }
}

/// As on the command line.
macro_rules! serialize_as_text {
    ($($type:ident),+) => {
        $(impl Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        })+
    };
}

serialize_as_text!(Traffic, Load);

pub(crate) const ALLOCATIONS_MAX: u32 = 10_000;
/// What fits into an Ethernet frame beside the headers of UDP, IPv6 and a Send indication.
pub(crate) const PAYLOAD_MAX: usize = 1400;
pub(crate) const WINDOW_DEFAULT: u32 = 512;
const WINDOW_MAX: u32 = 65_536;
const TRAIN_MAX: u32 = 64;
const RATE_MAX: f64 = 100e6;

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> Row {
        Row {
            scenario: Scenario::Up,
            transport: Transport::Udp,
            framing: Framing::Channel,
            allocations: 50,
            payload: 160,
            traffic: Traffic::Steady,
            load: Load::Rate(50_000.0),
            pinned: false,
            goals: Vec::new(),
        }
    }

    #[test]
    fn words_are_read_and_written_alike() {
        for word in [
            "up",
            "down",
            "both",
            "echo",
            "hairpin",
            "binding",
            "handshake",
            "hold",
        ] {
            assert_eq!(word.parse::<Scenario>().unwrap().to_string(), word);
        }
        for word in ["steady", "poisson", "train:4", "bundle:64"] {
            assert_eq!(word.parse::<Traffic>().unwrap().to_string(), word);
        }
        for word in ["50000", "0.5e6", "closed:1"] {
            let load: Load = word.parse().unwrap();
            assert_eq!(load.to_string().parse::<Load>(), Ok(load));
        }
        assert_eq!("closed".parse(), Ok(Load::Closed(WINDOW_DEFAULT)));
    }

    #[test]
    fn wrong_words_are_named() {
        assert_eq!(
            "udo".parse::<Transport>().unwrap_err(),
            "\"udo\" is none of: udp, tcp, tls"
        );
        for word in [
            "train", "train:", "train:1", "train:65", "bundle:x", "bursts",
        ] {
            assert!(word.parse::<Traffic>().unwrap_err().contains(word));
        }
        for word in [
            "",
            "0",
            "-1",
            "nan",
            "inf",
            "closed:",
            "closed:0",
            "closed:70000",
            "open",
        ] {
            assert!(word.parse::<Load>().unwrap_err().contains(word), "{word}");
        }
    }

    #[test]
    fn rows_describe_themselves() {
        assert_eq!(row().to_string(), "up, 50 × 160 B, 50000/s");
        let trains = Row {
            transport: Transport::Tls,
            traffic: Traffic::Train(4),
            load: Load::Closed(512),
            pinned: true,
            framing: Framing::Indication,
            ..row()
        };
        assert_eq!(
            trains.to_string(),
            "up tls by indications, 50 × 160 B, train:4, closed 512, pinned"
        );
        let hold = Row {
            scenario: Scenario::Hold,
            load: Load::Closed(64),
            ..row()
        };
        assert_eq!(hold.to_string(), "hold, 50 held");
    }

    #[test]
    fn impossible_rows_are_refused() {
        assert_eq!(row().check(), Ok(()));
        let wrong = [
            Row {
                allocations: 0,
                ..row()
            },
            Row {
                allocations: 10_001,
                ..row()
            },
            Row {
                payload: 15,
                ..row()
            },
            Row {
                payload: 1_401,
                ..row()
            },
            Row {
                scenario: Scenario::Hairpin,
                allocations: 3,
                ..row()
            },
            Row {
                scenario: Scenario::Hold,
                ..row()
            },
            Row {
                scenario: Scenario::Binding,
                transport: Transport::Tcp,
                ..row()
            },
            Row {
                scenario: Scenario::Binding,
                framing: Framing::Indication,
                ..row()
            },
        ];
        for row in wrong {
            assert!(row.check().is_err(), "{row}");
        }
    }
}
