//! One instance of a plugin: its store, its limits, and what its imports do. Calls are framed here, so that
//! every one has its fuel and every failure becomes a [`PluginError`].

use std::sync::Arc;

use faultd_plugin_manifest::NetworkUse;
use wasmtime::component::{Resource, ResourceTable};
use wasmtime::{Engine, Store, Trap};

use crate::bindings::driver::faultd::plugin::{failures, http, log, random, streams};
use crate::error::{PluginError, Problem, Refusal, one_line};
use crate::http::HttpConnections;
use crate::limits::{MemoryExceeded, MemoryGuard, PluginLimits};
use crate::log::{BoundedLog, LogLevel, LogSink};
use crate::random::Random;
use crate::reach::Reach;
use crate::streams::MemberStream;

/// The most streams that one instance may have open.
const MOST_STREAMS: usize = 16;

/// What the imports of one instance work on.
pub(crate) struct PluginState {
    memory: MemoryGuard,
    log: BoundedLog,
    random: Random,
    reach: Reach,
    http: HttpConnections,
    streams: ResourceTable,
    open_streams: usize,
    exchanges_left: u32,
    exchanges_per_call: u32,
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
        reach: Reach,
        members: usize,
    ) -> Self {
        let state = PluginState {
            memory: MemoryGuard::new(&limits),
            log: BoundedLog::new(log, limits.log_lines, limits.transfer_bytes),
            random: Random::from_seed(seed),
            reach,
            http: HttpConnections::new(members, limits.response_bytes),
            streams: ResourceTable::new(),
            open_streams: 0,
            exchanges_left: 0,
            exchanges_per_call: limits.exchanges_per_call,
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
        self.store.data_mut().exchanges_left = self.limits.exchanges_per_call;
        self.store.data_mut().log.begin();
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
        // The engine has no name for this one.
        let cause = error.root_cause().to_string();
        if cause.starts_with("too much data is being copied") {
            return Problem::TooMuchData { call, bytes: self.limits.transfer_bytes };
        }
        match error.downcast_ref() {
            Some(Trap::OutOfFuel) => Problem::OutOfFuel { call, fuel: self.limits.fuel_per_call },
            _ => Problem::Crashed { call, trap: one_line(&cause) },
        }
    }
}

impl log::Host for PluginState {
    fn write(&mut self, level: log::Level, message: String) -> wasmtime::Result<()> {
        let level = match level {
            log::Level::Error => LogLevel::Error,
            log::Level::Warning => LogLevel::Warning,
            log::Level::Info => LogLevel::Info,
            log::Level::Debug => LogLevel::Debug,
        };
        Ok(self.log.write(level, &message)?)
    }
}

impl random::Host for PluginState {
    fn next_u64(&mut self) -> u64 {
        self.random.next()
    }
}

impl PluginState {
    fn count_exchange(&mut self) -> Result<(), Refusal> {
        let left = self.exchanges_left.checked_sub(1);
        self.exchanges_left = left.ok_or(Refusal::TooManyExchanges(self.exchanges_per_call))?;
        Ok(())
    }
}

impl failures::Host for PluginState {}

impl http::Host for PluginState {
    async fn send(
        &mut self,
        request: http::Request,
    ) -> wasmtime::Result<Result<http::Response, failures::Failure>> {
        self.count_exchange()?;
        Ok(self.http.send(&mut self.reach, request).await?)
    }
}

impl streams::Host for PluginState {}

impl streams::HostConnection for PluginState {
    async fn open(
        &mut self,
        member: u32,
    ) -> wasmtime::Result<Result<Resource<MemberStream>, failures::Failure>> {
        self.count_exchange()?;
        self.reach.check_use(NetworkUse::Streams)?;
        let (position, _) = self.reach.member(member)?;
        if self.open_streams >= MOST_STREAMS {
            return Err(Refusal::TooManyStreams(MOST_STREAMS).into());
        }
        match MemberStream::open(&mut self.reach, position).await {
            Ok(stream) => {
                let stream = self.streams.push(stream)?;
                self.open_streams += 1;
                Ok(Ok(stream))
            }
            Err(failure) => Ok(Err(failure)),
        }
    }

    async fn write(
        &mut self,
        stream: Resource<MemberStream>,
        bytes: Vec<u8>,
    ) -> wasmtime::Result<Result<(), failures::Failure>> {
        self.count_exchange()?;
        Ok(self.streams.get_mut(&stream)?.write(&self.reach, &bytes).await)
    }

    async fn read(
        &mut self,
        stream: Resource<MemberStream>,
        at_most: u32,
    ) -> wasmtime::Result<Result<Vec<u8>, failures::Failure>> {
        self.count_exchange()?;
        Ok(self.streams.get_mut(&stream)?.read(at_most).await)
    }

    fn drop(&mut self, stream: Resource<MemberStream>) -> wasmtime::Result<()> {
        self.streams.delete(stream)?;
        self.open_streams = self.open_streams.saturating_sub(1);
        Ok(())
    }
}
