//! `turnctl api-key`: a key for those who are to get credentials over HTTP, and what the server is told of it.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};

use crate::Output;
use crate::cli::ApiKeyArgs;
use crate::failure::Failure;

/// 256 random bits in hexadecimal, and the line with their hash. Fails if the host gives no randomness.
pub(crate) fn run(args: &ApiKeyArgs) -> Result<Output, Failure> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)
        .map_err(|error| Failure::new(format!("the host gives no randomness: {error}")))?;
    let key = hex(&bytes);
    Ok(Output {
        text: format!("Key:  {key}\nLine: {}\n", line(&args.name, &key)),
        status: 0,
        note: Some(
            "the key is shown this once: give it to whoever is to ask; add the line to the configuration of the server, and reload it"
                .to_owned(),
        ),
    })
}

fn line(name: &str, key: &str) -> String {
    format!(
        "rest-api-key={name}:sha256-{}",
        hex(&Sha256::digest(key.as_bytes()))
    )
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a `String` cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use turnbuckle_config::turnserver_conf;

    use super::*;

    #[test]
    fn the_line_is_read_by_the_server() {
        // The hash of the empty text is well known.
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(line("web", ""), format!("rest-api-key=web:sha256-{empty}"));
        let text = format!(
            "realm=turn.example.org\nstatic-auth-secret=0123456789abcdef\nrest-listener=127.0.0.1:9642\n{}\n",
            line("web", "key")
        );
        let settings = turnserver_conf(Path::new("f"), &text, &[])
            .settings
            .unwrap();
        let hash: [u8; 32] = Sha256::digest(b"key").into();
        assert_eq!(settings.rest_keys[0].hash, hash);
    }

    #[test]
    fn no_two_are_the_same() {
        let args = ApiKeyArgs {
            name: "web".to_owned(),
        };
        let keys = [run(&args).unwrap(), run(&args).unwrap()];
        assert_ne!(keys[0], keys[1]);
        assert_eq!(
            keys[0].text.lines().next().unwrap().len(),
            "Key:  ".len() + 64
        );
    }
}
