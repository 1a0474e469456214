//! Files that are no plugins, and plugins that mean harm: each gets one clear line and nothing else.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use faultd_plugin_host::{
    DriverClient, Member, Plan, PluginEngine, PluginError, PluginLimits, Problem, Refusal, Schedule, World,
};

use crate::built::{fixture, shipped};
use crate::etcd_cluster::free_addresses;
use crate::etcd_kv::options;

fn problem(error: PluginError) -> Problem {
    assert!(!error.to_string().contains('\n'), "{error}");
    match error {
        PluginError::Plugin { problem, .. } => problem,
        PluginError::NoEngine(reason) => panic!("{reason}"),
    }
}

fn load_driver(bytes: &[u8]) -> Problem {
    problem(PluginEngine::new().unwrap().load_driver("x", bytes).err().unwrap())
}

fn load_schedule(bytes: &[u8]) -> Problem {
    problem(PluginEngine::new().unwrap().load_schedule("x", bytes).err().unwrap())
}

async fn schedule(limits: PluginLimits, core_module: &str) -> Schedule {
    let engine = PluginEngine::with_limits(limits).unwrap();
    let plugin = engine.load_schedule("x", &fixture("schedule", core_module)).unwrap();
    let (rules, settings) = (Vec::new(), Vec::new());
    let plan =
        Plan { duration: Duration::from_secs(1), inject_at: None, hold_for: None, rules, settings, seed: 1 };
    plugin.start(plan).await.unwrap()
}

async fn driver(core_module: &str) -> DriverClient {
    let plugin = PluginEngine::new().unwrap().load_driver("x", &fixture("driver", core_module)).unwrap();
    let member = Member { name: "nobody".to_owned(), address: free_addresses(1)[0] };
    plugin.client(options(&[member])).await.unwrap()
}

#[test]
fn a_file_that_is_no_component_is_refused() {
    for bytes in [&b""[..], b"#!/bin/sh\n", b"\x7fELF", b"\0asm"] {
        assert!(matches!(load_driver(bytes), Problem::NotAComponent(_)), "{bytes:?}");
    }
    let core = wat::parse_str("(module)").unwrap();
    assert!(matches!(load_driver(&core), Problem::NotAComponent(why) if why.contains("core module")));
}

#[test]
fn a_component_that_is_cut_off_or_damaged_is_refused() {
    let whole = shipped("window");
    for length in [9, whole.len() / 2, whole.len() - 1] {
        assert!(matches!(load_schedule(&whole[..length]), Problem::NotAComponent(_)), "{length}");
    }
    let mut damaged = whole;
    damaged[100..200].fill(0xff);
    assert!(matches!(load_schedule(&damaged), Problem::NotAComponent(_)));
}

#[test]
fn a_plugin_of_the_other_world_is_told_apart_from_no_plugin() {
    let (found, wanted) = (World::Schedule, World::Driver);
    assert_eq!(load_driver(&shipped("window")), Problem::OtherWorld { found, wanted });
    let (found, wanted) = (wanted, found);
    assert_eq!(load_schedule(&shipped("etcd-kv")), Problem::OtherWorld { found, wanted });
    assert_eq!(
        load_driver(&wat::parse_str("(component)").unwrap()),
        Problem::NoWorld { wanted: World::Driver }
    );
}

#[test]
fn an_import_that_nobody_lends_is_named() {
    let text = include_str!("fixtures/wasi.wat");
    let import = "wasi:random/random@0.2.0".to_owned();
    let expected = Problem::UnknownImport { import, world: World::Schedule };
    assert_eq!(load_schedule(&wat::parse_str(text).unwrap()), expected);
}

#[test]
fn an_export_of_another_shape_is_incompatible() {
    let text = r#"(component (instance $none) (export "faultd:plugin/scheduler@0.1.0" (instance $none)))"#;
    let found = load_schedule(&wat::parse_str(text).unwrap());
    assert!(matches!(found, Problem::Incompatible(_)), "{found}");
}

#[tokio::test]
async fn an_endless_loop_is_stopped_and_lets_others_run_meanwhile() {
    let limits = PluginLimits { fuel_per_call: 50_000_000, ..PluginLimits::default() };
    let mut schedule = schedule(limits, include_str!("fixtures/endless-loop.wat")).await;
    let turns = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&turns);
    let other = tokio::spawn(async move {
        loop {
            counter.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
        }
    });
    let stopped = problem(schedule.decide(Duration::ZERO).await.unwrap_err());
    other.abort();
    assert_eq!(stopped, Problem::OutOfFuel { call: "decide", fuel: 50_000_000 });
    assert!(turns.load(Ordering::Relaxed) > 10);
    assert_eq!(problem(schedule.decide(Duration::ZERO).await.unwrap_err()), Problem::Unusable);
}

#[tokio::test]
async fn a_call_that_is_dropped_in_the_middle_leaves_an_unusable_schedule() {
    let limits = PluginLimits { fuel_per_call: u64::MAX, ..PluginLimits::default() };
    let mut schedule = schedule(limits, include_str!("fixtures/endless-loop.wat")).await;
    let dropped = tokio::time::timeout(Duration::from_millis(20), schedule.decide(Duration::ZERO)).await;
    assert!(dropped.is_err());
    assert_eq!(problem(schedule.decide(Duration::ZERO).await.unwrap_err()), Problem::Unusable);
}

#[tokio::test]
async fn a_memory_bomb_is_stopped_at_the_limit() {
    let limits = PluginLimits { memory_bytes: 1 << 20, ..PluginLimits::default() };
    let mut schedule = schedule(limits, include_str!("fixtures/memory-bomb.wat")).await;
    let stopped = problem(schedule.decide(Duration::ZERO).await.unwrap_err());
    assert_eq!(stopped, Problem::OutOfMemory { call: "decide", bytes: 1 << 20 });
}

#[tokio::test]
async fn an_answer_larger_than_a_call_may_hand_over_is_not_taken() {
    let limits = PluginLimits { transfer_bytes: 1 << 10, ..PluginLimits::default() };
    let mut schedule = schedule(limits, include_str!("fixtures/huge-answer.wat")).await;
    let stopped = problem(schedule.decide(Duration::ZERO).await.unwrap_err());
    assert!(matches!(stopped, Problem::Crashed { call: "decide", .. }), "{stopped}");
}

#[tokio::test]
async fn a_member_that_there_is_not_cannot_be_reached() {
    let mut client = driver(include_str!("fixtures/foreign-address.wat")).await;
    let stopped = problem(client.operate().await.unwrap_err());
    let refusal = Refusal::NoSuchMember { member: 99, count: 1 };
    assert_eq!(stopped, Problem::Refused { call: "operate", refusal });
}

#[tokio::test]
async fn answers_that_break_the_contract_are_refused() {
    let mut client = driver(include_str!("fixtures/bad-answers.wat")).await;
    let operation = problem(client.operate().await.unwrap_err());
    assert!(matches!(operation, Problem::BadAnswer { call: "operate", .. }), "{operation}");
    let roles = problem(client.roles().await.unwrap_err());
    let reason = "0 roles for 1 members".to_owned();
    assert_eq!(roles, Problem::BadAnswer { call: "roles", reason });
}
