//! `turnctl matrix check`: does a homeserver give its users a TURN server that works? Owns the steps from its name to an echo; how
//! a TURN server is tried is in [`probe`](crate::probe).

mod homeserver;
mod turn_server;

use std::fs;
use std::io;
use std::path::Path;

use serde_json::{Value, json};

use self::homeserver::Homeserver;
use self::turn_server::TurnServer;
use crate::Output;
use crate::check::{lay_out, object, password_from_stdin, probe_all, resolve};
use crate::cli::MatrixCheckArgs;
use crate::configuration::is_colored;
use crate::failure::Failure;
use crate::probe::{Credential, Finding, Level, Password, Report, Trust};

/// Asks the homeserver, and tries what it says; `now` is seconds since 1970-01-01 00:00 UTC.
pub(crate) fn check(args: &MatrixCheckArgs, now: u64) -> Result<Output, Failure> {
    let trust = Trust::of_browsers(args.ca_file.as_deref())?;
    let mut homeserver = Homeserver::new(&args.server, args.ca_file.as_deref())?;
    let mut general = discover(&mut homeserver)?;
    let made = log_in(&mut homeserver, args)?;
    let answer = homeserver.get(TURN_SERVER);
    if made {
        // What was made for this question ends with it. Failing that it is one device more.
        if !homeserver
            .post("/_matrix/client/v3/logout", &json!({}))
            .is_ok_and(|answer| answer.status == 200)
        {
            general.push(Finding::note(
                "the session that was made for this could not be ended: its device is called `turnctl matrix check`",
            ));
        }
    }
    let (server, findings) = turn_server::judge(&answer?, now);
    general.extend(findings);
    let reports = match &server {
        Some(server) => tried(server, &trust, now, &mut general),
        None => Vec::new(),
    };
    let all = reports.iter().flat_map(|report| &report.findings);
    let worst = all.chain(&general).map(|finding| finding.level).max();
    let worst = worst.unwrap_or(Level::Ok);
    Ok(Output {
        text: match args.json {
            true => format!("{:#}\n", object(&reports, &general, worst)),
            false => lay_out(&reports, &general, worst, is_colored(&io::stdout())),
        },
        note: None,
        status: u8::from(worst >= Level::Error),
    })
}

/// Where clients find the homeserver, and what its `.well-known` tells them of calls.
fn discover(homeserver: &mut Homeserver) -> Result<Vec<Finding>, Failure> {
    let named = homeserver.base().to_owned();
    let answer = homeserver.public("/.well-known/matrix/client")?;
    let known = &answer.body;
    let mut findings = Vec::new();
    match known["m.homeserver"]["base_url"].as_str() {
        Some(base) if answer.status == 200 => match homeserver.move_to(base) {
            Ok(()) if homeserver.base() == named => {}
            Ok(()) => findings.push(Finding::ok(format!(
                "clients of {named} are sent to {}",
                homeserver.base()
            ))),
            Err(why) => findings.push(
                Finding::error(format!("`m.homeserver` of .well-known/matrix/client is of no use: {why}"))
                    .help("correct its `base_url`"),
            ),
        },
        _ => findings.push(Finding::note(format!(
            "{named} has no .well-known/matrix/client that names a homeserver ({}); it was asked itself",
            answer.status
        ))),
    }
    if answer.status == 200 {
        findings.extend(keys(known));
    }
    Ok(findings)
}

fn keys(known: &Value) -> Vec<Finding> {
    let mut findings = Vec::new();
    if known["im.vector.riot.forceTurn"] == true {
        findings.push(Finding::note(
            "`im.vector.riot.forceTurn` (MSC4096) asks for every call to be relayed; no client that we know of reads it yet, and Element Web \
             is told by its own config.json: `turnctl snippet element-web`",
        ));
    }
    if known["io.element.voip"]["disable_fallback_ice"] == true {
        findings.push(Finding::ok(
            "`disable_fallback_ice`: Element does not ask turn.matrix.org where this server is not reached",
        ));
    }
    for name in ["org.matrix.msc4143.rtc_foci", "m.rtc_foci"] {
        if known[name].as_array().is_some_and(|foci| !foci.is_empty()) {
            findings.push(Finding::note(format!(
                "`{name}`: Element Call and Element X go through what it names, not through this TURN server"
            )));
        }
    }
    findings
}

/// Whether a session was made, which is to be ended again.
fn log_in(homeserver: &mut Homeserver, args: &MatrixCheckArgs) -> Result<bool, Failure> {
    if let Some(path) = &args.token_file {
        homeserver.use_token(token(path)?);
        return Ok(false);
    }
    let user = args.user.as_deref().ok_or_else(|| {
        Failure::new("the homeserver gives TURN servers to its users alone")
            .help("name one with `--user`, whose password comes on standard input, or give a token with `--token-file`")
    })?;
    let password = password_from_stdin("turnctl matrix check ... --user NAME")?;
    let answer = homeserver.post(
        "/_matrix/client/v3/login",
        &json!({
            "type": "m.login.password",
            "identifier": { "type": "m.id.user", "user": user },
            "password": password,
            "initial_device_display_name": "turnctl matrix check",
        }),
    )?;
    match (answer.status, answer.body["access_token"].as_str()) {
        (200, Some(token)) => {
            homeserver.use_token(token.to_owned());
            Ok(true)
        }
        (403, _) => Err(Failure::new(format!("{} does not take the password of {user}", homeserver.base()))
            .help("where users log in elsewhere (SSO), copy a token from the client's settings and give it with `--token-file`")),
        (429, _) => Err(Failure::new(format!("{} takes no more logins for now", homeserver.base()))
            .help("try again later, or give a token with `--token-file`")),
        (status, _) => Err(Failure::new(format!(
            "{} answers the login of {user} with {status}",
            homeserver.base()
        ))
        .help("see whether this is a homeserver that takes passwords; else give a token with `--token-file`")),
    }
}

fn token(path: &Path) -> Result<String, Failure> {
    let text = fs::read_to_string(path).map_err(|error| {
        Failure::new(format!(
            "the token in {} cannot be read: {error}",
            path.display()
        ))
    })?;
    let token = text.trim();
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Failure::new(format!("{} holds no token", path.display()))
            .help("it should hold an access token and nothing else"));
    }
    Ok(token.to_owned())
}

fn tried(server: &TurnServer, trust: &Trust, now: u64, general: &mut Vec<Finding>) -> Vec<Report> {
    let credential = Credential {
        username: server.username.clone(),
        password: Password::Text(server.password.clone()),
    };
    let (targets, unknown) = resolve(&server.uris);
    general.extend(unknown);
    let reports = probe_all(&targets, &credential, trust, now);
    if reports.iter().any(|report| report.unauthorized) {
        general.push(
            Finding::error("the TURN server does not take what the homeserver gives out").help(
                "both have to hold the same secret: compare `turn_shared_secret` with `static-auth-secret`, and restart the \
                 homeserver after a change; else compare the clocks",
            ),
        );
    }
    reports
}

const TURN_SERVER: &str = "/_matrix/client/v3/voip/turnServer";
