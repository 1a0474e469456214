//! Entries for systemd's journal, field by field, so that `journalctl FAULTD_USER=1000` finds them. What the journal does
//! not take is in the file all the same: nothing here waits, and nothing fails.

use std::{
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

use super::Entry;

/// Who speaks, for `journalctl --identifier`.
const IDENTIFIER: &str = "faultd-audit";
/// Bytes of one value, at most: an entry has to fit into one datagram.
const LONGEST_VALUE: usize = 2048;
/// As syslog numbers them: what was done, and what was not.
const NOTICE: &str = "5";
const WARNING: &str = "4";

/// Where the journal listens.
pub(super) struct Journal {
    path: PathBuf,
    socket: Option<UnixDatagram>,
    has_failed: AtomicBool,
}

impl Journal {
    /// The journal that listens at this path, if one does.
    pub(super) fn at(path: &Path) -> Option<Self> {
        path.exists().then(|| Self {
            path: path.to_owned(),
            socket: socket().ok(),
            has_failed: AtomicBool::new(false),
        })
    }

    /// Hands an entry over; answers whether the journal has it. The first failure is told in the log.
    pub(super) fn write(&self, entry: &Entry<'_>) -> bool {
        let Some(socket) = &self.socket else { return false };
        match socket.send_to(&datagram(entry), &self.path) {
            Ok(_) => true,
            Err(error) => {
                if !self.has_failed.swap(true, Ordering::Relaxed) {
                    tracing::warn!(%error, "calls are not in the journal of systemd, but in the file as ever");
                }
                false
            }
        }
    }
}

/// Not connected: a journal that was restarted has another socket at the same path.
fn socket() -> std::io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// A field a line. The user is who called, not who this process is: that the journal knows by itself.
fn datagram(entry: &Entry<'_>) -> Vec<u8> {
    let Entry { time: _, connection, user, process, method, subject, until, result, detail } = entry;
    let message = format!("{method} by user {user} on {connection}: {subject}: {result}");
    let mut fields = vec![
        ("MESSAGE", message),
        ("PRIORITY", if *result == "done" { NOTICE } else { WARNING }.to_owned()),
        ("SYSLOG_IDENTIFIER", IDENTIFIER.to_owned()),
        ("FAULTD_CONNECTION", (*connection).to_owned()),
        ("FAULTD_USER", user.to_string()),
        ("FAULTD_METHOD", (*method).to_owned()),
        ("FAULTD_SUBJECT", (*subject).to_owned()),
        ("FAULTD_RESULT", (*result).to_owned()),
        ("FAULTD_DETAIL", (*detail).to_owned()),
    ];
    fields.extend(process.map(|process| ("FAULTD_PROCESS", process.to_string())));
    fields.extend(until.map(|until| ("FAULTD_UNTIL", until.to_string())));
    let lines = fields.iter().filter(|(_, value)| !value.is_empty());
    lines.flat_map(|(name, value)| format!("{name}={}\n", in_one_line(value)).into_bytes()).collect()
}

/// A line end in a value would begin another field, of the caller's choice.
fn in_one_line(value: &str) -> String {
    let mut line: String = value.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    line.truncate(line.floor_char_boundary(LONGEST_VALUE));
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry<'a>(subject: &'a str, result: &'a str) -> Entry<'a> {
        Entry {
            time: jiff::Timestamp::UNIX_EPOCH,
            connection: ":1.42",
            user: 1000,
            process: Some(7),
            method: "AddFault",
            subject,
            until: Some(jiff::Timestamp::UNIX_EPOCH),
            result,
            detail: "",
        }
    }

    fn heard(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 1 << 16];
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    fn path(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("faultd-journal-{name}-{}", std::process::id()))
    }

    #[test]
    fn an_entry_is_told_field_by_field_and_one_of_a_caller_cannot_begin_another() {
        let path = path("fields");
        let listening = UnixDatagram::bind(&path).unwrap();
        let journal = Journal::at(&path).unwrap();
        assert!(journal.write(&entry("delay 50ms on a\nFAULTD_USER=0", "Denied")));
        assert_eq!(
            heard(&listening),
            "MESSAGE=AddFault by user 1000 on :1.42: delay 50ms on a FAULTD_USER=0: Denied\nPRIORITY=4\n\
             SYSLOG_IDENTIFIER=faultd-audit\nFAULTD_CONNECTION=:1.42\nFAULTD_USER=1000\nFAULTD_METHOD=AddFault\n\
             FAULTD_SUBJECT=delay 50ms on a FAULTD_USER=0\nFAULTD_RESULT=Denied\nFAULTD_PROCESS=7\n\
             FAULTD_UNTIL=1970-01-01T00:00:00Z\n"
        );
        assert!(journal.write(&entry(&"ü".repeat(100_000), "done")));
        let said = heard(&listening);
        assert!(said.len() < 3 * LONGEST_VALUE && said.contains("\nPRIORITY=5\n"), "{}", said.len());
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_journal_that_has_gone_or_does_not_read_is_no_failure_and_a_new_one_is_found() {
        assert!(Journal::at(&path("none")).is_none());
        let path = path("gone");
        let listening = UnixDatagram::bind(&path).unwrap();
        let journal = Journal::at(&path).unwrap();
        let taken = (0..5000).filter(|_| journal.write(&entry("x", "done"))).count();
        assert!((1..5000).contains(&taken), "{taken}");
        drop(listening);
        assert!(!journal.write(&entry("x", "done")));
        std::fs::remove_file(&path).unwrap();
        let listening = UnixDatagram::bind(&path).unwrap();
        assert!(journal.write(&entry("x", "done")));
        assert!(heard(&listening).contains("FAULTD_METHOD=AddFault\n"));
        std::fs::remove_file(path).unwrap();
    }
}
