//! Files that a configuration names and that hold secrets. Owns what stands in them and where systemd puts them; opens
//! none itself.

use std::io;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::account_database::{self, Accounts};
use crate::apply;
use crate::diagnostic::Severity;
use crate::draft::{Draft, Place};
use crate::fault::Fault;
use crate::user::User;

/// How files of the host are read.
pub trait Files {
    /// The whole file.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;

    /// Where systemd puts the credentials of the unit: `$CREDENTIALS_DIRECTORY`.
    fn credentials_directory(&self) -> Option<PathBuf>;
}

/// Reads the files that were named, and the credentials that systemd passes by name.
pub(crate) fn load(draft: &mut Draft, files: Option<&dyn Files>) {
    let directory = files.and_then(Files::credentials_directory);
    expand(draft, directory.as_deref(), files.is_some());
    let Some(files) = files else { return };
    // What stands below a directory that is not known is reported already.
    let is_known = |(path, _): &(PathBuf, Place)| !path.starts_with(DIRECTORY_VARIABLE);
    for (path, place) in draft.secret_files.clone().into_iter().filter(is_known) {
        match text(files, &path) {
            Ok(text) => secrets(draft, &path, &place, &text),
            Err(error) => report_unread(draft, &path, &place, SECRET_CREDENTIAL, &error),
        }
    }
    for (path, place) in draft.user_files.clone().into_iter().filter(is_known) {
        match text(files, &path) {
            Ok(text) => users(draft, &path, &place, &text),
            Err(error) => report_unread(draft, &path, &place, USERS_CREDENTIAL, &error),
        }
    }
    account_databases(draft, files);
    let Some(directory) = directory else { return };
    let named =
        |list: &[(PathBuf, Place)], path: &Path| list.iter().any(|(other, _)| other == path);
    let path = directory.join(SECRET_CREDENTIAL);
    if !named(&draft.secret_files, &path)
        && let Ok(text) = text(files, &path)
    {
        secrets(draft, &path, &Place::default(), &text);
        draft.settings.secret_files.push(path);
    }
    let path = directory.join(USERS_CREDENTIAL);
    if !named(&draft.user_files, &path)
        && let Ok(text) = text(files, &path)
    {
        users(draft, &path, &Place::default(), &text);
        draft.settings.user_files.push(path);
    }
}

/// Puts the directory of systemd in place of its name. `here` is whether this is the host that the files are on.
fn expand(draft: &mut Draft, directory: Option<&Path>, here: bool) {
    let mut missing: Option<Place> = None;
    let mut within = |path: &mut PathBuf, place: &Place| {
        let Ok(name) = path.strip_prefix(DIRECTORY_VARIABLE) else {
            return;
        };
        match directory {
            Some(directory) => *path = directory.join(name),
            None => missing = Some(place.clone()),
        }
    };
    let lists = [
        &mut draft.secret_files,
        &mut draft.user_files,
        &mut draft.certs,
        &mut draft.keys,
    ];
    for (path, place) in lists.into_iter().flatten() {
        within(path, place);
    }
    let of_http = [
        &mut draft.metrics.cert,
        &mut draft.metrics.key,
        &mut draft.rest.cert,
        &mut draft.rest.key,
    ];
    for (path, place) in of_http.into_iter().flatten() {
        within(path, place);
    }
    for certificate in &mut draft.settings.certificates {
        within(&mut certificate.cert, &Place::default());
        within(&mut certificate.key, &Place::default());
    }
    let paths = |list: &[(PathBuf, Place)]| list.iter().map(|(path, _)| path.clone()).collect();
    draft.settings.secret_files = paths(&draft.secret_files);
    draft.settings.user_files = paths(&draft.user_files);
    if let Some(place) = missing.filter(|_| here) {
        draft.report_at(
            &place,
            Severity::Error,
            "`$CREDENTIALS_DIRECTORY` is not set: systemd passes no credentials to this process",
            "add `LoadCredential=NAME:FILE` to the unit, or name the file itself",
        );
    }
}

fn text(files: &dyn Files, path: &Path) -> io::Result<Zeroizing<String>> {
    let bytes = Zeroizing::new(files.read(path)?);
    if bytes.len() > FILE_MAX_BYTES {
        return Err(io::Error::other(format!(
            "it is longer than {FILE_MAX_BYTES} bytes"
        )));
    }
    match std::str::from_utf8(&bytes) {
        Ok(text) => Ok(Zeroizing::new(text.to_owned())),
        Err(_) => Err(io::Error::other("it is not UTF-8 text")),
    }
}

fn secrets(draft: &mut Draft, path: &Path, place: &Place, text: &str) {
    let before = draft.settings.secrets.len();
    let mut any = false;
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        any = true;
        draft.place = place.clone();
        if let Err(fault) = apply::static_auth_secret(draft, line) {
            report_fault(draft, path, place, None, fault);
        }
    }
    if !any && draft.settings.secrets.len() == before {
        draft.report_at(
            place,
            Severity::Error,
            format!("`{}` holds no secret", path.display()),
            "it should hold one on each line, such as `openssl rand -hex 32` prints",
        );
    }
}

fn users(draft: &mut Draft, path: &Path, place: &Place, text: &str) {
    let lines = text.lines().zip(1u32..).filter(|(line, _)| {
        let line = line.trim();
        !line.is_empty() && !line.starts_with('#')
    });
    for (line, number) in lines {
        draft.place = place.clone();
        if let Err(fault) = User::parse(line.trim()).and_then(|user| apply::add_user(draft, user)) {
            report_fault(draft, path, place, Some(number), fault);
        }
    }
}

/// Stops a file whose accounts stand in coturn's SQLite file: those users could not authenticate. A file without any is often
/// named all the same.
fn account_databases(draft: &mut Draft, files: &dyn Files) {
    let named: Vec<(PathBuf, Place)> = draft
        .given
        .iter()
        .filter(|given| matches!(given.key.name, "userdb" | "db"))
        .map(|given| (PathBuf::from(given.text.expose()), given.place.clone()))
        .collect();
    for (path, place) in named {
        let held = files
            .read(&path)
            .map(|file| account_database::accounts(&file));
        if matches!(held, Ok(Accounts::Some)) {
            draft.report_at(
                &place,
                Severity::Error,
                format!(
                    "`{}` holds accounts or secrets, which are not read: who uses them could not authenticate",
                    path.display()
                ),
                "give the accounts with `user=name:0xKEY`, where KEY is `hmackey` in the table `turnusers_lt`, and the \
                 secrets with `static-auth-secret`; then remove the line",
            );
        }
    }
}

fn report_fault(draft: &mut Draft, path: &Path, place: &Place, line: Option<u32>, fault: Fault) {
    let line = line.map_or(String::new(), |line| format!(" line {line}"));
    draft.report_at(
        place,
        Severity::Error,
        format!("`{}`{line}: {}", path.display(), fault.message),
        fault.help.as_deref().unwrap_or_default(),
    );
}

fn report_unread(draft: &mut Draft, path: &Path, place: &Place, name: &str, error: &io::Error) {
    draft.report_at(
        place,
        Severity::Error,
        format!("`{}` cannot be read: {error}", path.display()),
        &format!(
            "the user of the server has to be able to read it; systemd hands over what it cannot, by \
             `LoadCredential={name}:{}` in the unit",
            path.display()
        ),
    );
}

/// What a path begins with that systemd has put among the credentials of the unit.
const DIRECTORY_VARIABLE: &str = "$CREDENTIALS_DIRECTORY";
/// The credential that is read as `static-auth-secret-file` wherever there is one.
const SECRET_CREDENTIAL: &str = "static-auth-secret";
/// The credential that is read as `user-file` wherever there is one.
const USERS_CREDENTIAL: &str = "users";
/// Room for some ten thousand accounts.
const FILE_MAX_BYTES: usize = 1 << 20;
