//! The name of a host as it is given to `-H`.

use std::{fmt, str::FromStr};

/// Where to log in: `[USER@]HOST[:PORT]`, an address of IPv6 in brackets where a port follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Host {
    /// `USER@HOST` or `HOST`, for the program that logs in.
    pub(crate) destination: String,
    pub(crate) port: Option<u16>,
    /// As it was given.
    text: String,
}

/// A text that names no host.
#[derive(Debug, thiserror::Error)]
#[error("'{0}' is no host: write HOST, USER@HOST, HOST:PORT or [ADDRESS]:PORT")]
pub(crate) struct NotAHost(String);

impl FromStr for Host {
    type Err = NotAHost;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parsed(text).ok_or_else(|| NotAHost(text.to_owned()))
    }
}

impl Host {
    fn parsed(text: &str) -> Option<Self> {
        let (user, place) = match text.rsplit_once('@') {
            Some((user, place)) => (Some(user), place),
            None => (None, text),
        };
        let (name, port) = name_and_port(place)?;
        let port = port.map(|port| port.parse().ok().filter(|port| *port > 0).ok_or(())).transpose().ok()?;
        if !user.is_none_or(is_user) || !is_name(name) {
            return None;
        }
        let destination = user.map_or_else(|| name.to_owned(), |user| format!("{user}@{name}"));
        Some(Self { destination, port, text: text.to_owned() })
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn name_and_port(place: &str) -> Option<(&str, Option<&str>)> {
    if let Some(rest) = place.strip_prefix('[') {
        let (name, after) = rest.split_once(']')?;
        return match after.strip_prefix(':') {
            Some(port) => Some((name, Some(port))),
            None => after.is_empty().then_some((name, None)),
        };
    }
    match place.split_once(':') {
        // More than one colon: an address of IPv6 alone.
        Some((_, rest)) if rest.contains(':') => Some((place, None)),
        Some((name, port)) => Some((name, Some(port))),
        None => Some((place, None)),
    }
}

/// What begins like an option is none of ours to pass on, and what a shell could read must not come near one.
fn is_plain(text: &str, also: &str) -> bool {
    !text.is_empty()
        && !text.starts_with('-')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || also.contains(c))
}

fn is_user(text: &str) -> bool {
    is_plain(text, "._-+")
}

fn is_name(text: &str) -> bool {
    is_plain(text, "._-:%")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str) -> (String, Option<u16>) {
        let host: Host = text.parse().unwrap();
        assert_eq!(host.to_string(), text);
        (host.destination, host.port)
    }

    #[test]
    fn a_host_may_have_a_user_and_a_port() {
        assert_eq!(parts("web1"), ("web1".to_owned(), None));
        assert_eq!(parts("ann@web1.example:2222"), ("ann@web1.example".to_owned(), Some(2222)));
        assert_eq!(parts("10.0.0.1:22"), ("10.0.0.1".to_owned(), Some(22)));
        assert_eq!(parts("fd00::1"), ("fd00::1".to_owned(), None));
        assert_eq!(parts("ann@[fe80::1%eth0]:22"), ("ann@fe80::1%eth0".to_owned(), Some(22)));
        assert_eq!(parts("[fd00::1]"), ("fd00::1".to_owned(), None));
    }

    #[test]
    fn an_option_or_a_command_is_no_host() {
        let wrong = [
            "",
            "-oProxyCommand=x",
            "ann@-x",
            "-l@web",
            "@web",
            "ann@",
            "web:",
            "web:0",
            "web:65536",
            "web:x",
            "a b",
            "a;b",
            "$(x)",
            "a`b`",
            "[fd00::1",
            "[fd00::1]22",
            "a@b@c",
            "a\nb",
            "web/1",
            "a'b",
        ];
        for text in wrong {
            assert!(text.parse::<Host>().is_err(), "{text}");
        }
    }
}
