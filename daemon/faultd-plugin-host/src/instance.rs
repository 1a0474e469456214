//! One instance of a plugin: its store, its limits, and what its imports do. Calls are framed here, so that
//! every one has its fuel and every failure becomes a [`PluginError`].

use std::sync::Arc;

use wasmtime::{Engine, Store, Trap};

use crate::bindings::driver::faultd::plugin::{http, log, random};
use crate::error::{PluginError, Problem, Refusal, one_line};
use crate::http::MemberConnections;
use crate::limits::{MemoryExceeded, MemoryGuard, PluginLimits};
use crate::log::{BoundedLog, LogLevel, LogSink};
use crate::random::Random;

/// What the imports of one instance work on.
pub(crate) struct PluginState {
    memory: MemoryGuard,
    log: BoundedLog,
    random: Random,
    connections: MemberConnections,
    requests_left: u32,
    requests_per_call: u32,
}

/// One instance and whether it can be called.
pub(crate) struct Instance {
    plugin: Arc<str>,
    limits: PluginLimits,
    pub(crate) store: Store<PluginState>,
    usable: bool,
}

impl Instance {
    pub(crate) fn new(
        engine: &Engine,
        plugin: Arc<str>,
        limits: PluginLimits,
        log: LogSink,
        seed: u64,
        connections: MemberConnections,
    ) -> Self {
        let state = PluginState {
            memory: MemoryGuard::new(&limits),
            log: BoundedLog::new(log, limits.log_lines),
            random: Random::from_seed(seed),
            connections,
            requests_left: 0,
            requests_per_call: limits.requests_per_call,
        };
        let mut store = Store::new(engine, state);
        store.limiter(|state| &mut state.memory);
        store.set_hostcall_fuel(limits.transfer_bytes);
        Self { plugin, limits, store, usable: true }
    }

    /// To be called before each call of the guest. Until [`Self::end`] the instance counts as unusable, which
    /// it stays if the call traps or its future is dropped.
    pub(crate) fn begin(&mut self) -> Result<(), PluginError> {
        if !std::mem::replace(&mut self.usable, false) {
            return Err(self.error(Problem::Unusable));
        }
        self.store.data_mut().requests_left = self.limits.requests_per_call;
        let fuel = self.store.set_fuel(self.limits.fuel_per_call);
        fuel.and_then(|()| self.store.fuel_async_yield_interval(Some(self.limits.fuel_between_yields.max(1))))
            .map_err(|error| self.error(Problem::Incompatible(one_line(&format!("{error:#}")))))
    }

    /// To be called with the result of each call of the guest.
    pub(crate) fn end<T>(
        &mut self,
        call: &'static str,
        result: wasmtime::Result<T>,
    ) -> Result<T, PluginError> {
        let answer = result.map_err(|error| self.error(self.problem(call, &error)))?;
        self.usable = true;
        Ok(answer)
    }

    pub(crate) fn error(&self, problem: Problem) -> PluginError {
        PluginError::Plugin { plugin: Arc::clone(&self.plugin), problem }
    }

    /// The plugin's own words, as an error.
    pub(crate) fn failed(&self, call: &'static str, message: &str) -> PluginError {
        self.error(Problem::Failed { call, message: one_line(message) })
    }

    fn problem(&self, call: &'static str, error: &wasmtime::Error) -> Problem {
        if let Some(MemoryExceeded { bytes }) = error.downcast_ref() {
            return Problem::OutOfMemory { call, bytes: *bytes };
        }
        if let Some(refusal) = error.downcast_ref::<Refusal>() {
            return Problem::Refused { call, refusal: refusal.clone() };
        }
        match error.downcast_ref() {
            Some(Trap::OutOfFuel) => Problem::OutOfFuel { call, fuel: self.limits.fuel_per_call },
            _ => Problem::Crashed { call, trap: one_line(&error.root_cause().to_string()) },
        }
    }
}

impl log::Host for PluginState {
    fn write(&mut self, level: log::Level, message: String) {
        let level = match level {
            log::Level::Error => LogLevel::Error,
            log::Level::Warning => LogLevel::Warning,
            log::Level::Info => LogLevel::Info,
            log::Level::Debug => LogLevel::Debug,
        };
        self.log.write(level, &message);
    }
}

impl random::Host for PluginState {
    fn next_u64(&mut self) -> u64 {
        self.random.next()
    }
}

impl http::Host for PluginState {
    async fn post(
        &mut self,
        request: http::Request,
    ) -> wasmtime::Result<Result<http::Response, http::Failure>> {
        self.requests_left =
            self.requests_left.checked_sub(1).ok_or(Refusal::TooManyRequests(self.requests_per_call))?;
        Ok(self.connections.post(request).await?)
    }
}
