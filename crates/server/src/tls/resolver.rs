//! Chooses the certificate for a ClientHello. Owns the table that is swapped as a whole; reads no file.

use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::SignatureScheme;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::pair::{Match, Pair};
use super::stamp::Stamp;

/// Everything that one reading of the files has led to.
#[derive(Debug)]
pub(super) struct Served {
    /// Never empty; the first is for clients that name no server, or none that is known.
    pub(super) pairs: Vec<Pair>,
    /// Of the files just before they were read.
    pub(super) stamps: Vec<Stamp>,
}

impl Served {
    /// The first certificate with the name, else with a wildcard for it, else the first of all; and of those, the first whose
    /// kind of signature the client takes.
    pub(super) fn choose(
        &self,
        name: Option<&str>,
        offered: &[SignatureScheme],
    ) -> Option<&Arc<CertifiedKey>> {
        let find = |wanted: Match| {
            self.pairs.iter().find(|pair| {
                name.is_some_and(|name| pair.matches(name) == wanted) && pair.can_sign(offered)
            })
        };
        find(Match::Exact)
            .or_else(|| find(Match::Wildcard))
            .or_else(|| self.pairs.iter().find(|pair| pair.can_sign(offered)))
            .or_else(|| self.pairs.first())
            .map(Pair::certified)
    }
}

/// What rustls asks in each handshake.
#[derive(Debug)]
pub(super) struct Resolver(pub(super) ArcSwap<Served>);

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0
            .load()
            .choose(hello.server_name(), hello.signature_schemes())
            .cloned()
    }
}
