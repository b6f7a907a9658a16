//! Janus on a host of its own with its TURN server: by what `turnctl snippet` prints, and by the credential endpoint, which it speaks the TURN REST draft with.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use turnbuckle_tests::{
    Alone, ApiKey, HttpAnswer, Namespace, Process, Requirement, Server, turnctl,
};

#[test]
fn janus_relays_by_what_it_is_told() {
    let needed = [
        Requirement::Program("janus"),
        Requirement::Program("ip"),
        Requirement::Root,
    ];
    if !Requirement::all_met(&needed) {
        return;
    }
    let _alone = Alone::wait();
    // Its ICE library asks no TURN server on a loopback address.
    let (host, _other) = Namespace::linked_pair(&[HOST], &[OTHER]);
    let api_key = ApiKey::new("gateway");
    // Reached by its address: Janus asks the DNS, and the name of the tests is not there.
    let server = Server::builder(&format!(
        "realm=north\nstatic-auth-secret=north-secret-of-the-test-0123\nuser-quota=0\nrest-listener=127.0.0.1:9642\n{}\n",
        api_key.line
    ))
    .listen(&[HOST])
    .in_namespace(&host)
    .start();
    let output = Command::new(turnctl())
        .args(["snippet", "janus", "-c"])
        .arg(server.config_path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let snippet = String::from_utf8(output.stdout).unwrap();
    let rest = |method: &str| {
        format!(
            "nat: {{\n turn_rest_api = \"http://127.0.0.1:9642/turn\"\n turn_rest_api_key = \"{}\"\n turn_rest_api_method = \"{method}\"\n}}\n",
            api_key.key
        )
    };
    for (given, nat) in [(0, snippet), (1, rest("GET")), (2, rest("POST"))] {
        let before = count(&server, "session started");
        let answer = host.run(|| Janus::start(&host, &nat).answer_to_an_offer());
        assert!(answer.contains(" typ relay "), "{nat}: {answer}");
        assert!(
            count(&server, "session started") > before,
            "{}",
            server.log()
        );
        let issued = count(&server, "given to API key \"gateway\"");
        assert!(
            if given == 0 {
                issued == 0
            } else {
                issued >= given
            },
            "{nat}: {}",
            server.log()
        );
    }
    server.stop();
}

fn count(server: &Server, what: &str) -> usize {
    server
        .log()
        .lines()
        .filter(|line| line.contains(what))
        .count()
}

struct Janus {
    address: SocketAddr,
    process: Process,
    _directory: TempDir,
}

impl Janus {
    fn start(host: &Namespace, nat: &str) -> Self {
        let directory = TempDir::with_prefix("turnbuckle-janus-").unwrap();
        let address = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 8088);
        let at = directory.path().display();
        let modules = ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu"]
            .map(|library| format!("{library}/janus"));
        let modules = modules
            .iter()
            .find(|path| fs::metadata(path).is_ok())
            .expect("modules of Janus");
        let disabled = |kind: &str, wanted: &str| {
            let all = fs::read_dir(format!("{modules}/{kind}")).unwrap();
            let names = all.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
            let names = names.filter(|name| name.ends_with(".so") && !name.contains(wanted));
            names.collect::<Vec<_>>().join(",")
        };
        let text = format!(
            "general: {{ configs_folder = \"{at}\" plugins_folder = \"{modules}/plugins\" transports_folder = \"{modules}/transports\" \
             events_folder = \"{at}/none\" loggers_folder = \"{at}/none\" debug_level = 4 }}\n{nat}\n\
             plugins: {{ disable = \"{}\" }}\ntransports: {{ disable = \"{}\" }}\n",
            disabled("plugins", "echotest"),
            disabled("transports", "janus_http")
        );
        let path = directory.path().join("janus.jcfg");
        fs::write(&path, text).unwrap();
        fs::write(
            directory.path().join("janus.transport.http.jcfg"),
            format!(
                "general: {{ json = \"compact\" base_path = \"/janus\" http = true port = {} ip = \"127.0.0.1\" https = false }}\n",
                address.port()
            ),
        )
        .unwrap();
        let mut command = host.command("janus");
        command.arg("-C").arg(&path).arg("-F").arg(directory.path());
        let process = Process::start(&mut command);
        // It takes connections before, and breaks them off.
        let ready = process.wait_for_any_line(DEADLINE, |line| {
            line.contains("(HTTP/HTTPS) transport plugin initialized")
        });
        assert!(
            ready.is_some(),
            "Janus does not start:\n{}",
            process.output()
        );
        Self {
            address,
            process,
            _directory: directory,
        }
    }

    /// With its candidates, for which it has asked its TURN server.
    fn answer_to_an_offer(&self) -> String {
        let session = self.ask("/janus", &json!({ "janus": "create", "transaction": "1" }));
        let path = format!("/janus/{}", session["data"]["id"]);
        let attach =
            json!({ "janus": "attach", "plugin": "janus.plugin.echotest", "transaction": "2" });
        let handle = self.ask(&path, &attach);
        let message = json!({
            "janus": "message",
            "transaction": "3",
            "body": { "audio": true },
            "jsep": { "type": "offer", "sdp": OFFER },
        });
        self.ask(&format!("{path}/{}", handle["data"]["id"]), &message);
        loop {
            let answer = HttpAnswer::get(self.address, &path, &[("Host", "localhost")]);
            let event: Value = serde_json::from_str(&answer.body).unwrap();
            if let Some(sdp) = event["jsep"]["sdp"].as_str() {
                return sdp.to_owned();
            }
            assert!(
                ["ack", "keepalive", "event"].contains(&event["janus"].as_str().unwrap()),
                "{event}\n{}",
                self.process.output()
            );
        }
    }

    fn ask(&self, path: &str, body: &Value) -> Value {
        let fields = [("Host", "localhost"), ("Content-Type", "application/json")];
        let answer = HttpAnswer::ask(self.address, "POST", path, &fields, &body.to_string());
        serde_json::from_str(&answer.body).unwrap_or_else(|error| panic!("{error}: {answer:?}"))
    }
}

/// Of a browser that will never come.
const OFFER: &str = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n\
    m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=sendrecv\r\na=rtcp-mux\r\n\
    a=ice-ufrag:abcd\r\na=ice-pwd:abcdefghijklmnopqrstuvwx\r\n\
    a=fingerprint:sha-256 00:01:02:03:04:05:06:07:08:09:0A:0B:0C:0D:0E:0F:10:11:12:13:14:15:16:17:18:19:1A:1B:1C:1D:1E:1F\r\n\
    a=setup:actpass\r\na=rtpmap:111 opus/48000/2\r\n";
const HOST: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
const OTHER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2));
const DEADLINE: Duration = Duration::from_secs(20);
