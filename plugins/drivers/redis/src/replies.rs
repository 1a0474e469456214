//! Replies of Redis (RESP2), and what those mean that the driver asks for.

use faultd_plugin_sdk::driver::{Failure, Role};

use crate::commands::{self, END_OF_LINE};

/// Longest line: simple texts, errors and numbers are far shorter.
const LONGEST_LINE: usize = 4 << 10;

/// Longest value. The memory of a plugin ends soon after.
const LONGEST_VALUE: usize = 16 << 20;

/// How deep arrays may lie in each other; those of ROLE and SCAN are two deep.
const DEEPEST: u32 = 4;

/// Where replies are read from.
pub trait Source {
    /// The next line, without its end.
    fn line(&mut self, longest: usize) -> Result<&[u8], Failure>;

    /// The next bytes.
    fn exactly(&mut self, count: usize) -> Result<&[u8], Failure>;
}

/// One reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// A short text.
    Text(String),
    /// An error in words.
    Error(String),
    /// A number, as it is written.
    Number(String),
    /// Bytes.
    Value(Vec<u8>),
    /// Nothing, for example the value of a key that is not there.
    Nothing,
    /// Several replies.
    Array(Vec<Self>),
}

impl Reply {
    /// The next reply.
    pub fn read(source: &mut impl Source) -> Result<Self, Failure> {
        Self::read_at(source, 0)
    }

    fn read_at(source: &mut impl Source, depth: u32) -> Result<Self, Failure> {
        let line = source.line(LONGEST_LINE)?;
        let text = |text: &[u8]| String::from_utf8_lossy(text).into_owned();
        match line.split_first() {
            Some((b'+', rest)) => Ok(Self::Text(text(rest))),
            Some((b'-', rest)) => Ok(Self::Error(text(rest))),
            Some((b':', rest)) => Ok(Self::Number(text(rest))),
            Some((b'$' | b'*', b"-1")) => Ok(Self::Nothing),
            Some((b'$', rest)) => {
                let length = length(rest, LONGEST_VALUE)?;
                value(source, length).map(|value| Self::Value(value.to_vec()))
            }
            Some((b'*', rest)) if depth < DEEPEST => {
                let elements = 0..length(rest, LONGEST_VALUE)?;
                elements.map(|_| Self::read_at(source, depth + 1)).collect::<Result<_, _>>().map(Self::Array)
            }
            _ => Err(Failure::Server(format!("this is not the protocol of Redis: {:?}", text(line)))),
        }
    }

    /// Whether it is the answer to a command that was carried out.
    pub fn is_ok(&self) -> bool {
        matches!(self, Self::Text(text) if text == "OK")
    }

    /// Whether it is the value of a key, or says that there is none.
    pub fn is_value(&self) -> bool {
        matches!(self, Self::Value(_) | Self::Nothing)
    }
}

/// So many bytes and the end of a line, which is left out.
fn value(source: &mut impl Source, length: usize) -> Result<&[u8], Failure> {
    let value = source.exactly(length.saturating_add(END_OF_LINE.len()))?.strip_suffix(END_OF_LINE);
    value.ok_or_else(|| Failure::Server("a value of Redis does not end where it should".to_owned()))
}

fn length(text: &[u8], longest: usize) -> Result<usize, Failure> {
    let length = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
    length.filter(|length| *length <= longest).ok_or_else(|| {
        let text = String::from_utf8_lossy(text);
        Failure::Server(format!("a reply of Redis has a length that cannot be: {text:?}"))
    })
}

/// An error of Redis, with what can be done about it where the user's own choice is the cause.
pub fn explained(error: &str) -> String {
    match error.split(' ').next() {
        Some("READONLY") => {
            format!("this member is a replica and takes no writes, run with --via leader: {error}")
        }
        Some("MOVED") => format!("this member has not all keys, Redis Cluster is not followed: {error}"),
        _ => error.to_owned(),
    }
}

/// The reply, unless it is an error.
pub fn without_error(reply: Reply) -> Result<Reply, Failure> {
    match reply {
        Reply::Error(error) => Err(Failure::Server(explained(&error))),
        reply => Ok(reply),
    }
}

/// A reply to something else, it seems.
pub fn unexpected(reply: &Reply) -> Failure {
    let kind = match reply {
        Reply::Text(_) => "a text",
        Reply::Error(error) => error,
        Reply::Number(_) => "a number",
        Reply::Value(_) => "a value",
        Reply::Nothing => "nothing",
        Reply::Array(_) => "an array",
    };
    Failure::Server(format!("Redis gave an unexpected reply: {kind}"))
}

/// What the reply to ROLE says.
pub fn role(reply: &Reply) -> Role {
    let Reply::Array(parts) = reply else { return Role::Unknown };
    match parts.first() {
        Some(Reply::Value(role)) if role == b"master" => Role::Leader,
        Some(Reply::Value(role)) if role == b"slave" => Role::Follower,
        _ => Role::Unknown,
    }
}

/// What one step of a scan has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Where to go on.
    pub cursor: Vec<u8>,
    /// How many keys.
    pub count: usize,
    /// The keys, each with its length, as they came: so does a command want its words. Taking them apart
    /// would halve the number of keys that one call of a plugin can remove.
    pub words: Vec<u8>,
}

impl Found {
    /// Reads the reply to SCAN.
    pub fn read(source: &mut impl Source) -> Result<Self, Failure> {
        let line = source.line(LONGEST_LINE)?;
        match line.split_first() {
            Some((b'*', b"2")) => {}
            Some((b'-', error)) => return Err(Failure::Server(explained(&String::from_utf8_lossy(error)))),
            _ => return Err(no_scan()),
        }
        let length = announced(source, b'$')?;
        let cursor = value(source, length)?.to_vec();
        let count = announced(source, b'*')?;
        let mut words = Vec::new();
        for _ in 0..count {
            let length = announced(source, b'$')?;
            commands::push_length(&mut words, b'$', length);
            words.extend_from_slice(value(source, length)?);
            words.extend_from_slice(END_OF_LINE);
        }
        Ok(Self { cursor, count, words })
    }
}

/// The length in a line of this kind.
fn announced(source: &mut impl Source, kind: u8) -> Result<usize, Failure> {
    match source.line(LONGEST_LINE)?.split_first() {
        Some((found, text)) if *found == kind => length(text, LONGEST_VALUE),
        _ => Err(no_scan()),
    }
}

fn no_scan() -> Failure {
    Failure::Server("Redis gave an unexpected reply to SCAN".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Source for &[u8] {
        fn line(&mut self, longest: usize) -> Result<&[u8], Failure> {
            let end = self.iter().take(longest).position(|byte| *byte == b'\n').ok_or(Failure::Timeout)?;
            let line = self.exactly(end + 1)?;
            Ok(line.strip_suffix(b"\r\n").unwrap())
        }

        fn exactly(&mut self, count: usize) -> Result<&[u8], Failure> {
            let (taken, rest) = self.split_at_checked(count).ok_or(Failure::Timeout)?;
            *self = rest;
            Ok(taken)
        }
    }

    fn read(mut bytes: &[u8]) -> Reply {
        let reply = Reply::read(&mut bytes).unwrap();
        assert!(bytes.is_empty(), "{bytes:?} is left");
        reply
    }

    fn server_failure(mut bytes: &[u8]) -> bool {
        matches!(Reply::read(&mut bytes), Err(Failure::Server(_)))
    }

    #[test]
    fn all_kinds_of_replies_are_read() {
        assert_eq!(read(b"+OK\r\n"), Reply::Text("OK".to_owned()));
        assert_eq!(read(b"-ERR no\r\n"), Reply::Error("ERR no".to_owned()));
        assert_eq!(read(b":-7\r\n"), Reply::Number("-7".to_owned()));
        assert_eq!(read(b"$4\r\na\r\nb\r\n"), Reply::Value(b"a\r\nb".to_vec()));
        assert_eq!([read(b"$-1\r\n"), read(b"*-1\r\n")], [Reply::Nothing, Reply::Nothing]);
        let nested = Reply::Array(vec![Reply::Value(Vec::new()), Reply::Array(Vec::new())]);
        assert_eq!(read(b"*2\r\n$0\r\n\r\n*0\r\n"), nested);
    }

    #[test]
    fn what_is_no_reply_is_a_failure_of_the_server() {
        for bytes in
            [&b"HTTP/1.1 400\r\n"[..], b"\r\n", b"$x\r\n", b"$-2\r\n", b"$99999999999\r\n", b"$1\r\nabc"]
        {
            assert!(server_failure(bytes), "{bytes:?}");
        }
        assert!(server_failure(&b"*1\r\n".repeat(1_000)), "arrays without end");
    }

    #[test]
    fn a_reply_that_is_cut_off_waits_for_more() {
        for mut bytes in [&b""[..], b"+O", b"$4\r\nab", b"$2\r\nab", b"*2\r\n:1\r\n"] {
            assert!(matches!(Reply::read(&mut bytes), Err(Failure::Timeout)));
        }
    }

    #[test]
    fn operations_know_what_they_want() {
        assert!(read(b"+OK\r\n").is_ok() && !read(b"+PONG\r\n").is_ok());
        assert!(
            read(b"$-1\r\n").is_value() && read(b"$1\r\na\r\n").is_value() && !read(b":1\r\n").is_value()
        );
    }

    #[test]
    fn roles_are_as_redis_says_them() {
        let master =
            b"*3\r\n$6\r\nmaster\r\n:3129659\r\n*1\r\n*3\r\n$9\r\n127.0.0.1\r\n$4\r\n9001\r\n$1\r\n0\r\n";
        assert_eq!(role(&read(master)), Role::Leader);
        assert_eq!(role(&read(b"*2\r\n$5\r\nslave\r\n$9\r\n127.0.0.1\r\n")), Role::Follower);
        assert_eq!(role(&read(b"*1\r\n$8\r\nsentinel\r\n")), Role::Unknown);
        assert_eq!(role(&read(b"-NOAUTH Authentication required.\r\n")), Role::Unknown);
    }

    #[test]
    fn a_scan_says_where_to_go_on() {
        let found = |mut bytes: &[u8]| Found::read(&mut bytes);
        let two = found(b"*2\r\n$2\r\n17\r\n*2\r\n$1\r\na\r\n$2\r\nbc\r\n").unwrap();
        let words = b"$1\r\na\r\n$2\r\nbc\r\n".to_vec();
        assert_eq!(two, Found { cursor: b"17".to_vec(), count: 2, words });
        assert_eq!(found(b"*2\r\n$1\r\n0\r\n*0\r\n").unwrap().count, 0);
        for strange in [&b"*1\r\n:1\r\n"[..], b"+OK\r\n", b"*2\r\n:1\r\n", b"*2\r\n$1\r\n0\r\n*1\r\n:1\r\n"] {
            assert!(matches!(found(strange), Err(Failure::Server(text)) if text.contains("SCAN")));
        }
        assert!(matches!(found(b"-ERR x\r\n"), Err(Failure::Server(text)) if text == "ERR x"));
    }

    #[test]
    fn a_write_to_a_replica_is_explained() {
        let text = explained("READONLY You can't write against a read only replica.");
        assert!(text.contains("--via leader") && text.contains("can't write"), "{text}");
        assert_eq!(explained("LOADING x"), "LOADING x");
    }
}
