//! The driver `http`: sends one request over and over, or one that reads and one that writes.
//!
//! Settings:
//! * `method` (default `GET`), `path` (default `/`), `body` (default none): the request. `{key}` in path and
//!   body becomes the number of the key, in 12 digits, and `{value}` in the body a random text of the run's
//!   value size.
//! * `write-method` (default `PUT`), `write-path` (default `path`), `write-body` (default `{value}`): with any of
//!   these, writes are a request of their own, and the kinds of operations are `read` and `write`. Without,
//!   there is one kind, `request`.
//! * `expect` (default `200-299`): which statuses are a success, for example `200-299,404`.
//! * `header.NAME=VALUE`: a header of all requests; may be given for several names.
//! * `version`: `http1` (default), or `http2` without TLS.
//!
//! Redirects are not followed: a 302 is a failure unless it is expected.

mod options;
mod statuses;

use faultd_plugin_sdk::driver::{
    Driver, Failure, Operation, Outcome, Request, Role, Settings, Version, outcome, send,
};
use faultd_plugin_sdk::export_driver;
use faultd_plugin_sdk::random::Random;

use crate::options::{Asked, Options};

/// One client.
struct HttpClient {
    members: usize,
    serving: u32,
    options: Options,
    /// What stands for `{value}`.
    value: String,
}

export_driver!(HttpClient);

impl Driver for HttpClient {
    fn start(settings: Settings) -> Result<Self, String> {
        Ok(Self {
            members: settings.members.len(),
            serving: settings.serving,
            options: Options::read(&settings.settings)?,
            value: random_text(&mut Random::from_host(), settings.value_bytes),
        })
    }

    fn fill(&mut self, first: u64, count: u64) -> Result<(), String> {
        // Where nothing writes there is nothing to fill.
        let Some(write) = &self.options.write else { return Ok(()) };
        for key in first..first.saturating_add(count) {
            self.request(write, key)
                .map_err(|failure| format!("key {key}: {}", faultd_plugin_sdk::driver::text(&failure)))?;
        }
        Ok(())
    }

    fn operate(&mut self, Operation { key, reads }: Operation) -> Outcome {
        match &self.options.write {
            None => outcome("request", self.request(&self.options.read, key)),
            Some(_) if reads => outcome("read", self.request(&self.options.read, key)),
            Some(write) => outcome("write", self.request(write, key)),
        }
    }

    fn roles(&mut self) -> Result<Vec<Role>, String> {
        Ok(vec![Role::Unknown; self.members])
    }
}

impl HttpClient {
    fn request(&self, asked: &Asked, key: u64) -> Result<(), Failure> {
        let response = send(&Request {
            member: self.serving,
            version: if self.options.http2 { Version::Http2 } else { Version::Http1 },
            method: asked.method.clone(),
            path: asked.path(key),
            headers: self.options.headers.clone(),
            body: asked.body(key, &self.value).into_bytes(),
        })?;
        if self.options.expect.contains(response.status) {
            return Ok(());
        }
        Err(Failure::Server(format!("status {}", response.status)))
    }
}

/// Digits and letters, which need no escapes in any kind of body.
fn random_text(random: &mut Random, bytes: u32) -> String {
    const BASE: u32 = 32;
    let digit = |byte: &u8| char::from_digit(u32::from(*byte) % BASE, BASE);
    random.bytes(bytes).iter().filter_map(digit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_plain_text_of_the_size_asked_for() {
        let value = random_text(&mut Random::from_seed(1), 100);
        assert_eq!(value.len(), 100);
        assert!(value.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{value}");
    }
}
