//! Any text as a configuration file, in both formats and in that of eturnal.

use std::path::Path;

use turnbuckle_config::{
    Outcome, Override, Severity, read_alone, turnbuckle_toml, turnserver_conf,
};

/// Reads the input as a `turnserver.conf`, as a `turnbuckle.toml` and as an `eturnal.yml`; lines that start with `--` behind a line of `%%` are keys of the command
/// line.
///
/// # Panics
/// If a finding points outside of the text, settings come of a file with an error, or a second reading differs.
pub fn config(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let (source, options) = text.split_once("\n%%\n").unwrap_or((&text, ""));
    let overrides: Vec<Override> = options
        .lines()
        .filter_map(|line| line.strip_prefix("--"))
        .map(|option| match option.split_once('=') {
            Some((key, value)) => Override {
                key: key.to_owned(),
                value: Some(value.to_owned()),
            },
            None => Override {
                key: option.to_owned(),
                value: None,
            },
        })
        .collect();
    for (name, read) in [
        (
            "turnserver.conf",
            turnserver_conf as fn(&Path, &str, &[Override]) -> Outcome,
        ),
        ("turnbuckle.toml", turnbuckle_toml),
        ("eturnal.yml", |path, source, _| read_alone(path, source)),
    ] {
        let outcome = read(Path::new(name), source, &overrides);
        check(&outcome, source);
        // These take as long as the first reading, so they are not for every input.
        if input.len().is_multiple_of(4) {
            outcome.readings(source);
            outcome.convert(source);
            assert!(
                outcome == read(Path::new(name), source, &overrides),
                "a second reading differs"
            );
        }
    }
}

fn check(outcome: &Outcome, source: &str) {
    let has_error = outcome
        .diagnostics
        .iter()
        .any(|found| found.severity == Severity::Error);
    assert_eq!(outcome.settings.is_none(), has_error);
    let lines = source.split('\n').count();
    for found in &outcome.diagnostics {
        assert!(!found.message.is_empty());
        if let Some(line) = found.line {
            let line = usize::try_from(line).expect("a number of lines");
            assert!((1..=lines).contains(&line), "line {line} of {lines}");
        }
        let shown = found.render(source, false);
        assert!(shown.ends_with('\n'));
        // What a file holds cannot steer a terminal.
        assert!(
            shown.chars().all(|c| c == '\n' || !c.is_control()),
            "{shown:?}"
        );
    }
    if let Some(settings) = &outcome.settings {
        assert!(!format!("{settings:?}").is_empty());
    }
}
