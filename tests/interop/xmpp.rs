//! XMPP servers configured by what `turnctl snippet` prints hand out TURN servers that work (XEP-0215).

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use roxmltree::Document;
use tempfile::TempDir;
use turnbuckle_tests::{
    Alone, Authority, Credentials, Deadline, Process, Requirement, Server, free_port, turnctl,
};

use crate::uclient::relays;

#[test]
fn prosody_hands_out_what_works() {
    hands_out_what_works("prosody", &[Requirement::Program("prosody")], |site| {
        let at = site.directory.path().display();
        let text = format!(
            "run_as_root = true\npidfile = \"{at}/pid\"\ndata_path = \"{at}\"\ncertificates = \"{at}\"\n\
             interfaces = {{ \"127.0.0.1\" }}\nc2s_ports = {{ {} }}\nmodules_enabled = {{ \"saslauth\", \"disco\", \"external_services\" }}\n\
             modules_disabled = {{ \"s2s\", \"tls\" }}\nc2s_require_encryption = false\nauthentication = \"anonymous\"\n\
             log = {{ info = \"*console\" }}\n{}\nVirtualHost \"localhost\"\n",
            site.xmpp.port(),
            site.snippet
        );
        let path = site.directory.path().join("prosody.cfg.lua");
        fs::write(&path, text).unwrap();
        // What the program itself says of it.
        let output = Command::new("prosodyctl")
            .arg("--config")
            .arg(&path)
            .args(["check", "config"])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(said.contains("All checks passed"), "{said}");
        let mut command = Command::new("prosody");
        command.args(["-F", "--config"]).arg(&path);
        command
    });
}

#[test]
fn jitsi_is_prosody_with_lines_of_its_own() {
    // The lines of Jitsi Meet are for the same module of Prosody.
    hands_out_what_works("jitsi", &[Requirement::Program("prosody")], |site| {
        let at = site.directory.path().display();
        let text = format!(
            "{}\nrun_as_root = true\npidfile = \"{at}/pid\"\ndata_path = \"{at}\"\ncertificates = \"{at}\"\n\
             interfaces = {{ \"127.0.0.1\" }}\nc2s_ports = {{ {} }}\nmodules_disabled = {{ \"s2s\", \"tls\" }}\n\
             c2s_require_encryption = false\nlog = {{ info = \"*console\" }}\nVirtualHost \"localhost\"\n\
             authentication = \"anonymous\"\nmodules_enabled = {{ \"saslauth\", \"external_services\" }}\n",
            site.snippet,
            site.xmpp.port()
        );
        let path = site.directory.path().join("prosody.cfg.lua");
        fs::write(&path, text).unwrap();
        let mut command = Command::new("prosody");
        command.args(["-F", "--config"]).arg(&path);
        command
    });
}

#[test]
fn ejabberd_hands_out_what_works() {
    let needed = [
        Requirement::Program("ejabberdctl"),
        Requirement::Program("erl"),
    ];
    hands_out_what_works("ejabberd", &needed, |site| {
        let text = format!(
            "hosts: [localhost]\nloglevel: info\nauth_method: anonymous\nanonymous_protocol: sasl_anon\n\
             acl: {{ local: {{ user_regexp: \"\" }} }}\naccess_rules: {{ local: {{ allow: local }} }}\n\
             listen: [{{ port: {}, ip: 127.0.0.1, module: ejabberd_c2s, starttls: false }}]\n{}",
            site.xmpp.port(),
            site.snippet
        );
        let path = site.directory.path().join("ejabberd.yml");
        fs::write(&path, text).unwrap();
        // By itself, without the node name that its script would register with a daemon of the host.
        let quoted = |path: &Path| format!("\"{}\"", path.display());
        let mut command = Command::new("erl");
        command
            .env(
                "ERL_LIBS",
                "/usr/lib/x86_64-linux-gnu:/usr/lib/aarch64-linux-gnu",
            )
            .current_dir(site.directory.path())
            .args(["-noinput", "-mnesia", "dir"])
            .arg(quoted(&site.directory.path().join("db")))
            .args(["-ejabberd", "config"])
            .arg(quoted(&path))
            .arg("log_path")
            .arg(quoted(&site.directory.path().join("log")))
            .args(["-s", "ejabberd"]);
        command
    });
}

/// What an XMPP server is set up from.
struct Site {
    directory: TempDir,
    xmpp: SocketAddr,
    snippet: String,
}

fn hands_out_what_works(
    consumer: &str,
    needed: &[Requirement],
    set_up: impl FnOnce(&Site) -> Command,
) {
    let ours = [
        Requirement::Program("turnutils_uclient"),
        Requirement::Program("turnutils_peer"),
    ];
    if !Requirement::all_met(&[needed, &ours].concat()) {
        return;
    }
    let _alone = Alone::wait();
    let authority = Authority::new();
    let files = authority.write("turn", &authority.issue(&[NAME]));
    let server = Server::builder(&format!(
        "realm={NAME}\nstatic-auth-secret={SECRET}\nrfc5766-channel-numbers\nallowed-peer-ip=127.0.0.1\nuser-quota=0\n{}\n",
        files.config()
    ))
    .port_for(TLS_PORT)
    .start();
    let output = Command::new(turnctl())
        .args(["snippet", consumer, "-c"])
        .arg(server.config_path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let localhost = Ipv4Addr::LOCALHOST.into();
    let site = Site {
        directory: TempDir::with_prefix("turnbuckle-xmpp-").unwrap(),
        xmpp: SocketAddr::new(localhost, free_port(&[localhost])),
        snippet: String::from_utf8(output.stdout).unwrap(),
    };
    let mut process = Process::start(&mut set_up(&site));
    let services = ask(site.xmpp, &mut process);
    drop(process);

    let (plain, tls) = (server.port(), server.port_for(TLS_PORT));
    let expected = [
        ("stun", "udp", plain),
        ("turn", "udp", plain),
        ("turn", "tcp", plain),
        ("turns", "tcp", tls),
    ];
    assert_eq!(services.len(), expected.len(), "{services:?}");
    thread::scope(|scope| {
        for (service, (kind, transport, port)) in services.iter().zip(expected) {
            assert_eq!(
                (
                    &*service.kind,
                    &*service.transport,
                    service.port,
                    &*service.host
                ),
                (kind, transport, port, NAME)
            );
            let arguments: &[&str] = match (kind, transport) {
                // It has no use for credentials.
                ("stun", _) => continue,
                ("turns", _) => &["-t", "-S"],
                (_, "tcp") => &["-t"],
                _ => &[],
            };
            let credentials = service.credentials.clone();
            let credentials =
                credentials.unwrap_or_else(|| panic!("none for {kind} over {transport}"));
            let output = Command::new(turnctl())
                .args(["password", &credentials.username, "-c"])
                .arg(server.config_path())
                .output()
                .unwrap();
            let password = String::from_utf8_lossy(&output.stdout);
            assert_eq!(password.trim_end(), credentials.password);
            if consumer == "jitsi" {
                // That such credentials relay is shown by Prosody's own lines.
                continue;
            }
            scope.spawn(move || {
                let report = relays(&credentials, port, arguments);
                assert_eq!((report.lost, report.dropped), (0, 0), "{arguments:?}");
                assert!(report.received > 0, "{arguments:?}");
            });
        }
    });
    server.stop();
}

#[derive(Debug)]
struct Service {
    kind: String,
    transport: String,
    host: String,
    port: u16,
    credentials: Option<Credentials>,
}

/// Logs in as nobody in particular and asks for external services.
fn ask(server: SocketAddr, process: &mut Process) -> Vec<Service> {
    let deadline = Deadline::after(START_DEADLINE);
    let mut stream = loop {
        match TcpStream::connect(server) {
            Ok(stream) => break stream,
            Err(error) => assert!(
                process.is_running() && deadline.left().is_some(),
                "{error}: the XMPP server does not start:\n{}",
                process.output()
            ),
        }
        thread::sleep(Duration::from_millis(50));
    };
    stream.set_read_timeout(Some(START_DEADLINE)).unwrap();
    let mut say = |text: &str, end: &str| -> String {
        stream.write_all(text.as_bytes()).unwrap();
        let mut heard = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            let len = stream.read(&mut buffer).unwrap();
            assert!(len > 0, "the XMPP server broke off:\n{}", process.output());
            heard.extend_from_slice(&buffer[..len]);
            let text = String::from_utf8_lossy(&heard);
            if text.trim_end().ends_with(end) {
                return text.into_owned();
            }
        }
    };
    say(STREAM, "</stream:features>");
    let outcome = say(
        "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='ANONYMOUS'/>",
        ">",
    );
    assert!(outcome.contains("<success"), "{outcome}");
    say(STREAM, "</stream:features>");
    say(
        "<iq type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>",
        "</iq>",
    );
    let answer = say(
        "<iq type='get' id='ask' to='localhost'><services xmlns='urn:xmpp:extdisco:2'/></iq>",
        "</iq>",
    );
    let document = Document::parse(&answer).unwrap_or_else(|error| panic!("{error}: {answer}"));
    let services = document
        .descendants()
        .filter(|node| node.has_tag_name(("urn:xmpp:extdisco:2", "service")));
    services
        .map(|node| {
            let text = |name: &str| node.attribute(name).map(str::to_owned);
            let needed = |name: &str| text(name).unwrap_or_else(|| panic!("no {name} in {answer}"));
            Service {
                kind: needed("type"),
                transport: needed("transport"),
                host: needed("host"),
                port: needed("port").parse().unwrap(),
                credentials: text("username")
                    .zip(text("password"))
                    .map(|(username, password)| Credentials::new(&username, &password)),
            }
        })
        .collect()
}

const STREAM: &str = "<?xml version='1.0'?><stream:stream to='localhost' xmlns='jabber:client' \
                      xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>";
const NAME: &str = "turn.localhost";
const TLS_PORT: &str = "tls-listening-port";
/// Full of what the languages of both have a meaning for.
const SECRET: &str = "0f1e\"2d\\3c'4b#5a--[[69]]78$87";
const START_DEADLINE: Duration = Duration::from_secs(20);
