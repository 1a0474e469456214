//! An interface whose properties are for those alone who may read. What its methods need, each of them asks for itself.

use std::{collections::HashMap, fmt::Write, sync::Arc};

use async_trait::async_trait;
use faultd_api::error::Error;
use zbus::{
    BoxDBusError, Connection, ObjectServer, OwnedVariant, Variant, fdo,
    message::{Header, Message},
    names::{InterfaceName, MemberName},
    object_server::{DispatchResult, Interface, SignalEmitter},
};

use super::desk::Desk;

pub(super) struct Guarded<I> {
    inner: I,
    desk: Arc<Desk>,
    /// Whether its methods are for those alone who may read, too: they cannot ask themselves.
    guards_methods: bool,
}

impl<I> Guarded<I> {
    pub(super) fn properties(inner: I, desk: &Arc<Desk>) -> Self {
        Self { inner, desk: Arc::clone(desk), guards_methods: false }
    }

    pub(super) fn everything(inner: I, desk: &Arc<Desk>) -> Self {
        Self { inner, desk: Arc::clone(desk), guards_methods: true }
    }

    /// Without a header it is we who ask, to tell others.
    async fn admit(&self, header: Option<&Header<'_>>) -> Result<(), Error> {
        let Some(header) = header else { return Ok(()) };
        self.desk.door.admit_reader(header, &self.desk.services.permits).await
    }
}

#[async_trait]
impl<I: Interface> Interface for Guarded<I> {
    fn name() -> InterfaceName<'static> {
        I::name()
    }

    fn spawn_tasks_for_methods(&self) -> bool {
        self.inner.spawn_tasks_for_methods()
    }

    async fn get(
        &self,
        property_name: &str,
        server: &ObjectServer,
        connection: &Connection,
        header: Option<&Header<'_>>,
        emitter: &SignalEmitter<'_>,
    ) -> Option<Result<OwnedVariant, BoxDBusError>> {
        if let Err(error) = self.admit(header).await {
            return Some(Err(Box::new(error)));
        }
        self.inner.get(property_name, server, connection, header, emitter).await
    }

    async fn get_all(
        &self,
        server: &ObjectServer,
        connection: &Connection,
        header: Option<&Header<'_>>,
        emitter: &SignalEmitter<'_>,
    ) -> fdo::Result<HashMap<String, OwnedVariant>> {
        self.admit(header).await.map_err(|error| fdo::Error::AccessDenied(error.message()))?;
        self.inner.get_all(server, connection, header, emitter).await
    }

    /// No object has a property that can be set.
    async fn set_mut(
        &mut self,
        _property_name: &str,
        _value: &Variant<'_>,
        _server: &ObjectServer,
        _connection: &Connection,
        _header: Option<&Header<'_>>,
        _emitter: &SignalEmitter<'_>,
    ) -> Option<Result<(), BoxDBusError>> {
        None
    }

    fn call<'call>(
        &'call self,
        server: &'call ObjectServer,
        connection: &'call Connection,
        message: &'call Message,
        name: MemberName<'call>,
    ) -> DispatchResult<'call> {
        match self.inner.call(server, connection, message, name) {
            DispatchResult::Async(answer) if self.guards_methods => {
                DispatchResult::Async(Box::pin(async move {
                    let header = message.header();
                    match self.admit(Some(&header)).await {
                        Ok(()) => answer.await,
                        Err(error) => {
                            connection.reply_dbus_error(&header, error).await?;
                            Ok(())
                        }
                    }
                }))
            }
            other => other,
        }
    }

    fn call_mut<'call>(
        &'call mut self,
        _server: &'call ObjectServer,
        _connection: &'call Connection,
        _message: &'call Message,
        _name: MemberName<'call>,
    ) -> DispatchResult<'call> {
        DispatchResult::NotFound
    }

    fn introspect_to_writer(&self, writer: &mut dyn Write, level: usize) {
        self.inner.introspect_to_writer(writer, level);
    }
}
