//! What happens to containers, from all engines in one queue. An engine that goes away is asked again until
//! it is back.

use std::{sync::Arc, time::Duration};

use bollard::models::{EventMessage, EventMessageTypeEnum};
use futures_util::StreamExt as _;
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{Containers, engine::Engine};

/// How long an engine that is not there is left alone.
const AGAIN_AFTER: Duration = Duration::from_millis(100);
/// How long an engine that answers takes to begin to tell.
const BEGINS_WITHIN: Duration = Duration::from_millis(50);
/// Events that wait to be looked at. Were there more, the engine would wait.
const QUEUE_LENGTH: usize = 256;
/// What changes whether or where a container is connected.
/// The last two are Podman's words.
const OF_INTEREST: [&str; 9] =
    ["start", "die", "stop", "destroy", "rename", "connect", "disconnect", "died", "remove"];

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContainerEvent {
    /// To a container, by its id and, where the engine told it, its name.
    Of {
        /// Its whole id.
        id: String,
        /// Its full name.
        name: Option<String>,
    },
    /// Nobody knows what: events may have been missed.
    Unknown,
}

/// The queue; while it is there, the engines are listened to.
pub struct ContainerEvents {
    queue: mpsc::Receiver<ContainerEvent>,
    _listeners: JoinSet<()>,
}

impl ContainerEvents {
    /// The next event.
    pub async fn next(&mut self) -> ContainerEvent {
        match self.queue.recv().await {
            Some(event) => event,
            // Listeners end with the queue only.
            None => std::future::pending().await,
        }
    }

    /// The next event, if it is there already.
    pub fn next_at_once(&mut self) -> Option<ContainerEvent> {
        self.queue.try_recv().ok()
    }
}

impl Containers {
    /// Listens to all engines from now on.
    #[must_use]
    pub fn events(&self) -> ContainerEvents {
        let (sender, queue) = mpsc::channel(QUEUE_LENGTH);
        let mut listeners = JoinSet::new();
        for number in 0..self.engines.len() {
            listeners.spawn(listen(Arc::clone(&self.engines), number, sender.clone()));
        }
        ContainerEvents { queue, _listeners: listeners }
    }
}

async fn listen(engines: Arc<[Engine]>, number: usize, queue: mpsc::Sender<ContainerEvent>) {
    let Some(engine) = engines.get(number) else { return };
    loop {
        pass_on(engine, &queue).await;
        sleep(AGAIN_AFTER).await;
        if queue.is_closed() {
            return;
        }
    }
}

/// Passes on what an engine tells, until it goes away.
async fn pass_on(engine: &Engine, queue: &mpsc::Sender<ContainerEvent>) {
    if !engine.has_socket() {
        return;
    }
    let Ok(mut events) = engine.events() else { return };
    // Nothing is seen of an engine that tells us everything before there is something to tell: it is asked
    // for its version, and then given a moment to begin. What happened before may have been missed.
    if engine.version().await.is_err() {
        return;
    }
    let mut event = match timeout(BEGINS_WITHIN, events.next()).await {
        Ok(None) => return,
        begun => begun.ok().flatten(),
    };
    let _ = queue.send(ContainerEvent::Unknown).await;
    loop {
        if let Some(event) = event.as_ref().and_then(read)
            && queue.send(event).await.is_err()
        {
            return;
        }
        event = events.next().await;
        if event.is_none() {
            // Whoever ended with the engine is away now.
            let _ = queue.send(ContainerEvent::Unknown).await;
            return;
        }
    }
}

/// What an event says, if it says anything of interest.
fn read(event: &EventMessage) -> Option<ContainerEvent> {
    let action = event.action.as_deref()?;
    // Docker calls the running of a command inside of one `exec_start: sh`.
    if !OF_INTEREST.contains(&action) {
        return None;
    }
    let actor = event.actor.as_ref();
    let attribute = |key: &str| actor?.attributes.as_ref()?.get(key).cloned();
    match event.typ {
        Some(EventMessageTypeEnum::CONTAINER) => Some(match actor.and_then(|actor| actor.id.clone()) {
            Some(id) => ContainerEvent::Of { id, name: attribute("name") },
            None => ContainerEvent::Unknown,
        }),
        Some(EventMessageTypeEnum::NETWORK) => Some(match attribute("container") {
            Some(id) => ContainerEvent::Of { id, name: None },
            None => ContainerEvent::Unknown,
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use bollard::models::EventActor;

    use super::*;

    fn event(typ: EventMessageTypeEnum, action: &str, id: &str, attribute: (&str, &str)) -> EventMessage {
        let attributes = [(attribute.0.to_owned(), attribute.1.to_owned())].into();
        EventMessage {
            typ: Some(typ),
            action: Some(action.to_owned()),
            actor: Some(EventActor { id: Some(id.to_owned()), attributes: Some(attributes) }),
            ..EventMessage::default()
        }
    }

    #[test]
    fn an_event_says_to_whom_it_happened() {
        let of = |id: &str, name: Option<&str>| {
            Some(ContainerEvent::Of { id: id.to_owned(), name: name.map(str::to_owned) })
        };
        let start = event(EventMessageTypeEnum::CONTAINER, "start", "3f", ("name", "web"));
        assert_eq!(read(&start), of("3f", Some("web")));
        let connect = event(EventMessageTypeEnum::NETWORK, "connect", "net", ("container", "3f"));
        assert_eq!(read(&connect), of("3f", None));
        let of_nobody = event(EventMessageTypeEnum::NETWORK, "disconnect", "net", ("name", "front"));
        assert_eq!(read(&of_nobody), Some(ContainerEvent::Unknown));
        for action in ["exec_start: start", "health_status: healthy", "create"] {
            assert_eq!(read(&event(EventMessageTypeEnum::CONTAINER, action, "3f", ("name", "web"))), None);
        }
        assert_eq!(read(&EventMessage::default()), None);
    }
}
