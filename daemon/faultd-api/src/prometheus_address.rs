//! Where a Prometheus answers, as people write it: `http://127.0.0.1:9090`. Who asks it is the daemon.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
    str::FromStr,
};

/// The longest address, in bytes.
const LONGEST: usize = 500;

/// Host, port and path of a Prometheus that is asked over plain HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrometheusAddress {
    host: String,
    port: u16,
    /// Empty, or `/` and more without a `/` at its end.
    path: String,
}

/// Why a text is no address of a Prometheus.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PrometheusAddressError {
    /// Encrypted, which is more than can be done here.
    #[error("'{0}': only http:// is spoken here; for a Prometheus behind TLS name a proxy of this host")]
    Encrypted(String),
    /// Anything else.
    #[error("'{0}' is no address of a Prometheus: write http://HOST:PORT, as in http://127.0.0.1:9090")]
    Malformed(String),
}

impl PrometheusAddress {
    /// Host name or address, without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// TCP port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// What goes before `/api/v1`.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Whether it is an address of this host's own, or the name that every host has for itself.
    #[must_use]
    pub fn is_of_this_host(&self) -> bool {
        self.host == "localhost" || self.host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }

    /// `HOST:PORT`, as in the head of a request.
    #[must_use]
    pub fn authority(&self) -> String {
        let Self { host, port, .. } = self;
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }
}

/// Where Prometheus listens when nobody says otherwise.
impl Default for PrometheusAddress {
    fn default() -> Self {
        Self { host: "127.0.0.1".to_owned(), port: 9090, path: String::new() }
    }
}

impl FromStr for PrometheusAddress {
    type Err = PrometheusAddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let malformed = || PrometheusAddressError::Malformed(text.replace(char::is_control, " "));
        if text.starts_with("https://") {
            return Err(PrometheusAddressError::Encrypted(text.replace(char::is_control, " ")));
        }
        let rest = text.strip_prefix("http://").filter(|_| text.len() <= LONGEST).ok_or_else(malformed)?;
        let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
        let (host, port) = authority.rsplit_once(':').ok_or_else(malformed)?;
        let port = Some(port).filter(|port| port.bytes().all(|digit| digit.is_ascii_digit()));
        let port = port.and_then(|port| port.parse().ok()).filter(|port| *port > 0).ok_or_else(malformed)?;
        let host = host_of(host).ok_or_else(malformed)?;
        let path = path.trim_end_matches('/');
        if !path.bytes().all(is_of_a_path) {
            return Err(malformed());
        }
        Ok(Self { host, port, path: path.to_owned() })
    }
}

impl fmt::Display for PrometheusAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "http://{}{}", self.authority(), self.path)
    }
}

/// A name, an IPv4 address, or an IPv6 address in brackets.
fn host_of(text: &str) -> Option<String> {
    if let Some(address) = text.strip_prefix('[') {
        let address: Ipv6Addr = address.strip_suffix(']')?.parse().ok()?;
        return Some(address.to_string());
    }
    let is_of_a_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    (!text.is_empty() && text.bytes().all(is_of_a_name)).then(|| text.to_owned())
}

/// Nothing that would begin a query, or need to be encoded.
fn is_of_a_path(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"/-._~%+:@=".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_is_this_host() {
        let is_here = |text: &str| text.parse::<PrometheusAddress>().unwrap().is_of_this_host();
        assert!(
            is_here("http://127.0.0.1:9090") && is_here("http://[::1]:9090") && is_here("http://localhost:1")
        );
        assert!(!is_here("http://10.0.0.1:9090") && !is_here("http://localhost.example:9090"));
    }

    #[test]
    fn an_address_is_written_as_it_is_read() {
        for text in
            ["http://127.0.0.1:9090", "http://prometheus.example:80/a/b", "http://[::1]:9090", "http://a_b:1"]
        {
            assert_eq!(
                text.parse::<PrometheusAddress>().map(|address| address.to_string()).as_deref(),
                Ok(text)
            );
        }
        let with_slash: PrometheusAddress = "http://h:1/p/".parse().unwrap();
        assert_eq!((with_slash.path(), with_slash.authority().as_str()), ("/p", "h:1"));
        assert_eq!(PrometheusAddress::default().to_string(), "http://127.0.0.1:9090");
    }

    #[test]
    fn anything_else_is_refused_in_one_line() {
        for text in [
            "",
            "127.0.0.1:9090",
            "http://",
            "http://host",
            "http://host:0",
            "http://host:+80",
            "http://host:99999",
            "http://user@host:80",
            "http://[::1:80",
            "http://::1:80",
            "http://h:80/a?b",
            "http://h:80/a b",
            "http://h:80/\r\nHost: x",
            "unix:path=/x",
        ] {
            let refused = text.parse::<PrometheusAddress>().unwrap_err();
            assert!(matches!(refused, PrometheusAddressError::Malformed(_)), "{text}");
            assert_eq!(refused.to_string().lines().count(), 1);
        }
        let encrypted = "https://h:443".parse::<PrometheusAddress>().unwrap_err();
        assert!(encrypted.to_string().contains("only http://"), "{encrypted}");
    }
}
