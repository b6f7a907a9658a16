//! Facilities of the system log. Owns their names and numbers (RFC 5424 §6.2.1).

/// Which part of a system a line for the system log is filed under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SyslogFacility {
    name: &'static str,
    code: u8,
}

impl SyslogFacility {
    /// Where nothing was said.
    pub const DAEMON: Self = Self {
        name: "daemon",
        code: 3,
    };

    /// Reads a name in upper or lower case, with or without the `LOG_` that C has in front of it. Empty is daemon, as in coturn.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.to_ascii_lowercase();
        let wanted = text.strip_prefix("log_").unwrap_or(&text);
        if wanted.is_empty() {
            return Some(Self::DAEMON);
        }
        Self::all().find(|facility| facility.name == wanted)
    }

    /// Every facility that has a name.
    pub fn all() -> impl Iterator<Item = Self> {
        NAMES
            .iter()
            .zip(0..)
            .chain(LOCAL.iter().zip(FIRST_LOCAL..))
            .map(|(&name, code)| Self { name, code })
    }

    /// Its name in lower case, such as `local0`.
    pub const fn name(self) -> &'static str {
        self.name
    }

    /// Its number, 0 to 23.
    pub const fn code(self) -> u8 {
        self.code
    }
}

/// In the order of their numbers, from 0.
const NAMES: [&str; 12] = [
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv",
    "ftp",
];
const LOCAL: [&str; 8] = [
    "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
];
const FIRST_LOCAL: u8 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers() {
        let code = |text| SyslogFacility::parse(text).map(SyslogFacility::code);
        assert_eq!(code("kern"), Some(0));
        assert_eq!(code("authpriv"), Some(10));
        assert_eq!(code("ftp"), Some(11));
        assert_eq!(code("local0"), Some(16));
        assert_eq!(code("LOG_LOCAL7"), Some(23));
        assert_eq!(code(""), Some(3));
        assert_eq!(code("local8"), None);
        assert_eq!(code("log_log_mail"), None);
        assert_eq!(SyslogFacility::all().count(), 20);
        assert!(SyslogFacility::all().any(|facility| facility == SyslogFacility::DAEMON));
    }
}
