//! The certificates in use as those see them who watch over the server. Owns what is told; reads no file.

use std::path::PathBuf;

use super::service::TlsService;

/// One certificate in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CertificateState {
    /// File of the chain.
    pub(crate) path: PathBuf,
    /// DNS names, then addresses, that it is for.
    pub(crate) names: Vec<String>,
    /// When the first certificate of the chain expires, in seconds since 1970.
    pub(crate) not_after: u64,
}

impl CertificateState {
    /// What it is called in short: its first name, or that of its file.
    pub(crate) fn name(&self) -> &str {
        let file = || self.path.file_name().and_then(|name| name.to_str());
        self.names
            .first()
            .map(String::as_str)
            .or_else(file)
            .unwrap_or_default()
    }

    /// Whole days that it is still good for at `now` (seconds since 1970); `None` once it has expired.
    pub(crate) const fn days_left(&self, now: u64) -> Option<u64> {
        match self.not_after.checked_sub(now) {
            Some(left) => Some(left / SECONDS_PER_DAY),
            None => None,
        }
    }
}

impl TlsService {
    /// Those in use, in the order of the configuration.
    pub(crate) fn certificates(&self) -> Vec<CertificateState> {
        self.each_pair(|files, pair| CertificateState {
            path: files.cert.clone(),
            names: pair.names(),
            not_after: pair.not_after(),
        })
    }
}

const SECONDS_PER_DAY: u64 = 24 * 60 * 60;

#[cfg(test)]
mod tests {
    use crate::tls::test_certificates::{Authority, load};

    #[test]
    fn certificates_are_told_by_name_and_end() {
        let authority = Authority::new();
        let files = [
            authority.files("first", &["turn.example.org", "192.0.2.1"]),
            authority.files("second", &["other.example.org"]),
        ];
        let (service, _) = load(&files);
        let told = service.certificates();
        assert_eq!(told[0].names, ["turn.example.org", "192.0.2.1"]);
        assert_eq!(
            (told[0].name(), told[1].name()),
            ("turn.example.org", "other.example.org")
        );
        assert_eq!(told[1].path, files[1].cert);
        let end = told[0].not_after;
        assert_eq!(told[0].days_left(end), Some(0));
        assert_eq!(told[0].days_left(end - 2 * 86_400), Some(2));
        assert_eq!(told[0].days_left(end + 1), None);
    }
}
