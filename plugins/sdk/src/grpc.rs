//! Unary gRPC calls to the members, for clusters whose own clients speak it. Messages are bytes here: how
//! they are encoded is the driver's affair.

use percent_encoding::percent_decode_str;

use crate::driver::{Failure, Request, Response, Version, send};

/// Length of what stands before each message: whether it is compressed, and its length.
const PREFIX_BYTES: usize = 5;

/// What gRPC calls the end of a call that succeeded.
const STATUS_OK: &str = "0";

/// Calls `path`, such as `/etcdserverpb.KV/Put`, on a member and returns the message of its answer.
///
/// # Errors
/// There was no complete answer, or it is an error, then in the member's own words.
pub fn call(member: u32, path: &str, message: &[u8]) -> Result<Vec<u8>, Failure> {
    let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let response = send(&Request {
        member,
        version: Version::Http2,
        method: "POST".to_owned(),
        path: path.to_owned(),
        headers: vec![header("content-type", "application/grpc"), header("te", "trailers")],
        body: framed(message),
    })?;
    answer(&response).map(<[u8]>::to_vec).map_err(Failure::Server)
}

/// A message as it goes over the wire, not compressed.
fn framed(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    let mut frame = Vec::with_capacity(PREFIX_BYTES + message.len());
    frame.push(0);
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(message);
    frame
}

/// The message of an answer.
fn answer(response: &Response) -> Result<&[u8], String> {
    match status(response) {
        Some(STATUS_OK) => unframed(&response.body),
        Some(status) => Err(refusal(response, status)),
        None if response.status == 200 => Err("the answer has no grpc-status".to_owned()),
        None => Err(format!("status {}", response.status)),
    }
}

/// Trailers say how a call has ended; an answer without a body says it in its headers.
fn status(response: &Response) -> Option<&str> {
    field(response, "grpc-status")
}

fn field<'a>(response: &'a Response, name: &str) -> Option<&'a str> {
    let fields = response.trailers.iter().chain(&response.headers);
    let mut values = fields.filter(|(field, _)| field == name).map(|(_, value)| value.as_str());
    values.next()
}

fn refusal(response: &Response, status: &str) -> String {
    match field(response, "grpc-message") {
        Some(message) if !message.is_empty() => percent_decode_str(message).decode_utf8_lossy().into_owned(),
        _ => format!("gRPC status {status}"),
    }
}

/// The one message of a body.
fn unframed(body: &[u8]) -> Result<&[u8], String> {
    let cut_off = || format!("a gRPC message of {} bytes is not complete", body.len());
    let (prefix, message) = body.split_first_chunk::<PREFIX_BYTES>().ok_or_else(cut_off)?;
    let [compressed, length @ ..] = *prefix;
    if compressed != 0 {
        return Err("the gRPC message is compressed, which was not asked for".to_owned());
    }
    if usize::try_from(u32::from_be_bytes(length)) != Ok(message.len()) {
        return Err(cut_off());
    }
    Ok(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(status: u16, headers: &[(&str, &str)], body: &[u8], trailers: &[(&str, &str)]) -> Response {
        let owned = |fields: &[(&str, &str)]| {
            fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        Response { status, headers: owned(headers), body: body.to_vec(), trailers: owned(trailers) }
    }

    #[test]
    fn a_message_has_its_length_in_front() {
        assert_eq!(framed(b"abc"), b"\0\0\0\0\x03abc");
        assert_eq!(unframed(&framed(b"abc")), Ok(&b"abc"[..]));
        assert_eq!(unframed(&framed(b"")), Ok(&b""[..]));
    }

    #[test]
    fn a_message_that_is_cut_off_too_long_or_compressed_is_none() {
        for body in [&b""[..], b"\0\0\0\0", b"\0\0\0\0\x03ab", b"\0\0\0\0\x03abcd", b"\x01\0\0\0\x03abc"] {
            assert!(unframed(body).is_err(), "{body:?}");
        }
    }

    #[test]
    fn an_answer_counts_only_when_its_trailers_say_so() {
        let ok = [("grpc-status", "0"), ("grpc-message", "")];
        assert_eq!(answer(&response(200, &[], b"\0\0\0\0\x01a", &ok)), Ok(&b"a"[..]));
        let without = response(200, &[], b"\0\0\0\0\x01a", &[]);
        assert_eq!(answer(&without), Err("the answer has no grpc-status".to_owned()));
        assert_eq!(answer(&response(502, &[], b"<html>", &[])), Err("status 502".to_owned()));
    }

    #[test]
    fn an_error_is_told_in_the_words_of_the_member() {
        let unavailable = [("grpc-status", "14"), ("grpc-message", "etcdserver: no leader")];
        let told = Err("etcdserver: no leader".to_owned());
        assert_eq!(answer(&response(200, &unavailable, b"", &[])), told, "as headers alone");
        assert_eq!(answer(&response(200, &[], b"", &unavailable)), told, "as trailers");
        let silent = response(200, &[("grpc-status", "12")], b"", &[]);
        assert_eq!(answer(&silent), Err("gRPC status 12".to_owned()));
    }

    #[test]
    fn the_words_are_decoded() {
        let encoded = [("grpc-status", "2"), ("grpc-message", "no%20leader %C3%A9 100%")];
        assert_eq!(answer(&response(200, &encoded, b"", &[])), Err("no leader é 100%".to_owned()));
    }
}
