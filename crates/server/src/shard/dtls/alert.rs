//! Alerts in the clear (RFC 5246 §7.2.2), for clients that nothing is kept about: one that cannot be served should not wait for it.

/// Why a handshake ends. All of them are fatal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Alert {
    /// There is nothing in common.
    HandshakeFailure = 40,
    /// The cookie is not good.
    IllegalParameter = 47,
    /// DTLS 1.0, which nobody should speak (RFC 8996).
    ProtocolVersion = 70,
}

impl Alert {
    /// The alert as the only record of a datagram, numbered behind the one that asks for a cookie.
    pub(super) const fn datagram(self) -> [u8; 15] {
        const ALERT: u8 = 21;
        const FATAL: u8 = 2;
        let this = self as u8;
        [ALERT, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 1, 0, 2, FATAL, this]
    }
}
