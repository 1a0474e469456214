//! Follows the containers under fault, and those that are peers of a fault. Engines say when something happens
//! to one; those that are away or whose process has ended are looked for without that too.

use std::time::Duration;

use futures_util::{StreamExt as _, future::join_all, stream::FuturesUnordered};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

use crate::{
    engine::{EngineError, EngineHandle, FollowedContainers},
    target::{
        FollowedFault, FoundPeer, Peers, Targets,
        containers::{ContainerEvent, ContainerEvents, ContainerIdentity},
    },
};

/// How often those are looked for of which nothing is heard.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How soon after an event, and then in doubled intervals: a container that begins is not there at once.
const LOOK_FIRST: Duration = Duration::from_millis(25);

/// Follows containers until the engine ends.
pub(super) async fn follow(engine: EngineHandle, targets: Targets) {
    let mut followed = engine.containers();
    while followed.wait_for(|followed| !followed.is_empty()).await.is_ok() {
        if follow_some(&engine, &targets, &mut followed).await.is_err() {
            return;
        }
    }
}

/// Follows containers until there are none to follow.
async fn follow_some(
    engine: &EngineHandle,
    targets: &Targets,
    followed: &mut watch::Receiver<FollowedContainers>,
) -> Result<(), EngineError> {
    let mut events = targets.containers().events();
    let mut pace = Pace::new();
    loop {
        let known = followed.borrow_and_update().clone();
        if known.is_empty() {
            return Ok(());
        }
        tokio::select! {
            changed = followed.changed() => changed.map_err(|_gone| EngineError::Stopping)?,
            event = events.next() => {
                let happened = all_that_happened(event, &mut events);
                look(engine, targets, &concerned(known, &happened)).await?;
                pace.hurry();
            }
            () = sleep_until(pace.next) => {
                look(engine, targets, &missing(known)).await?;
                pace.relax();
            }
        }
    }
}

/// When those are looked for next of which nothing is heard.
struct Pace {
    next: Instant,
    interval: Duration,
}

impl Pace {
    fn new() -> Self {
        Self { next: Instant::now() + LOOK_EVERY, interval: LOOK_EVERY }
    }

    fn hurry(&mut self) {
        self.interval = LOOK_FIRST;
        self.next = Instant::now() + self.interval;
    }

    fn relax(&mut self) {
        self.interval = (self.interval * 2).min(LOOK_EVERY);
        self.next = Instant::now() + self.interval;
    }
}

fn all_that_happened(first: ContainerEvent, events: &mut ContainerEvents) -> Vec<ContainerEvent> {
    let mut happened = vec![first];
    happened.extend(std::iter::from_fn(|| events.next_at_once()));
    happened
}

/// Those to which something has happened.
fn concerned(known: FollowedContainers, happened: &[ContainerEvent]) -> FollowedContainers {
    let is_concerned = |container: &ContainerIdentity| {
        happened.iter().any(|event| match event {
            ContainerEvent::Unknown => true,
            ContainerEvent::Of { id, name } => {
                *id == container.id || name.as_ref().is_some_and(|name| *name == container.name)
            }
        })
    };
    // A service may have one more container now.
    let may_grow = |name: &str| name.contains('/');
    FollowedContainers {
        faults: known.faults.into_iter().filter(|fault| is_concerned(&fault.container)).collect(),
        peers: known
            .peers
            .into_iter()
            .filter(|(name, peer)| may_grow(name) || peer.containers.iter().any(is_concerned))
            .collect(),
    }
}

/// Those that were not there at the last look, or whose process has ended since. To look for peers takes little.
fn missing(known: FollowedContainers) -> FollowedContainers {
    let is_missing = |fault: &FollowedFault| fault.away || !fault.container.process.is_alive();
    FollowedContainers { faults: known.faults.into_iter().filter(is_missing).collect(), peers: known.peers }
}

/// Looks where containers are, and tells the engine of each as soon as it is found.
async fn look(
    engine: &EngineHandle,
    targets: &Targets,
    containers: &FollowedContainers,
) -> Result<(), EngineError> {
    let look = |fault| async move { (fault, targets.target_again(fault).await) };
    let mut looks: FuturesUnordered<_> = containers.faults.iter().map(look).collect();
    while let Some((fault, whereabouts)) = looks.next().await {
        if let Some(whereabouts) = whereabouts {
            engine.move_fault(&fault.id, whereabouts).await?;
        }
    }
    let look = |(name, known): (&String, &FoundPeer)| {
        let (name, known) = (name.clone(), known.clone());
        async move { (name.clone(), targets.peer_again(&name, &known).await) }
    };
    let found: Peers = join_all(containers.peers.iter().map(look)).await.into_iter().collect();
    if found.is_empty() { Ok(()) } else { engine.follow(found).await }
}

#[cfg(test)]
mod tests {
    use faultd_kernel::process::ProcessIdentity;

    use super::*;
    use crate::target::Part;

    fn container(id: &str, name: &str) -> ContainerIdentity {
        ContainerIdentity {
            engine: String::new(),
            id: id.to_owned(),
            name: name.to_owned(),
            by_id: false,
            process: ProcessIdentity::of(std::process::id()).unwrap(),
        }
    }

    fn fault(id: &str, container: ContainerIdentity) -> FollowedFault {
        let asked = container.name.clone();
        let part = Part::Packets { network: None, names_ports: false };
        FollowedFault { id: id.to_owned(), asked, part, container, away: false }
    }

    fn known() -> FollowedContainers {
        let peer = |container| FoundPeer { containers: vec![container], ..FoundPeer::default() };
        FollowedContainers {
            faults: vec![fault("f1", container("a1", "web")), fault("f2", container("b2", "db"))],
            peers: [
                ("cache".to_owned(), peer(container("c3", "cache"))),
                ("shop/api".to_owned(), peer(container("d4", "shop-api-1"))),
            ]
            .into(),
        }
    }

    fn names(followed: &FollowedContainers) -> Vec<&str> {
        let faults = followed.faults.iter().map(|fault| fault.id.as_str());
        faults.chain(followed.peers.keys().map(String::as_str)).collect()
    }

    #[test]
    fn who_is_looked_for_is_who_something_happened_to() {
        let of = |id: &str, name: Option<&str>| {
            vec![ContainerEvent::Of { id: id.to_owned(), name: name.map(str::to_owned) }]
        };
        let concerned = |happened: &[ContainerEvent]| {
            let concerned = concerned(known(), happened);
            names(&concerned).into_iter().map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(concerned(&of("a1", None)), ["f1", "shop/api"]);
        assert_eq!(concerned(&of("e5", Some("db"))), ["f2", "shop/api"], "made anew");
        assert_eq!(concerned(&of("e5", Some("other"))), ["shop/api"], "it may be one of the service");
        assert_eq!(concerned(&of("c3", Some("cache"))), ["cache", "shop/api"]);
        assert_eq!(concerned(&[ContainerEvent::Unknown]), ["f1", "f2", "cache", "shop/api"]);
    }

    #[test]
    fn who_is_away_or_has_ended_is_looked_for_without_an_event() {
        let mut followed = known();
        assert_eq!(names(&missing(followed.clone())), ["cache", "shop/api"]);
        followed.faults[0].away = true;
        let process = &mut followed.faults[1].container.process;
        process.start_time = process.start_time.wrapping_add(1);
        assert_eq!(names(&missing(followed)), ["f1", "f2", "cache", "shop/api"]);
    }

    #[tokio::test(start_paused = true)]
    async fn after_an_event_one_looks_again_soon_and_then_ever_later() {
        let mut pace = Pace::new();
        pace.hurry();
        let mut waits = Vec::new();
        for _ in 0..9 {
            waits.push(pace.next.duration_since(Instant::now()).as_millis());
            sleep_until(pace.next).await;
            pace.relax();
        }
        assert_eq!(waits, [25, 50, 100, 200, 400, 800, 1600, 2000, 2000]);
    }
}
