//! Clearing everything while the engine is busy, with calls into the kernel that take as long as the test wants.

use faultd_api::fault::Direction;
use tokio::task::JoinHandle;

use super::*;
use crate::engine::{self, Applied};

/// A thread of its own, as the daemon has it, and the gate before its kernel.
struct Busy {
    kernel: FakeKernel,
    engine: EngineHandle,
    entered: mpsc::Receiver<()>,
    pass: mpsc::Sender<()>,
}

impl Busy {
    /// An engine with a fault on `a`, which stands before the gate with one on `b`.
    async fn with(change: fn(&mut FaultRequest)) -> (Self, JoinHandle<Result<Applied, EngineError>>) {
        let kernel = FakeKernel::default();
        let engine = engine::start(kernel.clone(), kernel.clone(), Metrics::new().unwrap()).unwrap();
        engine.add(application("a", |_| {})).await.unwrap();
        let (entered, has_entered) = mpsc::channel();
        let (pass, may_pass) = mpsc::channel();
        *kernel.gate.lock().unwrap() = Some(Gate { entered, pass: may_pass });
        let busy = Self { kernel, engine, entered: has_entered, pass };
        let slow = busy.adding("b", change);
        busy.wait_at_the_gate().await;
        (busy, slow)
    }

    fn adding(
        &self,
        target: &'static str,
        change: fn(&mut FaultRequest),
    ) -> JoinHandle<Result<Applied, EngineError>> {
        let engine = self.engine.clone();
        tokio::spawn(async move { engine.add(application(target, change)).await })
    }

    fn clearing(&self) -> JoinHandle<Vec<String>> {
        let engine = self.engine.clone();
        tokio::spawn(async move {
            let cleared = engine.clear(Selection::All).await.unwrap();
            cleared.into_iter().map(|fault| fault.status.target).collect()
        })
    }

    async fn wait_at_the_gate(&self) {
        while self.entered.try_recv().is_err() {
            sleep(Duration::from_millis(1)).await;
        }
    }
}

/// Lets what was spawned come as far as it can.
async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn clearing_everything_waits_for_one_call_into_the_kernel_and_for_nothing_else() {
    let (busy, slow) = Busy::with(|_| {}).await;
    let waiting = [busy.adding("c", |_| {}), busy.adding("d", |_| {})];
    settle().await;
    let clearing = busy.clearing();
    settle().await;
    // One call may go on: were the clearing behind the others, it would not come to its end.
    busy.pass.send(()).unwrap();
    assert_eq!(clearing.await.unwrap(), ["a", "b"]);
    assert!(slow.await.unwrap().is_ok(), "it was in place before it was cleared");
    for refused in waiting {
        assert!(matches!(refused.await.unwrap(), Err(EngineError::ClearedMeanwhile(_))));
    }
    assert!(busy.entered.try_recv().is_err(), "what waited has not reached the kernel");
    assert_eq!(busy.kernel.rules(), 0);
}

#[tokio::test]
async fn a_fault_of_several_rules_is_given_up_between_two_of_them() {
    let (busy, slow) = Busy::with(|request| request.direction = Direction::Both).await;
    let clearing = busy.clearing();
    settle().await;
    busy.pass.send(()).unwrap();
    assert_eq!(clearing.await.unwrap(), ["a"]);
    assert!(matches!(slow.await.unwrap(), Err(EngineError::ClearedMeanwhile(target)) if target == "b"));
    assert_eq!(busy.kernel.rules(), 0);
}

#[tokio::test]
async fn what_is_asked_for_after_everything_was_cleared_is_added() {
    let (busy, slow) = Busy::with(|_| {}).await;
    let clearing = busy.clearing();
    settle().await;
    let later = busy.adding("c", |_| {});
    settle().await;
    drop(busy.pass);
    clearing.await.unwrap();
    assert!(slow.await.unwrap().is_ok() && later.await.unwrap().is_ok());
    assert_eq!(busy.kernel.rules(), 1);
}

#[tokio::test]
async fn what_was_asked_for_before_and_took_long_to_be_found_is_refused() {
    let kernel = FakeKernel::default();
    let engine = engine(&kernel);
    let asked = engine.asked_now();
    engine.clear(Selection::All).await.unwrap();
    let late = engine.add_as_asked(application("a", |_| {}), asked).await;
    assert!(matches!(late, Err(EngineError::ClearedMeanwhile(_))));
    assert!(engine.add(application("a", |_| {})).await.is_ok());
}
