//! What a running shard is told when the server is set up anew: parameters, and which listeners there are to be.

use std::net::SocketAddr;
use std::sync::Arc;

use turnbuckle_net::UdpListener;
use turnbuckle_relay::Config;

use crate::deployment::StreamAddress;
use crate::shard::DtlsRules;
use crate::shard::dtls::DtlsService;
use crate::shard::stream::{Rules, StreamListener};

/// For one shard. It takes what is for its kind and leaves the rest.
pub(crate) struct Reconfigure {
    pub(crate) config: Arc<Config>,
    /// Of streams.
    pub(crate) rules: Rules,
    /// `None`: no new DTLS clients are served.
    pub(crate) dtls: Option<(Arc<DtlsService>, DtlsRules)>,
    /// All listeners that there are to be. What is not among them is given up: one for UDP takes no new clients and stays for those
    /// that have allocations, one for streams is closed and its connections go on.
    pub(crate) listeners: Arc<Listeners>,
    /// Those of them that the shard does not have.
    pub(crate) new_udp: Vec<UdpListener>,
    pub(crate) new_streams: Vec<StreamListener>,
}

/// The addresses that clients are served on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listeners {
    pub(crate) udp: Vec<SocketAddr>,
    pub(crate) streams: Vec<StreamAddress>,
}
