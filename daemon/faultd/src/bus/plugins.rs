//! What callers do with plugins, from whichever object they ask.

use faultd_api::{
    dictionary::Dictionary,
    error::Error,
    plugin::CheckRequest,
    units::{LONGEST_DURATION, nanoseconds},
};
use zbus::{OwnedFd, message::Header};

use super::{
    desk::{Desk, decode, encode},
    errors::of_plugin,
};
use crate::policy::Right;

pub(super) async fn inspect(desk: &Desk, header: &Header<'_>, name: &str) -> Result<Dictionary, Error> {
    desk.admit(header, Right::Read).await?;
    encode(&desk.services.plugins.inspect(name).await.map_err(|error| of_plugin(&error))?)
}

pub(super) async fn check(
    desk: &Desk,
    header: &Header<'_>,
    name: &str,
    request: Dictionary,
) -> Result<Dictionary, Error> {
    desk.admit(header, Right::Inject).await?;
    let request = check_request(request)?;
    encode(&desk.services.plugins.check(name, &request).await.map_err(|error| of_plugin(&error))?)
}

pub(super) async fn check_component(
    desk: &Desk,
    header: &Header<'_>,
    component: OwnedFd,
    request: Dictionary,
) -> Result<Dictionary, Error> {
    desk.admit(header, Right::LoadPlugins).await?;
    let request = check_request(request)?;
    let checked = desk.services.plugins.check_component(component.into(), &request).await;
    encode(&checked.map_err(|error| of_plugin(&error))?)
}

pub(super) async fn replay(
    desk: &Desk,
    header: &Header<'_>,
    transcript: OwnedFd,
) -> Result<Dictionary, Error> {
    desk.admit(header, Right::Inject).await?;
    let replayed = desk.services.plugins.replay(transcript.into()).await;
    encode(&replayed.map_err(|error| of_plugin(&error))?)
}

/// A dry run that ends, and whose clock does not overflow.
fn check_request(request: Dictionary) -> Result<CheckRequest, Error> {
    let request: CheckRequest = decode(request)?;
    let longest = nanoseconds(LONGEST_DURATION);
    if (1..=longest).contains(&request.duration_ns) {
        return Ok(request);
    }
    Err(Error::InvalidRequest("a dry run lasts more than 0 and at most 7 days".to_owned()))
}
