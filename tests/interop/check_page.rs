//! The self-test page in headless Chromium: against a server that works, and against four that do not.

use std::env;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use fantoccini::wd::TimeoutConfiguration;
use serde_json::{Value, json};
use tempfile::TempDir;
use turnbuckle_tests::{
    Alone, ApiKey, Authority, Deadline, Process, Requirement, Server, free_port,
};

use crate::chromium::{BROWSER, Browser, CERTUTIL, home_that_trusts};

#[tokio::test]
async fn everything_works_on_a_desk() {
    let Some(site) = Site::start() else { return };
    let browser = site.browser(Some(site.home.path()), None, "light").await;
    // As its user: an API key, then the button.
    let seen = site.check_with_key(&browser).await;
    let picture = browser.client.screenshot().await;
    let violations = run(&browser, LOOK).await;
    browser.close().await;
    keep("good-light", picture);
    let seen = seen.unwrap();
    let (name, port, tls) = (NAME, site.server.port(), site.server.port_for(TLS_PORT));
    for (uri, family) in [
        // The one way that browsers take over both families by themselves.
        (format!("turn:{name}:{port}?transport=udp"), "IPv4 and IPv6"),
        (format!("turn:{name}:{port}?transport=tcp"), "IPv"),
        (format!("turns:{name}:{tls}?transport=tcp"), "IPv"),
    ] {
        let one = &seen["results"][&uri];
        assert_eq!(one["verdict"], "ok", "{seen:#}");
        let text = one["text"].as_str().unwrap();
        for part in [
            "It works",
            "relayed address after",
            family,
            "round trip",
            "bit/s",
        ] {
            assert!(text.contains(part), "{part} in {seen:#}");
        }
        assert_eq!(one["plots"], 1, "{seen:#}");
    }
    assert_eq!(seen["summary"], "All 3 ways work.");
    let violations = violations.unwrap();
    assert_eq!(violations["foreign"], json!([]), "{violations:#}");
    assert_eq!(violations["overflow"], false, "{violations:#}");
    let log = site.server.stop();
    assert!(
        log.contains("credential for user \"check\" given to API key \"page\""),
        "{log}"
    );
}

#[tokio::test]
async fn what_is_broken_is_named_on_a_phone() {
    let Some(site) = Site::start() else { return };
    if !Requirement::all_met(&[Requirement::Program("turnserver")]) {
        return;
    }
    let closed = {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.local_addr().unwrap().port()
    };
    let denying = Denying::start();
    // It does not trust the authority: to this browser the certificate is a bad one.
    let browser = site.browser(None, Some((360, 740)), "dark").await;
    let good = site.server.credentials("alice");
    let (name, port, tls) = (NAME, site.server.port(), site.server.port_for(TLS_PORT));
    let cases = [
        (
            "auth",
            "401",
            pasted(
                &[format!("turn:{name}:{port}?transport=udp")],
                &good.username,
                "wrong",
            ),
        ),
        (
            "closed",
            "No TCP connection",
            pasted(
                &[format!("turn:{name}:{closed}?transport=tcp")],
                &good.username,
                &good.password,
            ),
        ),
        (
            "tls",
            "certificate",
            pasted(
                &[format!("turns:{name}:{tls}?transport=tcp")],
                &good.username,
                &good.password,
            ),
        ),
        (
            "denied",
            "nothing goes through it",
            pasted(
                &[format!("turn:{name}:{}?transport=udp", denying.port)],
                "alice",
                "secret",
            ),
        ),
        (
            "name",
            "DNS",
            pasted(
                &[format!("turn:nowhere.invalid:{port}?transport=udp")],
                &good.username,
                &good.password,
            ),
        ),
    ];
    let mut seen = Vec::new();
    for (verdict, part, text) in &cases {
        let outcome = site.check_with_paste(&browser, text).await;
        let look = run(&browser, LOOK).await;
        let picture = browser.client.screenshot().await;
        keep(&format!("{verdict}-dark"), picture);
        seen.push((verdict, part, outcome, look));
    }
    browser.close().await;
    for (verdict, part, outcome, look) in seen {
        let outcome = outcome.unwrap();
        let results = outcome["results"].as_object().unwrap();
        let one = results.values().next().unwrap();
        assert_eq!(one["verdict"], **verdict, "{outcome:#}");
        assert!(one["text"].as_str().unwrap().contains(*part), "{outcome:#}");
        assert!(
            outcome["summary"]
                .as_str()
                .unwrap()
                .starts_with("No way works"),
            "{outcome:#}"
        );
        assert_eq!(look.unwrap()["overflow"], false, "{verdict}");
    }
    site.server.stop();
}

/// What people paste, and what they mistype.
#[tokio::test]
async fn what_is_no_credential_is_said() {
    let Some(site) = Site::start() else { return };
    let browser = site.browser(None, None, "light").await;
    let mut seen = Vec::new();
    for (text, part) in [
        ("{", "no JSON"),
        ("{}", "no `turn:`"),
        (
            r#"{"uris":["stun:a"],"username":"a","password":"b"}"#,
            "no `turn:`",
        ),
        (r#"{"urls":"turn:a"}"#, "no `username`"),
    ] {
        seen.push((site.paste(&browser, text).await, part));
    }
    let refused = site.ask(&browser, "0000").await;
    browser.close().await;
    for (trouble, part) in seen {
        let trouble = trouble.unwrap();
        assert!(trouble.as_str().unwrap().contains(part), "{trouble}");
    }
    assert_eq!(
        refused.unwrap(),
        "The server gives no credentials: this API key is not known."
    );
    site.server.stop();
}

/// A server with everything on, and its page.
struct Site {
    server: Server,
    key: String,
    /// Of a browser that trusts the authority of the server's certificate.
    home: TempDir,
    _alone: Alone,
    _authority: Authority,
}

impl Site {
    /// `None` where the tools are missing.
    fn start() -> Option<Self> {
        if !Requirement::all_met(&[BROWSER[0], BROWSER[1], CERTUTIL]) {
            return None;
        }
        let alone = Alone::wait();
        let authority = Authority::new();
        let home = home_that_trusts(&authority);
        let files = authority.write("turn", &authority.issue(&[NAME]));
        let api_key = ApiKey::new("page");
        let server = Server::builder(&format!(
            "realm={NAME}\nstatic-auth-secret=north-secret-of-the-test-0123\nallocation-default-address-family=keep\n{}\n{}\n",
            files.config(),
            api_key.line
        ))
        .listen(&[Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()])
        .port_for(TLS_PORT)
        .port_for("rest-listener")
        .start();
        Some(Self {
            key: api_key.key,
            server,
            home,
            _alone: alone,
            _authority: authority,
        })
    }

    async fn browser(
        &self,
        home: Option<&Path>,
        screen: Option<(u32, u32)>,
        scheme: &str,
    ) -> Browser {
        let arguments = [format!(
            "--blink-settings=preferredColorScheme={}",
            u8::from(scheme == "light")
        )];
        let browser = Browser::start(home, &arguments, screen).await;
        let patience = Some(Duration::from_secs(60));
        let timeouts = TimeoutConfiguration::new(patience, None, None);
        browser.client.update_timeouts(timeouts).await.unwrap();
        browser
    }

    async fn open(&self, browser: &Browser) -> Result<(), String> {
        let url = format!(
            "http://localhost:{}/check",
            self.server.port_for("rest-listener")
        );
        browser
            .client
            .goto(&url)
            .await
            .map_err(|error| error.to_string())
    }

    async fn check_with_key(&self, browser: &Browser) -> Result<Value, String> {
        self.open(browser).await?;
        let trouble = run_with(browser, ASK, vec![self.key.clone().into()]).await?;
        assert_eq!(trouble, "");
        run(browser, CHECK).await
    }

    async fn check_with_paste(&self, browser: &Browser, text: &str) -> Result<Value, String> {
        let trouble = self.paste(browser, text).await?;
        assert_eq!(trouble, "");
        run(browser, CHECK).await
    }

    /// What the page says is wrong with it.
    async fn paste(&self, browser: &Browser, text: &str) -> Result<Value, String> {
        self.open(browser).await?;
        run_with(browser, PASTE, vec![text.into()]).await
    }

    async fn ask(&self, browser: &Browser, key: &str) -> Result<Value, String> {
        self.open(browser).await?;
        run_with(browser, ASK, vec![key.into()]).await
    }
}

/// coturn, which lets nobody reach it as a peer; Turnbuckle always permits its own relayed addresses.
struct Denying {
    port: u16,
    _process: Process,
    _directory: TempDir,
}

impl Denying {
    fn start() -> Self {
        let directory = TempDir::with_prefix("turnbuckle-denying-").unwrap();
        let port = free_port(&[IpAddr::V4(Ipv4Addr::LOCALHOST)]);
        let path = directory.path().join("turnserver.conf");
        let text = format!(
            "listening-ip=127.0.0.1\nrelay-ip=127.0.0.1\nlistening-port={port}\nlt-cred-mech\nuser=alice:secret\nrealm=denying.example\n\
             denied-peer-ip=127.0.0.0-127.255.255.255\nno-tls\nno-dtls\nno-cli\nlog-file=stdout\nsimple-log\n\
             pidfile={0}/pid\nuserdb={0}/db\n",
            directory.path().display()
        );
        fs::write(&path, text).unwrap();
        let process = Process::start(Command::new("turnserver").arg("-c").arg(&path));
        // Its log does not say when it is ready.
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_millis(50)))
            .unwrap();
        let deadline = Deadline::after(Duration::from_secs(10));
        loop {
            let _ = socket.send_to(&BINDING, (Ipv4Addr::LOCALHOST, port));
            if socket.recv(&mut [0; 512]).is_ok() {
                break;
            }
            assert!(
                deadline.left().is_some(),
                "coturn does not start:\n{}",
                process.output()
            );
        }
        Self {
            port,
            _process: process,
            _directory: directory,
        }
    }
}

fn pasted(uris: &[String], username: &str, password: &str) -> String {
    json!({ "uris": uris, "username": username, "password": password, "ttl": 600 }).to_string()
}

async fn run(browser: &Browser, script: &str) -> Result<Value, String> {
    run_with(browser, script, Vec::new()).await
}

async fn run_with(browser: &Browser, script: &str, arguments: Vec<Value>) -> Result<Value, String> {
    let outcome = browser.client.execute_async(script, arguments).await;
    outcome.map_err(|error| error.to_string())
}

/// Screenshots are kept where the environment says.
fn keep(name: &str, picture: Result<Vec<u8>, fantoccini::error::CmdError>) {
    if let (Some(directory), Ok(picture)) = (env::var_os("TURNBUCKLE_SCREENSHOTS"), picture) {
        fs::write(
            Path::new(&directory).join(format!("check-{name}.png")),
            picture,
        )
        .unwrap();
    }
}

/// Fills in the form as a person does, and waits for what the page says.
const ASK: &str = r#"
const [key, done] = arguments;
document.getElementById("key").value = key;
document.querySelector('#ask button').click();
const wait = () => {
  const trouble = document.getElementById("trouble");
  if (!trouble.hidden) return done(trouble.textContent);
  if (!document.getElementById("run").disabled) return done("");
  setTimeout(wait, 20);
};
wait();
"#;
const PASTE: &str = r#"
const [text, done] = arguments;
document.querySelector("details").open = true;
document.getElementById("pasted").value = text;
document.querySelector('#use button').click();
const trouble = document.getElementById("trouble");
done(trouble.hidden ? "" : trouble.textContent);
"#;
const CHECK: &str = r#"
const done = arguments[0];
window.violations = [];
document.addEventListener("securitypolicyviolation", (event) => violations.push(event.violatedDirective));
document.getElementById("run").click();
const wait = () => {
  if (document.body.dataset.state !== "done") return setTimeout(wait, 20);
  const results = {};
  for (const item of document.querySelectorAll('#results [data-uri]')) {
    results[item.dataset.uri] = {
      verdict: item.dataset.verdict,
      text: item.innerText,
      plots: item.querySelectorAll("polyline[points]").length,
    };
  }
  done({ results, summary: document.getElementById("summary").textContent, violations });
};
wait();
"#;
const LOOK: &str = r#"
const done = arguments[0];
done({
  foreign: performance.getEntriesByType("resource").map((entry) => entry.name).filter((name) => !name.startsWith(location.origin) && !name.startsWith("data:")),
  overflow: document.documentElement.scrollWidth > document.documentElement.clientWidth,
});
"#;
/// Browsers know by themselves that names below `localhost` are this host.
const NAME: &str = "turn.localhost";
/// A STUN Binding request.
const BINDING: [u8; 20] = [
    0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12,
];
const TLS_PORT: &str = "tls-listening-port";
