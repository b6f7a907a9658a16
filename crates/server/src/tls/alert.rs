//! Says in one line why a TLS connection failed, by the name of the alert that RFC 8446 §6 and its predecessors give it, and
//! what the operator can do. Owns the words; counts nothing and sends nothing.

use std::fmt;
use std::io::{self, ErrorKind};

use rustls::{AlertDescription, Error, InvalidMessage, PeerIncompatible};

/// Why a connection failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// Stable, for counting: the alert in the RFC's spelling (`unknown_ca`), whichever side sent it, or `not_tls`, `closed`, `io`.
    pub(crate) name: &'static str,
    /// Whose finding it is, and what it means. One line without a full stop.
    text: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Explains an error of a TLS stream: one of rustls, also within an `io::Error`, or of the socket.
pub(crate) fn explain(error: &io::Error) -> Failure {
    let inner = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<Error>());
    match inner {
        Some(error) => explain_tls(error),
        None => match error.kind() {
            ErrorKind::UnexpectedEof
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::BrokenPipe => Failure {
                name: "closed",
                text: "the client closed the connection without an alert; one that does not trust the certificate may do so"
                    .to_owned(),
            },
            _ => Failure {
                name: "io",
                text: error.to_string(),
            },
        },
    }
}

/// Explains `first`, the first bytes that came where neither TLS nor TURN did.
pub(crate) fn not_tls(first: &[u8]) -> Failure {
    let begins = |with: &[&[u8]]| with.iter().any(|with| first.starts_with(with));
    let what = if begins(&HTTP_METHODS) {
        "plain HTTP on a TURN port; a TURN server has no web pages, so a health check should be a STUN Binding request or just a connection"
    } else if begins(&[b"SSH-"]) {
        "SSH on a TURN port"
    } else if begins(&[b"PROXY ", PROXY_V2]) {
        "a PROXY protocol header on a port that is not set up for one; set it up, or have the proxy send none"
    } else if matches!(first, [0x80..=0xff, _, 0x01, ..]) {
        "a greeting of SSL 2, which is not spoken any more"
    } else {
        "neither TLS nor TURN"
    };
    Failure {
        name: "not_tls",
        text: what.to_owned(),
    }
}

fn explain_tls(error: &Error) -> Failure {
    match error {
        Error::AlertReceived(alert) => received(*alert),
        Error::InvalidMessage(InvalidMessage::InvalidContentType) => not_tls(&[]),
        Error::PeerIncompatible(why) => sent(incompatible(why)),
        Error::NoApplicationProtocol => sent(AlertDescription::NoApplicationProtocol),
        Error::InappropriateMessage { .. } | Error::InappropriateHandshakeMessage { .. } => Failure {
            name: name(AlertDescription::UnexpectedMessage),
            text: format!("unexpected_message: the client broke the order of the handshake ({error})"),
        },
        Error::InvalidMessage(_) => Failure {
            name: name(AlertDescription::DecodeError),
            text: format!("decode_error: the client sent what is no valid TLS ({error})"),
        },
        Error::DecryptError => Failure {
            name: name(AlertDescription::BadRecordMac),
            text: "bad_record_mac: a record was damaged or forged on its way, or the client's TLS is faulty".to_owned(),
        },
        Error::PeerSentOversizedRecord => Failure {
            name: name(AlertDescription::RecordOverflow),
            text: "record_overflow: the client sent a record that is larger than TLS allows".to_owned(),
        },
        Error::PeerMisbehaved(_) => Failure {
            name: name(AlertDescription::IllegalParameter),
            text: format!("illegal_parameter: the client broke the rules of TLS ({error})"),
        },
        _ => Failure {
            name: name(AlertDescription::InternalError),
            text: error.to_string(),
        },
    }
}

/// The alert that rustls answers with.
fn incompatible(why: &PeerIncompatible) -> AlertDescription {
    match why {
        PeerIncompatible::ServerDoesNotSupportTls12Or13
        | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
        | PeerIncompatible::SupportedVersionsExtensionRequired
        | PeerIncompatible::Tls12NotOffered
        | PeerIncompatible::Tls12NotOfferedOrEnabled => AlertDescription::ProtocolVersion,
        _ => AlertDescription::HandshakeFailure,
    }
}

fn received(alert: AlertDescription) -> Failure {
    let meaning = match alert {
        AlertDescription::UnknownCA => {
            "it does not trust the authority of the certificate. Apps built on libwebrtc carry their own list of roots and do not \
             look at the device's, so a browser on the same device may connect; check that the whole chain is served (fullchain.pem), \
             else take a certificate from an authority that is on that list"
        }
        AlertDescription::CertificateExpired => {
            "it holds the certificate for expired: renew it, or look at the client's clock"
        }
        AlertDescription::BadCertificate => {
            "it does not accept the certificate: often the name it connects to is not in the certificate, or the certificate is \
             signed by itself"
        }
        AlertDescription::CertificateUnknown => {
            "it does not accept the certificate and does not say why: often the name it connects to is not in the certificate, or the \
             authority is not one that it trusts; browsers send this for most certificate errors"
        }
        AlertDescription::UnsupportedCertificate => {
            "it cannot use this kind of certificate: ECDSA with P-256 and RSA with 2048 bits work everywhere"
        }
        AlertDescription::CertificateRevoked => {
            "the certificate has been revoked: have a new one made"
        }
        AlertDescription::HandshakeFailure => OLD_CLIENT,
        AlertDescription::ProtocolVersion => OLD_CLIENT,
        AlertDescription::InsufficientSecurity => {
            "it wants stronger cipher suites than were agreed on; look at cipher-list"
        }
        AlertDescription::NoApplicationProtocol => {
            "it insists on an application protocol (ALPN) other than stun.turn and stun.nat-discovery"
        }
        AlertDescription::UserCanceled => "it gave up",
        AlertDescription::InternalError => "it failed by itself",
        AlertDescription::DecryptError => {
            "it could not verify a signature of the handshake, so something between it and here may be meddling"
        }
        _ => "",
    };
    let name = name(alert);
    let code = u8::from(alert);
    Failure {
        name,
        text: match meaning.is_empty() {
            true => format!("the client sent the TLS alert {name} ({code})"),
            false => format!("the client sent the TLS alert {name} ({code}): {meaning}"),
        },
    }
}

fn sent(alert: AlertDescription) -> Failure {
    let name = name(alert);
    let meaning = match alert {
        AlertDescription::NoApplicationProtocol => {
            "the client offers no application protocol (ALPN) of TURN"
        }
        _ => OLD_CLIENT,
    };
    Failure {
        name,
        text: format!("{name}: {meaning}"),
    }
}

/// The RFC's spelling.
fn name(alert: AlertDescription) -> &'static str {
    match alert {
        AlertDescription::CloseNotify => "close_notify",
        AlertDescription::UnexpectedMessage => "unexpected_message",
        AlertDescription::BadRecordMac => "bad_record_mac",
        AlertDescription::DecryptionFailed => "decryption_failed",
        AlertDescription::RecordOverflow => "record_overflow",
        AlertDescription::DecompressionFailure => "decompression_failure",
        AlertDescription::HandshakeFailure => "handshake_failure",
        AlertDescription::NoCertificate => "no_certificate",
        AlertDescription::BadCertificate => "bad_certificate",
        AlertDescription::UnsupportedCertificate => "unsupported_certificate",
        AlertDescription::CertificateRevoked => "certificate_revoked",
        AlertDescription::CertificateExpired => "certificate_expired",
        AlertDescription::CertificateUnknown => "certificate_unknown",
        AlertDescription::IllegalParameter => "illegal_parameter",
        AlertDescription::UnknownCA => "unknown_ca",
        AlertDescription::AccessDenied => "access_denied",
        AlertDescription::DecodeError => "decode_error",
        AlertDescription::DecryptError => "decrypt_error",
        AlertDescription::ExportRestriction => "export_restriction",
        AlertDescription::ProtocolVersion => "protocol_version",
        AlertDescription::InsufficientSecurity => "insufficient_security",
        AlertDescription::InternalError => "internal_error",
        AlertDescription::InappropriateFallback => "inappropriate_fallback",
        AlertDescription::UserCanceled => "user_canceled",
        AlertDescription::NoRenegotiation => "no_renegotiation",
        AlertDescription::MissingExtension => "missing_extension",
        AlertDescription::UnsupportedExtension => "unsupported_extension",
        AlertDescription::CertificateUnobtainable => "certificate_unobtainable",
        AlertDescription::UnrecognisedName => "unrecognized_name",
        AlertDescription::BadCertificateStatusResponse => "bad_certificate_status_response",
        AlertDescription::BadCertificateHashValue => "bad_certificate_hash_value",
        AlertDescription::UnknownPSKIdentity => "unknown_psk_identity",
        AlertDescription::CertificateRequired => "certificate_required",
        AlertDescription::NoApplicationProtocol => "no_application_protocol",
        AlertDescription::EncryptedClientHelloRequired => "ech_required",
        _ => "unknown_alert",
    }
}

const OLD_CLIENT: &str = "client and server have no TLS version, cipher suite or kind of certificate in common. TLS 1.2 (unless \
    no-tlsv1_2 is set) and 1.3 are served with ECDHE and AES-GCM or ChaCha20; a client from before 2015 has none of it";
const HTTP_METHODS: [&[u8]; 8] = [
    b"GET ",
    b"HEAD ",
    b"POST ",
    b"PUT ",
    b"OPTIONS ",
    b"CONNECT ",
    b"DELETE ",
    b"PRI * HTTP/2",
];
const PROXY_V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustls::{ContentType, HandshakeType, RootCertStore};

    use super::*;
    use crate::tls::test_certificates::{ALL_VERSIONS, Authority, Session, client_config, load};

    fn explained(error: Error) -> (&'static str, String) {
        let failure = explain(&io::Error::new(ErrorKind::InvalidData, error));
        (failure.name, failure.to_string())
    }

    #[track_caller]
    fn assert_explains(error: Error, name: &str, words: &str) {
        let (found, text) = explained(error);
        assert_eq!(found, name);
        assert!(text.contains(name), "{text}");
        assert!(text.contains(words), "{text}");
        assert!(!text.contains('\n'), "{text}");
    }

    #[test]
    fn frequent_alerts_are_explained() {
        for (alert, name, words) in [
            (
                AlertDescription::UnknownCA,
                "unknown_ca (48)",
                "libwebrtc carry their own list of roots",
            ),
            (
                AlertDescription::CertificateExpired,
                "certificate_expired (45)",
                "renew it",
            ),
            (
                AlertDescription::BadCertificate,
                "bad_certificate (42)",
                "the name it connects to",
            ),
            (
                AlertDescription::CertificateUnknown,
                "certificate_unknown (46)",
                "browsers send this",
            ),
            (
                AlertDescription::HandshakeFailure,
                "handshake_failure (40)",
                "TLS 1.2",
            ),
            (
                AlertDescription::ProtocolVersion,
                "protocol_version (70)",
                "TLS 1.2",
            ),
            (
                AlertDescription::NoApplicationProtocol,
                "no_application_protocol (120)",
                "stun.turn",
            ),
            (
                AlertDescription::DecodeError,
                "decode_error (50)",
                "the client sent the TLS alert",
            ),
            (
                AlertDescription::Unknown(99),
                "unknown_alert (99)",
                "the client sent the TLS alert",
            ),
        ] {
            let (found, text) = explained(Error::AlertReceived(alert));
            assert_eq!(Some(found), name.split(' ').next());
            assert!(text.contains(name) && text.contains(words), "{text}");
        }
    }

    #[test]
    fn what_the_server_objects_to_is_explained() {
        assert_explains(
            Error::PeerIncompatible(PeerIncompatible::NoCipherSuitesInCommon),
            "handshake_failure",
            "no TLS version, cipher suite",
        );
        assert_explains(
            Error::PeerIncompatible(PeerIncompatible::Tls12NotOfferedOrEnabled),
            "protocol_version",
            "no TLS version",
        );
        assert_explains(
            Error::InappropriateHandshakeMessage {
                expect_types: vec![HandshakeType::ClientHello],
                got_type: HandshakeType::Finished,
            },
            "unexpected_message",
            "Finished",
        );
        assert_explains(
            Error::InappropriateMessage {
                expect_types: vec![ContentType::Handshake],
                got_type: ContentType::ApplicationData,
            },
            "unexpected_message",
            "ApplicationData",
        );
        assert_explains(
            Error::InvalidMessage(InvalidMessage::MessageTooShort),
            "decode_error",
            "no valid TLS",
        );
        assert_explains(Error::DecryptError, "bad_record_mac", "damaged");
        assert_explains(Error::PeerSentOversizedRecord, "record_overflow", "larger");
        assert_explains(
            Error::NoApplicationProtocol,
            "no_application_protocol",
            "ALPN",
        );
    }

    #[test]
    fn a_client_that_lacks_the_root_is_heard() {
        let authority = Authority::new();
        let (service, _) = load(&[authority.files("pair", &["turn.example.org"])]);
        let mut roots = RootCertStore::empty();
        roots.add(Authority::new().root.der().clone()).unwrap();
        let stranger = Arc::new(client_config(roots, ALL_VERSIONS));
        let error = Session::connect(&service, &stranger, "turn.example.org")
            .err()
            .unwrap();
        // The stranger's root has the name of the right one, but not its key.
        assert!(["unknown_ca", "decrypt_error"].contains(&explained(error).0));
        let no_root = Arc::new(client_config(RootCertStore::empty(), ALL_VERSIONS));
        let error = Session::connect(&service, &no_root, "turn.example.org")
            .err()
            .unwrap();
        assert_explains(error, "unknown_ca", "libwebrtc");
        let client = Arc::new(authority.client(ALL_VERSIONS));
        let error = Session::connect(&service, &client, "other.example.org")
            .err()
            .unwrap();
        assert_explains(error, "bad_certificate", "the name it connects to");
    }

    #[test]
    fn other_protocols_are_recognised() {
        for (first, words) in [
            (&b"GET / HTTP/1.1\r\n"[..], "plain HTTP on a TURN port"),
            (b"PRI * HTTP/2.0\r\n", "plain HTTP on a TURN port"),
            (b"SSH-2.0-OpenSSH", "SSH on a TURN port"),
            (b"PROXY TCP4 ", "PROXY protocol header"),
            (PROXY_V2, "PROXY protocol header"),
            (&[0x80, 0x2e, 0x01, 0x00], "SSL 2"),
            (b"\xff\xfe", "neither TLS nor TURN"),
            (b"", "neither TLS nor TURN"),
        ] {
            let failure = not_tls(first);
            assert_eq!(failure.name, "not_tls");
            assert!(failure.to_string().contains(words), "{first:?}: {failure}");
        }
        let garbage = Error::InvalidMessage(InvalidMessage::InvalidContentType);
        assert_eq!(explained(garbage).0, "not_tls");
    }

    #[test]
    fn errors_of_the_socket_have_names_too() {
        let name = |kind: ErrorKind| explain(&io::Error::from(kind)).name;
        assert_eq!(name(ErrorKind::UnexpectedEof), "closed");
        assert_eq!(name(ErrorKind::ConnectionReset), "closed");
        assert_eq!(name(ErrorKind::TimedOut), "io");
    }
}
