//! Follows what moves while a fault holds, and tells the engine: containers, by what their engines say, and
//! other peers that are called by a name, by looking for them again and again.

mod containers;
mod peers;

use crate::{engine::EngineHandle, target::Targets};

/// Follows until the engine ends.
pub async fn follow(engine: EngineHandle, targets: Targets) {
    tokio::join!(
        peers::follow(engine.clone(), targets.clone()),
        containers::follow(engine.clone(), targets.clone())
    );
}
