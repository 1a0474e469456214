//! Behind the door: what every object of a connection needs, and the record of who changed what.

use std::sync::Arc;

use faultd_api::{
    dictionary::{self, Dictionary},
    error::Error,
};
use serde::Serialize;
use tokio::sync::Mutex;
use zbus::{ObjectServer, message::Header};

use super::{
    caller::Caller,
    door::Door,
    errors::of_dictionary,
    manager::Services,
    objects::{Objects, refresh},
};
use crate::{audit::Entry, policy::Right};

/// One for each connection of the private socket, and one for the system bus.
pub(super) struct Desk {
    pub(super) services: Services,
    /// Who calls, and whether they may.
    pub(super) door: Arc<Door>,
    /// The objects on this connection.
    pub(super) objects: Mutex<Objects>,
}

/// For the record: a request that is not understood. It is refused after its caller's rights have been looked at.
pub(super) const UNREADABLE: &str = "a request that cannot be read";

/// What was done, for its caller and for the record.
pub(super) struct Done<T> {
    pub(super) value: T,
    /// Which fault, run or lab it became.
    pub(super) detail: String,
    /// Until when it holds at most.
    pub(super) until: Option<jiff::Timestamp>,
}

impl<T> Done<T> {
    pub(super) fn new(value: T, detail: impl Into<String>) -> Self {
        Self { value, detail: detail.into(), until: None }
    }
}

impl Desk {
    pub(super) fn new(services: Services, door: Door) -> Arc<Self> {
        Arc::new(Self { services, door: Arc::new(door), objects: Mutex::default() })
    }

    /// Who calls, if they may do this.
    pub(super) async fn admit(&self, header: &Header<'_>, right: Right) -> Result<Caller, Error> {
        self.door.admit(header, &self.services.permits, right).await
    }

    /// Does what changes something, if the caller may, and writes down what came of it.
    pub(super) async fn audited<T>(
        &self,
        header: &Header<'_>,
        right: Right,
        subject: &str,
        work: impl AsyncFnOnce(Caller) -> Result<Done<T>, Error>,
    ) -> Result<T, Error> {
        let begin = jiff::Timestamp::now();
        let method = header.member().map_or("", |member| member.as_str());
        let caller = self.door.caller(header).await?;
        let result = match self.door.permit(&caller, header, &self.services.permits, right).await {
            Ok(()) => work(caller.clone()).await,
            Err(error) => Err(error),
        };
        let (word, detail, until) = match &result {
            Ok(done) => ("done", done.detail.clone(), done.until),
            Err(error) => (error.word(), error.message(), None),
        };
        self.services.audit.write(&Entry {
            time: begin,
            connection: &caller.connection,
            user: caller.user,
            process: caller.process,
            method,
            subject,
            until,
            result: word,
            detail: &detail,
        });
        result.map(|done| done.value)
    }

    /// Brings the objects on this connection to what there is, so that whoever has just changed something finds it.
    pub(super) async fn refresh(self: &Arc<Self>, server: &ObjectServer) {
        let now = self.services.inventory.snapshot().borrow().clone();
        refresh(self, server, &now).await;
    }
}

pub(super) fn decode<T: serde::de::DeserializeOwned>(request: Dictionary) -> Result<T, Error> {
    dictionary::decode(request).map_err(|error| of_dictionary(&error))
}

pub(super) fn encode<T: Serialize>(reply: &T) -> Result<Dictionary, Error> {
    dictionary::encode(reply).map_err(|error| Error::Failed(error.to_string()))
}

pub(super) fn encode_all<T: Serialize>(replies: &[T]) -> Result<Vec<Dictionary>, Error> {
    replies.iter().map(encode).collect()
}
