//! The door for fuzz targets: parsers of bytes that come from outside, one function each. It says whether
//! something was read out of the bytes, and panics where it is not what it must be.

use faultd_plugin_manifest::Manifest;
use hyper::header::HOST;

use crate::{
    bindings::driver::faultd::plugin::http::{Request, Version},
    http::checked,
};

/// A request of a plugin: its path in the first line, then headers: what is let through goes to the host's
/// own address.
pub fn plugin_request(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let mut lines = text.split('\n');
    let path = lines.next().unwrap_or_default().to_owned();
    let headers = lines.filter_map(|line| line.split_once(':'));
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let request = Request {
        member: 0,
        version: Version::Http1,
        method: "POST".to_owned(),
        path,
        headers,
        body: Vec::new(),
    };
    let over_http2 = checked(Request { version: Version::Http2, ..request.clone() }, "10.0.0.1:80");
    if let Ok(request) = over_http2 {
        assert_eq!(request.uri().authority().map(ToString::to_string).as_deref(), Some("10.0.0.1:80"));
    }
    let Ok(request) = checked(request, "10.0.0.1:80") else { return false };
    assert!(request.uri().authority().is_none() && request.uri().scheme().is_none(), "{}", request.uri());
    assert_eq!(request.headers().get_all(HOST).iter().count(), 1);
    true
}

/// A `plugin.toml`: what is let through is written and read back as it was.
pub fn plugin_manifest(bytes: &[u8]) -> bool {
    // The bytes as a component, too: there is no manifest in them, or one that is read.
    let _ = faultd_plugin_manifest::extract(bytes);
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let Ok(manifest) = Manifest::parse(text) else { return false };
    assert!(!manifest.id.is_empty() && manifest.id.len() <= 64, "{}", manifest.id);
    let component = faultd_plugin_manifest::embed(b"\0asm\x0d\0\x01\0", text);
    let again = component.and_then(|component| faultd_plugin_manifest::extract(&component));
    assert_eq!(again.as_ref(), Ok(&manifest));
    true
}

#[cfg(test)]
mod tests {
    use super::{plugin_manifest, plugin_request};
    use faultd_testkit::seeds::exercise;

    #[test]
    fn no_bytes_break_the_readers_of_this_crate() {
        exercise("plugin_request", plugin_request);
        exercise("plugin_manifest", plugin_manifest);
    }
}
