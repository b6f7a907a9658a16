//! Consumers with a credential that does not change, and Galène.

use turnbuckle_config::Transport;

use super::Snippet;
use super::description::Description;
use super::quote::{lua, yaml, yaml_list};
use crate::failure::Failure;

/// `configuration.yaml` of Home Assistant.
pub(super) fn home_assistant(server: &Description) -> Result<Snippet, Failure> {
    let (username, password, made) = server.account("home-assistant")?;
    let snippet = Snippet::new(format!(
        "\
# Into configuration.yaml. Then restart Home Assistant.
web_rtc:
  ice_servers:
    - url:
{}      username: {}
      credential: {}
",
        yaml_list(&server.urls(), 8),
        yaml(&username),
        yaml(password.expose()),
    ));
    Ok(if made { snippet.note(LASTING) } else { snippet })
}

/// `janus.jcfg`.
pub(super) fn janus(server: &Description) -> Result<Snippet, Failure> {
    let (username, password, made) = server.account("janus")?;
    // It has room for one, and UDP is the likeliest to work well.
    let Some(endpoint) = server.endpoints.first() else {
        return Err(Failure::new("there is no listener to tell of"));
    };
    let kind = endpoint.transport.as_str();
    let by_rest = server.rest_url.as_ref().map_or_else(String::new, |url| {
        format!(
            "    # Or have it ask the credential endpoint, with a key of its own (`turnctl api-key janus`), in place of all of these:\n    \
             #turn_rest_api = {}\n    #turn_rest_api_key = \"KEY\"\n    #turn_rest_api_method = \"GET\"\n",
            lua(url)
        )
    });
    let snippet = Snippet::new(format!(
        "\
# Into janus.jcfg, into the `nat:` that is there. Then restart Janus. It is for gateways that are behind a NAT themselves: browsers
# are given TURN servers by the page.
nat: {{
    turn_server = {}
    turn_port = {}
    turn_type = \"{kind}\"
    turn_user = {}
    turn_pwd = {}
{by_rest}}}
",
        lua(&endpoint.host.bare()),
        endpoint.port,
        lua(&username),
        lua(password.expose()),
    ));
    let snippet = if made { snippet.note(LASTING) } else { snippet };
    Ok(match endpoint.transport {
        Transport::Udp => snippet,
        _ => snippet.note(format!(
            "Janus takes one server, and the first that there is goes over {kind}"
        )),
    })
}

/// `data/ice-servers.json` of Galène.
pub(super) fn galene(server: &Description) -> Result<Snippet, Failure> {
    let secret = yaml(server.secret()?.expose());
    let urls: Vec<String> = server
        .urls()
        .iter()
        .map(|url| format!("            {}", yaml(url)))
        .collect();
    Ok(Snippet::new(format!(
        "\
[
    {{
        \"urls\": [
{}
        ],
        \"username\": \"galene\",
        \"credential\": {secret},
        \"credentialType\": \"hmac-sha1\"
    }}
]
",
        urls.join(",\n")
    ))
    .note(
        "this is data/ice-servers.json of Galène, readable for Galène alone; then restart Galène",
    ))
}

const LASTING: &str = "there is no static account in the configuration, so this is a time-limited credential that lasts for \
                       years; `--ttl` makes it shorter, and a new secret makes it worthless";
