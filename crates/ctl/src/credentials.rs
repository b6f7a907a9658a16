//! `turnctl credentials`: makes a time-limited credential. Owns which secret, which username and which URLs; the layout
//! is in `format`.

use turnbuckle_config::Transport;
use turnbuckle_proto::rest;

use crate::Output;
use crate::cli::{CredentialsArgs, Format, USERNAME_MAX_BYTES};
use crate::configuration::Configuration;
use crate::failure::Failure;
use crate::format::{self, Credential};
use crate::url::ServerUrls;

/// Makes the credential that the arguments ask for and lays it out; `now` is seconds since 1970-01-01 00:00 UTC.
pub(crate) fn run(args: &CredentialsArgs, now: u64) -> Result<Output, Failure> {
    let configuration = Configuration::read(&args.source)?;
    let secret = configuration.secret()?;
    let expiry = args.expiry.at(now)?;
    let username = rest::username(
        expiry,
        args.suffix.as_deref(),
        configuration.settings.rest_separator,
    );
    if username.len() > USERNAME_MAX_BYTES {
        return Err(Failure::new(format!(
            "the username would be longer than {USERNAME_MAX_BYTES} bytes"
        ))
        .help("give a shorter suffix"));
    }
    let password = rest::password(secret.expose().as_bytes(), &username);
    let urls = urls(args, &configuration)?;
    let credential = Credential {
        username: &username,
        password: password.as_str(),
        expiry,
        ttl: expiry - now,
        urls: &urls.urls,
    };
    Ok(Output {
        text: format::lay_out(args.format, &credential),
        status: 0,
        note: (urls.from_realm && args.format != Format::Text).then(|| {
            "the name of the server is taken from `realm`; give `--url` if clients reach it by another one".to_owned()
        }),
    })
}

fn urls(args: &CredentialsArgs, configuration: &Configuration) -> Result<ServerUrls, Failure> {
    if !args.urls.is_empty() {
        return Ok(ServerUrls {
            urls: args.urls.clone(),
            from_realm: false,
        });
    }
    let derived = ServerUrls::of(&configuration.settings);
    if derived.urls.is_empty() && matches!(args.format, Format::Ice | Format::Matrix) {
        let settings = &configuration.settings;
        let help = if settings.listens(Transport::Udp) || settings.listens(Transport::Tcp) {
            "add `--url 'turn:turn.example.org:3478?transport=udp'` with its name, or give the configuration file an \
             `external-ip` or a host name as `realm`"
        } else {
            "add `--url 'turns:turn.example.org:5349?transport=tcp'` with the name in its certificate: plain UDP and TCP are \
             off, and over TLS clients reach it by name"
        };
        return Err(Failure::new(format!(
            "{} does not say how clients reach the server",
            configuration.origin
        ))
        .help(help));
    }
    Ok(derived)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;
    use crate::cli::SourceArgs;
    use crate::expiry::Expiry;

    #[test]
    fn one_more_day_is_counted_from_now() {
        let directory = TempDir::new().unwrap();
        let config = directory.path().join("turnserver.conf");
        fs::write(
            &config,
            "static-auth-secret=0123456789abcdef\nrest-api-separator=|\n",
        )
        .unwrap();
        let args = CredentialsArgs {
            expiry: Expiry::After(86400),
            suffix: Some("alice".to_owned()),
            format: Format::Text,
            urls: Vec::new(),
            source: SourceArgs {
                config: Some(config),
                secret_file: None,
            },
        };
        let output = run(&args, 1_700_000_000).unwrap();
        assert_eq!(output.note, None);
        let password = rest::password(b"0123456789abcdef", "1700086400|alice");
        assert_eq!(
            output.text,
            format!(
                "Username: 1700086400|alice\nPassword: {}\n",
                password.as_str()
            )
        );
        assert_eq!(run(&args, 1_700_000_000), run(&args, 1_700_000_000));
        assert_ne!(run(&args, 1_700_000_000), run(&args, 1_700_000_001));
    }
}
