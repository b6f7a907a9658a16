//! XMPP servers and meeting services that make credentials themselves.

use turnbuckle_config::{Endpoint, Transport};

use super::Snippet;
use super::description::Description;
use super::quote::{lua, time_in_words, xml, yaml};
use crate::failure::Failure;
use crate::format::quoted;

/// `prosody.cfg.lua`.
pub(super) fn prosody(server: &Description) -> Result<Snippet, Failure> {
    let secret = lua(server.secret()?.expose());
    Ok(Snippet::new(format!(
        "\
-- Into prosody.cfg.lua. Add \"external_services\" to modules_enabled, and take out \"turn_external\", which would hand out the turns:
-- entry without credentials. Then restart Prosody (systemctl restart prosody).
external_service_secret = {secret}
external_service_ttl = {}
external_services = {{
{}}}
",
        server.ttl(),
        lua_services(server, false),
    )))
}

/// Prosody as Jitsi Meet sets it up.
pub(super) fn jitsi(server: &Description) -> Result<Snippet, Failure> {
    let secret = server.secret()?.expose();
    let mut docker = vec![format!("TURN_CREDENTIALS={}", quoted(secret))];
    let of = |transport| {
        let mut of = server
            .endpoints
            .iter()
            .filter(move |endpoint| endpoint.transport == transport);
        of.next()
    };
    if let Some(plain) = of(Transport::Udp).or_else(|| of(Transport::Tcp)) {
        docker.push(format!("TURN_HOST={}", plain.host));
        docker.push(format!("TURN_PORT={}", plain.port));
        docker.push(format!("TURN_TRANSPORT={}", plain.transport));
    }
    if let Some(tls) = of(Transport::Tls) {
        docker.push(format!("TURNS_HOST={}", tls.host));
        docker.push(format!("TURNS_PORT={}", tls.port));
    }
    let docker: String = docker.iter().map(|line| format!("--   {line}\n")).collect();
    Ok(Snippet::new(format!(
        "\
-- Into /etc/prosody/conf.avail/YOUR-DOMAIN.cfg.lua, at its top, in place of what stands there under these names. \"external_services\" has
-- to be in modules_enabled of the VirtualHost. Then restart Prosody (systemctl restart prosody).
external_service_secret = {};
external_services = {{
{}}};
-- With Jitsi's containers write these into .env instead, and recreate the container of Prosody (docker compose up -d prosody):
{docker}",
        lua(secret),
        lua_services(server, true),
    )))
}

fn lua_services(server: &Description, with_ttl: bool) -> String {
    let ttl = if with_ttl {
        format!(", ttl = {}", server.ttl())
    } else {
        String::new()
    };
    let stun = server.stun().into_iter().map(|(host, port)| {
        format!(
            "    {{ type = \"stun\", transport = \"udp\", host = {}, port = {port} }},\n",
            lua(&host.bare())
        )
    });
    let turn = server.endpoints.iter().map(|endpoint| {
        format!(
            "    {{ type = \"{}\", transport = \"{}\", host = {}, port = {}, secret = true, algorithm = \"turn\"{ttl} }},\n",
            endpoint.scheme(),
            endpoint.carrier(),
            lua(&endpoint.host.bare()),
            endpoint.port,
        )
    });
    stun.chain(turn).collect()
}

/// `ejabberd.yml`.
pub(super) fn ejabberd(server: &Description) -> Result<Snippet, Failure> {
    let secret = yaml(server.secret()?.expose());
    let service = |kind: &str, transport: &str, host: &str, port: u16, restricted: bool| {
        format!(
            "      -\n        host: {}\n        port: {port}\n        type: {kind}\n        transport: {transport}\n        \
             restricted: {restricted}\n",
            yaml(host)
        )
    };
    let stun = server
        .stun()
        .into_iter()
        .map(|(host, port)| service("stun", "udp", &host.bare(), port, false));
    let turn = server.endpoints.iter().map(|endpoint| {
        service(
            endpoint.scheme(),
            endpoint.carrier(),
            &endpoint.host.bare(),
            endpoint.port,
            true,
        )
    });
    Ok(Snippet::new(format!(
        "\
# Into ejabberd.yml, below the `modules:` that is there. Then `ejabberdctl reload_config`.
modules:
  mod_stun_disco:
    secret: {secret}
    credentials_lifetime: {}
    # The relay of ejabberd itself is not offered.
    offer_local_services: false
    services:
{}",
        time_in_words(server.ttl()),
        stun.chain(turn).collect::<String>(),
    )))
}

/// The commands of Nextcloud Talk.
pub(super) fn nextcloud_talk(server: &Description) -> Result<Snippet, Failure> {
    let secret = quoted(server.secret()?.expose());
    let mut commands = String::new();
    for (host, port) in server.stun() {
        commands += &format!(
            "sudo -u www-data php occ talk:stun:add {}\n",
            quoted(&format!("{host}:{port}"))
        );
    }
    let mut done: Vec<(&'static str, String)> = Vec::new();
    for endpoint in &server.endpoints {
        let place = (
            endpoint.scheme(),
            format!("{}:{}", endpoint.host, endpoint.port),
        );
        if done.contains(&place) {
            continue;
        }
        let same = |other: &&Endpoint| {
            (other.scheme(), &other.host, other.port)
                == (endpoint.scheme(), &endpoint.host, endpoint.port)
        };
        let protocols: Vec<_> = server
            .endpoints
            .iter()
            .filter(same)
            .map(Endpoint::carrier)
            .collect();
        commands += &format!(
            "sudo -u www-data php occ talk:turn:add {} {} {} --secret={secret}\n",
            place.0,
            quoted(&place.1),
            protocols.join(",")
        );
        done.push(place);
    }
    Ok(Snippet::new(format!(
        "\
# In the directory of Nextcloud, as root. It is in force at once; `occ talk:turn:list` shows it.
# Each address that a participant's browser finds takes an allocation: `user-quota=0` on the TURN server lets large calls through.
{commands}"
    )))
}

/// `livekit.yaml`.
pub(super) fn livekit(server: &Description) -> Result<Snippet, Failure> {
    let first = server.secret()?;
    let second = server.second_secret()?;
    let secret = yaml(second.unwrap_or(first).expose());
    let ttl = server.ttl().min(LIVEKIT_TTL_MAX_S);
    let servers: String = server
        .endpoints
        .iter()
        .map(|endpoint| {
            format!(
                "    - host: {}\n      port: {}\n      protocol: {}\n      secret: {secret}\n      ttl: {ttl}\n",
                yaml(&endpoint.host.bare()),
                endpoint.port,
                endpoint.transport,
            )
        })
        .collect();
    let about_secret = match second {
        Some(_) => {
            "# This is the second static-auth-secret of the TURN server, so that it can be changed for LiveKit alone.\n"
        }
        None => {
            "# A secret for LiveKit alone can be changed alone: add a second static-auth-secret to the TURN server and run this again.\n"
        }
    };
    let (first_port, last_port) = server.relay_ports;
    let snippet = Snippet::new(format!(
        "\
# Into livekit.yaml, below the `rtc:` that is there. Then restart LiveKit.
{about_secret}rtc:
  # The TURN server relays on the ports {first_port} to {last_port}. On the same host LiveKit needs others, with
  # `port_range_start` and `port_range_end` here, or min-port and max-port there.
  turn_servers:
{servers}"
    ));
    Ok(if ttl < server.ttl() {
        snippet.note("LiveKit makes credentials for a day at most")
    } else {
        snippet
    })
}

/// `turn-stun-servers.xml` of BigBlueButton.
pub(super) fn bigbluebutton(server: &Description) -> Result<Snippet, Failure> {
    let secret = xml(server.secret()?.expose());
    let mut beans = String::new();
    let mut turn = String::new();
    let mut stun = String::new();
    for (index, (host, port)) in server.stun().into_iter().enumerate() {
        beans += &format!(
            "    <bean id=\"stun{index}\" class=\"org.bigbluebutton.web.services.turn.StunServer\">\n        \
             <constructor-arg index=\"0\" value={}/>\n    </bean>\n",
            xml(&format!("stun:{host}:{port}"))
        );
        stun += &format!("                <ref bean=\"stun{index}\"/>\n");
    }
    for (index, url) in server.urls().iter().enumerate() {
        beans += &format!(
            "    <bean id=\"turn{index}\" class=\"org.bigbluebutton.web.services.turn.TurnServer\">\n        \
             <constructor-arg index=\"0\" value={secret}/>\n        <constructor-arg index=\"1\" value={}/>\n        \
             <constructor-arg index=\"2\" value=\"{}\"/>\n    </bean>\n",
            xml(url),
            server.ttl(),
        );
        turn += &format!("                <ref bean=\"turn{index}\"/>\n");
    }
    let snippet = Snippet::new(format!(
        "\
<?xml version=\"1.0\" encoding=\"UTF-8\"?>
<!-- /etc/bigbluebutton/turn-stun-servers.xml, in place of what is there. Then `bbb-conf -restart`, with two hyphens. -->
<beans xmlns=\"http://www.springframework.org/schema/beans\"
       xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\"
       xsi:schemaLocation=\"http://www.springframework.org/schema/beans
                           http://www.springframework.org/schema/beans/spring-beans-2.5.xsd\">
{beans}    <bean id=\"stunTurnService\" class=\"org.bigbluebutton.web.services.turn.StunTurnService\">
        <property name=\"stunServers\">
            <set>
{stun}            </set>
        </property>
        <property name=\"turnServers\">
            <set>
{turn}            </set>
        </property>
    </bean>
</beans>
"
    ));
    let on_443 = server
        .endpoints
        .iter()
        .any(|endpoint| endpoint.transport == Transport::Tls && endpoint.port == 443);
    Ok(if on_443 {
        snippet
    } else {
        snippet.note("BigBlueButton asks for `turns:` on port 443, which most firewalls let through: `tls-listening-port=443`")
    })
}

/// A day; LiveKit refuses more.
const LIVEKIT_TTL_MAX_S: u64 = 86400;
