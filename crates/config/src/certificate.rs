//! Certificates as the operator names them. Owns how `cert`, `pkey` and `pkey-pwd` come together; opens no file.

use std::path::PathBuf;

use crate::diagnostic::Severity;
use crate::draft::Draft;
use crate::fault::Fault;
use crate::keys;
use crate::secret::Secret;

/// A certificate chain and its private key, both PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    /// File of the chain, the server's own certificate first (`cert`).
    pub cert: PathBuf,
    /// File of the key (`pkey`), PKCS#1, SEC1 or PKCS#8; may be the same as `cert`.
    pub key: PathBuf,
    /// Password of an encrypted key (`pkey-pwd`), the same for every key. Default none.
    pub password: Option<Secret>,
}

pub(crate) fn cert(draft: &mut Draft, text: &str) -> Result<(), Fault> {
    let file = (file("cert", text)?, draft.place.clone());
    draft.certs.push(file);
    Ok(())
}

pub(crate) fn pkey(draft: &mut Draft, text: &str) -> Result<(), Fault> {
    let file = (file("pkey", text)?, draft.place.clone());
    draft.keys.push(file);
    Ok(())
}

pub(crate) fn pkey_pwd(draft: &mut Draft, text: &str) -> Result<(), Fault> {
    draft.key_password = key_password(text)?;
    Ok(())
}

/// The password of a key; an empty one is none.
pub(crate) fn key_password(text: &str) -> Result<Option<Secret>, Fault> {
    if text == keys::EXAMPLE_SECRET {
        return Err(Fault::new(
            "this is the example of a reference file, not the password of a key",
        )
        .help("write the password of the key, or remove the line if it has none"));
    }
    Ok((!text.is_empty()).then(|| Secret::new(text)))
}

/// Puts each `cert` together with the `pkey` at the same place in its row.
pub(crate) fn pair(draft: &mut Draft) {
    let unreadable = draft.times_given("cert") != draft.certs.len()
        || draft.times_given("pkey") != draft.keys.len();
    let (certs, keys) = (draft.certs.len(), draft.keys.len());
    if certs != keys && !unreadable {
        let (given, missing, place) = if certs > keys {
            ("certificate", "pkey", &draft.certs[keys].1)
        } else {
            ("key", "cert", &draft.keys[certs].1)
        };
        let (message, place) = (
            match certs.min(keys) {
                0 => format!("there is no `{missing}` for this {given}"),
                _ => format!(
                    "there is no `{missing}` for this {given} (`cert`: {certs}, `pkey`: {keys})"
                ),
            },
            place.clone(),
        );
        draft.report_at(
            &place,
            Severity::Error,
            message,
            "give a `pkey` for each `cert`, in the same order; a file that holds both is named in both",
        );
    }
    let password = draft.key_password.take();
    for ((cert, place), (key, _)) in draft.certs.clone().into_iter().zip(draft.keys.clone()) {
        let files = CertificateFiles {
            cert,
            key,
            password: password.clone(),
        };
        if draft.settings.certificates.contains(&files) {
            draft.report_at(
                &place,
                Severity::Note,
                "this certificate is given already",
                "",
            );
        } else {
            draft.settings.certificates.push(files);
        }
    }
}

/// The file that a key names.
pub(crate) fn file(key: &str, text: &str) -> Result<PathBuf, Fault> {
    if text.is_empty() {
        return Err(Fault::new(format!("`{key}` needs a value"))
            .help(format!("write `{key}=FILE`, or remove the line")));
    }
    Ok(PathBuf::from(text))
}
