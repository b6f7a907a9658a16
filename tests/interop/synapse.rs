//! Synapse, configured by what `turnctl snippet` prints: its users are given credentials that work over every URI.

use std::fs;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use turnbuckle_tests::{
    Alone, Authority, Credentials, Deadline, HttpAnswer, Process, Requirement, Server, free_port,
    synapse_python, turnctl,
};

use crate::uclient::relays;

#[test]
fn users_are_given_a_turn_server_that_works() {
    let needed = [
        Requirement::Synapse,
        Requirement::Root,
        Requirement::Program("turnutils_uclient"),
        Requirement::Program("turnutils_peer"),
    ];
    if !Requirement::all_met(&needed) {
        return;
    }
    let _alone = Alone::wait();
    let authority = Authority::new();
    let files = authority.write("turn", &authority.issue(&[NAME]));
    let server = start_server(&files.config());
    let homeserver = Homeserver::start(&server, "");
    homeserver.register("alice", "alices-password");
    let token = homeserver.log_in("alice", "alices-password");

    // What a client is given.
    let answer = homeserver.get("/_matrix/client/v3/voip/turnServer", Some(&token));
    assert_eq!(answer.status, 200, "{answer:?}");
    let given: Value = serde_json::from_str(&answer.body).unwrap();
    let (port, tls) = (server.port(), server.port_for(TLS_PORT));
    assert_eq!(
        given["uris"],
        json!([
            format!("turn:{NAME}:{port}?transport=udp"),
            format!("turn:{NAME}:{port}?transport=tcp"),
            format!("turns:{NAME}:{tls}?transport=tcp"),
        ])
    );
    assert_eq!(given["ttl"], 86400);
    let text = |name: &str| given[name].as_str().unwrap();
    let credentials = Credentials::new(text("username"), text("password"));
    assert!(credentials.username.ends_with(":@alice:matrix.test"));
    // With coturn's client, over each of them.
    thread::scope(|scope| {
        for (port, arguments) in [(port, &[][..]), (port, &["-t"]), (tls, &["-t", "-S"])] {
            let credentials = &credentials;
            scope.spawn(move || {
                let report = relays(credentials, port, arguments);
                assert_eq!((report.lost, report.dropped), (0, 0), "{arguments:?}");
                assert!(report.received > 0, "{arguments:?}");
            });
        }
    });

    // Where MatrixRTC goes, by both of its ways.
    let transport = json!({ "type": "livekit", "livekit_service_url": LIVEKIT });
    let unstable = "/_matrix/client/unstable/org.matrix.msc4143/rtc/transports";
    let answer = homeserver.get(unstable, Some(&token));
    let transports: Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(
        transports["rtc_transports"],
        json!([transport]),
        "{answer:?}"
    );
    let answer = homeserver.get("/.well-known/matrix/client", None);
    let known: Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(known["org.matrix.msc4143.rtc_foci"], json!([transport]));
    assert_eq!(known["im.vector.riot.forceTurn"], true);

    // As the operator sees it, by password and by token.
    let log_in = ["--user", "alice"];
    let output = homeserver.check(&authority, &log_in, "alices-password\n");
    let shown = told(&output);
    assert!(output.status.success(), "{shown}");
    for part in [
        "the homeserver gives credentials for 86400 s",
        "Callers are served.",
        "`disable_fallback_ice`",
        &format!("turns:{NAME}:{tls}?transport=tcp"),
    ] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
    assert!(!shown.contains("error"), "{shown}");
    let file = homeserver.directory.path().join("token");
    fs::write(&file, format!("{token}\n")).unwrap();
    let by_token = ["--token-file", file.to_str().unwrap(), "--json"];
    let output = homeserver.check(&authority, &by_token, "");
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        document["targets"].as_array().unwrap().len(),
        3,
        "{document:#}"
    );
    assert!(!told(&output).contains(&token));

    // What goes wrong.
    let output = homeserver.check(&authority, &log_in, "another\n");
    assert_eq!(output.status.code(), Some(1));
    assert!(told(&output).contains("does not take the password of alice"));
    let text = fs::read_to_string(server.config_path()).unwrap();
    fs::write(
        server.config_path(),
        text.replace(SECRET, "another-secret-0123456789"),
    )
    .unwrap();
    server.signal(turnbuckle_tests::Signal::HUP);
    server.expect_log("the reload", |line| {
        line.contains("reloaded: static-auth-secret")
    });
    let output = homeserver.check(&authority, &by_token[..2], "");
    assert_eq!(output.status.code(), Some(1));
    let shown = told(&output);
    assert!(
        shown.contains("compare `turn_shared_secret` with `static-auth-secret`"),
        "{shown}"
    );
    server.stop();
}

/// As its comment has it: the secret in a file of its own.
#[test]
fn the_secret_may_be_in_a_file() {
    if !Requirement::all_met(&[Requirement::Synapse]) {
        return;
    }
    let _alone = Alone::wait();
    let server = start_server("");
    let directory = TempDir::with_prefix("turnbuckle-secret-").unwrap();
    let secret = directory.path().join("secret");
    fs::write(&secret, format!("{SECRET}\n")).unwrap();
    let path = format!("turn_shared_secret_path: \"{}\"", secret.display());
    // As its comment says: the other line goes.
    let homeserver = Homeserver::start_with(&server, |snippet| {
        let lines = snippet
            .lines()
            .filter(|line| !line.starts_with("turn_shared_secret:"));
        let lines = lines.map(|line| match line.starts_with("#turn_shared_secret_path:") {
            true => path.clone(),
            false => line.to_owned(),
        });
        lines.collect::<Vec<_>>().join("\n")
    });
    homeserver.register("bob", "bobs-password");
    let token = homeserver.log_in("bob", "bobs-password");
    let answer = homeserver.get("/_matrix/client/v3/voip/turnServer", Some(&token));
    let given: Value = serde_json::from_str(&answer.body).unwrap();
    let text = |name: &str| given[name].as_str().unwrap();
    // The TURN server makes the same password of the name.
    let output = Command::new(turnctl())
        .args(["password", text("username"), "-c"])
        .arg(server.config_path())
        .output()
        .unwrap();
    assert_eq!(
        String::from_utf8_lossy(&output.stdout).trim_end(),
        text("password")
    );
    server.stop();
}

pub(crate) fn start_server(more: &str) -> Server {
    Server::builder(&format!(
        "realm={NAME}\nstatic-auth-secret={SECRET}\nuser-quota=0\nunauthorized-ratelimit=0\nrfc5766-channel-numbers\nallowed-peer-ip=127.0.0.1\n{more}\n"
    ))
    .port_for(TLS_PORT)
    .start()
}

/// A running Synapse.
pub(crate) struct Homeserver {
    address: SocketAddr,
    directory: TempDir,
    _process: Process,
}

impl Homeserver {
    /// With what `turnctl` prints for this server, and these lines besides.
    pub(crate) fn start(server: &Server, more: &str) -> Self {
        Self::start_with(server, |snippet| format!("{snippet}\n{more}"))
    }

    fn start_with(server: &Server, change: impl Fn(&str) -> String) -> Self {
        let python = synapse_python().expect("it is required");
        let directory = TempDir::with_prefix("turnbuckle-synapse-").unwrap();
        let port = free_port(&[Ipv4Addr::LOCALHOST.into()]);
        let address = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port);
        let snippet = change(&snippet(server, &["synapse", "--host", NAME]));
        let discovery = snippet_for_synapse(&self::snippet(
            server,
            &["wellknown", "--force-turn", "--livekit", LIVEKIT],
        ));
        let path = directory.path().join("homeserver.yaml");
        let at = directory.path().display();
        let text = format!(
            "server_name: matrix.test\npublic_baseurl: http://{address}/\nreport_stats: false\nsigning_key_path: {at}/signing.key\n\
             media_store_path: {at}/media\npid_file: {at}/pid\ntrusted_key_servers: []\nregistration_shared_secret: registration\n\
             database: {{ name: sqlite3, args: {{ database: {at}/homeserver.db }} }}\nlog_config: {at}/log.yaml\n\
             listeners: [{{ port: {port}, type: http, bind_addresses: [127.0.0.1], resources: [{{ names: [client] }}] }}]\n\
             rc_login: {{ address: {{ per_second: 100, burst_count: 100 }}, account: {{ per_second: 100, burst_count: 100 }} }}\n\
             rc_message: {{ per_second: 1000, burst_count: 1000 }}\n{snippet}\n{discovery}\n"
        );
        fs::write(&path, text).unwrap();
        fs::write(directory.path().join("log.yaml"), LOG).unwrap();
        let mut generate = Command::new(&python);
        generate.args(["-m", "synapse.app.homeserver", "--generate-keys", "-c"]);
        let output = generate
            .arg(&path)
            .current_dir(directory.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        let mut command = Command::new(&python);
        command
            .args(["-m", "synapse.app.homeserver", "-c"])
            .arg(&path);
        let mut process = Process::start(command.current_dir(directory.path()));
        let deadline = Deadline::after(START_DEADLINE);
        // It listens once it is ready.
        while std::net::TcpStream::connect(address).is_err() {
            assert!(
                process.is_running() && deadline.left().is_some(),
                "Synapse does not start:\n{}",
                process.output()
            );
            thread::sleep(Duration::from_millis(50));
        }
        Self {
            address,
            directory,
            _process: process,
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn register(&self, user: &str, password: &str) {
        let python = synapse_python().expect("it is required");
        let output = Command::new(python.with_file_name("register_new_matrix_user"))
            .args([
                "-u",
                user,
                "-p",
                password,
                "--no-admin",
                "-k",
                "registration",
            ])
            .arg(self.url())
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
    }

    /// An access token.
    fn log_in(&self, user: &str, password: &str) -> String {
        let body = json!({
            "type": "m.login.password",
            "identifier": { "type": "m.id.user", "user": user },
            "password": password,
        });
        let fields = [("Host", "localhost"), ("Content-Type", "application/json")];
        let path = "/_matrix/client/v3/login";
        let answer = HttpAnswer::ask(self.address, "POST", path, &fields, &body.to_string());
        assert_eq!(answer.status, 200, "{answer:?}");
        let answer: Value = serde_json::from_str(&answer.body).unwrap();
        answer["access_token"].as_str().unwrap().to_owned()
    }

    fn get(&self, path: &str, token: Option<&str>) -> HttpAnswer {
        let bearer = format!("Bearer {}", token.unwrap_or_default());
        let fields = [("Host", "localhost"), ("Authorization", &*bearer)];
        HttpAnswer::get(
            self.address,
            path,
            &fields[..1 + usize::from(token.is_some())],
        )
    }

    /// `turnctl matrix check` where the name of the TURN server is that of this host.
    fn check(&self, authority: &Authority, arguments: &[&str], input: &str) -> Output {
        let hosts = self.directory.path().join("hosts");
        fs::write(&hosts, format!("127.0.0.1 localhost {NAME}\n")).unwrap();
        let mut child = Command::new("unshare")
            .args([
                "--mount",
                "sh",
                "-c",
                "mount --bind \"$0\" /etc/hosts && exec \"$@\"",
            ])
            .arg(&hosts)
            .arg(turnctl())
            .args(["matrix", "check", &self.url(), "--ca-file"])
            .arg(authority.root_file())
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        // It need not read it.
        let _ = stdin.write_all(input.as_bytes());
        drop(stdin);
        child.wait_with_output().unwrap()
    }
}

fn told(output: &Output) -> String {
    [&output.stdout, &output.stderr]
        .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
        .concat()
}

fn snippet(server: &Server, arguments: &[&str]) -> String {
    let output = Command::new(turnctl())
        .arg("snippet")
        .args(arguments)
        .arg("-c")
        .arg(server.config_path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The part for a Synapse that serves .well-known itself.
fn snippet_for_synapse(text: &str) -> String {
    let lines = text
        .lines()
        .skip_while(|line| !line.starts_with("extra_well_known_client_content:"));
    lines.collect::<Vec<_>>().join("\n")
}

pub(crate) const NAME: &str = "turn.localhost";
pub(crate) const TLS_PORT: &str = "tls-listening-port";
const LIVEKIT: &str = "https://livekit.example.org/jwt";
const SECRET: &str = "north-secret-of-the-test-0123";
const LOG: &str = "version: 1\nhandlers: { console: { class: logging.StreamHandler } }\nroot: { level: WARNING, handlers: [console] }\n";
const START_DEADLINE: Duration = Duration::from_secs(60);
