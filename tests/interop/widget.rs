//! The self-test page as a Matrix widget (MSC3846), in a client whose half of the protocol is `matrix-widget-api`.

use std::path::Path;
use std::time::Duration;

use fantoccini::Locator;
use fantoccini::wd::TimeoutConfiguration;
use serde_json::{Value, json};
use turnbuckle_tests::{Alone, ApiKey, Credentials, Requirement, Server, bundle};

use crate::chromium::{BROWSER, Browser, serve};

#[tokio::test]
async fn a_client_gives_its_turn_servers_to_the_page() {
    if !Requirement::all_met(&[BROWSER[0], BROWSER[1], Requirement::NodeModules]) {
        return;
    }
    let _alone = Alone::wait();
    let entry = Path::new(env!("CARGO_MANIFEST_DIR")).join("interop/widget/host.js");
    let host = serve(format!(
        "<!doctype html><meta charset=utf-8><title>client</title><body><script>{}</script>",
        bundle(&entry, "host").replace("</script", "<\\/script")
    ));
    let server = Server::builder(&format!(
        "realm=turn.localhost\nstatic-auth-secret=north-secret-of-the-test-0123\n{}\nrest-allow-origin=http://{host}\n",
        ApiKey::new("page").line
    ))
    .port_for("rest-listener")
    .start();
    let browser = Browser::start(None, &[], None).await;
    let seen = talk(&browser, &server, &format!("http://{host}/")).await;
    browser.close().await;
    let seen = seen.unwrap_or_else(|error| panic!("{error}"));

    let good = &seen["good"];
    assert_eq!(good["summary"], "All 2 ways work.", "{seen:#}");
    assert_eq!(good["renewals"], "1", "{seen:#}");
    assert_eq!(good["form"], false, "{seen:#}");
    let requested = seen["requested"].as_array().unwrap();
    for capability in ["town.robin.msc3846.turn_servers", "m.turn_servers"] {
        assert!(requested.contains(&capability.into()), "{seen:#}");
    }
    assert_eq!(seen["unwatched"], true, "{seen:#}");
    for (scenario, part) in [
        ("forbidden", "(Missing capability"),
        ("none", "(TURN servers not available"),
        ("empty", "knows of no TURN server at present"),
    ] {
        let trouble = seen[scenario]["trouble"].as_str().unwrap();
        assert!(trouble.contains(part), "{scenario}: {seen:#}");
    }
    // The way that was tried when the credentials were renewed went on with the old ones, the next took the new.
    let log = server.stop();
    for user in ["first", "second"] {
        assert!(log.contains(&format!("user=\"{user}\"")), "{user}: {log}");
    }
}

async fn talk(browser: &Browser, server: &Server, host: &str) -> Result<Value, String> {
    let told = |error: fantoccini::error::CmdError| error.to_string();
    let client = &browser.client;
    let timeouts = TimeoutConfiguration::new(Some(Duration::from_secs(40)), None, None);
    client.update_timeouts(timeouts).await.map_err(told)?;
    client.goto(host).await.map_err(told)?;
    let page = format!(
        "http://localhost:{}/check",
        server.port_for("rest-listener")
    );
    let uris = ["udp", "tcp"]
        .map(|carrier| format!("turn:127.0.0.1:{}?transport={carrier}", server.port()));
    let offer = |credentials: Credentials, uris: &[String]| json!({ "uris": uris, "username": credentials.username, "password": credentials.password });
    let servers = json!([
        offer(server.credentials("first"), &uris),
        offer(server.credentials("second"), &uris)
    ]);
    let mut seen = json!({});

    let open = |scenario: &str, servers: &Value| {
        let arguments = vec![page.clone().into(), scenario.into(), servers.clone()];
        client.execute("host.open(...arguments)", arguments)
    };
    open("good", &servers).await.map_err(told)?;
    enter(browser).await?;
    run(browser, FLOWING).await?;
    client.clone().enter_parent_frame().await.map_err(told)?;
    client
        .execute("host.renew()", Vec::new())
        .await
        .map_err(told)?;
    enter(browser).await?;
    seen["good"] = run(browser, DONE).await?;
    client.clone().enter_parent_frame().await.map_err(told)?;
    seen["requested"] = client
        .execute("return host.requested()", Vec::new())
        .await
        .map_err(told)?;
    seen["unwatched"] = run(browser, "host.leave().then(arguments[0])").await?;

    let empty = json!([offer(Credentials::new("a", "b"), &[])]);
    for (scenario, servers) in [
        ("forbidden", &servers),
        ("none", &servers),
        ("empty", &empty),
    ] {
        open(scenario, servers).await.map_err(told)?;
        enter(browser).await?;
        seen[scenario] = run(browser, TROUBLE).await?;
        client.clone().enter_parent_frame().await.map_err(told)?;
    }
    Ok(seen)
}

async fn enter(browser: &Browser) -> Result<(), String> {
    let frame = browser.client.find(Locator::Css("iframe")).await;
    let frame = frame.map_err(|error| error.to_string())?;
    frame.enter_frame().await.map_err(|error| error.to_string())
}

async fn run(browser: &Browser, script: &str) -> Result<Value, String> {
    let outcome = browser.client.execute_async(script, Vec::new()).await;
    outcome.map_err(|error| error.to_string())
}

/// Data goes through the first way.
const FLOWING: &str = r#"
const done = arguments[0];
const wait = () => document.querySelector("polyline[points]") ? done(true) : setTimeout(wait, 10);
wait();
"#;
const DONE: &str = r#"
const done = arguments[0];
const wait = () => {
  if (document.body.dataset.state !== "done") return setTimeout(wait, 20);
  done({
    summary: document.getElementById("summary").textContent,
    renewals: document.body.dataset.renewals,
    form: !document.getElementById("credentials").hidden,
    results: document.getElementById("results").innerText,
  });
};
wait();
"#;
const TROUBLE: &str = r#"
const done = arguments[0];
const wait = () => {
  const trouble = document.getElementById("trouble");
  if (!trouble || trouble.hidden) return setTimeout(wait, 20);
  done({ trouble: trouble.textContent, state: document.body.dataset.state });
};
wait();
"#;
