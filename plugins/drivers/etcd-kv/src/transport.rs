//! What the driver wants of a way to talk to etcd, and the names of its keys.

use faultd_plugin_sdk::driver::Failure;

use crate::status::Status;

/// All keys begin so.
pub const PREFIX: &str = "faultd/";

/// A way to talk to the members. It holds the value that puts write, ready to be sent.
pub trait Transport {
    /// Writes the value to a key.
    fn put(&self, member: u32, key: &str) -> Result<(), Failure>;

    /// Reads a key; `serializable` lets the member answer from its own copy.
    fn get(&self, member: u32, key: &str, serializable: bool) -> Result<(), Failure>;

    /// Deletes all keys from `from` to before `to`.
    fn delete(&self, member: u32, from: &str, to: &str) -> Result<(), Failure>;

    /// What the member says of itself.
    fn status(&self, member: u32) -> Result<Status, Failure>;
}

/// Keys have one length, so that every operation costs the same, and the order of their numbers.
pub fn key_name(key: u64) -> String {
    format!("{PREFIX}{key:012}")
}

/// The first name after all that begin with the prefix.
pub fn end_of_prefix() -> String {
    // `0` is the character after `/`.
    PREFIX.replace('/', "0")
}

/// The numbers 0 to `keys` in slices, each as its first number and the first after it: at most some thousand
/// slices, and none so large that etcd works long on its deletion, unless there are too many keys for that.
pub fn slices(keys: u64) -> impl Iterator<Item = (u64, u64)> {
    const KEYS_IN_SLICE: u64 = 10_000;
    const MOST_SLICES: u64 = 1_000;
    let length = KEYS_IN_SLICE.max(keys.div_ceil(MOST_SLICES));
    let firsts = (0..keys.div_ceil(length)).map(move |slice| slice * length);
    firsts.map(move |first| (first, first.saturating_add(length).min(keys)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_one_length_and_lie_within_the_prefix() {
        assert_eq!(key_name(42), "faultd/000000000042");
        assert!(*PREFIX < *key_name(0) && key_name(9) < key_name(10) && key_name(u64::MAX) < end_of_prefix());
        assert_eq!(end_of_prefix(), "faultd0");
    }

    #[test]
    fn slices_are_without_gaps_and_not_too_many() {
        assert_eq!(slices(0).count(), 0);
        assert_eq!(slices(100).collect::<Vec<_>>(), [(0, 100)]);
        assert_eq!(slices(25_000).collect::<Vec<_>>(), [(0, 10_000), (10_000, 20_000), (20_000, 25_000)]);
        let many = slices(u64::MAX).collect::<Vec<_>>();
        assert!(many.len() <= 1_000 && many.last().unwrap().1 == u64::MAX);
        assert!(many.windows(2).all(|pair| pair[0].1 == pair[1].0));
    }
}
