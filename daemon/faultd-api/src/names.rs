//! Bus name, object paths, interfaces and the place of the private socket.

/// The well-known name on the system bus.
pub const BUS_NAME: &str = "org.faultd.Engine1";
/// The root object: manager of everything else.
pub const ROOT_PATH: &str = "/org/faultd/Engine1";
/// Run objects are children of this path, named by their id.
pub const RUN_PATH: &str = "/org/faultd/Engine1/run";
/// Objects of faults are children of this path, named by their id.
pub const FAULT_PATH: &str = "/org/faultd/Engine1/fault";
/// Objects of targets are children of this path, named as [`path_element`] says.
pub const TARGET_PATH: &str = "/org/faultd/Engine1/target";
/// Objects of labs are children of this path, named as [`path_element`] says.
pub const LAB_PATH: &str = "/org/faultd/Engine1/lab";
/// Objects of plugins are children of this path, named as [`path_element`] says.
pub const PLUGIN_PATH: &str = "/org/faultd/Engine1/plugin";
/// Objects of jobs are children of this path, named by their id.
pub const JOB_PATH: &str = "/org/faultd/Engine1/job";
/// The private socket on which the daemon always listens, unless told otherwise.
pub const DEFAULT_SOCKET: &str = "/run/faultd/bus";
/// Where the daemon keeps labs and journals, unless told otherwise.
pub const DEFAULT_STATE_DIRECTORY: &str = "/var/lib/faultd";
/// Where `/metrics` is served, unless told otherwise.
pub const DEFAULT_METRICS_ADDRESS: &str = "127.0.0.1:9920";
/// Where plugins are looked for, unless told otherwise.
pub const DEFAULT_PLUGIN_DIRECTORY: &str = "/usr/lib/faultd/plugins";
/// Where compiled plugins are kept, unless told otherwise.
pub const DEFAULT_CACHE_DIRECTORY: &str = "/var/cache/faultd";
/// What the operator allows, unless told otherwise; it need not be there.
pub const DEFAULT_POLICY: &str = "/etc/faultd/policy.toml";

/// The action of polkit for a right of callers: `read`, `inject`, `load-plugins` or `administer`.
#[must_use]
pub fn polkit_action(right: &str) -> String {
    format!("{BUS_NAME}.{right}")
}

/// The object path of the run with this id.
#[must_use]
pub fn run_path(id: &str) -> String {
    format!("{RUN_PATH}/{id}")
}

/// A name as one element of an object path: what is no letter or digit of ASCII becomes `_` and the two hexadecimal
/// digits of each of its bytes, and so does a leading digit, as systemd does it (`sd_bus_path_encode`); nothing
/// becomes `_`.
#[must_use]
pub fn path_element(name: &str) -> String {
    if name.is_empty() {
        return "_".to_owned();
    }
    let mut element = String::with_capacity(name.len());
    for (position, byte) in name.bytes().enumerate() {
        if byte.is_ascii_alphabetic() || (byte.is_ascii_digit() && position > 0) {
            element.push(char::from(byte));
        } else {
            element.push_str(&format!("_{byte:02x}"));
        }
    }
    element
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_name_is_an_element_of_a_path_and_no_two_are_the_same() {
        assert_eq!(path_element("etcd/etcd0"), "etcd_2fetcd0");
        assert_eq!(path_element("f1"), "f1");
        assert_eq!(path_element("1f"), "_31f");
        assert_eq!(path_element(""), "_");
        assert_eq!(path_element("_"), "_5f");
        assert_eq!(path_element("\u{e9}"), "_c3_a9");
    }
}
