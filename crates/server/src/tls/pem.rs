//! What kind of file the operator has given, by the labels of its PEM sections. Decodes nothing.

/// Labels of all sections in order: `CERTIFICATE`, `PRIVATE KEY`, ...
pub(super) fn labels(file: &[u8]) -> Vec<String> {
    file.split(|&byte| byte == b'\n')
        .filter_map(|line| {
            let label = line
                .trim_ascii()
                .strip_prefix(BEGIN)?
                .strip_suffix(DASHES)?;
            Some(String::from_utf8_lossy(label).into_owned())
        })
        .collect()
}

pub(super) fn holds_certificate(file: &[u8]) -> bool {
    labels(file).iter().any(|label| label == CERTIFICATE)
}

pub(super) fn holds_key(file: &[u8]) -> bool {
    labels(file).iter().any(|label| label.ends_with(KEY))
}

/// Why there is no certificate in the file, and what makes one of it. To be read behind the name of the file.
pub(super) fn why_no_certificate(file: &[u8], path: &str) -> String {
    let labels = labels(file);
    let has = |label: &str| labels.iter().any(|l| l == label);
    if has("TRUSTED CERTIFICATE") {
        return format!(
            "holds a certificate in OpenSSL's own form: convert it with `openssl x509 -in {path} -out cert.pem`"
        );
    }
    if has("PKCS7") {
        return format!(
            "is PKCS#7: convert it with `openssl pkcs7 -in {path} -print_certs -out fullchain.pem`"
        );
    }
    if has("CERTIFICATE REQUEST") || has("NEW CERTIFICATE REQUEST") {
        return "holds a request for a certificate, not the certificate that an authority answers it with"
            .to_owned();
    }
    if holds_key(file) {
        return "holds a private key and no certificate: name the certificate chain here"
            .to_owned();
    }
    match labels.first() {
        Some(label) => format!("holds no certificate but `{label}`"),
        None if file.trim_ascii().is_empty() => "is empty".to_owned(),
        None if is_der(file) => format!(
            "is not PEM but binary: convert it with `openssl x509 -inform DER -in {path} -out cert.pem`, or, if it is \
             PKCS#12 (.p12, .pfx), with `openssl pkcs12 -in {path} -nokeys -out fullchain.pem`"
        ),
        None => format!("is not PEM: it has no line `{BEGIN_TEXT} CERTIFICATE-----`"),
    }
}

/// Why there is no private key in the file, and what makes one of it. To be read behind the name of the file.
pub(super) fn why_no_key(file: &[u8], path: &str) -> String {
    let labels = labels(file);
    let has = |label: &str| labels.iter().any(|l| l == label);
    if has("OPENSSH PRIVATE KEY") {
        return "holds a key of SSH, which no certificate can be made for here".to_owned();
    }
    if has("DSA PRIVATE KEY") {
        return "holds a DSA key, which no client takes any more: have a certificate made for an ECDSA or RSA key"
            .to_owned();
    }
    if has("PUBLIC KEY") || has("RSA PUBLIC KEY") {
        return "holds the public key: the private one is needed".to_owned();
    }
    if has(CERTIFICATE) {
        return "holds a certificate and no private key: name the private key here".to_owned();
    }
    match labels.first() {
        Some(label) => format!("holds no private key but `{label}`"),
        None if file.trim_ascii().is_empty() => "is empty".to_owned(),
        None if is_der(file) => format!(
            "is not PEM but binary: convert it with `openssl pkey -inform DER -in {path} -out privkey.pem`, or, if it is \
             PKCS#12 (.p12, .pfx), with `openssl pkcs12 -in {path} -nocerts -nodes -out privkey.pem`"
        ),
        None => format!("is not PEM: it has no line `{BEGIN_TEXT} PRIVATE KEY-----`"),
    }
}

/// A DER SEQUENCE with a length of two or more bytes, as all certificates and keys of use are.
fn is_der(file: &[u8]) -> bool {
    matches!(file, [0x30, 0x81..=0x83, ..])
        || matches!(file, [0x30, length, ..] if usize::from(*length) + 2 == file.len())
}

const BEGIN: &[u8] = b"-----BEGIN ";
const BEGIN_TEXT: &str = "-----BEGIN";
const DASHES: &[u8] = b"-----";
const CERTIFICATE: &str = "CERTIFICATE";
const KEY: &str = "PRIVATE KEY";
