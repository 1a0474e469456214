//! The door for fuzz targets: parsers of bytes that come from outside, one function each. It says whether
//! something was read out of the bytes, and panics where it is not what it must be.

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

#[cfg(test)]
mod tests {
    use super::plugin_request;
    use faultd_testkit::seeds::exercise;

    #[test]
    fn no_bytes_break_the_readers_of_this_crate() {
        exercise("plugin_request", plugin_request);
    }
}
