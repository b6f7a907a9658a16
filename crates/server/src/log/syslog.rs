//! The system log, as syslog(3) of the C library speaks to it.

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::{io, process};

use tracing::Level;

use super::journal::severity;

/// The socket of the log daemon.
pub(super) struct Syslog(UnixDatagram);

impl Syslog {
    pub(super) fn connect(path: &Path) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.connect(path)?;
        // A log daemon that does not read loses lines instead of stopping the server.
        socket.set_nonblocking(true)?;
        Ok(Self(socket))
    }

    /// Writes one line in the form of RFC 3164; the daemon adds time and host. What it does not take is lost.
    pub(super) fn write(&self, level: Level, line: &str, facility: u8) {
        let priority = (facility << 3) | severity(level);
        let message = format!("<{priority}>turnbuckle[{}]: {line}", process::id());
        let _ = self.0.send(message.as_bytes());
    }
}

pub(super) const SOCKET: &str = "/dev/log";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_have_priority_and_process() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let server = UnixDatagram::bind(&path).unwrap();
        Syslog::connect(&path)
            .unwrap()
            .write(Level::WARN, "text", 23);
        let mut buffer = [0; 256];
        let length = server.recv(&mut buffer).unwrap();
        assert_eq!(
            String::from_utf8_lossy(&buffer[..length]),
            format!("<188>turnbuckle[{}]: text", process::id())
        );
    }
}
