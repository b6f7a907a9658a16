//! Two pages with matrix-js-sdk, whose homeserver is Synapse as `turnctl snippet` sets it up, call each other. Its .well-known asks for
//! relayed calls, and the pages go by it.

use std::cell::Cell;
use std::path::Path;
use std::time::Duration;

use fantoccini::wd::TimeoutConfiguration;
use serde_json::{Value, json};
use turnbuckle_tests::{Alone, Requirement, bundle};

use crate::chromium::{BROWSER, Browser, serve};
use crate::synapse::{Homeserver, start_server};

#[tokio::test]
async fn a_matrix_call_goes_through_the_relay() {
    let needed = [
        BROWSER[0],
        BROWSER[1],
        Requirement::NodeModules,
        Requirement::Synapse,
    ];
    if !Requirement::all_met(&needed) {
        return;
    }
    let _alone = Alone::wait();
    let server = start_server("allocation-default-address-family=keep");
    let homeserver = Homeserver::start(&server, "");
    for user in ["alice", "bob"] {
        homeserver.register(user, "a-password-of-the-test");
    }
    let entry = Path::new(env!("CARGO_MANIFEST_DIR")).join("interop/matrix/call.js");
    let page = serve(format!(
        "<!doctype html><meta charset=utf-8><title>Matrix</title><body><script>{}</script>",
        bundle(&entry, "matrix").replace("</script", "<\\/script")
    ));
    let foreground = [
        "--disable-background-timer-throttling",
        "--disable-renderer-backgrounding",
        "--disable-backgrounding-occluded-windows",
    ]
    .map(str::to_owned);
    let browser = Browser::start(None, &foreground, None).await;
    let url = format!("http://localhost:{}/", page.port());
    let report = call(&browser, &url, &homeserver.url()).await;
    browser.close().await;
    let report = report.unwrap_or_else(|error| panic!("the call failed: {error}"));

    for side in ["alice", "bob"] {
        let start = &report[side]["start"];
        assert_eq!(start["forced"], true, "{report:#}");
        assert_eq!(start["uris"].as_array().unwrap().len(), 2, "{report:#}");
        let flow = &report[side]["flow"];
        assert_eq!(
            (&flow["local"], &flow["remote"]),
            (&json!("relay"), &json!("relay"))
        );
        assert!(flow["frames"].as_u64() > Some(0), "{report:#}");
        assert_eq!(report[side]["ended"], "user_hangup", "{report:#}");
    }
    // Both have given back what they had.
    let of = |what: &'static str, user: &str| {
        let user = format!("user=\"@{user}:matrix.test\"");
        move |line: &str| line.contains(what) && line.contains(&user)
    };
    for user in ["alice", "bob"] {
        let is_start = of("session started", user);
        let started = server.log().lines().filter(|line| is_start(line)).count();
        assert!(started > 0);
        let is_end = of("session ended: deleted by client", user);
        let ended = Cell::new(0);
        server.expect_log("the end of each session", |line| {
            ended.set(ended.get() + usize::from(is_end(line)));
            ended.get() >= started
        });
    }
    server.stop();
}

async fn call(browser: &Browser, url: &str, base: &str) -> Result<Value, String> {
    let told = |error: fantoccini::error::CmdError| error.to_string();
    let client = &browser.client;
    let timeouts = TimeoutConfiguration::new(Some(Duration::from_secs(60)), None, None);
    client.update_timeouts(timeouts).await.map_err(told)?;
    let alice = client.window().await.map_err(told)?;
    let bob = client.new_window(true).await.map_err(told)?.handle;
    let mut report = json!({ "alice": {}, "bob": {} });
    for (name, window) in [("alice", &alice), ("bob", &bob)] {
        client
            .switch_to_window(window.clone())
            .await
            .map_err(told)?;
        client.goto(url).await.map_err(told)?;
        let with = json!({ "base": base, "user": name, "password": "a-password-of-the-test" });
        report[name]["start"] = run(browser, "matrix.start(arguments[0])", with).await?;
    }
    run(browser, "Promise.resolve(matrix.wait())", Value::Null).await?;
    client.switch_to_window(alice.clone()).await.map_err(told)?;
    let other = report["bob"]["start"]["userId"].clone();
    run(browser, "matrix.place(arguments[0])", other).await?;
    for (name, window) in [("bob", &bob), ("alice", &alice)] {
        client
            .switch_to_window(window.clone())
            .await
            .map_err(told)?;
        report[name]["flow"] = run(browser, "matrix.flowing()", Value::Null).await?;
    }
    run(browser, "matrix.end()", Value::Null).await?;
    for (name, window) in [("alice", &alice), ("bob", &bob)] {
        client
            .switch_to_window(window.clone())
            .await
            .map_err(told)?;
        report[name]["ended"] = run(browser, "matrix.ended()", Value::Null).await?;
    }
    Ok(report)
}

/// The value that a promise comes to.
async fn run(browser: &Browser, expression: &str, argument: Value) -> Result<Value, String> {
    let script = format!(
        "const done = arguments[arguments.length - 1];\n\
         ({expression}).then((value) => done({{ value: value ?? null }}), (error) => done({{ error: String(error) }}));"
    );
    let outcome = browser.client.execute_async(&script, vec![argument]).await;
    let outcome = outcome.map_err(|error| format!("{expression}: {error}"))?;
    match outcome.get("error") {
        Some(error) => Err(format!("{expression}: {error}")),
        None => Ok(outcome["value"].clone()),
    }
}
