//! Single instructions that the compiler is not to choose itself, most of all atomic ones on map values.
//! The kernel has those that return something from 5.12 on, but the compiler's description of the target
//! does not know them, so that they are spelt out.

use core::arch::asm;

/// Adds to a number and returns what it was.
#[inline(always)]
pub fn fetch_and_add(number: *mut u64, addend: u64) -> u64 {
    let mut value = addend;
    // SAFETY: the callers' pointers are to live map values of eight aligned bytes.
    unsafe {
        asm!(
            "{value} = atomic_fetch_add((u64 *)({pointer} + 0), {value})",
            value = inout(reg) value,
            pointer = in(reg) number,
        );
    }
    value
}

/// Writes `new` if the number is `expected`, and returns what it was.
#[inline(always)]
pub fn compare_and_exchange(number: *mut u64, expected: u64, new: u64) -> u64 {
    let mut value = expected;
    // SAFETY: as above. The instruction compares with r0 and leaves there what it found.
    unsafe {
        asm!(
            "r0 = cmpxchg_64({pointer} + 0, r0, {new})",
            inout("r0") value,
            pointer = in(reg) number,
            new = in(reg) new,
        );
    }
    value
}

/// Reads a number that others change. Eight aligned bytes are read at once.
#[inline(always)]
pub fn read(number: *const u64) -> u64 {
    // SAFETY: as above; volatile because others change it under our feet.
    unsafe { number.read_volatile() }
}

/// Writes a number that others read.
#[inline(always)]
pub fn write(number: *mut u64, value: u64) {
    // SAFETY: as above.
    unsafe { number.write_volatile(value) }
}

/// Raises a number to `value` unless it is above, and returns what it was; gives up after eight
/// others were faster.
#[inline(always)]
pub fn fetch_and_raise(number: *mut u64, value: u64) -> u64 {
    let mut found = read(number);
    for _attempt in 0..8 {
        if found >= value {
            return found;
        }
        let before = compare_and_exchange(number, found, value);
        if before == found {
            return found;
        }
        found = before;
    }
    found
}

/// The same number, of which the compiler knows nothing: it makes no branch of arithmetic.
#[inline(always)]
pub fn hidden(number: u64) -> u64 {
    let mut value = number;
    // SAFETY: no instruction at all.
    unsafe { asm!("/* {value} */", value = inout(reg) value) };
    value
}
