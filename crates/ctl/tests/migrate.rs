//! `turnctl migrate` on a host made of files, with a `systemctl` of our own on the search path.

use std::fs::{self, Permissions};
use std::net::UdpSocket;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tempfile::TempDir;

#[test]
fn without_apply_nothing_is_changed() {
    let host = Host::new("");
    let before = host.state();
    let text = host.succeeds(&["migrate"]);
    assert!(
        text.contains("coturn.service is running and enabled"),
        "{text}"
    );
    assert!(text.contains("stop coturn.service"), "{text}");
    assert!(text.contains("Nothing was changed"), "{text}");
    assert_eq!(host.state(), before);
    assert!(!host.drop_in().exists());
}

#[test]
fn there_again_and_back() {
    if !is_root() {
        return;
    }
    let host = Host::new("");
    let _server = Stun::answer(&host);
    let text = host.succeeds(&["migrate", "--apply"]);
    assert!(text.contains("a Binding from"), "{text}");
    assert_eq!(host.state(), AT_TURNBUCKLE);
    assert_eq!(
        host.order(),
        "daemon-reload; stop coturn.service; start turnbuckle.service; disable coturn.service; enable turnbuckle.service"
    );
    let again = host.succeeds(&["migrate", "--apply"]);
    assert!(again.contains("Nothing is left to do"), "{again}");
    assert_eq!(host.state(), AT_TURNBUCKLE);

    host.succeeds(&["migrate", "--back", "--apply"]);
    assert_eq!(host.state(), AT_COTURN);
    assert!(!host.drop_in().exists());
    let again = host.succeeds(&["migrate", "--back", "--apply"]);
    assert!(again.contains("Nothing is left to do"), "{again}");
}

#[test]
fn without_an_answer_all_is_undone() {
    if !is_root() {
        return;
    }
    let host = Host::new("");
    // Joined to one other address it has the port, and whoever else sends there is told that nobody listens.
    host.socket.connect("127.0.0.1:9").unwrap();
    let text = host.fails(&["migrate", "--apply"]);
    assert!(text.contains("no Binding from"), "{text}");
    assert!(text.contains("everything is as it was before"), "{text}");
    assert_eq!(host.state(), AT_COTURN);
    assert!(!host.drop_in().exists());
}

#[test]
fn a_service_that_does_not_start_is_undone_at_once() {
    if !is_root() {
        return;
    }
    let host = Host::new("");
    host.write("refuse", "start turnbuckle.service");
    let text = host.fails(&["migrate", "--apply"]);
    assert!(
        text.contains("`systemctl start turnbuckle.service` failed"),
        "{text}"
    );
    assert_eq!(host.state(), AT_COTURN);
    assert!(!host.drop_in().exists());
}

#[test]
fn what_cannot_be_undone_is_named() {
    if !is_root() {
        return;
    }
    let host = Host::new("");
    host.write("refuse", "start");
    let text = host.fails(&["migrate", "--apply"]);
    assert!(
        text.contains("could not be undone: systemctl start coturn.service"),
        "{text}"
    );
}

#[test]
fn files_that_the_service_cannot_read_stand_in_the_way() {
    if !is_root() {
        return;
    }
    let host = Host::new("cert=/etc/tls/cert.pem\npkey=/etc/tls/key.pem\n");
    host.write("etc/tls/cert.pem", "");
    host.write("etc/tls/key.pem", "");
    host.mode("etc/tls/key.pem", 0o600);
    let before = host.state();
    let text = host.fails(&["migrate", "--apply"]);
    assert!(
        text.contains("the user turnbuckle cannot read /etc/tls/key.pem"),
        "{text}"
    );
    assert!(
        text.contains("setfacl -m u:turnbuckle:r /etc/tls/key.pem"),
        "{text}"
    );
    assert!(text.contains("nothing was changed"), "{text}");
    assert_eq!(host.state(), before);
}

#[test]
fn a_group_that_may_read_is_lent_and_places_to_write_are_moved() {
    if !is_root() {
        return;
    }
    let host = Host::new("log-file=/var/log/turn.log\npidfile=/var/run/turn.pid\n");
    let file = host.path("etc/turnserver.conf");
    std::os::unix::fs::chown(&file, Some(0), Some(COTURN_GROUP)).unwrap();
    host.mode("etc/turnserver.conf", 0o640);
    let _server = Stun::answer(&host);
    host.succeeds(&["migrate", "--apply"]);
    let text = fs::read_to_string(host.drop_in()).unwrap();
    assert!(
        text.contains("\nSupplementaryGroups=turnserver\n"),
        "{text}"
    );
    assert!(
        text.contains(
            "\nExecStart=\nExecStart=/usr/bin/turnbuckle --log-file=/var/log/turnbuckle/turnbuckle.log --pidfile=/run/turnbuckle/turnbuckle.pid\n"
        ),
        "{text}"
    );
}

#[test]
fn a_file_with_errors_is_not_taken_over() {
    let host = Host::new("min-port=0x\n");
    let before = host.state();
    let text = host.fails(&["migrate", "--apply"]);
    assert!(text.contains("min-port"), "{text}");
    assert_eq!(host.state(), before);
}

/// Files below a directory, and services that are files too.
struct Host {
    directory: TempDir,
    /// Holds the port that coturn's file names.
    socket: UdpSocket,
}

impl Host {
    /// With coturn running and `more` in its file.
    fn new(more: &str) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let host = Self {
            directory: TempDir::new().unwrap(),
            socket,
        };
        // The user's way to the files.
        fs::set_permissions(host.directory.path(), Permissions::from_mode(0o755)).unwrap();
        host.write(
            "etc/passwd",
            "root:x:0:0::/:/bin/sh\nturnbuckle:x:64901:64901::/:/bin/false\n",
        );
        host.write(
            "etc/group",
            &format!("root:x:0:\nturnbuckle:x:64901:\nturnserver:x:{COTURN_GROUP}:\n"),
        );
        host.write(
            "etc/turnserver.conf",
            &format!(
                "listening-ip=127.0.0.1\nlistening-port={}\nuse-auth-secret\n{more}",
                address.port()
            ),
        );
        for state in ["coturn.service.active", "coturn.service.enabled"] {
            host.write(&format!("services/{state}"), "");
        }
        host.write("bin/systemctl", SYSTEMCTL);
        host.mode("bin/systemctl", 0o755);
        host
    }

    fn path(&self, path: &str) -> PathBuf {
        self.directory.path().join(path)
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn mode(&self, path: &str, mode: u32) {
        fs::set_permissions(self.path(path), Permissions::from_mode(mode)).unwrap();
    }

    fn drop_in(&self) -> PathBuf {
        self.path("etc/systemd/system/turnbuckle.service.d/migrated.conf")
    }

    /// Which services are active and enabled.
    fn state(&self) -> String {
        let mut names: Vec<String> = fs::read_dir(self.path("services"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names.join(" ")
    }

    /// What systemctl was told to do, in order.
    fn order(&self) -> String {
        let told = fs::read_to_string(self.path("told")).unwrap();
        told.lines().collect::<Vec<_>>().join("; ")
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let path = std::env::var("PATH").unwrap_or_default();
        Command::new(env!("CARGO_BIN_EXE_turnctl"))
            .args(arguments)
            .arg("--root")
            .arg(self.directory.path())
            .env("PATH", format!("{}:{path}", self.path("bin").display()))
            .env("HOST", self.directory.path())
            .output()
            .unwrap()
    }

    fn succeeds(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let text = all(&output);
        assert!(output.status.success(), "{text}");
        text
    }

    fn fails(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let text = all(&output);
        assert_eq!(output.status.code(), Some(1), "{text}");
        text
    }
}

fn all(output: &Output) -> String {
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    String::from_utf8(text).unwrap()
}

/// A server that knows Binding alone.
struct Stun {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Stun {
    fn answer(host: &Host) -> Self {
        let socket = host.socket.try_clone().unwrap();
        socket
            .set_read_timeout(Some(Duration::from_millis(20)))
            .unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut buffer = [0; 256];
            while !stopped.load(Ordering::Relaxed) {
                let Ok((_, from)) = socket.recv_from(&mut buffer) else {
                    continue;
                };
                // A success with MAPPED-ADDRESS 127.0.0.1:1 and the transaction of the request.
                let mut answer = vec![1, 1, 0, 12];
                answer.extend_from_slice(&buffer[4..20]);
                answer.extend_from_slice(&[0, 1, 0, 8, 0, 1, 0, 1, 127, 0, 0, 1]);
                socket.send_to(&answer, from).unwrap();
            }
        });
        Self {
            stop,
            thread: Some(thread),
        }
    }
}

impl Drop for Stun {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Changing over takes root, and trying what another user may read does too.
fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    Path::new("/proc/self").metadata().unwrap().uid() == 0
}

const COTURN_GROUP: u32 = 64902;
const AT_COTURN: &str = "coturn.service.active coturn.service.enabled";
const AT_TURNBUCKLE: &str = "turnbuckle.service.active turnbuckle.service.enabled";
/// A service is a name in `services`. What `refuse` begins with fails.
const SYSTEMCTL: &str = r#"#!/bin/sh
verb=$1
for unit; do :; done
if [ "$verb" = show ]; then
    echo LoadState=loaded
    [ -e "$HOST/services/$unit.active" ] && echo ActiveState=active || echo ActiveState=inactive
    [ -e "$HOST/services/$unit.enabled" ] && echo UnitFileState=enabled || echo UnitFileState=disabled
    echo ExecStart=
    exit 0
fi
echo "$*" >> "$HOST/told"
case "$*" in "$(cat "$HOST/refuse" 2>/dev/null || echo nothing)"*)
    echo "it does not want to" >&2
    exit 1
esac
case $verb in
    start | restart) : > "$HOST/services/$unit.active" ;;
    stop) rm -f "$HOST/services/$unit.active" ;;
    enable) : > "$HOST/services/$unit.enabled" ;;
    disable) rm -f "$HOST/services/$unit.enabled" ;;
esac
"#;
