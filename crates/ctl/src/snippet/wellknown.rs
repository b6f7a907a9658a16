//! `.well-known/matrix/client`: what tells Matrix clients about calls. Owns the keys, what is said of their effect, and writing the
//! file; how one file becomes another is in `merge`.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::quote::yaml;
use super::{Snippet, merge, output};
use crate::Output;
use crate::cli::SnippetArgs;
use crate::configuration;
use crate::failure::Failure;

pub(super) fn run(args: &SnippetArgs) -> Result<Output, Failure> {
    let Some(file) = &args.merge else {
        return Ok(output(Snippet::new(sections(args)?), &[]));
    };
    let old = configuration::text(file)?;
    let merged = merge::merge(&old, &additions(args)).map_err(|error| {
        Failure::new(format!("{} {error}", file.display())).help("the file is as it was")
    })?;
    let mut snippet = Snippet::new(String::new());
    for effect in effects(args) {
        snippet = snippet.note(effect);
    }
    if !args.write {
        snippet.text = merged;
        return Ok(output(snippet, &[]));
    }
    if merged == old {
        return Ok(output(
            snippet.note(format!("{} says all of it already", file.display())),
            &[],
        ));
    }
    let backup = replace(file, &merged)
        .map_err(|error| Failure::new(format!("{} cannot be written: {error}", file.display())))?;
    Ok(output(
        snippet.note(format!("the old file is kept as {}", backup.display())),
        &[],
    ))
}

/// The JSON for the file, the same for Synapse, and what has an effect today.
fn sections(args: &SnippetArgs) -> Result<String, Failure> {
    let json =
        merge::merge("{}", &additions(args)).map_err(|error| Failure::new(error.to_string()))?;
    let mut text = format!(
        "\
# Into .well-known/matrix/client of the domain in user names; `--merge FILE` adds it to a file that is there. No restart.
{json}
# Where Synapse serves that file (public_baseurl is set), into homeserver.yaml instead; then restart Synapse.
extra_well_known_client_content:
"
    );
    for addition in additions(args) {
        match addition {
            merge::Addition::Set(name, value) => text += &format!("  {name}: {value}\n"),
            merge::Addition::Within(name, field, value) => {
                text += &format!("  {name}:\n    {field}: {value}\n");
            }
            merge::Addition::Item(name, _) => {
                let url = yaml(args.livekit.as_deref().unwrap_or_default());
                text +=
                    &format!("  {name}:\n    - type: livekit\n      livekit_service_url: {url}\n");
            }
        }
    }
    if let Some(url) = &args.livekit {
        text += &format!(
            "\
# Newer clients ask the homeserver itself, which does not take it from the lines above:
experimental_features:
  msc4143_enabled: true
matrix_rtc:
  transports:
    - type: livekit
      livekit_service_url: {}
",
            yaml(url)
        );
    }
    text += "\n# What has an effect today:\n";
    for effect in effects(args) {
        text += &format!("# * {effect}\n");
    }
    Ok(text)
}

fn additions(args: &SnippetArgs) -> Vec<merge::Addition> {
    let mut all = vec![merge::Addition::Within(
        "io.element.voip",
        "disable_fallback_ice",
        "true",
    )];
    if args.force_turn {
        all.push(merge::Addition::Set("im.vector.riot.forceTurn", "true"));
    }
    if let Some(url) = &args.livekit {
        for name in ["org.matrix.msc4143.rtc_foci", "m.rtc_foci"] {
            let focus = format!(
                r#"{{"type": "livekit", "livekit_service_url": {}}}"#,
                yaml(url)
            );
            all.push(merge::Addition::Item(name, focus));
        }
    }
    all
}

fn effects(args: &SnippetArgs) -> Vec<&'static str> {
    let mut all = vec![
        "`io.element.voip`: Element Web and the classic Element apps for Android and iOS no longer fall back to \
         turn.matrix.org where this server is not reached",
    ];
    if args.force_turn {
        all.push(
            "`im.vector.riot.forceTurn` (MSC4096): no client that we know of reads it yet; what makes Element Web relay every \
             call is its own config.json, which `turnctl snippet element-web` prints",
        );
    }
    if args.livekit.is_some() {
        all.extend([
            "`org.matrix.msc4143.rtc_foci`: Element Call and Element X of before the summer of 2026; later ones ask the \
             homeserver, which Synapse answers from `matrix_rtc`",
            "`m.rtc_foci`: the name that was reserved for it; no client that we know of reads it yet",
        ]);
    }
    all.push(
        "Element X and Element Call make no calls of the older kind, so they never ask for this TURN server; LiveKit does, with \
         `turnctl snippet livekit`",
    );
    all
}

/// Puts the text in place of the file in one step; gives the name that the old one is kept under.
fn replace(file: &Path, text: &str) -> std::io::Result<PathBuf> {
    let file = fs::canonicalize(file)?;
    let beside = |ending: &str| {
        let mut name = file.clone().into_os_string();
        name.push(ending);
        PathBuf::from(name)
    };
    let (new, backup) = (beside(".new"), beside(".bak"));
    let permissions = fs::metadata(&file)?.permissions();
    let mut written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(permissions.mode())
        .open(&new)?;
    let done = written
        .write_all(text.as_bytes())
        .and_then(|()| written.set_permissions(permissions))
        .and_then(|()| written.sync_all())
        .and_then(|()| fs::copy(&file, &backup))
        .and_then(|_| fs::rename(&new, &file));
    if let Err(error) = done {
        // Whether it can be removed changes nothing about the failure.
        let _ = fs::remove_file(&new);
        return Err(error);
    }
    Ok(backup)
}
