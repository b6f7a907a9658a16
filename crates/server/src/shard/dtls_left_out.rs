//! Stands in for DTLS in a build without the feature `dtls`: nothing of these types can be made, so nothing of it is ever run.

use std::convert::Infallible;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use anyhow::{Result, bail};
use turnbuckle_relay::{ClientPath, Config, Event, Instant, Now};

use crate::shard::DtlsRules;
use crate::shard::Held;
use crate::shard::udp::Io;
use crate::tls::TlsService;

pub(crate) struct DtlsService(Infallible);

pub(super) struct Dtls(Infallible);

impl DtlsService {
    /// Fails.
    pub(crate) fn new(_: &TlsService) -> Result<Self> {
        bail!("dtls is set, and this build of Turnbuckle was made without DTLS");
    }
}

impl Dtls {
    pub(super) fn new(service: Arc<DtlsService>, _: DtlsRules, _: &Config) -> io::Result<Self> {
        match service.0 {}
    }

    pub(super) const fn configure(&mut self, _: Arc<DtlsService>, _: DtlsRules, _: &Config) {
        match self.0 {}
    }

    pub(super) const fn refuse_new(&mut self) {
        match self.0 {}
    }

    pub(super) const fn is_alone(&self) -> bool {
        match self.0 {}
    }

    pub(super) const fn receive(&mut self, _: &mut Io, _: Now, _: &ClientPath, _: Held) {
        match self.0 {}
    }

    pub(super) const fn send_slot(
        &mut self,
        _: &mut Io,
        _: Now,
        _: &ClientPath,
        _: usize,
        _: Range<usize>,
        _: u8,
    ) {
        match self.0 {}
    }

    pub(super) const fn follow(&mut self, _: &Event, _: Instant) {
        match self.0 {}
    }

    pub(super) const fn poll_timeout(&self) -> Option<Instant> {
        match self.0 {}
    }

    pub(super) const fn handle_timeout(&mut self, _: &mut Io, _: Now) {
        match self.0 {}
    }

    pub(super) const fn recover(&mut self, _: &mut Io, _: Now, _: bool) {
        match self.0 {}
    }

    pub(super) const fn say_goodbye(&mut self, _: &mut Io) {
        match self.0 {}
    }
}
