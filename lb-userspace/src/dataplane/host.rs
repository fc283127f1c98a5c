//! What the kernel's programs do with a frame, done on the host: the same `decide`, `join`, `commit` and `rewrite` in the same order.

use lb_common::abi::counters;
use lb_common::commit::{State, commit, has_connection, join};
use lb_common::decide::{Course, Decision, Work, decide};
use lb_common::frame::Frame;
use lb_common::reason::{DropReason, PassReason};
use lb_common::rewrite::{answer, nat, rewrite};

/// What has become of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What was decided.
    pub fate: Fate,
    /// The frame afterwards.
    pub frame: Vec<u8>,
    /// Index of the counter that it was counted in.
    pub counter: u32,
}

/// Where a frame goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// To the kernel's stack.
    Pass,
    /// Nowhere.
    Drop,
    /// Out of an interface.
    Send(u32),
}

/// Does with a frame what the kernel's programs do, except that no route leads to a client: replies go to the stack. What was
/// decided comes along.
pub fn run<S: State>(state: &S, frame: &[u8]) -> (Work, Outcome) {
    let mut bytes = frame.to_vec();
    let mut work = decide(&Frame::from_bytes(&mut bytes), state);
    let mut course = work.decision.course();
    if course == Course::Send && has_connection(&work) {
        course = join(state, &Frame::from_bytes(&mut bytes), &mut work);
    }
    if course == Course::Send {
        let _ = commit(state, &mut work);
    }
    let outcome = carry_out(state, &work, bytes);
    (work, outcome)
}

fn carry_out<S: State>(state: &S, work: &Work, mut bytes: Vec<u8>) -> Outcome {
    let passed = |reason, frame| Outcome { fate: Fate::Pass, frame, counter: counters::of_pass(reason) };
    let dropped = |reason, frame| Outcome { fate: Fate::Drop, frame, counter: counters::of_drop(reason) };
    let sent = |interface, frame, counter| Outcome { fate: Fate::Send(interface), frame, counter };
    match &work.decision {
        Decision::Pass(reason) => passed(*reason, bytes),
        Decision::Drop(reason) => dropped(*reason, bytes),
        Decision::Forward(forward) => {
            let Some(node) = state.node() else { return dropped(DropReason::NoBackend, bytes) };
            let backend = &node.backends[forward.id.index()];
            bytes.splice(0..0, vec![0; usize::from(forward.mode.overhead_bytes())]);
            match rewrite::<false>(
                &mut Frame::from_bytes(&mut bytes),
                state.features(),
                forward,
                backend,
                &work.out,
            ) {
                Some(()) => sent(backend.interface, bytes, counters::of_backend(forward.id)),
                None => dropped(DropReason::BadLength, bytes),
            }
        }
        Decision::Reply(reply) => {
            match nat::translate(&mut Frame::from_bytes(&mut bytes), &reply.packet, &reply.change) {
                Some(()) => passed(PassReason::ReplyToStack, bytes),
                None => dropped(DropReason::BadLength, bytes),
            }
        }
        Decision::Answer(made) => {
            let size = answer::size(made);
            if let Some(len) = size.len_bytes {
                bytes.resize(len, 0);
            }
            bytes.splice(0..0, vec![0; usize::from(size.head_bytes)]);
            match answer::write(&mut Frame::from_bytes(&mut bytes), state.features(), made) {
                Some(()) => sent(state.ingress(), bytes, counters::of_answer(made.kind())),
                None => dropped(DropReason::BadLength, bytes),
            }
        }
    }
}
