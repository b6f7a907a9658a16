//! The command line. Owns its words and what can be told wrong without reading a file; does nothing.

use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use turnbuckle_config::{Host, opaque_string};

use turnbuckle_config::Transport;

use crate::expiry::Expiry;
use crate::url::TurnUrl;

/// Admin command of the Turnbuckle TURN/STUN relay server
#[derive(Debug, Parser)]
#[command(
    name = "turnctl",
    version,
    after_help = "Exit status: 0 if it worked, 1 if it failed, 2 for wrong usage; `config check` has its own."
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Cli {
    /// Reads the process's arguments. Prints help or what is wrong with them, and ends the process, where there is cause.
    pub(crate) fn parse_or_exit() -> Self {
        let cli = Self::parse();
        if let Command::Credentials(args) = &cli.command
            && args.format == Format::Text
            && !args.urls.is_empty()
        {
            let wrong = "'--url' is not printed in the format 'text'; add '--format json', 'ice', 'matrix' or 'env'";
            Self::command()
                .error(ErrorKind::ArgumentConflict, wrong)
                .exit();
        }
        if let Command::Snippet(args) = &cli.command
            && args.consumer != Consumer::Wellknown
            && (args.force_turn || args.livekit.is_some() || args.merge.is_some())
        {
            let wrong = "'--force-turn', '--livekit' and '--merge' are for 'wellknown' alone";
            Self::command()
                .error(ErrorKind::ArgumentConflict, wrong)
                .exit();
        }
        cli
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a time-limited credential
    ///
    /// It is made from the first `static-auth-secret` of the file and is valid for every server with that secret. The
    /// server need not run.
    Credentials(CredentialsArgs),
    /// Print the password of a user
    ///
    /// That of a time-limited username is made from the secret; any other is looked up among the `user` lines.
    Password(PasswordArgs),
    /// Make a key for those who are to get credentials over HTTP
    ///
    /// Prints the key, which is kept nowhere, and the line with its hash for the configuration of the server; see `rest-listener`.
    #[command(name = "api-key")]
    ApiKey(ApiKeyArgs),
    /// Print what another program is to be told of the server, in that program's own format
    ///
    /// It goes to standard output and holds the secret; what there is to know besides goes to standard error. What the server has
    /// switched off is not told. The server need not run.
    Snippet(SnippetArgs),
    /// Try the server as a caller would
    ///
    /// Allocates over every listener and address family, sends data there and back, looks at the certificate and compares the
    /// clocks. On the host of the server it tries that host; with HOST, from anywhere, what clients reach by that name.
    ///
    /// Exit status: 0 if callers are served, 1 if something is wrong.
    Check(ProbeArgs),
    /// Try what a Matrix homeserver tells its users of TURN
    #[command(subcommand)]
    Matrix(MatrixCommand),
    /// Look at a configuration file
    ///
    /// A file whose name ends in `.toml` is read as turnbuckle.toml, one in `.yml` as that of eturnal, which can be checked and
    /// converted, any other as turnserver.conf. The server need not run.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Show the running server on one screen
    Status(LookArgs),
    /// Show version, uptime, sessions, and what the process uses
    Info(LookArgs),
    /// List live sessions, the oldest first
    Sessions(SessionsArgs),
    /// End the sessions of a user, who may start new ones at once
    Disconnect(UserArgs),
    /// Show which users, peers and networks move most data now
    ///
    /// A table that is drawn again every two seconds; `q` or Ctrl-C ends it.
    Top(TopArgs),
    /// Print the level of the log, or change it until the next reload
    #[command(name = "loglevel")]
    LogLevel(LogLevelArgs),
    /// Have the server read its configuration anew, and show what is otherwise
    ///
    /// Exit status: 0 if all of it is in force, 3 if some of it takes a restart, 1 if the file is wrong and the server goes on as
    /// before.
    Reload(SocketArgs),
    /// Take no new sessions, and end the server when those that are there have ended
    Drain(DrainArgs),
    /// Say why a peer is refused, or why a user cannot log in
    #[command(subcommand)]
    Explain(ExplainCommand),
    /// Shut a user out: sessions end, and no new ones are granted until `unrevoke`
    Revoke(UserArgs),
    /// Let a user in again
    Unrevoke(UserArgs),
    /// List the users that are shut out
    Revoked(LookArgs),
    /// Print the version of the running server
    Version(SocketArgs),
    /// Change over from coturn to this server, or back
    ///
    /// Says what there is, what stands in the way and what is to be done; changes nothing without `--apply`. Then each step is
    /// said as it is done. The new server is asked for a Binding and an allocation, and without them all is undone. coturn's
    /// file is never changed.
    Migrate(MigrateArgs),
    /// Print the public address of this host, as a STUN server sees it
    DetectIp(DetectIpArgs),
    /// Become the server, in a container
    ///
    /// With DETECT_EXTERNAL_IP, DETECT_EXTERNAL_IPV4 or DETECT_EXTERNAL_IPV6 set to `yes`, the STUN server that DETECT_STUN_SERVER
    /// names is asked for the address, which the server is told as its `external-ip`.
    Run(RunArgs),
    /// Print what teaches a shell the options of a program
    Completions(CompletionsArgs),
    /// Write the manual pages of both programs and of their configuration files
    #[command(hide = true)]
    Man(ManArgs),
}

#[derive(Debug, Subcommand)]
pub(crate) enum MatrixCommand {
    /// Ask a homeserver for its TURN server as a client does, and try each URI that it names
    ///
    /// Reads .well-known/matrix/client, logs in or uses a token, asks for the TURN server, allocates over each URI and sends data
    /// there and back. A session that was made for this is ended again.
    ///
    /// Exit status: 0 if callers are served, 1 if something is wrong.
    Check(MatrixCheckArgs),
}

#[derive(Debug, Args)]
pub(crate) struct MatrixCheckArgs {
    /// The homeserver: a URL, or the name behind the colon of its users
    pub(crate) server: String,
    /// User to log in as, whose password comes on standard input
    #[arg(
        long,
        value_name = "NAME",
        required_unless_present = "token_file",
        conflicts_with = "token_file"
    )]
    pub(crate) user: Option<String>,
    /// File with an access token, which is used and left as it is
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// Authorities to believe besides those that browsers know, in PEM
    #[arg(long, value_name = "FILE")]
    pub(crate) ca_file: Option<PathBuf>,
    /// An object for programs
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ExplainCommand {
    /// Which rule decides about a peer address, as the running server has them
    Peer(ExplainPeerArgs),
    /// Whether a user could log in now, and what was refused lately
    User(ExplainUserArgs),
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Say of each line what it was understood as, and what is wrong
    ///
    /// Exit status: 0 if the file is good, notes included; 1 if there are warnings; 2 if there are errors, with which no server
    /// would start, or if the file cannot be read.
    Check(CheckArgs),
    /// Write a turnbuckle.toml that says the same as a turnserver.conf or an eturnal.yml
    ///
    /// The old lines are kept as comments. The result holds the secrets of the file.
    Convert(ConvertArgs),
    /// Print the settings in force, with where each comes from
    Show(ShowArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ProbeArgs {
    /// The server, as clients name it [default: the listeners of this host, and what the configuration says of its names]
    pub(crate) host: Option<String>,
    /// TURN URL to try; may be given more than once
    #[arg(long = "url", value_name = "URL", value_parser = TurnUrl::parse, conflicts_with = "host")]
    pub(crate) urls: Vec<TurnUrl>,
    /// User to try, whose password comes on standard input [default: one made from the secret, or the first `user`]
    #[arg(long, value_name = "NAME", value_parser = user)]
    pub(crate) username: Option<String>,
    /// Authorities to believe besides those that browsers know, in PEM
    #[arg(long, value_name = "FILE")]
    pub(crate) ca_file: Option<PathBuf>,
    /// An object for programs
    #[arg(long)]
    pub(crate) json: bool,
    /// Socket of the server on this host, which is asked how it is unless a server is named [default: the `admin-socket` of the
    /// configuration]
    #[arg(long, value_name = "PATH", conflicts_with_all = ["host", "urls"])]
    pub(crate) socket: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) source: SourceArgs,
}

#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// The file, of this host or another
    pub(crate) file: PathBuf,
    /// An object for programs
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ConvertArgs {
    /// The file, of this host or another
    pub(crate) file: PathBuf,
    /// File to write, which must not be there yet; readable for its owner alone [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// The file [default: the one that the server finds, such as /etc/turnserver.conf]
    pub(crate) file: Option<PathBuf>,
    /// An object for programs
    #[arg(long)]
    pub(crate) json: bool,
    /// Secrets and passwords too
    #[arg(long)]
    pub(crate) secrets: bool,
}

/// How the running server is reached.
#[derive(Debug, Default, Args)]
pub(crate) struct SocketArgs {
    /// Socket of the server, its `admin-socket` [default: /run/turnbuckle/admin.sock]
    #[arg(long, value_name = "PATH")]
    pub(crate) socket: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct SessionsArgs {
    /// Sessions of this user alone; a time-limited name, or the part of it behind the expiry
    #[arg(value_parser = user)]
    pub(crate) user: Option<String>,
    /// An object for programs
    #[arg(long)]
    pub(crate) json: bool,
    /// Again every two seconds, until `q` or Ctrl-C
    #[arg(long)]
    pub(crate) watch: bool,
    /// How many are shown at most
    #[arg(long, value_name = "NUMBER", default_value_t = 256, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub(crate) limit: u16,
    #[command(flatten)]
    pub(crate) socket: SocketArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ApiKeyArgs {
    /// What the log is to call whoever holds it: letters, digits and `-_.`
    #[arg(value_parser = api_key_name)]
    pub(crate) name: String,
}

#[derive(Debug, Args)]
pub(crate) struct UserArgs {
    /// A time-limited name, the part of it behind the expiry, or the name of an account
    #[arg(value_parser = user)]
    pub(crate) user: String,
    #[command(flatten)]
    pub(crate) socket: SocketArgs,
}

/// A look at something.
#[derive(Debug, Args)]
pub(crate) struct LookArgs {
    /// An object for programs
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) socket: SocketArgs,
}

#[derive(Debug, Args)]
pub(crate) struct LogLevelArgs {
    /// The least severe level that is logged from now on
    #[arg(value_parser = ["error", "warning", "info", "debug", "trace"])]
    pub(crate) level: Option<String>,
    #[command(flatten)]
    pub(crate) socket: SocketArgs,
}

#[derive(Debug, Args)]
pub(crate) struct DrainArgs {
    /// End after this time whoever is left (a number with s, m, h or d; seconds without) [default: never]
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    pub(crate) deadline: Option<u64>,
    /// Server that new clients are sent to, with its port if it is not 3478 [default: they are refused]
    #[arg(long, value_name = "HOST")]
    pub(crate) redirect: Option<String>,
    /// Take new sessions again
    #[arg(long, conflicts_with_all = ["deadline", "redirect"])]
    pub(crate) cancel: bool,
    #[command(flatten)]
    pub(crate) socket: SocketArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ExplainPeerArgs {
    /// An IPv4 or IPv6 address
    pub(crate) address: std::net::IpAddr,
    /// An object for programs
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) socket: SocketArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ExplainUserArgs {
    /// The name as the client has it, or the part of it behind the expiry
    #[arg(value_parser = user)]
    pub(crate) user: String,
    /// Read the password of the client from standard input, and say what it fits
    #[arg(long)]
    pub(crate) password_stdin: bool,
    /// An object for programs
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) socket: SocketArgs,
}

#[derive(Debug, Args)]
pub(crate) struct TopArgs {
    /// One look, over one second
    #[arg(long)]
    pub(crate) once: bool,
    /// An object for programs; on a line of its own each time without --once
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) socket: SocketArgs,
}

#[derive(Debug, Args)]
pub(crate) struct MigrateArgs {
    /// Do what is planned; as root [default: say it and change nothing]
    #[arg(long)]
    pub(crate) apply: bool,
    /// Say what is planned and change nothing
    #[arg(long, conflicts_with = "apply")]
    pub(crate) dry_run: bool,
    /// From this server to coturn
    #[arg(long)]
    pub(crate) back: bool,
    /// coturn's file [default: the one that its service names, else /etc/turnserver.conf]
    #[arg(long, value_name = "FILE")]
    pub(crate) from: Option<PathBuf>,
    /// coturn's service
    #[arg(long, value_name = "UNIT", default_value = "coturn.service")]
    pub(crate) unit: String,
    /// Directory that the files of the host lie below
    #[arg(long, value_name = "DIR", default_value = "/", hide = true)]
    pub(crate) root: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct DetectIpArgs {
    /// The STUN server: a name or address, with a port if it is not 3478; it has to be outside of your network
    #[arg(long, value_name = "HOST")]
    pub(crate) stun: String,
    /// Ask over IPv4
    #[arg(short = '4', long)]
    pub(crate) ipv4: bool,
    /// Ask over IPv6
    #[arg(short = '6', long)]
    pub(crate) ipv6: bool,
}

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// The server's program
    #[arg(
        long,
        value_name = "FILE",
        default_value = "/usr/bin/turnbuckle",
        hide = true
    )]
    pub(crate) server: PathBuf,
    /// Arguments of the server
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) arguments: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// The shell
    pub(crate) shell: clap_complete::Shell,
    /// The program
    #[arg(value_enum, default_value_t)]
    pub(crate) program: Program,
}

#[derive(Debug, Args)]
pub(crate) struct ManArgs {
    /// Directory to write `turnbuckle.8`, `turnctl.8` with one page for each command, `turnserver.conf.5` and `turnbuckle.toml.5` to
    pub(crate) directory: PathBuf,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Program {
    /// This one
    #[default]
    Turnctl,
    /// The server
    Turnbuckle,
}

#[derive(Debug, Args)]
pub(crate) struct CredentialsArgs {
    /// How long it is valid (a number with s, m, h or d; seconds without) or until when (a time as RFC 3339 has it)
    #[arg(default_value = "1d", value_parser = Expiry::parse)]
    pub(crate) expiry: Expiry,
    /// Who it is for: comes into the username behind the expiry, and quotas go by it
    #[arg(value_parser = suffix)]
    pub(crate) suffix: Option<String>,
    /// What is printed
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) format: Format,
    /// TURN URL of the server, for json, ice, matrix and env; may be given more than once [default: from the file]
    #[arg(long = "url", visible_alias = "uris", value_name = "URL", value_delimiter = ',', value_parser = TurnUrl::parse)]
    pub(crate) urls: Vec<TurnUrl>,
    #[command(flatten)]
    pub(crate) source: SourceArgs,
}

#[derive(Debug, Args)]
pub(crate) struct SnippetArgs {
    /// The program
    #[arg(value_enum)]
    pub(crate) consumer: Consumer,
    /// Name that clients reach the server by [default: that in its certificate, else an `external-ip`, else `realm`]
    #[arg(long, value_name = "NAME", value_parser = Host::parse)]
    pub(crate) host: Option<Host>,
    /// Transports to tell of; it fails if the server lacks one of them [default: all that it has]
    #[arg(long, value_name = "TRANSPORT", value_delimiter = ',', value_parser = transport)]
    pub(crate) over: Vec<Transport>,
    /// How long a credential is valid (a number with s, m, h or d) [default: 1d, where it cannot be renewed 3650d]
    #[arg(long, value_name = "TIME", value_parser = Expiry::parse)]
    pub(crate) ttl: Option<Expiry>,
    /// Ask clients to relay every call (wellknown)
    #[arg(long)]
    pub(crate) force_turn: bool,
    /// URL of the service that gives out tokens for LiveKit (wellknown)
    #[arg(long, value_name = "URL", value_parser = https)]
    pub(crate) livekit: Option<String>,
    /// File to add to: what it holds is kept, and the whole is printed (wellknown)
    #[arg(long, value_name = "FILE")]
    pub(crate) merge: Option<PathBuf>,
    /// Write the result into the file of --merge, and keep the old one beside it as FILE.bak
    #[arg(long, requires = "merge")]
    pub(crate) write: bool,
    #[command(flatten)]
    pub(crate) source: SourceArgs,
}

/// A program that is told of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Consumer {
    /// Matrix homeserver: homeserver.yaml
    Synapse,
    /// Matrix homeserver: dendrite.yaml
    Dendrite,
    /// Matrix homeserver: tuwunel.toml
    Tuwunel,
    /// Matrix homeserver: conduit.toml
    Conduit,
    /// Matrix client: config.json, for calls through the relay alone
    ElementWeb,
    /// Matrix: .well-known/matrix/client, and what Synapse is told of it
    Wellknown,
    /// XMPP server: prosody.cfg.lua
    Prosody,
    /// XMPP server: ejabberd.yml
    Ejabberd,
    /// Meetings: Prosody of Jitsi Meet
    Jitsi,
    /// Meetings: commands for Nextcloud
    NextcloudTalk,
    /// Meetings: livekit.yaml
    Livekit,
    /// Meetings: turn-stun-servers.xml
    Bigbluebutton,
    /// configuration.yaml
    HomeAssistant,
    /// WebRTC gateway: janus.jcfg
    Janus,
    /// Meetings: ice-servers.json
    Galene,
}

fn transport(text: &str) -> Result<Transport, String> {
    let known = [Transport::Udp, Transport::Tcp, Transport::Tls];
    let found = known
        .into_iter()
        .find(|transport| transport.as_str() == text);
    found.ok_or_else(|| "write udp, tcp or tls, or several with commas".to_owned())
}

fn https(text: &str) -> Result<String, String> {
    let host = text.strip_prefix("https://").unwrap_or_default();
    let is_plain = text
        .chars()
        .all(|c| c.is_ascii_graphic() && !matches!(c, '"' | '\\'));
    if host.is_empty() || host.starts_with('/') || !is_plain {
        return Err("write `https://` and the name of the service".to_owned());
    }
    Ok(text.to_owned())
}

#[derive(Debug, Args)]
pub(crate) struct PasswordArgs {
    /// The username, time-limited or of a `user` line
    #[arg(value_parser = user)]
    pub(crate) user: String,
    #[command(flatten)]
    pub(crate) source: SourceArgs,
}

/// Where secrets and accounts come from.
#[derive(Debug, Default, Args)]
pub(crate) struct SourceArgs {
    /// Configuration file [default: the one that the server finds, such as /etc/turnserver.conf]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// File that holds nothing but the secret; without -c no configuration file is read then
    #[arg(long, value_name = "FILE")]
    pub(crate) secret_file: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Two lines, `Username: …` and `Password: …`
    #[default]
    Text,
    /// An object as the TURN REST draft has it
    Json,
    /// An RTCIceServer for a browser
    Ice,
    /// What a Matrix homeserver answers to /voip/turnServer
    Matrix,
    /// Assignments for a shell
    Env,
}

fn seconds(text: &str) -> Result<u64, String> {
    match Expiry::parse(text) {
        Ok(Expiry::After(seconds)) => Ok(seconds),
        Ok(Expiry::At(_)) => Err("it is a number with s, m, h or d".to_owned()),
        Err(wrong) => Err(wrong),
    }
}

fn suffix(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Err("it is empty; leave it out".to_owned());
    }
    user(text)
}

/// A name as clients send it: a password is made of that.
fn user(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Ok(String::new());
    }
    let name = opaque_string(text, "it", false)?;
    if name.len() > USERNAME_MAX_BYTES {
        return Err(format!("it is longer than {USERNAME_MAX_BYTES} bytes"));
    }
    Ok(name)
}

fn api_key_name(text: &str) -> Result<String, String> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if text.is_empty() || text.len() > 64 || !text.bytes().all(is_plain) {
        return Err("write 1 to 64 letters, digits and `-_.`".to_owned());
    }
    Ok(text.to_owned())
}

/// RFC 8489 §14.3: fewer than 509 bytes.
pub(crate) const USERNAME_MAX_BYTES: usize = 508;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn names_are_what_clients_send() {
        assert_eq!(suffix("alice"), Ok("alice".to_owned()));
        assert_eq!(suffix("Ju\u{308}rgen"), Ok("J\u{fc}rgen".to_owned()));
        assert_eq!(user("Ju\u{308}rgen"), user("J\u{fc}rgen"));
        for bad in ["a\tb", "a\u{200b}"] {
            assert!(suffix(bad).unwrap_err().contains("RFC 8265"), "{bad:?}");
        }
        assert!(suffix(&"n".repeat(509)).is_err());
    }
}
