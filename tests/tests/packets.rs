//! The golden rows and the fuzzer, on the host and through the loaded program.

#[path = "packets/decap.rs"]
mod decap;

use std::process::ExitCode;
use std::sync::{Arc, Mutex};

use lb_common::abi::counters::{self, MAX_REASONS};
use lb_common::reason::{AnswerKind, DropReason};
use lb_userspace::dataplane::kernel::Kernel;
use lb_userspace::dataplane::memory::Memory;
use libtest_mimic::{Failed, Trial};
use nix::time::{ClockId, clock_gettime};
use xlb_tests::packets::frame::{internet_checksum, tagged_to_node, tcp, to_node, v4, v6};
use xlb_tests::packets::fuzz::{Frames, Random};
use xlb_tests::packets::rows::{Outcome, Row, action, rows, run_in_kernel, run_on_host, watched_counters};
use xlb_tests::packets::world::World;
use xlb_tests::requirement;

fn main() -> ExitCode {
    let missing = requirement::root();
    // A packet changes tables, so every test has its own.
    let mut trials = Vec::new();
    for row in rows() {
        trials
            .push(Trial::test(format!("host::{}", row.name), move || row_on_host(&World::in_memory(), &row)));
    }
    trials.push(Trial::test("host::every-length", || {
        let host = World::in_memory();
        every_length(|frame| Ok(run_on_host(&host, frame)), 0)
    }));
    trials.push(Trial::test("host::a-million-random-frames", || {
        random_on_host(&World::in_memory(), 1_000_000)
    }));
    trials.push(Trial::test("host::a-tag-changes-nothing-else", || {
        tagged_as_untagged(&World::in_memory(), &World::in_memory(), 300_000)
    }));
    trials.push(Trial::test("host::the-outer-source-varies-with-the-flow", || {
        let host = World::in_memory();
        outer_source_varies(|frame| Ok(run_on_host(&host, frame)))
    }));
    trials.extend(decap::on_host());
    let host_status = requirement::run(&None, trials);

    let kernel = Shared::default();
    let mut trials = Vec::new();
    for row in rows() {
        let kernel = Arc::clone(&kernel);
        trials.push(Trial::test(format!("kernel::{}", row.name), move || {
            in_kernel(&kernel, |world, watched| {
                let outcome = row.run_in_kernel(world, watched)?;
                expect_equal(&row.fate.outcome(world, &row.frame), &outcome)
            })
        }));
    }
    trials.push(Trial::test("kernel::every-length", {
        let kernel = Arc::clone(&kernel);
        move || {
            in_kernel(&kernel, |world, watched| {
                // BPF_PROG_TEST_RUN takes no frame shorter than an Ethernet header.
                every_length(|frame| run_in_kernel(world, frame, watched).map_err(Failed::from), 14)
            })
        }
    }));
    trials.push(Trial::test("kernel::the-outer-source-varies-with-the-flow", {
        let kernel = Arc::clone(&kernel);
        move || {
            in_kernel(&kernel, |world, watched| {
                let host = World::in_memory();
                outer_source_varies(|frame| {
                    let outcome = run_in_kernel(world, frame, watched)?;
                    expect_equal(&run_on_host(&host, frame), &outcome).map(|()| outcome)
                })
            })
        }
    }));
    trials.push(Trial::test("kernel::random-frames-as-on-the-host", || {
        random_against_host(&mut World::in_memory(), &mut World::in_kernel()?, 1_000_000)
    }));
    trials.extend(decap::in_kernel());
    let kernel_status = requirement::run(&missing, trials);
    if host_status == ExitCode::SUCCESS { kernel_status } else { host_status }
}

/// The one loaded program, or why it does not load: once for all.
type Shared = Arc<Mutex<Option<Result<World<Kernel>, String>>>>;

/// Hands out the one loaded program, loading it first.
fn in_kernel(
    shared: &Mutex<Option<Result<World<Kernel>, String>>>,
    test: impl FnOnce(&mut World<Kernel>, &[u32]) -> Result<(), Failed>,
) -> Result<(), Failed> {
    let mut shared = shared.lock().map_err(|_| "another test has panicked with the program")?;
    let world = shared.get_or_insert_with(|| World::in_kernel().map_err(|error| error.to_string()));
    let world = world.as_mut().map_err(|error| error.clone())?;
    let watched = watched_counters(world);
    test(world, &watched)
}

fn row_on_host(world: &World<Memory>, row: &Row) -> Result<(), Failed> {
    for frame in &row.before {
        let _ = run_on_host(world, frame);
    }
    expect_equal(&row.fate.outcome(world, &row.frame), &run_on_host(world, &row.frame))
}

fn expect_equal(expected: &Outcome, got: &Outcome) -> Result<(), Failed> {
    if expected == got {
        return Ok(());
    }
    Err(format!("expected {expected}\n     got {got}").into())
}

/// Frames of every length from `shortest` to 200 bytes, cut from real ones or random: passed or dropped for a reason, or
/// forwarded when whole.
fn every_length(
    mut run: impl FnMut(&[u8]) -> Result<Outcome, Failed>,
    shortest: usize,
) -> Result<(), Failed> {
    let mut random = Random::new(200);
    let payload = [0x5a; 160];
    let vip6 = "2001:db8::20".parse().expect("an address");
    let client6 = "2001:db8:1::7".parse().expect("an address");
    let whole = [
        to_node(&v4([198, 51, 100, 7], [192, 0, 2, 10], 6).packet(&tcp(1, 80, &payload))),
        to_node(&v4([198, 51, 100, 7], [192, 0, 2, 20], 6).packet(&tcp(1, 80, &payload))),
        to_node(&v6(0, client6, vip6, 6, &tcp(1, 80, &payload))),
        tagged_to_node(&[(0x88a8, 1), (0x8100, 2)], &v6(0, client6, vip6, 6, &tcp(1, 80, &payload))),
        (0..201).map(|_| u8::try_from(random.next() & 0xff).expect("a byte")).collect(),
    ];
    for frame in &whole {
        for len in shortest..=200 {
            let frame = &frame[..len];
            let outcome = run(frame)?;
            // A frame that is cut is never forwarded: its length does not fit any more.
            let has_reason = outcome.counter < 2 * MAX_REASONS;
            if !has_reason || !matches!(outcome.action, action::PASS | action::DROP) || outcome.frame != frame
            {
                return Err(format!("{len} bytes: {outcome}").into());
            }
        }
    }
    Ok(())
}

fn random_on_host(world: &World<Memory>, count: usize) -> Result<(), Failed> {
    let mut frames = Frames::new(1);
    let mut forwarded = 0;
    let translated = ["nat4", "natdns4", "nat6", "fullnat4"].map(|service| world.backend_counter(service));
    let backends = world.backend_counters();
    for _ in 0..count {
        let frame = frames.next_frame();
        let outcome = run_on_host(world, &frame);
        if backends.contains(&outcome.counter) {
            forwarded += 1;
            unharmed(&frame, &outcome, &translated)?;
        } else if matches!(outcome.action, action::DROP) && outcome.frame != frame {
            return Err(format!("a frame that is dropped was changed: {outcome}").into());
        }
    }
    // A fuzzer whose frames all die at the door tests the door.
    if forwarded < count / 50 || forwarded > count * 9 / 10 {
        return Err(format!("{forwarded} of {count} frames were forwarded: the frames are not mixed").into());
    }
    Ok(())
}

/// Untagged frames mostly take a shorter way through `decide` than tagged ones: both have to lead to the same place.
fn tagged_as_untagged(world: &World<Memory>, with_tags: &World<Memory>, count: usize) -> Result<(), Failed> {
    const TAG: [u8; 4] = [0x81, 0x00, 0x00, 0x07];
    let with_tag = |frame: &[u8]| [&frame[..12], &TAG, &frame[12..]].concat();
    let mut frames = Frames::new(3);
    for _ in 0..count {
        let frame = frames.next_frame();
        if [[0x81, 0x00], [0x88, 0xa8]].contains(&[frame[12], frame[13]]) {
            // One tag more could be one too many.
            continue;
        }
        let untagged = run_on_host(world, &frame);
        let expected = Outcome { frame: with_tag(&untagged.frame), ..untagged };
        expect_equal(&expected, &run_on_host(with_tags, &with_tag(&frame)))?;
    }
    Ok(())
}

/// Flows to a service with `encap_source = "172.16.0.0/16"`: the outer source is in there, differs from flow to flow, is the
/// same for packets of one flow, and the header's checksum is right.
fn outer_source_varies(mut run: impl FnMut(&[u8]) -> Result<Outcome, Failed>) -> Result<(), Failed> {
    let mut sources = std::collections::HashSet::new();
    for port in 1000..2000 {
        let frame = |payload: &[u8]| {
            to_node(&v4([198, 51, 100, 7], [192, 0, 2, 50], 6).packet(&tcp(port, 80, payload)))
        };
        let outer = run(&frame(b""))?.frame[14..34].to_vec();
        let source = outer[12..16].to_vec();
        if run(&frame(b"more"))?.frame[26..30] != source {
            return Err("two packets of one flow have two outer sources".into());
        }
        if source[..2] != [172, 16] || internet_checksum(&outer) != 0 {
            return Err(format!("outer header {outer:02x?}").into());
        }
        sources.insert(source);
    }
    // 1,000 of 65,536 addresses: about 8 fall together by chance.
    if sources.len() < 950 { Err(format!("{} sources for 1000 flows", sources.len()).into()) } else { Ok(()) }
}

/// What is behind the link header comes out as it went in, but for the hop that it has made; addresses and ports are new where
/// they are translated, and the header's checksum is as right or wrong as it was.
fn unharmed(frame: &[u8], outcome: &Outcome, translated: &[u32]) -> Result<(), Failed> {
    let l3 = (12..)
        .step_by(4)
        .find(|at| !matches!(frame[*at..*at + 2], [0x81, 0] | [0x88, 0xa8]))
        .ok_or("a frame has an EtherType")?
        + 2;
    let (before, after) = (&frame[l3..], &outcome.frame[outcome.frame.len() - (frame.len() - l3)..]);
    let grown = outcome.frame.len() - frame.len();
    let is_v4 = before[0] >> 4 == 4;
    let hops = if is_v4 { 8 } else { 7 };
    let mut expected = before.to_vec();
    expected[hops] -= 1;
    let mut is_kept = true;
    if is_v4 {
        expected[10..12].copy_from_slice(&after[10..12]);
        let header = usize::from(before[0] & 0xf) * 4;
        is_kept = internet_checksum(&before[..header]) == internet_checksum(&after[..header]);
    }
    is_kept &= if translated.contains(&outcome.counter) {
        grown == 0 && after[hops] == expected[hops]
    } else {
        matches!(grown, 0 | 20 | 28 | 40 | 48) && after == expected
    };
    if is_kept { Ok(()) } else { Err(outcome.to_string().into()) }
}

/// The clock of the kernel's program (`bpf_ktime_get_ns`), in microseconds.
fn kernel_now_us() -> Result<u64, Failed> {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC)?;
    Ok(u64::try_from(now.tv_sec())? * 1_000_000 + u64::try_from(now.tv_nsec())? / 1000)
}

/// Frames on both sides, and the same outcome byte for byte. Only how many answers are left in this instant is nobody's
/// business: one side may still answer a packet that is too large where the other has just used up its answers.
fn random_against_host(
    host: &mut World<Memory>,
    kernel: &mut World<Kernel>,
    count: usize,
) -> Result<(), Failed> {
    /// Frames of which the clock stepped on between the two sides.
    const STEPS: usize = 10;
    let seed = 2;
    let mut frames = Frames::new(seed);
    let (mut steps, mut answered) = (0, 0);
    let too_big = counters::of_answer(AnswerKind::TooBig);
    for number in 0..count {
        let frame = frames.next_frame();
        loop {
            host.dataplane.set_now_us(kernel_now_us()?);
            let expected = run_on_host(host, &frame);
            let got = kernel.dataplane.test_run(&frame, 1)?;
            if (expected.action, &expected.frame) == (got.action, &got.frame) {
                answered += usize::from(expected.counter == too_big);
                break;
            }
            let used_up = counters::of_drop(DropReason::ExceedsMtu);
            let is_answer = |counter| counter == too_big || counter == used_up;
            let is_dropped = |action, bytes: &[u8]| action == action::DROP && bytes == frame;
            if is_answer(expected.counter)
                && (is_dropped(expected.action, &expected.frame) || is_dropped(got.action, &got.frame))
            {
                break;
            }
            steps += 1;
            if steps > STEPS {
                let got = Outcome { action: got.action, frame: got.frame, counter: expected.counter };
                let input = Outcome { action: 0, frame, counter: 0 };
                let text = format!("frame {number} of seed {seed}\n      in {input}");
                return expect_equal(&expected, &got)
                    .map_err(|e| format!("{text}\n{}", e.message().unwrap_or("")).into());
            }
        }
    }
    if answered == 0 {
        return Err("no packet was answered as too large on both sides".into());
    }
    // Counters agree in total: every frame has moved one.
    let unconfigured = counters::of_pass(lb_common::reason::PassReason::NotConfigured);
    let counted = watched_counters(kernel).into_iter().filter(|index| *index != unconfigured).map(|index| {
        use lb_userspace::dataplane::Dataplane;
        kernel.dataplane.counter(index).map(|counter| counter.packets).unwrap_or_default()
    });
    let counted: u64 = counted.sum();
    if counted < count as u64 {
        return Err(format!("{count} frames, but the counters say {counted}").into());
    }
    Ok(())
}
