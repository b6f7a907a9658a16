//! What became of DTLS clients, in numbers.

/// Running totals of a shard; all only ever grow.
#[derive(Clone, Debug, Default)]
pub(crate) struct DtlsReport {
    /// Clients that were asked for a cookie: one datagram each, and nothing kept.
    pub(crate) asked: u64,
    /// Handshakes that were finished.
    pub(crate) connected: u64,
    /// Handshakes that failed after the cookie, or took too long.
    pub(crate) failed: u64,
    /// ClientHellos left unanswered because their source has sent too many.
    pub(crate) drop_rate: u64,
    /// ClientHellos that cannot be answered: damaged, in fragments, with nothing in common, or with a cookie that is not good.
    pub(crate) drop_hello: u64,
    /// Records of no session.
    pub(crate) drop_unknown: u64,
    /// Relayed data that does not fit into a record (RFC 6347 §4.1.1).
    pub(crate) drop_too_long: u64,
    /// ClientHellos turned away because there are too many sessions.
    pub(crate) refused: u64,
    /// Sessions without an allocation, or half-open, that made room for newer ones.
    pub(crate) evicted: u64,
}

impl DtlsReport {
    /// Adds what another shard has done.
    pub(crate) const fn add(&mut self, other: &Self) {
        self.asked += other.asked;
        self.connected += other.connected;
        self.failed += other.failed;
        self.drop_rate += other.drop_rate;
        self.drop_hello += other.drop_hello;
        self.drop_unknown += other.drop_unknown;
        self.drop_too_long += other.drop_too_long;
        self.refused += other.refused;
        self.evicted += other.evicted;
    }

    /// What was dropped or turned away, each by its name.
    pub(crate) const fn drops(&self) -> [(&'static str, u64); 7] {
        [
            ("dtls_failed", self.failed),
            ("drop_dtls_rate", self.drop_rate),
            ("drop_dtls_hello", self.drop_hello),
            ("drop_dtls_unknown", self.drop_unknown),
            ("drop_dtls_too_long", self.drop_too_long),
            ("dtls_refused", self.refused),
            ("dtls_evicted", self.evicted),
        ]
    }
}
