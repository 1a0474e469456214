//! Bus name, object paths, interfaces and the place of the private socket.

/// The well-known name on the system bus.
pub const BUS_NAME: &str = "org.faultd.Engine1";
/// The root object: manager of everything else.
pub const ROOT_PATH: &str = "/org/faultd/Engine1";
/// Run objects are children of this path, named by their id.
pub const RUN_PATH: &str = "/org/faultd/Engine1/run";
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
