//! Commands that draw on a terminal: they end when they are told to, and leave it as it was.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use rustix::fs::{Mode, OFlags, open};
use rustix::process::{Pid, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};
use turnbuckle_tests::{Signal, turnctl};

use crate::{socket, start};

#[test]
fn a_terminal_is_given_back() {
    let server = start("");
    let socket = socket(&server);
    let status = drawn(&socket, &["top"], |mut keys, _| {
        keys.write_all(b"q").unwrap();
    });
    assert_eq!(status.code(), Some(0));
    let control_c = |mut keys: &File, _| keys.write_all(b"\x03").unwrap();
    let status = drawn(&socket, &["sessions", "--watch"], control_c);
    assert_eq!(status.code(), Some(0));
    let status = drawn(&socket, &["top"], |_, process| {
        kill_process(process, Signal::TERM).expect("it is there");
    });
    assert_eq!(status.signal(), Some(Signal::TERM.as_raw()));
    server.stop();
}

/// Runs turnctl on a terminal of its own until it has drawn, ends it, and holds the terminal against what it was.
fn drawn(socket: &Path, args: &[&str], end: impl FnOnce(&File, Pid)) -> ExitStatus {
    let (keys, terminal) = terminal();
    let before = tcgetattr(&terminal).expect("a terminal has modes");
    let output = output(keys.try_clone().expect("a descriptor"));
    let end_of = || terminal.try_clone().expect("a descriptor");
    let mut process = Command::new(turnctl())
        .args(args)
        .arg("--socket")
        .arg(socket)
        .stdin(end_of())
        .stdout(end_of())
        .stderr(end_of())
        .spawn()
        .expect("turnctl runs");
    let mut seen = String::new();
    wait_for(&output, &mut seen, "\u{1b}[24;1Hq or Ctrl-C ends.");
    assert!(seen.contains(OTHER_SCREEN), "{seen:?}");
    let during = tcgetattr(&terminal).expect("a terminal has modes");
    assert!(!during.local_modes.contains(LocalModes::ICANON));
    end(&keys, Pid::from_child(&process));
    let status = process.wait().expect("it ends");
    wait_for(&output, &mut seen, FIRST_SCREEN);
    assert!(seen.contains(CURSOR), "{seen:?}");
    let after = tcgetattr(&terminal).expect("a terminal has modes");
    assert_eq!(
        (after.local_modes, after.input_modes, after.output_modes),
        (before.local_modes, before.input_modes, before.output_modes)
    );
    status
}

/// The end that keys are written to, and the one that a program sees.
fn terminal() -> (File, File) {
    let keys = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
    grantpt(&keys).expect("it is one's own");
    unlockpt(&keys).expect("it can be opened");
    let name = ptsname(&keys, Vec::new()).expect("it has a name");
    let path = Path::new(OsStr::from_bytes(name.as_bytes()));
    let terminal = open(path, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).expect("it opens");
    let size = Winsize {
        ws_row: 24,
        ws_col: 80,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(&terminal, size).expect("it has a size");
    (keys.into(), terminal.into())
}

/// What is written to the terminal, until nobody has it any more.
fn output(mut terminal: File) -> Receiver<Vec<u8>> {
    let (to, output) = channel();
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = terminal.read(&mut buffer) {
            if to.send(buffer[..count].to_vec()).is_err() {
                return;
            }
        }
    });
    output
}

fn wait_for(output: &Receiver<Vec<u8>>, seen: &mut String, wanted: &str) {
    while !seen.contains(wanted) {
        let more = output.recv_timeout(PATIENCE);
        let more = more.unwrap_or_else(|_| panic!("no {wanted:?} in {seen:?}"));
        *seen += &String::from_utf8_lossy(&more);
    }
}

const OTHER_SCREEN: &str = "\u{1b}[?1049h";
const FIRST_SCREEN: &str = "\u{1b}[?1049l";
const CURSOR: &str = "\u{1b}[?25h";
const PATIENCE: Duration = Duration::from_secs(10);
