//! The import `log`: lines of plugins, bounded in length and number, handed to whoever keeps the run's log.

use std::sync::Arc;

use crate::error::{Refusal, one_line};

/// How much a line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// The plugin cannot do its work.
    Error,
    /// Something is odd.
    Warning,
    /// Worth knowing once.
    Info,
    /// For the author of the plugin.
    Debug,
}

/// Takes one line: no control characters, at most 500 characters. Must not block.
pub type LogSink = Arc<dyn Fn(LogLevel, &str) + Send + Sync>;

/// A sink that writes to the daemon's own log, under the plugin's name.
pub fn log_to_tracing(plugin: &str) -> LogSink {
    let plugin = plugin.to_owned();
    Arc::new(move |level, line| match level {
        LogLevel::Error => tracing::error!(plugin, "{line}"),
        LogLevel::Warning => tracing::warn!(plugin, "{line}"),
        LogLevel::Info => tracing::info!(plugin, "{line}"),
        LogLevel::Debug => tracing::debug!(plugin, "{line}"),
    })
}

/// The log of one instance.
pub(crate) struct BoundedLog {
    sink: LogSink,
    lines_left: u32,
    bytes_per_call: usize,
    bytes_left: usize,
}

impl BoundedLog {
    pub(crate) fn new(sink: LogSink, lines: u32, bytes_per_call: usize) -> Self {
        Self { sink, lines_left: lines, bytes_per_call, bytes_left: bytes_per_call }
    }

    /// To be called before each call of the plugin.
    pub(crate) fn begin(&mut self) {
        self.bytes_left = self.bytes_per_call;
    }

    /// A line costs the plugin next to no fuel, however long it is, and the host a copy of it, also where it is
    /// dropped: hence the limit in bytes.
    pub(crate) fn write(&mut self, level: LogLevel, message: &str) -> Result<(), Refusal> {
        let bytes_left = self.bytes_left.checked_sub(message.len());
        self.bytes_left = bytes_left.ok_or(Refusal::TooMuchLog(self.bytes_per_call))?;
        self.pass_on(level, message);
        Ok(())
    }

    fn pass_on(&mut self, level: LogLevel, message: &str) {
        let Some(left) = self.lines_left.checked_sub(1) else { return };
        self.lines_left = left;
        (self.sink)(level, &one_line(message));
        if left == 0 {
            (self.sink)(LogLevel::Warning, "too many lines: the next ones of this instance are dropped");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[test]
    fn lines_are_bounded_in_number_and_say_so() {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&lines);
        let sink: LogSink = Arc::new(move |_, line| kept.lock().unwrap().push(line.to_owned()));
        let mut log = BoundedLog::new(sink, 2, 1_000);
        (0..5).for_each(|number| log.write(LogLevel::Info, &format!("line\n{number}")).unwrap());
        let lines = lines.lock().unwrap();
        assert_eq!(lines[..2], ["line 0", "line 1"]);
        assert_eq!(lines.len(), 3);
    }
    #[test]
    fn the_bytes_of_a_call_are_bounded_also_those_of_dropped_lines() {
        let mut log = BoundedLog::new(Arc::new(|_, _| ()), 1, 10);
        for _ in 0..2 {
            log.begin();
            assert_eq!(log.write(LogLevel::Info, "12345"), Ok(()));
            assert_eq!(log.write(LogLevel::Info, "12345"), Ok(()));
            assert_eq!(log.write(LogLevel::Info, "1"), Err(Refusal::TooMuchLog(10)));
        }
    }
}
