//! An object that is loaded ahead of its use: the verifier takes a tenth of a second and more, which no
//! fault should wait for.

use std::{
    sync::Arc,
    thread::{self, JoinHandle},
};

use super::{DatapathError, instance::Loaded};

type Loading = JoinHandle<Result<Loaded, DatapathError>>;

/// Loads objects when they are needed, or before that.
pub(super) struct Spare {
    object: Arc<[u8]>,
    is_kept: bool,
    /// Ready, or on its way.
    loading: Option<Loading>,
}

impl Spare {
    /// Of this object; none is kept until [`Spare::keep`].
    pub(super) fn of(object: &[u8]) -> Self {
        Self { object: object.into(), is_kept: false, loading: None }
    }

    /// Has one ready from soon on, and again after each time that it was taken.
    pub(super) fn keep(&mut self) {
        self.is_kept = true;
        self.refill();
    }

    /// The one that is ready, or one that is loaded now.
    pub(super) fn take(&mut self) -> Result<Loaded, DatapathError> {
        let loaded = self.loading.take().and_then(|loading| loading.join().ok());
        self.refill();
        // What went wrong ahead may go well now.
        loaded.and_then(Result::ok).map_or_else(|| Loaded::load(&self.object), Ok)
    }

    fn refill(&mut self) {
        if !self.is_kept || self.loading.is_some() {
            return;
        }
        let object = Arc::clone(&self.object);
        let builder = thread::Builder::new().name("faultd-spare".to_owned());
        // Without a thread there is no spare, and each one is loaded when it is needed.
        self.loading = builder.spawn(move || Loaded::load(&object)).ok();
    }
}

impl Drop for Spare {
    fn drop(&mut self) {
        if let Some(loading) = self.loading.take() {
            drop(loading.join());
        }
    }
}
