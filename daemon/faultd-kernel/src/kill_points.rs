//! Places at which a test has the daemon killed, as `kill -9` would: between two steps, where nothing can be tidied up any
//! more. They are only there with the feature `kill-points`, which the tests switch on; else they are nothing.

/// Names a file that says at which place this process ends itself: `NAME`, or `NAME:COUNT` for the count-th pass.
#[cfg(feature = "kill-points")]
const VARIABLE: &str = "FAULTD_KILL_AT";

/// Ends this process if this is the place where a test wants that.
#[cfg(not(feature = "kill-points"))]
#[inline]
pub fn here(_name: &'static str) {}

/// Ends this process if this is the place where a test wants that.
#[cfg(feature = "kill-points")]
pub fn here(name: &'static str) {
    use std::sync::atomic::{AtomicU32, Ordering};
    static PASSES: AtomicU32 = AtomicU32::new(0);
    let Some(file) = std::env::var_os(VARIABLE) else { return };
    // A file that is not there is a test that wants nothing now.
    let Ok(text) = std::fs::read_to_string(file) else { return };
    let Some(count) = count_for(name, &text) else { return };
    if PASSES.fetch_add(1, Ordering::Relaxed).saturating_add(1) == count {
        // Nothing can be done about an error, and the test will tell that the process lives on.
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    }
}

/// At which pass of a place it is to end, where this place is meant.
#[cfg(any(test, feature = "kill-points"))]
fn count_for(name: &str, text: &str) -> Option<u32> {
    let text = text.trim();
    let (wanted, count) = match text.split_once(':') {
        Some((wanted, count)) => (wanted, count.parse().ok()?),
        None => (text, 1),
    };
    (wanted == name).then_some(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_named_with_the_pass_that_counts() {
        assert_eq!(count_for("rule.add", "rule.add\n"), Some(1));
        assert_eq!(count_for("rule.add", "rule.add:3"), Some(3));
        assert_eq!(count_for("rule.add", "rule.add.listed"), None);
        assert_eq!(count_for("rule.add", "rule.add:x"), None);
        assert_eq!(count_for("rule.add", ""), None);
    }
}
