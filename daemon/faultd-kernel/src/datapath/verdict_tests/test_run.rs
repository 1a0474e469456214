//! One run of a program on one frame, by the kernel's `BPF_PROG_TEST_RUN`.

use aya::programs::{ProgramError, SchedClassifier, TestRun as _, TestRunOptions};

/// Size of the kernel's `struct __sk_buff` on all kernels of interest.
const CONTEXT: usize = 192;
/// Where its fields are: `include/uapi/linux/bpf.h`.
const MARK: usize = 8;
const INTERFACE_INDEX: usize = 40;
const SEGMENTS: usize = 164;
const SEGMENT_SIZE: usize = 176;
/// A frame may grow by the tags that programs push.
const ROOM: usize = 64;

/// The verdicts of `include/uapi/linux/pkt_cls.h` that our programs may return.
pub(super) const PASS: i32 = -1;
pub(super) const DROP: i32 = 2;
pub(super) const STOLEN: i32 = 4;
pub(super) const REDIRECT: i32 = 7;

/// A frame and what the kernel knows about it.
#[derive(Clone, Debug, Default)]
pub(super) struct Input {
    pub(super) frame: Vec<u8>,
    pub(super) mark: u32,
    /// 0 is the loopback device, whose index is 1.
    pub(super) interface_index: u32,
    /// Of a super-packet: how many wire packets it will be, and the size of their payload.
    pub(super) segments: Option<(u32, u32)>,
}

impl From<Vec<u8>> for Input {
    fn from(frame: Vec<u8>) -> Self {
        Self { frame, ..Self::default() }
    }
}

/// What became of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Output {
    pub(super) verdict: i32,
    pub(super) frame: Vec<u8>,
    pub(super) mark: u32,
}

/// Runs a program that was loaded on a frame; several times on the same one, which then is as the run
/// before left it.
pub(super) fn run(program: &SchedClassifier, input: &Input, repeat: u32) -> Result<Output, ProgramError> {
    let context = context(input);
    let mut frame = vec![0; input.frame.len() + ROOM];
    let mut context_after = [0; CONTEXT];
    let options = TestRunOptions {
        data_in: Some(&input.frame),
        data_out: Some(&mut frame),
        ctx_in: Some(&context),
        ctx_out: Some(&mut context_after),
        repeat,
        ..TestRunOptions::new()
    };
    let result = program.test_run(options)?;
    frame.truncate(usize::try_from(result.data_size_out).expect("a short frame"));
    let mark = context_after[MARK..MARK + 4].try_into().expect("four bytes");
    let verdict = result.return_value.cast_signed();
    Ok(Output { verdict, frame, mark: u32::from_ne_bytes(mark) })
}

fn context(input: &Input) -> [u8; CONTEXT] {
    let (segments, size) = input.segments.unwrap_or_default();
    let mut context = [0; CONTEXT];
    for (place, value) in [
        (MARK, input.mark),
        (INTERFACE_INDEX, input.interface_index),
        (SEGMENTS, segments),
        (SEGMENT_SIZE, size),
    ] {
        context[place..place + 4].copy_from_slice(&value.to_ne_bytes());
    }
    context
}
