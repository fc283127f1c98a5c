//! The golden rows and the fuzzer, on the host and through the loaded program.

#[path = "packets/decap.rs"]
mod decap;

use std::process::ExitCode;
use std::sync::{Arc, Mutex};

use lb_common::abi::control::Capture;
use lb_common::abi::counters::{self, MAX_REASONS};
use lb_common::abi::features::Features;
use lb_common::reason::{AnswerKind, DropReason};
use lb_userspace::dataplane::Dataplane;
use lb_userspace::dataplane::captured::Capturing;
use lb_userspace::dataplane::dry_run::{Dry, DryRun};
use lb_userspace::dataplane::host;
use lb_userspace::dataplane::kernel::Kernel;
use lb_userspace::dataplane::memory::Memory;
use libtest_mimic::{Failed, Trial};
use nix::time::{ClockId, clock_gettime};
use xlb_tests::packets::dump::Dump;
use xlb_tests::packets::frame::{
    ACK, SYN, internet_checksum, summed, tagged_to_node, tcp, tcp_with, to_node, v4, v6,
};
use xlb_tests::packets::fuzz::{Frames, Random};
use xlb_tests::packets::rows::{Outcome, Row, action, rows, run_in_kernel, run_on_host, watched_counters};
use xlb_tests::packets::world::{INGRESS, World};
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

    // It looks for its maps among those of the process: it runs alone.
    let dry_run = Trial::test("kernel::a-dry-run-says-the-same-and-changes-nothing", || {
        dry_runs(&mut World::in_kernel()?, 20_000)
    });
    let dry_status = requirement::run(&missing, vec![dry_run]);

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
    trials.push(Trial::test("kernel::captured-as-they-came-and-left", || {
        captured(&mut World::in_kernel_with(Features::CAPTURE)?)
    }));
    trials.push(Trial::test("kernel::captured-if-wanted", || {
        captured_if_wanted(&mut World::in_kernel_with(Features::CAPTURE)?)
    }));
    let kernel_status = requirement::run(&missing, trials);
    let all = [host_status, dry_status, kernel_status];
    all.into_iter().find(|status| *status != ExitCode::SUCCESS).unwrap_or(ExitCode::SUCCESS)
}

/// Dry runs of all rows, of a connection of mode `fullnat` and of random frames: host and program agree, nothing that packets change
/// has changed, and the same frame in earnest has the same outcome.
fn dry_runs(world: &mut World<Kernel>, random: usize) -> Result<(), Failed> {
    let watched = watched_counters(world);
    for row in rows() {
        for frame in &row.before {
            world.dataplane.test_run(frame, 1)?;
        }
        dry_then_in_earnest(world, &row.frame, &watched).map_err(|error| format!("{}: {error}", row.name))?;
    }
    let to_service = |flags| {
        to_node(&summed(v4([198, 51, 100, 7], [192, 0, 2, 80], 6).packet(&tcp_with(flags, 40_000, 80, b""))))
    };
    let sent = dry_then_in_earnest(world, &to_service(SYN), &watched)?;
    dry_then_in_earnest(world, &to_service(ACK), &watched)?;
    let port = u16::from_be_bytes([sent.frame[34], sent.frame[35]]);
    let reply = to_node(&summed(v4([10, 0, 0, 81], [10, 0, 0, 200], 6).packet(&tcp_with(
        SYN | ACK,
        8080,
        port,
        b"",
    ))));
    dry_then_in_earnest(world, &reply, &watched)?;

    let before = dump(world)?;
    let entries = before.flows.iter().flatten().flatten().filter(|word| **word != 0).count();
    let (connections, limits) = (before.connections.len(), before.limits.len());
    if entries == 0 || connections == 0 || limits == 0 {
        let text = format!(
            "{entries} flows and fragments, {connections} connections and {limits} limits: nothing is tested"
        );
        return Err(text.into());
    }
    let mut frames = Frames::new(4);
    for number in 0..random {
        dry_run(world, &frames.next_frame()).map_err(|error| format!("frame {number} of seed 4: {error}"))?;
    }
    if before == dump(world)? { Ok(()) } else { Err("random frames have changed something".into()) }
}

fn dump(world: &World<Kernel>) -> Result<Dump, String> {
    Dump::of(&world.dataplane).map_err(|error| format!("{error:#}"))
}

fn dry_then_in_earnest(world: &mut World<Kernel>, frame: &[u8], watched: &[u32]) -> Result<Outcome, String> {
    let before = dump(world)?;
    let dry = dry_run(world, frame)?;
    let after = dump(world)?;
    if before != after {
        return Err(format!("before {before:?}\n     after {after:?}"));
    }
    let outcome = run_in_kernel(world, frame, watched)?;
    if dry == outcome { Ok(outcome) } else { Err(format!("     dry {dry}\n in earnest {outcome}")) }
}

/// One dry run on both sides, which have to agree.
fn dry_run(world: &mut World<Kernel>, frame: &[u8]) -> Result<Outcome, String> {
    let (_, host) = host::run(&Dry::new(&world.dataplane, INGRESS), frame);
    let ran = world.dataplane.dry_run(frame, INGRESS).map_err(|error| error.to_string())?;
    let (host, ran) =
        (Outcome::from(host), Outcome { action: ran.action, frame: ran.frame, counter: ran.counter });
    if host == ran { Ok(ran) } else { Err(format!("on the host {host}\n    program {ran}")) }
}

/// Every row is captured once: as it came, with its counter, and as it left if it did.
fn captured(world: &mut World<Kernel>) -> Result<(), Failed> {
    let watched = watched_counters(world);
    for row in rows() {
        for frame in row.before.iter().chain([&row.frame]) {
            let outcome = run_in_kernel(world, frame, &watched)?;
            let is_sent = matches!(outcome.action, action::TX | action::REDIRECT);
            let expected = (frame.clone(), outcome.counter, is_sent.then(|| outcome.frame.clone()));
            let got = next_captured(world).ok_or_else(|| format!("{}: was not captured", row.name))?;
            if got != expected {
                return Err(format!("{}: expected {expected:02x?}\n     got {got:02x?}", row.name).into());
            }
        }
    }
    match next_captured(world) {
        None => Ok(()),
        Some(more) => Err(format!("one was captured twice: {more:02x?}").into()),
    }
}

/// The frame as it came, its counter, and the frame as it left.
fn next_captured(world: &mut World<Kernel>) -> Option<(Vec<u8>, u32, Option<Vec<u8>>)> {
    let record = world.dataplane.next_captured()?;
    let cut =
        |bytes: &[u8], len: u32| bytes[..bytes.len().min(usize::try_from(len).expect("a length"))].to_vec();
    let after = (record.after_len > 0).then(|| cut(&record.after, record.after_len));
    Some((cut(&record.before, record.before_len), record.fate, after))
}

/// A packet to 192.0.2.10:80 from 198.51.100.7, and which filters want it.
fn captured_if_wanted(world: &mut World<Kernel>) -> Result<(), Failed> {
    let frame = to_node(&v4([198, 51, 100, 7], [192, 0, 2, 10], 6).packet(&tcp(40_000, 80, b"")));
    let fate = world.backend_counter("web4");
    let (web4, web6) = (world.slots_base("web4") + 1, world.slots_base("web6") + 1);
    let source = |bytes: [u8; 4]| {
        let [a, b, c, d] = bytes;
        [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
    };
    let any = Capture { service: 0, fate: 0, prefix_bits: 0, family: 0, source: [0; 16] };
    let from = |bytes, prefix_bits| Capture { source: source(bytes), prefix_bits, family: 4, ..any };
    let rows = [
        ("any", any, true),
        ("its service", Capture { service: web4, ..any }, true),
        ("another service", Capture { service: web6, ..any }, false),
        ("its fate", Capture { fate: fate + 1, ..any }, true),
        ("another fate", Capture { fate: fate + 2, ..any }, false),
        ("its network", from([198, 51, 100, 0], 24), true),
        ("its address", from([198, 51, 100, 7], 32), true),
        ("another address", from([198, 51, 100, 6], 32), false),
        ("the other family", Capture { family: 6, ..any }, false),
    ];
    for (name, capture, expected) in rows {
        world.dataplane.set_capture(&capture);
        world.dataplane.test_run(&frame, 1)?;
        let got = next_captured(world).is_some();
        if got != expected {
            return Err(format!("{name}: captured {got}, expected {expected}").into());
        }
    }
    Ok(())
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
