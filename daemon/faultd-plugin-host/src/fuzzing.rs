//! The door for fuzz targets: parsers of bytes that come from outside, one function each. It says whether
//! something was read out of the bytes, and panics where it is not what it must be.

use hyper::header::{HOST, HeaderValue};

use crate::{bindings::driver::faultd::plugin::http, http::checked};

/// A request of a plugin: its path in the first line, then headers: what is let through goes to the host's
/// own address.
pub fn plugin_request(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let mut lines = text.split('\n');
    let path = lines.next().unwrap_or_default().to_owned();
    let headers = lines.filter_map(|line| line.split_once(':'));
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let request = http::Request { member: 0, path, headers, body: Vec::new() };
    let Ok(request) = checked(request, &HeaderValue::from_static("member")) else { return false };
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
