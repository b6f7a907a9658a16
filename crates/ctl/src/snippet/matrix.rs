//! Matrix homeservers, and Element Web.

use super::Snippet;
use super::description::Description;
use super::quote::{time, toml, toml_list, yaml, yaml_list};
use crate::failure::Failure;

/// `homeserver.yaml`.
pub(super) fn synapse(server: &Description) -> Result<Snippet, Failure> {
    let secret = yaml(server.secret()?.expose());
    let path = yaml(&server.secret_path("/etc/matrix-synapse/turn_shared_secret"));
    Ok(Snippet::new(format!(
        "\
# Into homeserver.yaml, or a file of its own in /etc/matrix-synapse/conf.d/. Then restart Synapse
# (systemctl restart matrix-synapse); clients notice within the lifetime below, or when they are reloaded.
turn_uris:
{}turn_shared_secret: {secret}
# The secret in a file of its own instead, for Synapse 1.116 and later; it must not stand in both places:
#turn_shared_secret_path: {path}
turn_user_lifetime: {}
# Guests have no account here; most servers have none.
turn_allow_guests: false
",
        yaml_list(&server.urls(), 2),
        time(server.ttl()),
    )))
}

/// `dendrite.yaml`.
pub(super) fn dendrite(server: &Description) -> Result<Snippet, Failure> {
    let secret = yaml(server.secret()?.expose());
    Ok(Snippet::new(format!(
        "\
# Into dendrite.yaml, below the `client_api:` that is there. Then restart Dendrite.
client_api:
  turn:
    turn_user_lifetime: {}
    turn_uris:
{}    turn_shared_secret: {secret}
    turn_username: \"\"
    turn_password: \"\"
",
        yaml(&time(server.ttl())),
        yaml_list(&server.urls(), 6),
    )))
}

/// `tuwunel.toml`, and that of other servers of its line.
pub(super) fn tuwunel(server: &Description) -> Result<Snippet, Failure> {
    let secret = toml(server.secret()?.expose());
    let path = toml(&server.secret_path("/etc/tuwunel/turn_secret"));
    Ok(Snippet::new(format!(
        "\
# Into tuwunel.toml, below the `[global]` that is there. Then restart tuwunel.
[global]
turn_uris = {}
turn_secret = {secret}
# The secret in a file of its own instead, which wins over the line above:
#turn_secret_file = {path}
# Seconds that a credential is good for.
turn_ttl = {}
",
        toml_list(&server.urls()),
        server.ttl(),
    )))
}

/// `conduit.toml`.
pub(super) fn conduit(server: &Description) -> Result<Snippet, Failure> {
    let secret = toml(server.secret()?.expose());
    Ok(Snippet::new(format!(
        "\
# Into conduit.toml. Then restart Conduit.
[global.turn]
uris = {}
secret = {secret}
",
        toml_list(&server.urls()),
    )))
}

/// `config.json` of Element Web.
pub(super) fn element_web() -> Snippet {
    let text = "{\n  \"setting_defaults\": {\n    \"webRtcForceTURN\": true\n  }\n}\n";
    Snippet::new(text.to_owned())
        .note("this goes into Element Web's config.json, beside what is there; nothing needs a restart, users reload the page")
        .note("it makes calls between two users go through the relay unless a user allows direct ones in the settings")
}
