//! What the user asked for. Everything is checked here, so that no request can break the host's rules later.

use faultd_plugin_sdk::settings;
use http::uri::PathAndQuery;
use http::{HeaderName, HeaderValue, Method};

use crate::statuses::Statuses;

/// Settings that begin so are headers.
const HEADER: &str = "header.";

/// Headers that the host sends itself.
const HEADERS_OF_THE_HOST: [HeaderName; 7] = [
    http::header::HOST,
    http::header::CONTENT_LENGTH,
    http::header::CONNECTION,
    http::header::TRANSFER_ENCODING,
    http::header::UPGRADE,
    http::header::TRAILER,
    http::header::TE,
];

/// The settings of one client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The request that reads, or the only one.
    pub read: Asked,
    /// The request that writes, if it is another one.
    pub write: Option<Asked>,
    /// Headers of all requests.
    pub headers: Vec<(String, String)>,
    /// The statuses that are a success.
    pub expect: Statuses,
    /// Whether requests are carried by HTTP/2.
    pub http2: bool,
}

/// One request, with places for key and value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Its method.
    pub method: String,
    path: String,
    body: String,
}

impl Options {
    /// From what the user wrote.
    pub fn read(settings: &[(String, String)]) -> Result<Self, String> {
        let (headers, others): (Vec<_>, Vec<_>) =
            settings.iter().cloned().partition(|(name, _)| name.starts_with(HEADER));
        let [method, path, body, write_method, write_path, write_body, expect, version] = settings::read(
            &others,
            ["method", "path", "body", "write-method", "write-path", "write-body", "expect", "version"],
        )?;
        let path = path.unwrap_or_else(|| "/".to_owned());
        let has_write = write_method.is_some() || write_path.is_some() || write_body.is_some();
        let write = has_write.then(|| Asked {
            method: write_method.unwrap_or_else(|| "PUT".to_owned()),
            path: write_path.unwrap_or_else(|| path.clone()),
            body: write_body.unwrap_or_else(|| "{value}".to_owned()),
        });
        let method = method.unwrap_or_else(|| "GET".to_owned());
        let read = Asked { method, path, body: body.unwrap_or_default() };
        Ok(Self {
            read: read.checked("")?,
            write: write.map(|write| write.checked("write-")).transpose()?,
            headers: headers.iter().map(|(name, value)| header(name, value)).collect::<Result<_, _>>()?,
            expect: expect.map_or(Ok(Statuses::successes()), |text| Statuses::parse(&text))?,
            http2: is_http2(version.as_deref())?,
        })
    }
}

impl Asked {
    /// Its path for a key.
    pub fn path(&self, key: u64) -> String {
        with_key(&self.path, key)
    }

    /// Its body for a key.
    pub fn body(&self, key: u64, value: &str) -> String {
        with_key(&self.body, key).replace("{value}", value)
    }

    /// Itself, if it can be sent; `prefix` is what the names of its settings begin with.
    fn checked(self, prefix: &str) -> Result<Self, String> {
        let method = Method::try_from(self.method.as_str()).ok().filter(|method| method != Method::CONNECT);
        method.ok_or_else(|| format!("setting {prefix}method is no method: {:?}", self.method))?;
        let path = self.path(0);
        if !path.starts_with('/') || PathAndQuery::try_from(path).is_err() {
            return Err(format!("setting {prefix}path is no path that begins with /: {:?}", self.path));
        }
        Ok(self)
    }
}

/// Keys have one length, so that every operation costs the same.
fn with_key(text: &str, key: u64) -> String {
    text.replace("{key}", &format!("{key:012}"))
}

fn header(setting: &str, value: &str) -> Result<(String, String), String> {
    let name = setting.strip_prefix(HEADER).unwrap_or(setting);
    let parsed = HeaderName::try_from(name).map_err(|_| format!("setting {setting:?} names no header"))?;
    if HEADERS_OF_THE_HOST.contains(&parsed) {
        return Err(format!("setting {setting:?}: this header is set by the daemon itself"));
    }
    HeaderValue::try_from(value).map_err(|_| format!("setting {setting:?} has no value of a header"))?;
    Ok((name.to_owned(), value.to_owned()))
}

fn is_http2(version: Option<&str>) -> Result<bool, String> {
    match version {
        None | Some("http1") => Ok(false),
        Some("http2") => Ok(true),
        Some(other) => Err(format!("setting version is http1 or http2, not {other:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(settings: &[(&str, &str)]) -> Result<Options, String> {
        let owned = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Options::read(&owned.collect::<Vec<_>>())
    }

    #[test]
    fn without_settings_the_root_is_read() {
        let options = read(&[]).unwrap();
        assert_eq!((options.read.method.as_str(), options.read.path(1)), ("GET", "/".to_owned()));
        assert_eq!((options.read.body(1, "v"), options.write), (String::new(), None));
        assert_eq!((options.headers, options.expect, options.http2), (vec![], Statuses::successes(), false));
    }

    #[test]
    fn key_and_value_are_put_in_their_places() {
        let options = read(&[("path", "/a/{key}?k={key}"), ("body", r#"{"{key}":"{value}"}"#)]).unwrap();
        assert_eq!(options.read.path(7), "/a/000000000007?k=000000000007");
        assert_eq!(options.read.body(7, "v"), r#"{"000000000007":"v"}"#);
    }

    #[test]
    fn one_setting_of_writes_is_enough_to_have_them() {
        let write = read(&[("path", "/{key}"), ("write-method", "POST")]).unwrap().write.unwrap();
        assert_eq!(
            (write.method.as_str(), write.path(1), write.body(1, "v")),
            ("POST", "/000000000001".into(), "v".into())
        );
        let write = read(&[("write-path", "/w")]).unwrap().write.unwrap();
        assert_eq!((write.method.as_str(), write.path(1)), ("PUT", "/w".to_owned()));
    }

    #[test]
    fn headers_are_as_many_as_given() {
        let options = read(&[("header.X-A", "1"), ("header.x-b", "2"), ("version", "http2")]).unwrap();
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!((options.headers, options.http2), (vec![pair("X-A", "1"), pair("x-b", "2")], true));
    }

    #[test]
    fn what_cannot_be_sent_is_refused_with_the_name_of_its_setting() {
        let table = [
            ("path", "v3", "setting path"),
            ("path", "/a b", "setting path"),
            ("write-path", "http://x/", "setting write-path"),
            ("method", "", "setting method"),
            ("method", "CONNECT", "setting method"),
            ("write-method", "A B", "setting write-method"),
            ("header.Host", "x", "by the daemon"),
            ("header.TE", "trailers", "by the daemon"),
            ("header.a b", "x", "no header"),
            ("header.", "x", "no header"),
            ("header.a", "x\ny", "no value"),
            ("version", "3", "http1 or http2"),
            ("expect", "ok", "setting expect"),
            ("url", "/", "unknown setting"),
        ];
        for (name, value, text) in table {
            let refused = read(&[(name, value)]).unwrap_err();
            assert!(refused.contains(text), "{refused}");
        }
    }
}
