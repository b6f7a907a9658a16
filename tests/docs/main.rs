//! The pages hold true: their commands run, their files can be used, their links lead somewhere.
//!
//! Owns the two tables of commands, those that are run and those that are not, with the reason. A command that stands in neither is a
//! failure, and so is an entry that no page needs.

#![forbid(unsafe_code)]

mod page;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use tempfile::TempDir;
use turnbuckle_tests::{Authority, Process, Requirement, Server, turnbuckle, turnctl};

use page::{Page, root};

#[test]
fn each_command_runs_or_has_a_reason() {
    let mut used = BTreeSet::new();
    let mut unknown = Vec::new();
    for page in Page::documentation() {
        for command in page.blocks().iter().filter(is_shell).flat_map(commands) {
            match entry(&command) {
                Some((beginning, _)) => drop(used.insert(beginning)),
                None => unknown.push(format!("{}: {command}", page.path.display())),
            }
        }
    }
    assert!(
        unknown.is_empty(),
        "put each of these into RUN or NOT_RUN of {}:\n{}",
        file!(),
        unknown.join("\n")
    );
    let idle: Vec<_> = entries()
        .map(|(beginning, _)| beginning)
        .filter(|beginning| !used.contains(beginning))
        .collect();
    assert!(idle.is_empty(), "no page has such commands: {idle:?}");
}

#[test]
fn commands_do_what_they_say() {
    if !Requirement::all_met(&[Requirement::Program("openssl")]) {
        return;
    }
    let files = Files::new();
    for page in Page::documentation() {
        for block in page.blocks().iter().filter(is_shell) {
            let runs: Vec<_> = block
                .commands()
                .into_iter()
                .filter_map(|command| match entry(&command)?.1 {
                    Kind::Run(needs) => Some((command, needs)),
                    Kind::NotRun => None,
                })
                .collect();
            let server = runs
                .iter()
                .any(|(_, needs)| *needs == Needs::Server)
                .then(|| Server::start(CONFIG));
            let directory = files.copy();
            for (command, _) in runs {
                run(&page, &command, directory.path(), server.as_ref());
            }
        }
    }
}

#[test]
fn files_shown_are_good() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut count = 0;
    for page in Page::documentation() {
        for block in page.blocks() {
            let name = match &*block.language {
                "conf" => "turnserver.conf",
                "toml" => "turnbuckle.toml",
                _ => continue,
            };
            count += 1;
            let path = directory.path().join(name);
            fs::write(&path, &block.text).expect("it can be written");
            let output = turnctl_with(&["config", "check", &path.to_string_lossy()]);
            assert_eq!(
                output.status.code(),
                Some(0),
                "{} has\n{}\n{}",
                page.path.display(),
                block.text,
                String::from_utf8_lossy(&output.stdout)
            );
        }
    }
    assert!(count > 0);
}

/// Between backticks there are commands that are described and not shown: the subcommand and its options exist.
#[test]
fn commands_named_in_the_text_exist() {
    let mut help = BTreeMap::new();
    let mut count = 0;
    for page in Page::documentation() {
        for span in page.code_spans() {
            let Some(arguments) = span.strip_prefix("turnctl ") else {
                continue;
            };
            count += 1;
            let words: Vec<_> = arguments.split(' ').collect();
            let is_group = matches!(words[0], "config" | "explain") && words.len() > 1;
            let subcommand = words[..if is_group { 2 } else { 1 }].to_vec();
            let text = help.entry(subcommand.clone().join(" ")).or_insert_with(|| {
                let output = turnctl_with(&[&subcommand[..], &["--help"]].concat());
                assert!(output.status.success(), "{}: {span}", page.path.display());
                String::from_utf8_lossy(&output.stdout).into_owned()
            });
            for option in words.iter().filter(|word| word.starts_with("--")) {
                let option = option.split('=').next().unwrap_or(option);
                assert!(
                    text.contains(option),
                    "{} has `{span}`, and there is no {option}",
                    page.path.display()
                );
            }
        }
    }
    assert!(count > 0);
}

#[test]
fn links_lead_somewhere() {
    let pages = Page::all();
    let mut wrong = Vec::new();
    for page in &pages {
        for link in page.links() {
            if link.starts_with("https://") || link.starts_with("http://") {
                continue;
            }
            let (file, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let target = match file {
                "" => root().join(&page.path),
                _ => root().join(&page.path).with_file_name("").join(file),
            };
            let is_there = target.exists()
                && (anchor.is_empty()
                    || pages
                        .iter()
                        .filter(|other| is_same(&root().join(&other.path), &target))
                        .any(|other| other.anchors().iter().any(|known| known == anchor)));
            if !is_there {
                wrong.push(format!("{}: {link}", page.path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn files_named_in_the_text_exist() {
    let mut wrong = Vec::new();
    for page in Page::all() {
        for span in page.code_spans() {
            let is_path = DIRECTORIES.iter().any(|start| span.starts_with(start))
                && span
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c));
            if is_path && !root().join(&span).exists() {
                wrong.push(format!("{}: {span}", page.path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What the log and the programs say, as the first columns of `docs/troubleshoot.md` have it, stands in the code.
#[test]
fn messages_to_look_for_are_said() {
    let pages = Page::documentation();
    let page = pages
        .iter()
        .find(|page| page.path == Path::new("docs/troubleshoot.md"))
        .expect("there is such a page");
    let code = code();
    let mut count = 0;
    for span in page.code_spans_of_first_cells() {
        // A request's name is filled in, as is what the page leaves out.
        for fragment in span.split(['…', ':']).map(str::trim) {
            if !fragment.contains(' ') || fragment.ends_with("refused") {
                continue;
            }
            count += 1;
            assert!(code.contains(fragment), "nothing says `{fragment}`");
        }
    }
    assert!(count > 0);
}

#[test]
fn the_index_names_every_page() {
    let pages = Page::documentation();
    let index = pages
        .iter()
        .find(|page| page.path == Path::new("docs/README.md"))
        .expect("there is an index");
    let links: BTreeSet<_> = index.links().into_iter().collect();
    for page in &pages {
        let name = page.path.file_name().expect("it has a name");
        let name = name.to_string_lossy().into_owned();
        assert!(
            name == "README.md" || links.contains(&name),
            "docs/README.md does not name {name}"
        );
    }
}

/// What a command needs besides its files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Needs {
    Nothing,
    Server,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Run(Needs),
    NotRun,
}

/// The entry that `command` belongs to: the one with the longest beginning.
fn entry(command: &str) -> Option<(&'static str, Kind)> {
    let belongs = |beginning: &str| {
        command
            .strip_prefix(beginning)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace))
    };
    entries()
        .filter(|(beginning, _)| belongs(beginning))
        .max_by_key(|(beginning, _)| beginning.len())
}

fn entries() -> impl Iterator<Item = (&'static str, Kind)> {
    let run = RUN
        .iter()
        .map(|&(beginning, needs)| (beginning, Kind::Run(needs)));
    let not_run = NOT_RUN
        .iter()
        .map(|&(beginning, _reason)| (beginning, Kind::NotRun));
    run.chain(not_run)
}

fn is_shell(block: &&page::Block) -> bool {
    block.language == "sh"
}

fn commands(block: &page::Block) -> Vec<String> {
    block.commands()
}

fn run(page: &Page, command: &str, directory: &Path, server: Option<&Server>) {
    // What is the service's own directory on a host is that of the block here.
    let text = command
        .replace("/etc/turnbuckle/", "./")
        .replace("/etc/turnserver.conf", "./turnserver.conf");
    let site = server.map(|server| server.config_path().with_file_name(""));
    let port = server.map(|server| server.port().to_string());
    let mut process = Process::start(
        Command::new("sh")
            .args(["-e", "-c", &format!(". \"$PRELUDE\"\n{text}")])
            .current_dir(directory)
            .env("PRELUDE", root().join("tests/docs/prelude.sh"))
            .env("TURNCTL", turnctl())
            // Names of examples are asked of the DNS, which may have no answer for long.
            .env("RES_OPTIONS", "timeout:1 attempts:1")
            .env("TURNBUCKLE", turnbuckle())
            .env("SITE", site.unwrap_or_default())
            .env("PORT", port.unwrap_or_default()),
    );
    let status = process.wait(COMMAND_DEADLINE);
    assert!(
        status.success(),
        "{}: `{command}` ended with {status}:\n{}",
        page.path.display(),
        process.output()
    );
}

/// The source of all crates, in which a text that goes on in the next line is one.
fn code() -> String {
    let mut directories = vec![root().join("crates")];
    let mut code = String::new();
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).expect("it can be read") {
            let path = entry.expect("it can be listed").path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                code += &fs::read_to_string(path).expect("it can be read");
            }
        }
    }
    let pieces = code.split("\\\n").map(str::trim_start);
    pieces.collect()
}

fn turnctl_with(arguments: &[&str]) -> Output {
    Command::new(turnctl())
        .args(arguments)
        .output()
        .expect("turnctl runs")
}

fn is_same(one: &Path, other: &Path) -> bool {
    let canonical = |path: &Path| fs::canonicalize(path).ok();
    canonical(one).is_some() && canonical(one) == canonical(other)
}

/// The files that pages speak of.
struct Files {
    chain: String,
    key: String,
}

impl Files {
    fn new() -> Self {
        let authority = Authority::new();
        let pair = authority.issue(&["turn.example.org"]);
        let files = authority.write("pair", &pair);
        let read = |path: &Path| fs::read_to_string(path).expect("it was written");
        Self {
            chain: read(&files.cert),
            key: read(&files.key),
        }
    }

    /// A directory of their own for the commands of one block.
    fn copy(&self) -> TempDir {
        let directory = TempDir::with_prefix("turnbuckle-docs-").expect("a temporary directory");
        for (name, text) in [
            ("turnserver.conf", CONFIG),
            ("eturnal.yml", ETURNAL),
            ("client.json", CLIENT),
            ("fullchain.pem", &*self.chain),
            ("privkey.pem", &self.key),
        ] {
            fs::write(directory.path().join(name), text).expect("it can be written");
        }
        directory
    }
}

/// Beginnings of commands that are run.
const RUN: &[(&str, Needs)] = &[
    ("cargo run --release -- --check", Needs::Nothing),
    ("cargo run --release -p turnctl", Needs::Nothing),
    ("cat > turnserver.conf", Needs::Nothing),
    ("install -m 600 /dev/null turnserver.conf", Needs::Nothing),
    ("openssl pkey", Needs::Nothing),
    ("openssl x509", Needs::Nothing),
    ("printf", Needs::Nothing),
    ("turnctl api-key", Needs::Nothing),
    ("turnctl check", Needs::Server),
    ("turnctl config check", Needs::Nothing),
    ("turnctl config convert", Needs::Nothing),
    ("turnctl config show", Needs::Nothing),
    ("turnctl credentials", Needs::Nothing),
    ("turnctl detect-ip --stun 127.0.0.1", Needs::Server),
    ("turnctl disconnect", Needs::Server),
    ("turnctl drain", Needs::Server),
    ("turnctl explain peer", Needs::Server),
    ("turnctl explain user", Needs::Server),
    ("turnctl loglevel", Needs::Server),
    ("turnctl reload", Needs::Server),
    ("turnctl revoke", Needs::Server),
    ("turnctl revoked", Needs::Server),
    ("turnctl sessions", Needs::Server),
    ("turnctl snippet", Needs::Nothing),
    ("turnctl status", Needs::Server),
    ("turnctl top --once", Needs::Server),
    ("turnctl unrevoke", Needs::Server),
];

/// Beginnings of commands that are not, and why.
const NOT_RUN: &[(&str, &str)] = &[
    ("cargo build --release", "takes minutes"),
    (
        "cargo run --release",
        "a server that goes on; every test starts one",
    ),
    ("cargo xtask package", "tests/packages runs it"),
    ("cargo xtask test", "runs this test"),
    ("curl", "need not be there; tests/admin asks the same"),
    (
        "docker",
        "there is none; tests/packages starts what is in the image",
    ),
    ("dpkg", "tests/packages runs it on a Debian of its own"),
    ("firewall-cmd", "changes the host"),
    ("install -D", "puts files into the host"),
    (
        "install -m 640 -g turnbuckle",
        "the group is made by the package",
    ),
    ("install -m 644", "puts files into the host"),
    ("install -m 755", "puts files into the host"),
    (
        "journalctl",
        "there is no such service; tests/service reads a journal",
    ),
    (
        "printf %s \"$PASSWORD\" | turnctl matrix check",
        "there is no such homeserver; tests/interop/synapse.rs asks one",
    ),
    ("rpm", "tests/packages looks into the package"),
    ("ss", "lists ports of the host"),
    ("sysctl", "changes the host"),
    (
        "systemctl",
        "is about a service of the host; tests/packages has one",
    ),
    ("systemd-sysusers", "changes the host"),
    (
        "turnctl check turn.example.org",
        "there is no such host; tests/hosts checks one",
    ),
    (
        "turnctl detect-ip --stun stun.example.org",
        "there is no such host",
    ),
    (
        "turnctl migrate",
        "is about services of the host; tests/packages runs it",
    ),
    ("ufw", "changes the host"),
];

/// Of the running server, and what pages call `turnserver.conf`.
const CONFIG: &str = "realm=turn.example.org\n\
    static-auth-secret=a-secret-of-the-tests-that-is-long-enough\n\
    admin-socket=admin.sock\n";

const ETURNAL: &str = "eturnal:\n  \
    secret: \"a-secret-of-the-tests-that-is-long-enough\"\n  \
    listen:\n    \
    - ip: \"::\"\n      \
    port: 3478\n      \
    transport: udp\n";

const CLIENT: &str = "{\"m.homeserver\": {\"base_url\": \"https://matrix.example.org\"}}\n";

/// Where files of the repository are.
const DIRECTORIES: [&str; 8] = [
    "benches/",
    "config/",
    "crates/",
    "docs/",
    "examples/",
    "fuzz/",
    "packaging/",
    "tests/",
];

const COMMAND_DEADLINE: Duration = Duration::from_secs(20);
