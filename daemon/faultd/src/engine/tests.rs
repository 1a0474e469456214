//! The engine with a stand-in for the kernel and a clock that tests turn.

mod clearing;
mod moving;
mod processes;

use std::{
    sync::{Arc, Mutex, mpsc},
    time::Duration,
};

use faultd_api::fault::FaultRequest;
use faultd_kernel::{
    control_group::{ControlGroupError, ControlId, ControlPlan, ControlReport},
    datapath::{
        DatapathError, Hook, InterfaceReference, Network, RuleCounters, RuleId, RulePlan, RuleReport,
        TargetSide,
    },
    namespace::Namespace,
    process::ProcessIdentity,
};
use tokio::time::sleep;

use super::{
    Application, Budget, EngineError, EngineHandle, FaultOwner, ProcessPort, RulePort, Selection,
    owner::Owner, queue::queues,
};
use crate::{
    fault::{FaultSpec, backend::ChosenBackend},
    metrics::Metrics,
    target::{FoundPeer, Peers, ResolvedTarget},
};

/// Rules that would be in the kernel, and the hook at which the stand-in refuses.
#[derive(Clone, Default)]
struct FakeKernel {
    rules: Arc<Mutex<Vec<(RuleId, RulePlan)>>>,
    last: Arc<Mutex<u64>>,
    refuses: Option<Hook>,
    gone_interface: Option<u32>,
    /// Processes that would be paused or throttled.
    controls: Arc<Mutex<Vec<(ControlId, ControlPlan)>>>,
    /// Whether whoever holds them has gone.
    lost: Arc<Mutex<bool>>,
    /// Where rules that are added have to stop.
    gate: Arc<Mutex<Option<Gate>>>,
}

/// A call into the kernel that takes as long as the test wants.
struct Gate {
    entered: mpsc::Sender<()>,
    pass: mpsc::Receiver<()>,
}

impl ProcessPort for FakeKernel {
    fn begin(&mut self, plan: ControlPlan) -> Result<(ControlId, u64), ControlGroupError> {
        let mut last = self.last.lock().unwrap();
        *last += 1;
        self.controls.lock().unwrap().push((ControlId::new(*last), plan));
        Ok((ControlId::new(*last), *last))
    }

    fn set(&mut self, control: ControlId, plan: ControlPlan) -> Result<(), ControlGroupError> {
        let mut controls = self.controls.lock().unwrap();
        controls.iter_mut().find(|(id, _)| *id == control).expect("a control").1 = plan;
        Ok(())
    }

    fn end(&mut self, control: ControlId) -> Result<(u64, ControlReport), ControlGroupError> {
        let report = ProcessPort::report(self, control);
        self.controls.lock().unwrap().retain(|(id, _)| *id != control);
        Ok((0, report?))
    }

    fn report(&mut self, _control: ControlId) -> Result<ControlReport, ControlGroupError> {
        let is_lost = *self.lost.lock().unwrap();
        Ok(ControlReport { pauses: 2, paused_ns: 20, is_lost, ..ControlReport::default() })
    }

    fn is_there(&mut self, _control: ControlId) -> bool {
        !*self.lost.lock().unwrap()
    }
}

impl RulePort for FakeKernel {
    fn prepare(&mut self, _interface: &InterfaceReference) -> Result<(), DatapathError> {
        Ok(())
    }

    fn release(&mut self, _interface: &InterfaceReference) {}

    fn add(&mut self, plan: RulePlan) -> Result<(RuleId, u64), DatapathError> {
        if let Some(gate) = &*self.gate.lock().unwrap() {
            gate.entered.send(()).unwrap();
            // A test that has ended lets everything pass.
            let _ = gate.pass.recv();
        }
        if self.refuses == Some(plan.hook) {
            return Err(DatapathError::NoAttachKind);
        }
        let mut last = self.last.lock().unwrap();
        *last += 1;
        self.rules.lock().unwrap().push((RuleId::new(*last), plan));
        Ok((RuleId::new(*last), *last))
    }

    fn set(&mut self, rule: RuleId, plan: RulePlan) -> Result<(), DatapathError> {
        let mut rules = self.rules.lock().unwrap();
        let known = rules.iter_mut().find(|(id, _)| *id == rule).ok_or(DatapathError::UnknownRule(rule))?;
        known.1 = plan;
        Ok(())
    }

    fn remove(&mut self, rule: RuleId) -> Result<(u64, RuleReport), DatapathError> {
        self.rules.lock().unwrap().retain(|(id, _)| *id != rule);
        let counters = RuleCounters { matched: 1, ..RuleCounters::default() };
        Ok((0, RuleReport { counters, ..RuleReport::default() }))
    }

    fn is_there(&mut self, interface: &InterfaceReference) -> bool {
        self.gone_interface != Some(interface.index)
    }

    fn report(&mut self, _rule: RuleId) -> Result<RuleReport, DatapathError> {
        Ok(RuleReport::default())
    }
}

impl FakeKernel {
    fn rules(&self) -> usize {
        self.rules.lock().unwrap().len()
    }
}

fn engine(kernel: &FakeKernel) -> EngineHandle {
    let (callers, waiting) = queues(1);
    let mut owner = Owner::new(kernel.clone(), Box::new(kernel.clone()), Metrics::new().unwrap());
    let told = owner.told();
    tokio::spawn(async move { owner.serve(waiting).await });
    EngineHandle::new(callers, told)
}

fn application(target: &str, change: impl FnOnce(&mut FaultRequest)) -> Application {
    let mut request =
        FaultRequest { target: target.into(), delay_ns: Some(1_000_000), ..FaultRequest::default() };
    change(&mut request);
    let (namespace, target_side) = (Namespace::current().unwrap(), TargetSide::Beyond);
    // Each target has an interface of its own: 1 for a, 2 for b.
    let index = u32::from(target.as_bytes()[0] - b'a') + 1;
    let interface = InterfaceReference { namespace, index, name: "lo".into(), target: target_side };
    Application {
        spec: FaultSpec::checked(&request).unwrap(),
        target: ResolvedTarget {
            name: target.into(),
            interfaces: vec![interface],
            addresses: Vec::new(),
            shares_host: false,
            container: None,
            processes: None,
        },
        peers: Peers::new(),
        backend: ChosenBackend { holding: None, name: "relay".into(), reason: "test".into() },
        owner: FaultOwner::Daemon,
        spared: Vec::new(),
        budget: Budget::default(),
    }
}

#[tokio::test(start_paused = true)]
async fn a_fault_ends_at_its_deadline_and_not_before() {
    let kernel = FakeKernel::default();
    let engine = engine(&kernel);
    engine.add(application("a", |request| request.hold_for_ns = Some(10_000_000_000))).await.unwrap();
    sleep(Duration::from_millis(9_900)).await;
    assert_eq!(engine.list().await.unwrap().len(), 1);
    sleep(Duration::from_millis(200)).await;
    assert_eq!((engine.list().await.unwrap().len(), kernel.rules()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn the_end_of_an_owner_ends_its_faults_and_nobody_elses() {
    let kernel = FakeKernel::default();
    let engine = engine(&kernel);
    for (target, connection) in [("a", ":1.1"), ("b", ":1.2")] {
        let owner = FaultOwner::Connection(connection.to_owned());
        engine.add(Application { owner, ..application(target, |_| {}) }).await.unwrap();
    }
    let cleared = engine.clear(Selection::Owner(FaultOwner::Connection(":1.1".to_owned()))).await.unwrap();
    assert_eq!(cleared.iter().map(|fault| fault.status.target.as_str()).collect::<Vec<_>>(), ["a"]);
    assert_eq!(kernel.rules(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_second_fault_in_the_same_direction_is_refused_with_the_first_ones_id() {
    let kernel = FakeKernel::default();
    let engine = engine(&kernel);
    let first = engine.add(application("a", |_| {})).await.unwrap();
    let refused =
        engine.add(application("a", |request| request.direction = faultd_api::fault::Direction::Both)).await;
    assert!(matches!(refused, Err(EngineError::Occupied { id, .. }) if id == first.status.id));
    let ingress = application("a", |request| request.direction = faultd_api::fault::Direction::Ingress);
    assert!(engine.add(ingress).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_target_under_another_name_is_still_the_same_target() {
    let kernel = FakeKernel::default();
    let engine = engine(&kernel);
    let first = engine.add(application("a", |_| {})).await.unwrap();
    let mut by_another_name = application("a", |request| request.target = "netns/a".into());
    by_another_name.target.name = "netns/a".into();
    let refused = engine.add(by_another_name.clone()).await;
    assert!(matches!(refused, Err(EngineError::Occupied { id, .. }) if id == first.status.id));
    // Seen from the interface itself, what leaves the target goes out, and not in.
    by_another_name.target.interfaces[0].target = TargetSide::Here;
    assert!(engine.add(by_another_name).await.is_ok());
}

fn peer(address: [u8; 4]) -> FoundPeer {
    FoundPeer { addresses: vec![address.into()], ..FoundPeer::default() }
}

fn peers(peers: &[(&str, FoundPeer)]) -> Peers {
    peers.iter().map(|(name, peer)| ((*name).to_owned(), peer.clone())).collect()
}

/// The peers of each rule in the kernel.
fn peers_in(kernel: &FakeKernel) -> Vec<Vec<Network>> {
    kernel.rules.lock().unwrap().iter().map(|(_, plan)| plan.selector.peers.clone()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_fault_follows_a_peer_in_place() {
    let kernel = FakeKernel::default();
    let engine = engine(&kernel);
    let to = |request: &mut FaultRequest| {
        request.shape.to = ["netns/p:80", "10.9.9.9:80", "q"].map(str::to_owned).to_vec();
        (request.seed, request.hold_for_ns) = (Some(7), Some(10_000_000_000));
    };
    let known = peers(&[("netns/p", peer([10, 0, 0, 1])), ("q", peer([10, 0, 0, 5]))]);
    let application = Application { peers: known, ..application("a", to) };
    engine.add(application).await.unwrap();
    let before = kernel.rules.lock().unwrap().clone();
    assert_eq!(engine.named_peers().borrow().iter().collect::<Vec<_>>(), ["netns/p", "q"]);

    engine.follow(peers(&[("netns/p", peer([10, 0, 0, 2])), ("r", peer([10, 0, 0, 9]))])).await.unwrap();
    let host = |address: [u8; 4]| Network::host(address.into());
    let moved = vec![vec![host([10, 0, 0, 2]), host([10, 9, 9, 9])], vec![host([10, 0, 0, 5])]];
    assert_eq!(peers_in(&kernel), moved, "who was not found stays where it was");
    for ((rule, then), (same_rule, now)) in before.iter().zip(kernel.rules.lock().unwrap().iter()) {
        assert_eq!(rule, same_rule);
        let same = RulePlan { selector: then.selector.clone(), ..now.clone() };
        assert_eq!(*then, same, "nothing else has changed");
    }
    assert_eq!(engine.list().await.unwrap()[0].peers, ["netns/p: 10.0.0.2", "q: 10.0.0.5"]);
    engine.clear(Selection::All).await.unwrap();
    assert!(engine.named_peers().borrow().is_empty());
}

#[tokio::test(start_paused = true)]
async fn another_process_with_the_number_of_a_peer_is_not_followed() {
    let kernel = FakeKernel::default();
    let engine = engine(&kernel);
    let process = |start_time| Some(ProcessIdentity { pid: 7, start_time });
    let first = FoundPeer { process: process(1), ..peer([10, 0, 0, 1]) };
    let known = peers(&[("pid/7", first.clone())]);
    let to = |request: &mut FaultRequest| request.shape.to = vec!["pid/7".into()];
    engine.add(Application { peers: known, ..application("a", to) }).await.unwrap();
    let other = FoundPeer { process: process(2), ..peer([10, 0, 0, 2]) };
    engine.follow(peers(&[("pid/7", other)])).await.unwrap();
    assert_eq!(peers_in(&kernel), [[Network::host([10, 0, 0, 1].into())]]);
    engine
        .follow(peers(&[("pid/7", FoundPeer { process: process(1), ..peer([10, 0, 0, 3]) })]))
        .await
        .unwrap();
    assert_eq!(peers_in(&kernel), [[Network::host([10, 0, 0, 3].into())]]);
}

#[tokio::test(start_paused = true)]
async fn what_the_kernel_does_not_change_is_tried_again() {
    let kernel = FakeKernel::default();
    let engine = engine(&kernel);
    let to = |request: &mut FaultRequest| request.shape.to = vec!["q".into()];
    let known = peers(&[("q", peer([10, 0, 0, 1]))]);
    engine.add(Application { peers: known, ..application("a", to) }).await.unwrap();
    let moved = peers(&[("q", peer([10, 0, 0, 2]))]);
    let rules = std::mem::take(&mut *kernel.rules.lock().unwrap());
    engine.follow(moved.clone()).await.unwrap();
    assert_eq!(engine.list().await.unwrap()[0].peers, ["q: 10.0.0.1"], "no state that does not hold");
    *kernel.rules.lock().unwrap() = rules;
    engine.follow(moved).await.unwrap();
    assert_eq!(peers_in(&kernel), [[Network::host([10, 0, 0, 2].into())]]);
}

#[tokio::test(start_paused = true)]
async fn a_fault_whose_interface_has_gone_cannot_be_changed() {
    let kernel = FakeKernel { gone_interface: Some(1), ..FakeKernel::default() };
    let engine = engine(&kernel);
    let first = engine.add(application("a", |_| {})).await.unwrap().status;
    let changed = engine.set(&first.id, application("a", |_| {})).await;
    assert!(matches!(changed, Err(EngineError::NotChanged { reason, .. }) if reason.contains("has gone")));
}

#[tokio::test(start_paused = true)]
async fn faults_for_other_packets_or_with_another_priority_go_together() {
    let kernel = FakeKernel::default();
    let engine = engine(&kernel);
    engine.add(application("a", |_| {})).await.unwrap();
    let other_packets = application("a", |request| request.shape.protocol = Some("tcp".into()));
    assert!(engine.add(other_packets).await.is_ok());
    assert!(engine.add(application("a", |request| request.shape.priority = 1)).await.is_ok());
    assert_eq!(kernel.rules(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_fault_is_changed_in_place_and_keeps_its_id_and_seed() {
    let kernel = FakeKernel::default();
    let engine = engine(&kernel);
    let first = engine.add(application("a", |request| request.seed = Some(7))).await.unwrap().status;
    let slower = application("a", |request| request.delay_ns = Some(9_000_000));
    let changed = engine.set(&first.id, slower).await.unwrap();
    assert_eq!((changed.id, changed.seed, changed.delay_ns), (first.id.clone(), 7, Some(9_000_000)));
    let plan = kernel.rules.lock().unwrap()[0].1.clone();
    assert_eq!((plan.seed, plan.effects.delay.unwrap().base), (7, Duration::from_millis(9)));
    let moved = application("b", |_| {});
    assert!(matches!(engine.set(&first.id, moved).await, Err(EngineError::NotTheSame(_))));
    assert!(matches!(engine.set("f9", application("a", |_| {})).await, Err(EngineError::NoSuchFault(_))));
}

#[tokio::test(start_paused = true)]
async fn a_fault_of_which_one_rule_is_refused_leaves_no_rule() {
    let kernel = FakeKernel { refuses: Some(Hook::Egress), ..FakeKernel::default() };
    let engine = engine(&kernel);
    let both = application("a", |request| request.direction = faultd_api::fault::Direction::Both);
    assert!(matches!(engine.add(both).await, Err(EngineError::NotApplied { .. })));
    assert_eq!((engine.list().await.unwrap().len(), kernel.rules()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_fault_whose_interface_has_gone_is_not_reported_as_holding() {
    let kernel = FakeKernel { gone_interface: Some(1), ..FakeKernel::default() };
    let engine = engine(&kernel);
    engine.add(application("a", |_| {})).await.unwrap();
    assert_eq!(engine.list().await.unwrap()[0].state, "gone");
}

#[tokio::test(start_paused = true)]
async fn the_stop_of_the_engine_removes_everything() {
    let kernel = FakeKernel::default();
    let engine = engine(&kernel);
    for target in ["a", "b", "c"] {
        engine.add(application(target, |_| {})).await.unwrap();
    }
    engine.stop().await;
    assert_eq!(kernel.rules(), 0);
    assert!(matches!(engine.list().await, Err(EngineError::Stopping)));
}
