//! The same look at the server again and again. Owns the terminal while it lasts, and gives it back as it was.

use std::io::{self, ErrorKind, IsTerminal, Write};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::termios::{self, LocalModes, OptionalActions, SpecialCodeIndex, Termios};
use serde_json::Value;
use signal_hook::consts::{SIGHUP, SIGTERM};
use signal_hook::{flag, low_level};

use crate::Output;
use crate::failure::Failure;

/// One object: over several lines, or on one where more of them follow.
pub(crate) fn json(value: &Value, one_line: bool) -> Result<String, Failure> {
    Ok(if one_line {
        format!("{value}\n")
    } else {
        format!("{value:#}\n")
    })
}

/// Shows what `look` says, every two seconds, until `q` or Ctrl-C is pressed, the reader goes away or a look fails. `plain` is
/// text for a program, and never drawn over.
pub(crate) fn until_stopped(
    plain: bool,
    look: impl Fn() -> Result<String, Failure>,
) -> Result<Output, Failure> {
    let mut first = Some(look()?);
    let screen = match !plain && io::stdout().is_terminal() && io::stdin().is_terminal() {
        true => Some(Screen::open()?),
        false => None,
    };
    loop {
        let text = match first.take() {
            Some(text) => text,
            None => look()?,
        };
        let shown = match &screen {
            Some(_) => draw(&text),
            None => write(&text),
        };
        match shown {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::BrokenPipe => break,
            Err(error) => {
                return Err(Failure::new(format!(
                    "standard output cannot be written: {error}"
                )));
            }
        }
        match &screen {
            Some(screen) if screen.is_stopped() => break,
            Some(_) => {}
            None => thread::sleep(INTERVAL),
        }
    }
    if let Some(signal) = screen.and_then(Screen::close) {
        // Ends the program as the signal would have without the screen.
        let _ = low_level::emulate_default_handler(signal);
    }
    Ok(Output::new(String::new()))
}

fn write(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// As much as the screen has room for, and on its last row how to leave.
fn draw(text: &str) -> io::Result<()> {
    let (rows, columns) = termios::tcgetwinsize(io::stdout())
        .map_or((24, 80), |size| (size.ws_row.max(2), size.ws_col.max(20)));
    write(&format!(
        "{HOME}{}{CLEAR_BELOW}\u{1b}[{rows};1H{HINT}",
        cut(text, rows.into(), columns.into())
    ))
}

fn cut(text: &str, rows: usize, columns: usize) -> String {
    let lines: Vec<String> = text
        .lines()
        .take(rows.saturating_sub(1))
        .map(|line| {
            let line: String = line.chars().take(columns).collect();
            // First, as a line of full width leaves the cursor on its last column.
            format!("{CLEAR_LINE}{line}\r\n")
        })
        .collect();
    lines.concat()
}

/// The other screen of the terminal, with keys read as they are pressed.
struct Screen {
    before: Termios,
    /// The signal that asks the program to end; 0 until it comes.
    signal: Arc<AtomicUsize>,
}

impl Screen {
    fn open() -> Result<Self, Failure> {
        let failed = |error: Errno| Failure::new(format!("the terminal cannot be set: {error}"));
        let before = termios::tcgetattr(io::stdin()).map_err(failed)?;
        let signal = Arc::default();
        for ending in [SIGHUP, SIGTERM] {
            flag::register_usize(ending, Arc::clone(&signal), ending.unsigned_abs() as usize)
                .map_err(|error| Failure::new(format!("signals cannot be handled: {error}")))?;
        }
        let mut keys = before.clone();
        keys.local_modes -= LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG;
        keys.special_codes[SpecialCodeIndex::VMIN] = 0;
        keys.special_codes[SpecialCodeIndex::VTIME] = 0;
        termios::tcsetattr(io::stdin(), OptionalActions::Now, &keys).map_err(failed)?;
        let screen = Self { before, signal };
        write(ENTER).map_err(|error| Failure::new(format!("the terminal is gone: {error}")))?;
        Ok(screen)
    }

    /// Gives the terminal back; the signal that asked for it, if one did.
    fn close(self) -> Option<i32> {
        let signal = self.signal.load(Ordering::Relaxed);
        i32::try_from(signal).ok().filter(|signal| *signal != 0)
    }

    /// Waits for the next turn; true if a key or a signal says that there is to be none.
    fn is_stopped(&self) -> bool {
        let is_signalled = || self.signal.load(Ordering::Relaxed) != 0;
        if is_signalled() {
            return true;
        }
        let stdin = io::stdin();
        let timeout = Timespec {
            tv_sec: INTERVAL.as_secs() as i64,
            tv_nsec: 0,
        };
        let mut wanted = [PollFd::new(&stdin, PollFlags::IN)];
        match poll(&mut wanted, Some(&timeout)) {
            Ok(0) => false,
            Ok(_) => {
                let mut keys = [0; 64];
                match rustix::io::read(stdin.as_fd(), &mut keys) {
                    // The terminal is gone.
                    Ok(0) | Err(_) => true,
                    Ok(count) => keys
                        .iter()
                        .take(count)
                        .any(|key| matches!(*key, b'q' | b'Q' | CONTROL_C)),
                }
            }
            // By a signal; one that goes on after a stop ends nothing.
            Err(Errno::INTR) => is_signalled(),
            Err(_) => true,
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = write(LEAVE);
        let _ = termios::tcsetattr(io::stdin(), OptionalActions::Now, &self.before);
    }
}

const INTERVAL: Duration = Duration::from_secs(2);
/// The other screen, without a cursor.
const ENTER: &str = "\u{1b}[?1049h\u{1b}[?25l\u{1b}[2J";
const LEAVE: &str = "\u{1b}[?25h\u{1b}[?1049l";
const HINT: &str = "q or Ctrl-C ends.";
const HOME: &str = "\u{1b}[H";
const CLEAR_LINE: &str = "\u{1b}[K";
const CLEAR_BELOW: &str = "\u{1b}[J";
const CONTROL_C: u8 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_fits_the_screen() {
        let frame = cut("one\ntwo long\nthree\n", 3, 5);
        assert_eq!(frame, "\u{1b}[Kone\r\n\u{1b}[Ktwo l\r\n");
    }
}
