//! The dashboard in headless Chromium: on a desk and on a phone, light and dark, before and after the server is gone.

use std::env;
use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;

use fantoccini::wd::TimeoutConfiguration;
use serde_json::{Value, json};
use turnbuckle_tests::{Alone, Authority, Requirement, Server};

use crate::chromium::{BROWSER, Browser};

#[tokio::test]
async fn the_dashboard_draws_on_a_desk_in_the_light() {
    draws("desk", None, "light").await;
}

#[tokio::test]
async fn the_dashboard_draws_on_a_phone_in_the_dark() {
    draws("phone", Some((360, 740)), "dark").await;
}

async fn draws(name: &str, screen: Option<(u32, u32)>, scheme: &str) {
    if !Requirement::all_met(&BROWSER) {
        return;
    }
    let _alone = Alone::wait();
    let authority = Authority::new();
    let files = authority.write("pair", &authority.issue(&["turn.example.org"]));
    let config = format!(
        "no-auth\nprometheus\nmin-port=50000\nmax-port=50099\n{}",
        files.config()
    );
    let server = Server::builder(&config)
        .port_for("prometheus-port")
        .port_for("tls-listening-port")
        .start();
    let dark = format!(
        "--blink-settings=preferredColorScheme={}",
        u8::from(scheme == "light")
    );
    let browser = Browser::start(None, &[dark], screen).await;
    let port = server.port_for("prometheus-port");
    let client = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    client
        .send_to(b"neither STUN nor data", server.address())
        .unwrap();
    let seen = look(&browser, port).await;
    let picture = browser.client.screenshot().await;
    // A page whose server is gone says so.
    server.stop();
    let after = run(&browser, GONE).await;
    // Before anything can fail: a browser whose driver is gone would stay.
    browser.close().await;
    let seen = seen.unwrap_or_else(|error| panic!("the page is not drawn: {error}"));
    if let Some(directory) = env::var_os("TURNBUCKLE_SCREENSHOTS") {
        let path = Path::new(&directory).join(format!("dashboard-{name}-{scheme}.png"));
        fs::write(path, picture.unwrap()).unwrap();
    }

    let text = |id: &str| seen["texts"][id].as_str().unwrap().to_owned();
    assert!(text("state").starts_with("ready, "), "{seen:#}");
    assert_eq!(
        (text("sessions"), text("users")),
        ("0".to_owned(), "0".to_owned())
    );
    for id in ["rate-up", "rate-down"] {
        assert_eq!(text(id), "0 bit/s", "{seen:#}");
    }
    assert!(
        text("cpu").ends_with('%') && text("memory").ends_with("MiB resident"),
        "{seen:#}"
    );
    assert!(
        text("checks").contains("relay-ports:ipv4: 100 of 100 free"),
        "{seen:#}"
    );
    assert!(text("drops").contains("malformed"), "{seen:#}");
    assert!(
        text("certificates").contains("turn.example.org"),
        "{seen:#}"
    );
    assert!(text("listeners").contains("udp 127.0.0.1:"), "{seen:#}");
    assert_eq!(seen["lines"], 2, "{seen:#}");
    assert_eq!(seen["foreign"], json!([]), "{seen:#}");
    assert_eq!(seen["violations"], json!([]), "{seen:#}");
    assert_eq!(seen["overflow"], false, "{seen:#}");
    assert_eq!(seen["dark"], scheme == "dark", "{seen:#}");
    // Ink on paper, the right way round.
    let [paper, ink] = [&seen["paper"], &seen["ink"]].map(|light| light.as_f64().unwrap());
    assert!(
        (paper < 64.0 && ink > 200.0) == (scheme == "dark"),
        "{seen:#}"
    );
    assert!(
        (paper > 200.0 && ink < 64.0) == (scheme == "light"),
        "{seen:#}"
    );
    let after = after.expect("the page goes on");
    assert!(
        after.as_str().unwrap().starts_with("The figures are old: "),
        "{after}"
    );
}

async fn look(browser: &Browser, port: u16) -> Result<Value, String> {
    let told = |error: fantoccini::error::CmdError| error.to_string();
    let url = format!("http://localhost:{port}/");
    browser.client.goto(&url).await.map_err(told)?;
    run(browser, LOOK).await
}

async fn run(browser: &Browser, script: &str) -> Result<Value, String> {
    let told = |error: fantoccini::error::CmdError| error.to_string();
    let patience = Some(std::time::Duration::from_secs(30));
    let timeouts = TimeoutConfiguration::new(patience, None, None);
    browser
        .client
        .update_timeouts(timeouts)
        .await
        .map_err(told)?;
    browser
        .client
        .execute_async(script, Vec::new())
        .await
        .map_err(told)
}

/// Waits until rates are there, which takes two samples.
const LOOK: &str = r#"
const done = arguments[0];
const violations = [];
document.addEventListener("securitypolicyviolation", (event) => violations.push(event.violatedDirective));
const light = (text) => text.match(/[\d.]+/g).slice(0, 3).reduce((sum, part) => sum + Number(part), 0) / 3;
const ids = ["state", "sessions", "users", "rate-up", "rate-down", "cpu", "memory", "checks", "drops", "certificates", "listeners"];
const wait = () => {
  const drawn = document.getElementById("rate-up").textContent.includes("bit/s")
    && document.getElementById("drops").textContent.includes("malformed");
  if (!drawn) return setTimeout(wait, 50);
  const style = getComputedStyle(document.body);
  done({
    texts: Object.fromEntries(ids.map((id) => [id, document.getElementById(id).innerText])),
    lines: document.querySelectorAll("polyline").length,
    foreign: performance.getEntriesByType("resource").map((entry) => entry.name).filter((name) => !name.startsWith(location.origin) && !name.startsWith("data:")),
    violations,
    overflow: document.documentElement.scrollWidth > document.documentElement.clientWidth,
    dark: matchMedia("(prefers-color-scheme: dark)").matches,
    paper: light(style.backgroundColor),
    ink: light(style.color),
  });
};
wait();
"#;
const GONE: &str = r#"
const done = arguments[0];
const trouble = document.getElementById("trouble");
const wait = () => trouble.hidden ? setTimeout(wait, 50) : done(trouble.textContent);
wait();
"#;
