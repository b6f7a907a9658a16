//! Maps OpenSSL's cipher strings to the suites that are offered here. Owns the names; changes nothing about the suites.

use rustls::SupportedCipherSuite;
use rustls::crypto::aws_lc_rs::cipher_suite as suite;

use super::finding::Finding;

/// The suites of an OpenSSL cipher string in its order, and what could not be followed. `None` and `DEFAULT` are all suites.
///
/// As with OpenSSL, TLS 1.3 suites are left as they are unless the string names one. A string of which nothing can be
/// followed counts as `None`: all suites here are as strong as any that it could have meant.
pub(super) fn select(list: Option<&str>, tls12: bool) -> (Vec<SupportedCipherSuite>, Vec<Finding>) {
    let Some(list) = list.filter(|list| !list.trim().is_empty()) else {
        return (all(), Vec::new());
    };
    let selection = Selection::parse(list);
    let mut findings = Vec::new();
    if !selection.unknown.is_empty() {
        findings.push(Finding::warning(format!(
            "cipher-list: not offered here and left out: {}; offered are {}",
            selection.unknown.join(", "),
            SUITES
                .iter()
                .map(|suite| suite.name)
                .collect::<Vec<_>>()
                .join(", ")
        )));
    }
    let of_version = |tls13: bool| -> Vec<SupportedCipherSuite> {
        let chosen = selection.chosen.iter().filter(|s| s.is_tls13() == tls13);
        chosen.map(|s| s.suite).collect()
    };
    let every = |tls13: bool| -> Vec<SupportedCipherSuite> {
        let suites = SUITES.iter().filter(|s| s.is_tls13() == tls13);
        suites.map(|s| s.suite).collect()
    };
    let mut suites = match of_version(true) {
        named if named.is_empty() => every(true),
        named => named,
    };
    match of_version(false) {
        named if !named.is_empty() => suites.extend(named),
        _ if !tls12 => {}
        _ if selection.unknown.is_empty() => findings.push(Finding::warning(
            "cipher-list leaves no suite of TLS 1.2, so clients need TLS 1.3",
        )),
        _ => {
            findings.push(Finding::warning(
                "cipher-list names no suite of TLS 1.2 that is offered here, so all are offered",
            ));
            suites.extend(every(false));
        }
    }
    (suites, findings)
}

// compliance: 8489-16-01, 8489-6.2.3-01, 8489-6.2.3-03, 8489-6.2.3-04, 8489-6.2.3-05, 8489-6.2.3-06, 8489-6.2.3-08
fn all() -> Vec<SupportedCipherSuite> {
    SUITES.iter().map(|suite| suite.suite).collect()
}

/// What a cipher string comes to.
#[derive(Default)]
struct Selection<'a> {
    chosen: Vec<&'static Suite>,
    killed: Vec<&'static str>,
    unknown: Vec<&'a str>,
}

impl<'a> Selection<'a> {
    fn parse(list: &'a str) -> Self {
        let mut selection = Self::default();
        for token in list
            .split([':', ',', ';', ' '])
            .filter(|token| !token.is_empty())
        {
            selection.apply(token);
        }
        selection
    }

    fn apply(&mut self, token: &'a str) {
        // @STRENGTH and @SECLEVEL: everything here is strong, and the strongest comes first.
        if token.starts_with('@') {
            return;
        }
        let (operator, expression) = match token.split_at_checked(1) {
            Some((operator @ ("!" | "-" | "+"), rest)) => (operator, rest),
            _ => ("", token),
        };
        let meant: Vec<&'static Suite> = SUITES
            .iter()
            .filter(|s| s.is_meant_by(expression))
            .collect();
        let is_meant = |suite: &&Suite| meant.iter().any(|m| m.name == suite.name);
        match operator {
            "!" => {
                self.killed.extend(meant.iter().map(|suite| suite.name));
                self.chosen.retain(|suite| !is_meant(suite));
            }
            "-" => self.chosen.retain(|suite| !is_meant(suite)),
            "+" => {
                let (last, mut first): (Vec<_>, Vec<_>) =
                    self.chosen.drain(..).partition(|suite| is_meant(suite));
                first.extend(last);
                self.chosen = first;
            }
            _ if meant.is_empty() => self.unknown.push(token),
            _ => {
                for suite in meant {
                    let is_chosen = self.chosen.iter().any(|c| c.name == suite.name);
                    if !is_chosen && !self.killed.contains(&suite.name) {
                        self.chosen.push(suite);
                    }
                }
            }
        }
    }
}

struct Suite {
    /// OpenSSL's name.
    name: &'static str,
    /// Names of groups that OpenSSL puts it in.
    groups: &'static [&'static str],
    suite: SupportedCipherSuite,
}

impl Suite {
    fn is_tls13(&self) -> bool {
        self.name.starts_with("TLS_")
    }

    /// Whether `expression` is its name, or groups joined by `+` that it is in, each of them.
    fn is_meant_by(&self, expression: &str) -> bool {
        let in_group = |group: &str| {
            self.groups.contains(&group) || (!self.is_tls13() && TLS12_GROUPS.contains(&group))
        };
        expression == self.name
            || format!("{:?}", self.suite.suite()) == expression
            || expression.split('+').all(in_group)
    }
}

/// The strongest first within a version, as rustls orders them.
static SUITES: [Suite; 9] = [
    Suite {
        name: "TLS_AES_256_GCM_SHA384",
        groups: &[],
        suite: suite::TLS13_AES_256_GCM_SHA384,
    },
    Suite {
        name: "TLS_AES_128_GCM_SHA256",
        groups: &[],
        suite: suite::TLS13_AES_128_GCM_SHA256,
    },
    Suite {
        name: "TLS_CHACHA20_POLY1305_SHA256",
        groups: &[],
        suite: suite::TLS13_CHACHA20_POLY1305_SHA256,
    },
    Suite {
        name: "ECDHE-ECDSA-AES256-GCM-SHA384",
        groups: &["ECDSA", "aECDSA", "AES", "AES256", "AESGCM", "SHA384"],
        suite: suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    },
    Suite {
        name: "ECDHE-ECDSA-AES128-GCM-SHA256",
        groups: &["ECDSA", "aECDSA", "AES", "AES128", "AESGCM", "SHA256"],
        suite: suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    },
    Suite {
        name: "ECDHE-ECDSA-CHACHA20-POLY1305",
        groups: &["ECDSA", "aECDSA", "CHACHA20", "SHA256"],
        suite: suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    },
    Suite {
        name: "ECDHE-RSA-AES256-GCM-SHA384",
        groups: &["RSA", "aRSA", "AES", "AES256", "AESGCM", "SHA384"],
        suite: suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    },
    Suite {
        name: "ECDHE-RSA-AES128-GCM-SHA256",
        groups: &["RSA", "aRSA", "AES", "AES128", "AESGCM", "SHA256"],
        suite: suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    },
    Suite {
        name: "ECDHE-RSA-CHACHA20-POLY1305",
        groups: &["RSA", "aRSA", "CHACHA20", "SHA256"],
        suite: suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    },
];

/// Groups that all suites of TLS 1.2 here are in.
const TLS12_GROUPS: [&str; 10] = [
    "ALL", "DEFAULT", "HIGH", "ECDH", "ECDHE", "EECDH", "kECDHE", "kEECDH", "TLSv1.2", "FIPS",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::finding::Severity;

    fn names(list: &str) -> (Vec<&'static str>, Vec<Finding>) {
        let (suites, findings) = select(Some(list), true);
        let names = suites
            .iter()
            .map(|suite| SUITES.iter().find(|s| s.suite == *suite).unwrap().name)
            .filter(|name| !name.starts_with("TLS_"))
            .collect();
        (names, findings)
    }

    // compliance: 8489-16-01, 8489-6.2.3-01, 8489-6.2.3-03, 8489-6.2.3-04, 8489-6.2.3-05, 8489-6.2.3-06, 8489-6.2.3-08
    #[test]
    fn what_is_offered_has_forward_secrecy_and_no_weakness() {
        let all: Vec<_> = SUITES.iter().map(|suite| suite.name).collect();
        for name in &all {
            assert!(
                name.starts_with("TLS_") || name.starts_with("ECDHE-"),
                "{name}"
            );
            assert!(name.contains("GCM") || name.contains("CHACHA20"), "{name}");
        }
        for mandatory in ["TLS_AES_128_GCM_SHA256", "ECDHE-RSA-AES128-GCM-SHA256"] {
            assert!(all.contains(&mandatory), "{mandatory}");
        }
        let (suites, findings) = select(None, true);
        assert_eq!(suites.len(), all.len());
        assert!(findings.is_empty());
    }

    #[test]
    fn names_and_groups_in_the_order_of_the_string() {
        assert_eq!(
            names("ECDHE-RSA-CHACHA20-POLY1305:ECDHE-RSA-AES128-GCM-SHA256:!aNULL:@STRENGTH").0,
            ["ECDHE-RSA-CHACHA20-POLY1305", "ECDHE-RSA-AES128-GCM-SHA256"]
        );
        assert_eq!(
            names("EECDH+AESGCM+aRSA").0,
            ["ECDHE-RSA-AES256-GCM-SHA384", "ECDHE-RSA-AES128-GCM-SHA256"]
        );
        assert_eq!(
            names("HIGH:!ECDSA:!AES128:+AES256").0,
            ["ECDHE-RSA-CHACHA20-POLY1305", "ECDHE-RSA-AES256-GCM-SHA384"]
        );
        // Killed for good, but deleted only until named again.
        assert_eq!(
            names("!CHACHA20:DEFAULT:-ECDSA:ECDHE-ECDSA-AES256-GCM-SHA384").0,
            [
                "ECDHE-RSA-AES256-GCM-SHA384",
                "ECDHE-RSA-AES128-GCM-SHA256",
                "ECDHE-ECDSA-AES256-GCM-SHA384"
            ]
        );
        assert_eq!(
            names("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256").0,
            ["ECDHE-RSA-AES128-GCM-SHA256"]
        );
    }

    #[test]
    fn what_is_not_offered_is_named() {
        let (suites, findings) = names("AES256-SHA:ECDHE-RSA-AES256-GCM-SHA384:EDH+AESGCM");
        assert_eq!(suites, ["ECDHE-RSA-AES256-GCM-SHA384"]);
        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0].severity, Severity::Warning);
        assert!(findings[0].text.contains("AES256-SHA, EDH+AESGCM;"));
    }

    #[test]
    fn nothing_that_can_be_followed_is_everything() {
        let (suites, findings) = names("AES256-SHA:DES-CBC3-SHA");
        assert_eq!(suites.len(), 6);
        assert!(findings[1].text.contains("so all are offered"));
        let (suites, findings) = names("DEFAULT:!TLSv1.2");
        assert!(suites.is_empty());
        assert!(findings[0].text.contains("clients need TLS 1.3"));
    }

    #[test]
    fn tls13_suites_stay_unless_named() {
        let tls13 = |list: Option<&str>| -> usize {
            let (suites, _) = select(list, true);
            suites.iter().filter(|s| s.tls13().is_some()).count()
        };
        assert_eq!(tls13(None), 3);
        assert_eq!(tls13(Some("  ")), 3);
        assert_eq!(tls13(Some("ECDHE-RSA-AES256-GCM-SHA384")), 3);
        assert_eq!(tls13(Some("TLS_AES_128_GCM_SHA256:HIGH")), 1);
    }
}
