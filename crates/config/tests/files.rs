//! Secrets and accounts from files of their own, and from the credentials that systemd passes.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use insta::assert_snapshot;
use turnbuckle_config::{AuthAsked, Files, Outcome, Severity, UserCredential, read};

#[test]
fn secrets_and_accounts_come_from_files() {
    let host = Host::new(&[
        ("/secret", "0123456789abcdef0\n\n  fedcba98765432100  \n"),
        (
            "/users",
            "# ours\nalice:her-password\n\nbob:0xbc807ee29df3c9ffa736523fb2c4e8ee\n",
        ),
    ]);
    for (name, source) in [
        (
            "a.conf",
            "realm=example.org\nstatic-auth-secret-file=/secret\nuser-file=/users\n",
        ),
        (
            "a.toml",
            "[auth]\nrealm = \"example.org\"\nstatic-auth-secret-file = \"/secret\"\nuser-file = \"/users\"\n",
        ),
    ] {
        let outcome = host.read(name, source);
        assert_eq!(outcome.diagnostics, [], "{name}");
        let settings = outcome.settings.unwrap();
        let secrets: Vec<_> = settings
            .secrets
            .iter()
            .map(turnbuckle_config::Secret::expose)
            .collect();
        assert_eq!(secrets, ["0123456789abcdef0", "fedcba98765432100"]);
        assert_eq!(settings.users[0].name, "alice");
        assert!(matches!(
            settings.users[1].credential,
            UserCredential::Key(_)
        ));
        assert_eq!(settings.auth_asked, AuthAsked::Both);
    }
}

#[test]
fn credentials_of_systemd_are_read_by_name() {
    let host = Host::new(&[
        ("/run/credentials/static-auth-secret", "0123456789abcdef\n"),
        ("/run/credentials/users", "alice:her-password\n"),
    ])
    .with_directory("/run/credentials");
    let settings = host.read("a.conf", "realm=example.org\n").settings.unwrap();
    assert_eq!(settings.secrets.len(), 1);
    assert_eq!(settings.users.len(), 1);
    assert_eq!(settings.auth_asked, AuthAsked::Both);
    // Also without a file at all, and never twice.
    assert_eq!(
        host.read("command line", "")
            .settings
            .unwrap()
            .secrets
            .len(),
        1
    );
    let named =
        "realm=example.org\nstatic-auth-secret-file=$CREDENTIALS_DIRECTORY/static-auth-secret\n";
    let outcome = host.read("a.conf", named);
    assert_eq!(outcome.diagnostics, []);
    assert_eq!(outcome.settings.unwrap().secrets.len(), 1);
}

#[test]
fn certificates_may_be_credentials() {
    let host = Host::new(&[]).with_directory("/run/credentials");
    let expected = Path::new("/run/credentials/key.pem");
    let conf = "cert=/c.pem\npkey=$CREDENTIALS_DIRECTORY/key.pem\n";
    assert_eq!(
        host.read("a.conf", conf).settings.unwrap().certificates[0].key,
        expected
    );
    let toml =
        "[[tls.certificates]]\ncert = \"/c.pem\"\nkey = \"$CREDENTIALS_DIRECTORY/key.pem\"\n";
    assert_eq!(
        host.read("a.toml", toml).settings.unwrap().certificates[0].key,
        expected
    );
}

#[test]
fn files_that_cannot_be_used_are_errors() {
    let host = Host::new(&[
        ("/empty", "\n \n"),
        ("/example", "replace-with-a-random-text\n"),
        ("/bad", "alice\nbob:\n"),
        ("/binary", "\u{fffd}"),
    ]);
    let source = "realm=example.org\nstatic-auth-secret-file=/missing\nstatic-auth-secret-file=/empty\n\
                  static-auth-secret-file=/example\nuser-file=/bad\nuser-file=/missing\nuser-file\n\
                  static-auth-secret-file=$CREDENTIALS_DIRECTORY/x\n";
    let outcome = host.read("a.conf", source);
    assert_eq!(outcome.settings, None);
    let shown: String = outcome
        .diagnostics
        .iter()
        .map(|found| found.render(source, false) + "\n")
        .collect();
    assert_snapshot!(shown);
}

#[test]
fn a_database_stops_the_start_only_if_it_holds_accounts() {
    let host = Host::new(&[("/text", "realm=example.org\n")])
        .with_file("/empty", include_bytes!("turndb/empty.sqlite"))
        .with_file("/accounts", include_bytes!("turndb/accounts.sqlite"))
        .with_file("/secret", include_bytes!("turndb/secret.sqlite"));
    for path in ["/missing", "/text", "/empty"] {
        for key in ["userdb", "db"] {
            let outcome = host.read("a.conf", &format!("{key}={path}\n"));
            assert!(outcome.settings.is_some(), "{path}");
            assert_eq!(outcome.diagnostics.len(), 1, "{path}");
            assert_eq!(outcome.diagnostics[0].severity, Severity::Warning);
        }
    }
    let source = "realm=example.org\nuserdb=/accounts\ndb=\"/secret\"\n";
    let outcome = host.read("a.conf", source);
    assert_eq!(outcome.settings, None);
    let errors = outcome
        .diagnostics
        .iter()
        .filter(|found| found.severity == Severity::Error);
    let shown: String = errors.map(|found| found.render(source, false)).collect();
    assert_snapshot!(shown);
}

#[test]
fn what_files_hold_is_never_shown() {
    let host = Host::new(&[
        ("/secret", "hunter2\n"),
        ("/users", "alice:hunter2\nhunter2\n"),
    ]);
    let source = "static-auth-secret-file=/secret\nuser-file=/users\n";
    let outcome = host.read("a.conf", source);
    let mut shown = format!("{outcome:?}");
    shown.extend(
        outcome
            .diagnostics
            .iter()
            .map(|found| found.render(source, false)),
    );
    assert!(!shown.contains("hunter2"), "{shown}");
}

/// A host with a few files.
struct Host {
    files: BTreeMap<PathBuf, Vec<u8>>,
    directory: Option<PathBuf>,
}

impl Host {
    fn new(files: &[(&str, &str)]) -> Self {
        let files = files
            .iter()
            .map(|(path, text)| (PathBuf::from(path), text.as_bytes().to_vec()));
        Self {
            files: files.collect(),
            directory: None,
        }
    }

    fn with_file(mut self, path: &str, bytes: &[u8]) -> Self {
        self.files.insert(PathBuf::from(path), bytes.to_vec());
        self
    }

    fn with_directory(mut self, directory: &str) -> Self {
        self.directory = Some(PathBuf::from(directory));
        self
    }

    fn read(&self, name: &str, source: &str) -> Outcome {
        read(Path::new(name), source, &[], self)
    }
}

impl Files for Host {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let file = self.files.get(path).cloned();
        file.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "not there"))
    }

    fn credentials_directory(&self) -> Option<PathBuf> {
        self.directory.clone()
    }
}
