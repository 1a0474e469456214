//! The object as it is shipped, loaded but attached to nothing, with maps that the crate's own code fills.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
};

use aya::{Ebpf, programs::SchedClassifier};
use faultd_abi::{HookState, InterfaceKey, Rule, RuleState};

use super::test_run::{self, Input, Output};
use crate::{
    datapath::{
        AttachKind, Effects, Hook, InterfaceReference, Loss, RuleCounters, RulePlan, TargetSide,
        competition::{Audience, Competition, Rank},
        encoding::{self, Devices},
        instance::{hook_program, lists::ListedHook},
        object::{Maps, load_object},
    },
    namespace::Namespace,
};

/// Index of the loopback device, which every namespace has and on which programs run here.
pub(super) const LOOPBACK: u32 = 1;

/// The verifier takes its time, so all tests share one object, in turn.
static SHARED: Mutex<Option<Bench>> = Mutex::new(None);

pub(super) struct Bench {
    ebpf: Ebpf,
    maps: Maps,
    /// Nobody else sends packets here.
    pub(super) namespace: Namespace,
    /// By interface and hook: the hook's number and who competes there.
    hooks: HashMap<(u32, u32), (u32, Competition)>,
    added: Vec<Added>,
    next: u32,
}

/// A rule that is in the maps.
#[derive(Clone, Debug)]
pub(super) struct Added {
    pub(super) slot: u32,
    /// As the programs read it.
    pub(super) rule: Rule,
    rank: Rank,
    leaves_target: bool,
    trace_words: Vec<u32>,
    seen_before: u64,
}

/// The bench, without a rule and with a lease that does not end; held until the test is over.
pub(super) struct Turn(MutexGuard<'static, Option<Bench>>);

/// Waits for the test's turn. Nothing, and a counted skip, without the privileges that it takes.
pub(super) fn turn(test_name: &str) -> Option<Turn> {
    if !rustix::process::geteuid().is_root() {
        faultd_testkit::skip(test_name, "programs can only be loaded by root");
        return None;
    }
    // A test that failed has told so already.
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    shared.get_or_insert_with(Bench::load).clear();
    Some(Turn(shared))
}

impl std::ops::Deref for Turn {
    type Target = Bench;

    fn deref(&self) -> &Bench {
        self.0.as_ref().expect("loaded")
    }
}

impl std::ops::DerefMut for Turn {
    fn deref_mut(&mut self) -> &mut Bench {
        self.0.as_mut().expect("loaded")
    }
}

impl Bench {
    fn load() -> Self {
        let mut ebpf = load_object(&faultd_testkit::ebpf_object()).expect("the object is loaded");
        let maps = Maps::take(&mut ebpf).expect("its maps");
        let namespace = Namespace::create_anonymous().expect("a namespace");
        crate::link::set_loopback_up(&namespace).expect("a loopback device");
        Self { ebpf, maps, namespace, hooks: HashMap::new(), added: Vec::new(), next: 1 }
    }

    pub(super) fn clear(&mut self) {
        for added in std::mem::take(&mut self.added) {
            self.take_away(&added);
        }
        self.set_lease(u64::MAX);
    }

    /// Until when rules may act.
    pub(super) fn set_lease(&mut self, until_ns: u64) {
        let lease = self.maps.lease();
        lease.lock().unwrap_or_else(PoisonError::into_inner).set(0, until_ns, 0).expect("a lease");
    }

    /// A plan for the loopback device, whose target is beyond it.
    pub(super) fn plan(&self, hook: Hook, effects: Effects) -> RulePlan {
        self.plan_on(LOOPBACK, hook, effects)
    }

    /// A plan for another device of the namespace.
    pub(super) fn plan_on(&self, index: u32, hook: Hook, effects: Effects) -> RulePlan {
        let namespace = self.namespace.clone();
        let target = TargetSide::Beyond;
        let interface = InterfaceReference { namespace, index, name: "bench".to_owned(), target };
        RulePlan { effects, ..RulePlan::new(interface, hook) }
    }

    /// Puts a rule into force that needs no device.
    pub(super) fn add(&mut self, plan: &RulePlan) -> Added {
        self.add_with(plan, Devices::default(), AttachKind::Clsact)
    }

    /// Puts a rule into force, as if its devices were these and programs attached in this way.
    pub(super) fn add_with(&mut self, plan: &RulePlan, devices: Devices, attach: AttachKind) -> Added {
        plan.selector.check().expect("a selector");
        plan.effects.check().expect("effects");
        let number = self.next;
        // Slots are given out again so late that none is met twice in one test.
        self.next = number % 10_000 + 1;
        let rule = encoding::encode(plan, devices, attach);
        let hook_id = u32::try_from(self.hooks.len()).expect("a few");
        let (hook_id, competition) =
            self.hooks.entry(place_of(&rule)).or_insert_with(|| (hook_id, Competition::default()));
        let rank = Rank { priority: plan.priority, age: number.into() };
        let changed = competition.add(rank, number, &plan.selector);
        let seen_before = self.maps.seen(*hook_id).expect("a count");
        let added = Added {
            slot: number,
            rule,
            rank,
            leaves_target: plan.leaves_target(),
            trace_words: self.write_trace(number, plan),
            seen_before,
        };
        self.maps.open_slot(number, false).expect("a slot");
        self.maps.set_rule(number, rule).expect("a rule");
        self.write_lists(&added, &changed);
        self.added.push(added.clone());
        added
    }

    fn write_trace(&mut self, slot: u32, plan: &RulePlan) -> Vec<u32> {
        let Some(Loss::Trace(trace)) = &plan.effects.loss else { return Vec::new() };
        let words = encoding::trace_words(&trace.lost);
        for (index, word) in &words {
            self.maps.set_trace_word(slot, *index, *word).expect("a word");
        }
        words.into_iter().map(|(index, _word)| index).collect()
    }

    fn write_lists(&mut self, added: &Added, changed: &BTreeSet<Audience>) {
        let key = key_of(&added.rule);
        let (hook_id, competition) = self.hooks.get(&place_of(&added.rule)).expect("a hook");
        let hook = ListedHook { key, hook_id: *hook_id, leaves_target: added.leaves_target, competition };
        hook.write(&mut self.maps, changed).expect("lists");
    }

    /// Takes a rule away.
    pub(super) fn remove(&mut self, added: &Added) {
        self.added.retain(|known| known.slot != added.slot);
        self.take_away(added);
    }

    fn take_away(&mut self, added: &Added) {
        let (_id, competition) = self.hooks.get_mut(&place_of(&added.rule)).expect("a hook");
        let changed = competition.remove(added.rank);
        self.write_lists(added, &changed);
        let errors = self.maps.close_slot(added.slot);
        assert!(errors.is_empty(), "{errors:?}");
        for index in &added.trace_words {
            self.maps.remove_trace_word(added.slot, *index).expect("a word");
        }
    }

    /// Moves a rule behind all others, as when it comes to its end.
    pub(super) fn rank_last(&mut self, added: &Added) {
        let (_id, competition) = self.hooks.get_mut(&place_of(&added.rule)).expect("a hook");
        let changed = competition.rank_last(added.rank);
        self.write_lists(added, &changed);
    }

    /// Replaces a rule's parameters.
    pub(super) fn set_rule(&mut self, added: &Added, rule: Rule) {
        self.maps.set_rule(added.slot, rule).expect("a rule");
    }

    /// What the programs did under a rule, on all CPUs together.
    pub(super) fn counters(&self, added: &Added) -> RuleCounters {
        let mut sum = RuleCounters::default();
        self.maps.counters(added.slot).expect("counters").iter().for_each(|part| sum.add(part));
        sum
    }

    /// What the programs remember of a rule.
    pub(super) fn state(&self, added: &Added) -> RuleState {
        self.maps.state(added.slot).expect("a state")
    }

    /// What the programs remember of the hook of a rule.
    pub(super) fn hook_state(&self, added: &Added) -> HookState {
        self.maps.hook_state(key_of(&added.rule)).expect("a state")
    }

    /// Packets that the hook of a rule saw since the rule is there.
    pub(super) fn seen(&self, added: &Added) -> u64 {
        let (hook_id, _competition) = self.hooks.get(&place_of(&added.rule)).expect("a hook");
        self.maps.seen(*hook_id).expect("a count") - added.seen_before
    }

    /// Lets the program of a hook treat a frame.
    pub(super) fn run(&self, hook: Hook, input: impl Into<Input>) -> Output {
        self.run_each(hook, [input]).remove(0)
    }

    /// Lets the program of a hook treat frames, one after the other.
    pub(super) fn run_each<I: Into<Input>>(
        &self,
        hook: Hook,
        inputs: impl IntoIterator<Item = I>,
    ) -> Vec<Output> {
        let inputs: Vec<Input> = inputs.into_iter().map(Into::into).collect();
        self.run_program(hook_program(hook), &inputs, 1).expect("the kernel runs the program")
    }

    /// Lets the program of a hook treat the same frame many times; it must not change the frame.
    pub(super) fn repeat(&self, hook: Hook, input: impl Into<Input>, count: u32) {
        self.run_program(hook_program(hook), &[input.into()], count).expect("the kernel runs the program");
    }

    /// Runs any program of the object, in the namespace of the bench.
    pub(super) fn run_program(
        &self,
        name: &str,
        inputs: &[Input],
        repeat: u32,
    ) -> Result<Vec<Output>, aya::programs::ProgramError> {
        let program: &SchedClassifier =
            self.ebpf.program(name).expect("a program").try_into().expect("a classifier");
        let each = || inputs.iter().map(|input| test_run::run(program, input, repeat)).collect();
        self.namespace.run(each).expect("inside")
    }
}

fn key_of(rule: &Rule) -> InterfaceKey {
    InterfaceKey { interface_index: rule.interface_index, hook: rule.hook }
}

fn place_of(rule: &Rule) -> (u32, u32) {
    (rule.interface_index, rule.hook)
}
