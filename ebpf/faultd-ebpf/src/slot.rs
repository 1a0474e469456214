//! What belongs to one rule: its parameters, its memory, its counters.

use core::ptr::addr_of_mut;

use faultd_abi::{Rule, RuleCounters, RuleState};

use crate::{
    atomic,
    maps::{COUNTERS, RULES, STATES},
};

/// A rule as the programs work with it.
#[derive(Clone, Copy)]
pub struct Slot {
    /// Its number.
    pub number: u32,
    /// Its parameters.
    pub rule: &'static Rule,
    /// What is remembered of it from packet to packet.
    state: *mut RuleState,
}

impl Slot {
    /// The rule in a slot.
    #[inline(always)]
    pub fn find(number: u32) -> Option<Self> {
        // SAFETY: the kernel replaces whole values and frees old ones only when no program runs any more
        // that may have looked them up, so that the reference outlives this run of the program.
        let rule = unsafe { RULES.get(number)? };
        let state = STATES.get_ptr_mut(number)?;
        // SAFETY: as above; this lengthens the lifetime to that of the program's run.
        let rule: &'static Rule = unsafe { &*core::ptr::from_ref(rule) };
        Some(Self { number, rule, state })
    }

    /// Whether the rule has this bit among its flags.
    #[inline(always)]
    pub fn has(&self, flag: u32) -> bool {
        self.rule.flags & flag != 0
    }

    /// Lets `change` update the counters of this CPU.
    #[inline(always)]
    pub fn count(&self, change: impl FnOnce(&mut RuleCounters)) {
        if let Some(counters) = COUNTERS.get_ptr_mut(self.number) {
            // SAFETY: the lookup gave a valid entry of this CPU, and programs of this kind run with
            // bottom halves disabled, so nothing else on this CPU holds a reference to it.
            change(unsafe { &mut *counters });
        }
    }

    /// How many packets were sent to the holding device on this CPU.
    #[inline(always)]
    pub fn held_here(&self) -> u64 {
        // SAFETY: as in `count`.
        COUNTERS.get_ptr(self.number).map_or(0, |counters| unsafe { (*counters).held })
    }

    /// Takes the numbers of so many packets and returns the first.
    #[inline(always)]
    pub fn take_numbers(&self, count: u64) -> u64 {
        take_numbers(self.state, count)
    }

    /// What is remembered of the rule.
    #[inline(always)]
    pub fn state(&self) -> *mut RuleState {
        self.state
    }

    /// The number of the next packet.
    #[inline(always)]
    pub fn next_number(&self) -> u64 {
        atomic::read(packet_number(self.state))
    }

    /// The number of a packet that is held.
    #[inline(always)]
    pub fn take_held_number(&self) -> u64 {
        // SAFETY: a field of a live map value.
        atomic::fetch_and_add(unsafe { addr_of_mut!((*self.state).held_number) }, 1)
    }

    /// The latest departure that was given to a packet.
    #[inline(always)]
    pub fn last_departure(&self) -> *mut u64 {
        // SAFETY: as above.
        unsafe { addr_of_mut!((*self.state).last_departure_ns) }
    }

    /// When the bottleneck is free again.
    #[inline(always)]
    pub fn bottleneck_free(&self) -> *mut u64 {
        // SAFETY: as above.
        unsafe { addr_of_mut!((*self.state).bottleneck_free_ns) }
    }

    /// Packets that waited since one last left at once.
    #[inline(always)]
    pub fn waited(&self) -> *mut u64 {
        // SAFETY: as above.
        unsafe { addr_of_mut!((*self.state).waited) }
    }

    /// The last correlated deviate, whose bits are those of a signed number.
    #[inline(always)]
    pub fn deviate(&self) -> *mut u64 {
        // SAFETY: as above.
        unsafe { addr_of_mut!((*self.state).deviate).cast() }
    }

    /// Notes that a packet was affected, if it is the first.
    #[inline(always)]
    pub fn note_affected(&self, now_ns: u64) {
        // SAFETY: as above.
        let first = unsafe { addr_of_mut!((*self.state).first_affected_ns) };
        if atomic::read(first) == 0 {
            atomic::write(first, now_ns);
        }
    }
}

/// State of the loss model.
#[inline(always)]
pub fn loss_state(state: *mut RuleState) -> *mut u64 {
    // SAFETY: as above.
    unsafe { addr_of_mut!((*state).loss_state) }
}

/// Takes the numbers of so many packets and returns the first.
#[inline(always)]
pub fn take_numbers(state: *mut RuleState, count: u64) -> u64 {
    atomic::fetch_and_add(packet_number(state), count)
}

#[inline(always)]
fn packet_number(state: *mut RuleState) -> *mut u64 {
    // SAFETY: as above.
    unsafe { addr_of_mut!((*state).packet_number) }
}
