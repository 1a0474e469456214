//! Lines of the log as systemd's journal wants them on stderr: the priority in front, and neither time nor colour, which
//! it knows or does not want.

use std::{env, fmt, os::unix::fs::MetadataExt};

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::{
    fmt::{
        FmtContext, FormatEvent, FormatFields,
        format::{Format, Full, Writer},
    },
    registry::LookupSpan,
};

/// Device and number of the stream that the journal reads, as `DEVICE:NUMBER`.
const STREAM: &str = "JOURNAL_STREAM";

/// Whether what this process writes to stderr goes to the journal: not so where a service's output was redirected,
/// although the variable is still there.
#[must_use]
pub fn stderr_is_the_journal() -> bool {
    let stream = env::var(STREAM).ok();
    let stderr = std::fs::metadata("/proc/self/fd/2").ok();
    stream.zip(stderr).is_some_and(|(stream, stderr)| is_stream(&stream, stderr.dev(), stderr.ino()))
}

fn is_stream(stream: &str, device: u64, number: u64) -> bool {
    let Some((known_device, known_number)) = stream.split_once(':') else { return false };
    known_device.parse() == Ok(device) && known_number.parse() == Ok(number)
}

/// Writes events as lines for the journal.
#[derive(Debug)]
pub struct JournalLines {
    line: Format<Full, ()>,
}

impl Default for JournalLines {
    fn default() -> Self {
        Self { line: Format::default().without_time().with_level(false).with_target(false).with_ansi(false) }
    }
}

impl<S, N> FormatEvent<S, N> for JournalLines
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    N: for<'writer> FormatFields<'writer> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        write!(writer, "<{}>", priority(*event.metadata().level()))?;
        self.line.format_event(context, writer, event)
    }
}

/// As syslog numbers them.
fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        Level::DEBUG | Level::TRACE => 7,
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{self, Write},
        sync::{Arc, Mutex},
    };

    use super::*;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn each_line_has_its_priority_and_no_colour() {
        let kept = Kept::default();
        let writer = kept.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .event_format(JournalLines::default())
            .with_writer(move || writer.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            tracing::error!(port = 7, "one");
            tracing::warn!("two");
            tracing::info!("three");
        });
        let text = String::from_utf8(kept.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text, "<3>one port=7\n<4>two\n<6>three\n");
    }

    #[test]
    fn the_journal_is_told_by_device_and_number() {
        assert!(is_stream("8:123", 8, 123));
        for other in ["8:124", "9:123", "8", "", ":", "8:123:4"] {
            assert!(!is_stream(other, 8, 123), "{other}");
        }
    }
}
