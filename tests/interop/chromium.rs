//! Headless Chromium: two relay-only connections in one page with a data channel, audio and video.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use fantoccini::wd::TimeoutConfiguration;
use fantoccini::{Client, ClientBuilder};
use serde_json::{Map, Value, json};
use tempfile::TempDir;
use turnbuckle_tests::{Alone, Authority, Credentials, Process, Requirement, Server};

#[tokio::test]
async fn a_browser_calls_itself_through_the_relay() {
    call(IpAddr::V4(Ipv4Addr::LOCALHOST)).await;
}

#[tokio::test]
async fn a_browser_calls_itself_through_the_relay_over_ipv6() {
    call(IpAddr::V6(Ipv6Addr::LOCALHOST)).await;
}

async fn call(ip: IpAddr) {
    if !Requirement::all_met(&BROWSER) {
        return;
    }
    let _alone = Alone::wait();
    let server = Server::builder(CONFIG).listen(&[ip]).start();
    let way = Way {
        url: format!("turn:{}?transport=udp", server.address()),
        relay_protocol: "udp",
        home: None,
        arguments: &[],
    };
    call_by(&server, &way).await;
    server.stop();
}

/// How the browser reaches the relay.
pub(crate) struct Way<'a> {
    pub(crate) url: String,
    /// What getStats calls the transport to the relay.
    pub(crate) relay_protocol: &'a str,
    /// Home directory of the browser, for one that trusts more than others.
    pub(crate) home: Option<&'a Path>,
    pub(crate) arguments: &'a [String],
}

/// Has a browser call itself through `server`. The file allows no peer: both sides meet at relayed addresses of the server itself.
pub(crate) async fn call_by(server: &Server, way: &Way<'_>) {
    let ip = server.address().ip();
    let credentials = server.credentials("alice");
    let browser = Browser::start(way.home, way.arguments, None).await;
    let outcome = browser.call(&way.url, &credentials).await;
    // Before anything can fail: a browser whose driver is gone would stay.
    browser.close().await;
    let report = outcome.unwrap_or_else(|error| panic!("the call failed: {error}"));

    assert_eq!(report["echo"], "echo of hello", "{report:#}");
    for side in ["caller", "callee"] {
        let side = &report[side];
        for end in ["local", "remote"] {
            assert_eq!(side[end]["candidateType"], "relay", "{report:#}");
            assert_eq!(side[end]["address"], ip.to_string(), "{report:#}");
        }
        assert_eq!(
            side["local"]["relayProtocol"], way.relay_protocol,
            "{report:#}"
        );
        for kind in ["audio", "video"] {
            assert!(side["bytes"][kind].as_u64() > Some(0), "{report:#}");
        }
    }
}

/// Chromium behind ChromeDriver.
pub(crate) struct Browser {
    pub(crate) client: Client,
    _driver: Process,
    _profile: TempDir,
}

impl Browser {
    /// On a screen of this width and height in CSS pixels, if any in particular: that of a phone.
    pub(crate) async fn start(
        home: Option<&Path>,
        arguments: &[String],
        screen: Option<(u32, u32)>,
    ) -> Self {
        let profile = TempDir::with_prefix("turnbuckle-chromium-").expect("a temporary directory");
        let mut command = Command::new("chromedriver");
        command.args(["--port=0"]);
        if let Some(home) = home {
            command.env("HOME", home);
        }
        let driver = Process::start(&mut command);
        let port = driver
            .wait_for_line(DRIVER_DEADLINE, |line| port_of_driver(line).is_some())
            .and_then(|line| port_of_driver(&line))
            .unwrap_or_else(|| panic!("chromedriver has no port:\n{}", driver.output()));
        let mut all: Vec<String> = CHROMIUM_ARGUMENTS.map(str::to_owned).into();
        all.push(format!("--user-data-dir={}", profile.path().display()));
        all.extend_from_slice(arguments);
        let mut options = json!({ "args": all });
        if let Some((width, height)) = screen {
            let metrics = json!({ "width": width, "height": height, "pixelRatio": 2.0 });
            options["mobileEmulation"] = json!({ "deviceMetrics": metrics });
        }
        let mut capabilities = Map::new();
        capabilities.insert("goog:chromeOptions".to_owned(), options);
        let client = ClientBuilder::new(hyper_util::client::legacy::connect::HttpConnector::new())
            .capabilities(capabilities)
            .connect(&format!("http://127.0.0.1:{port}"))
            .await
            .unwrap_or_else(|error| panic!("no browser: {error}\n{}", driver.output()));
        Self {
            client,
            _driver: driver,
            _profile: profile,
        }
    }

    /// What the page reports of the call.
    async fn call(&self, relay: &str, credentials: &Credentials) -> Result<Value, String> {
        let page = serve(PAGE.to_owned());
        let url = format!("http://localhost:{}/", page.port());
        self.client
            .goto(&url)
            .await
            .map_err(|error| error.to_string())?;
        let timeouts = TimeoutConfiguration::new(Some(CALL_DEADLINE * 2), None, None);
        self.client
            .update_timeouts(timeouts)
            .await
            .map_err(|error| error.to_string())?;
        let ice_server = json!({
            "urls": relay,
            "username": credentials.username,
            "credential": credentials.password,
        });
        let deadline_ms = u64::try_from(CALL_DEADLINE.as_millis()).expect("a short time");
        let arguments = vec![ice_server, deadline_ms.into()];
        let outcome = self.client.execute_async(RUN_CALL, arguments).await;
        let outcome = outcome.map_err(|error| error.to_string())?;
        match outcome.get("report") {
            Some(report) => Ok(report.clone()),
            None => Err(outcome["error"].to_string()),
        }
    }

    pub(crate) async fn close(self) {
        self.client.close().await.expect("the browser closes");
    }
}

/// A home directory whose owner trusts `authority`, as far as Chromium is concerned.
pub(crate) fn home_that_trusts(authority: &Authority) -> TempDir {
    let home = TempDir::with_prefix("turnbuckle-home-").expect("a temporary directory");
    let database = home.path().join(".pki/nssdb");
    fs::create_dir_all(&database).expect("a directory can be made");
    let root = home.path().join("root.pem");
    fs::write(&root, authority.root_pem()).expect("a file can be written");
    let database = format!("sql:{}", database.display());
    let root = root.display().to_string();
    for arguments in [
        ["-N", "--empty-password"].as_slice(),
        &["-A", "-n", "test", "-t", "C,,", "-i", &root],
    ] {
        let output = Command::new("certutil")
            .args(["-d", &database])
            .args(arguments)
            .output()
            .expect("certutil runs");
        assert!(output.status.success(), "{output:?}");
    }
    home
}

/// Serves a page on a port of its own for as long as the test lives.
pub(crate) fn serve(page: String) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let address = listener
        .local_addr()
        .expect("a bound socket has an address");
    thread::spawn(move || {
        for stream in listener.incoming() {
            // A browser opens connections ahead of need and drops them again.
            let _ = stream.and_then(|stream| answer(stream, &page));
        }
    });
    address
}

fn answer(mut stream: TcpStream, page: &str) -> std::io::Result<()> {
    stream.set_read_timeout(Some(REQUEST_DEADLINE))?;
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    while !lines.next().transpose()?.unwrap_or_default().is_empty() {}
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{page}",
        page.len(),
    )
}

fn port_of_driver(line: &str) -> Option<u16> {
    line.split_once("started successfully on port ")?
        .1
        .trim_end_matches('.')
        .parse()
        .ok()
}

const PAGE: &str = include_str!("call.html");
const RUN_CALL: &str = "
    const [iceServer, withinMs, done] = arguments;
    call(iceServer, withinMs).then(report => done({ report }), error => done({ error: String(error) }));
";
const CHROMIUM_ARGUMENTS: [&str; 12] = [
    "--headless",
    // The tests may run as root, where Chromium has no sandbox.
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
    "--allow-loopback-in-peer-connection",
];
pub(crate) const CERTUTIL: Requirement = Requirement::Program("certutil");
pub(crate) const BROWSER: [Requirement; 2] = [
    Requirement::Program("chromium"),
    Requirement::Program("chromedriver"),
];
pub(crate) const CONFIG: &str = "\
realm=relay.example
use-auth-secret
static-auth-secret=interop-secret
allocation-default-address-family=keep";
const DRIVER_DEADLINE: Duration = Duration::from_secs(20);
const CALL_DEADLINE: Duration = Duration::from_secs(40);
const REQUEST_DEADLINE: Duration = Duration::from_secs(10);
