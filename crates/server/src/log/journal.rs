//! The journal of systemd by its own protocol, so that fields of a line can be searched for. Owns the form of an entry.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::Duration;

use tracing::Level;

use super::record::Record;

/// The socket of the journal.
pub(super) struct Journal(UnixDatagram);

impl Journal {
    pub(super) fn connect(path: &Path) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.connect(path)?;
        // A journal that does not read loses lines after a while instead of stopping the server.
        socket.set_write_timeout(Some(PATIENCE))?;
        Ok(Self(socket))
    }

    /// Writes `line` with the fields of `record` beside it. What the journal does not take is lost.
    pub(super) fn write(&self, record: &Record, line: &str, facility: u8) {
        let _ = self.0.send(&entry(record, line, facility));
    }
}

/// Whether this stream leads to the journal, by what systemd put into `JOURNAL_STREAM` (systemd.exec(5)).
pub(super) fn leads_to_journal(stream: impl AsFd, journal_stream: Option<&str>) -> bool {
    let Some((device, inode)) = journal_stream.and_then(|text| text.split_once(':')) else {
        return false;
    };
    let metadata = stream
        .as_fd()
        .try_clone_to_owned()
        .and_then(|stream| File::from(stream).metadata());
    metadata.is_ok_and(|metadata| {
        device.parse() == Ok(metadata.dev()) && inode.parse() == Ok(metadata.ino())
    })
}

fn entry(record: &Record, line: &str, facility: u8) -> Vec<u8> {
    let mut entry = Vec::new();
    push(&mut entry, "MESSAGE", line);
    push(
        &mut entry,
        "PRIORITY",
        &severity(record.level()).to_string(),
    );
    push(&mut entry, "SYSLOG_FACILITY", &facility.to_string());
    push(&mut entry, "SYSLOG_IDENTIFIER", "turnbuckle");
    for (name, value) in record.fields() {
        let name = format!("TURNBUCKLE_{}", name.to_ascii_uppercase());
        push(&mut entry, &name, &value);
    }
    entry
}

/// One field: `NAME=value`, or with its length where the value has line ends.
fn push(entry: &mut Vec<u8>, name: &str, value: &str) {
    entry.extend(name.bytes());
    if value.contains('\n') {
        entry.push(b'\n');
        entry.extend((value.len() as u64).to_le_bytes());
    } else {
        entry.push(b'=');
    }
    entry.extend(value.bytes());
    entry.push(b'\n');
}

/// The severity of RFC 5424 §6.2.1.
pub(super) const fn severity(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        Level::DEBUG | Level::TRACE => 7,
    }
}

pub(super) const SOCKET: &str = "/run/systemd/journal/socket";
const PATIENCE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use tracing::subscriber::with_default;
    use tracing_subscriber::layer::SubscriberExt;
    use tracing_subscriber::{Layer, Registry};

    use super::*;

    struct ToJournal(Journal);

    impl<S: tracing::Subscriber> Layer<S> for ToJournal {
        fn on_event(
            &self,
            event: &tracing::Event<'_>,
            _: tracing_subscriber::layer::Context<'_, S>,
        ) {
            let record = Record::of(event);
            self.0.write(&record, &record.text(Default::default()), 16);
        }
    }

    #[test]
    fn an_entry_has_fields_of_its_own() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let server = UnixDatagram::bind(&path).unwrap();
        let journal = Journal::connect(&path).unwrap();
        with_default(Registry::default().with(ToJournal(journal)), || {
            tracing::warn!(user = "eve\nMESSAGE=forged", bytes = 7_u64, "hello");
        });
        let mut buffer = [0; 1024];
        let length = server.recv(&mut buffer).unwrap();
        let mut expected = b"MESSAGE=hello user=\"eve\\nMESSAGE=forged\" bytes=7\nPRIORITY=4\nSYSLOG_FACILITY=16\n\
              SYSLOG_IDENTIFIER=turnbuckle\nTURNBUCKLE_USER\n"
            .to_vec();
        expected.extend(18_u64.to_le_bytes());
        expected.extend(b"eve\nMESSAGE=forged\nTURNBUCKLE_BYTES=7\n");
        assert_eq!(
            String::from_utf8_lossy(&buffer[..length]),
            String::from_utf8_lossy(&expected)
        );
    }

    #[test]
    fn the_journal_is_known_by_device_and_inode() {
        let (stream, other) = UnixStream::pair().unwrap();
        let name = |stream: &UnixStream| {
            let metadata = File::from(stream.as_fd().try_clone_to_owned().unwrap())
                .metadata()
                .unwrap();
            format!("{}:{}", metadata.dev(), metadata.ino())
        };
        assert!(leads_to_journal(&stream, Some(&name(&stream))));
        assert!(!leads_to_journal(&stream, Some(&name(&other))));
        assert!(!leads_to_journal(&stream, Some("x")));
        assert!(!leads_to_journal(&stream, None));
    }
}
