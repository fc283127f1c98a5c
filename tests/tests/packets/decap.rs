//! The receiving side, on the host and through the loaded program.

use std::sync::{Arc, Mutex};

use lb_common::abi::decap::{DECAPSULATED, of_pass};
use lb_common::decap::PassReason;
use lb_userspace::dataplane::decap::Decap;
use libtest_mimic::{Failed, Trial};
use xlb_tests::packets::decap::{Host, in_kernel as load, rows, run_in_kernel, with_outer_sum};
use xlb_tests::packets::frame::routed;
use xlb_tests::packets::fuzz::{Frames, Random};
use xlb_tests::packets::rows::{Fate, Outcome, Row, action, rows as balanced, run_on_host};
use xlb_tests::packets::world::{EGRESS_MAC, NEXT_HOP_MAC, World};

use crate::expect_equal;

/// Tests without a kernel.
pub(crate) fn on_host() -> Vec<Trial> {
    let mut trials: Vec<Trial> = rows()
        .into_iter()
        .map(|row| {
            Trial::test(format!("host::decap::{}", row.name), move || {
                expect_equal(&row.outcome, &Host::new().run(&row.frame))
            })
        })
        .collect();
    trials.push(Trial::test("host::decap::what-the-balancer-writes", what_the_balancer_writes));
    trials.push(Trial::test("host::decap::every-length", || {
        let host = Host::new();
        every_length(|frame| Ok(host.run(frame)), 0)
    }));
    trials
}

/// The same through the program, and both against each other.
pub(crate) fn in_kernel() -> Vec<Trial> {
    let program: Arc<Mutex<Option<Decap>>> = Arc::default();
    let with = |name: &str, test: fn(&mut Decap) -> Result<(), Failed>| {
        let program = Arc::clone(&program);
        Trial::test(format!("kernel::decap::{name}"), move || with_program(&program, test))
    };
    let mut trials = vec![
        with("every-length", |program| {
            // BPF_PROG_TEST_RUN takes no frame shorter than an Ethernet header.
            every_length(|frame| Ok(run_in_kernel(program, frame)?), 14)
        }),
        with("random-frames-as-on-the-host", |program| random_against_host(program, 20_000)),
    ];
    trials.extend(rows().into_iter().map(|row| {
        let program = Arc::clone(&program);
        Trial::test(format!("kernel::decap::{}", row.name), move || {
            with_program(&program, |program| expect_equal(&row.outcome, &run_in_kernel(program, &row.frame)?))
        })
    }));
    trials
}

/// Hands out the one loaded program, loading it first.
fn with_program(
    shared: &Mutex<Option<Decap>>,
    test: impl FnOnce(&mut Decap) -> Result<(), Failed>,
) -> Result<(), Failed> {
    let mut shared = shared.lock().map_err(|_| "another test has panicked with the program")?;
    if shared.is_none() {
        *shared = Some(load()?);
    }
    test(shared.as_mut().ok_or("the program is loaded")?)
}

/// Every frame that the balancer's rows encapsulate comes out as a router would have sent it on.
fn what_the_balancer_writes() -> Result<(), Failed> {
    let receiver = Host::new();
    let mut taken = 0;
    for row in balanced() {
        let Fate::Forward { service, .. } = &row.fate else { continue };
        let sent = sent(&row);
        if sent.frame.len() <= row.frame.len() {
            continue;
        }
        let expected = if *service == "gue6" {
            // Its port is another one.
            Outcome { counter: of_pass(PassReason::NotEncapsulated), action: action::PASS, ..sent.clone() }
        } else {
            taken += 1;
            Outcome { action: action::PASS, frame: as_routed(&row.frame), counter: DECAPSULATED }
        };
        expect_equal(&expected, &receiver.run(&sent.frame))
            .map_err(|error| format!("{}: {}", row.name, error.message().unwrap_or_default()))?;
    }
    // Four pairs of families in ipip, two in gue.
    if taken < 6 { Err(format!("only {taken} rows are encapsulated").into()) } else { Ok(()) }
}

fn sent(row: &Row) -> Outcome {
    let balancer = World::in_memory();
    for frame in &row.before {
        let _ = run_on_host(&balancer, frame);
    }
    run_on_host(&balancer, &row.frame)
}

/// A frame after one more hop, tags kept.
fn as_routed(frame: &[u8]) -> Vec<u8> {
    let mut l3 = 14;
    while [[0x81, 0x00], [0x88, 0xa8]].contains(&[frame[l3 - 2], frame[l3 - 1]]) {
        l3 += 4;
    }
    [&NEXT_HOP_MAC[..], &EGRESS_MAC, &frame[12..l3], &routed(&frame[l3..])].concat()
}

/// Frames cut to every length: left as they came, or whole.
fn every_length(
    mut run: impl FnMut(&[u8]) -> Result<Outcome, Failed>,
    shortest: usize,
) -> Result<(), Failed> {
    for row in rows().into_iter().filter(|row| row.outcome.counter == DECAPSULATED && row.frame.len() < 200) {
        for len in shortest..row.frame.len() {
            let frame = &row.frame[..len];
            let outcome = run(frame)?;
            let whole = outcome.counter == DECAPSULATED;
            // What is cut off may have been Ethernet padding.
            let padding = row.name.contains("padding") && len >= row.frame.len() - 6;
            if whole != padding || outcome.action != action::PASS || !whole && outcome.frame != frame {
                return Err(format!("{}: {len} bytes: {outcome}", row.name).into());
            }
        }
    }
    Ok(())
}

fn random_against_host(program: &mut Decap, count: usize) -> Result<(), Failed> {
    let seed = 4;
    let host = Host::new();
    let mut frames = Frames::made_from(rows().into_iter().map(|row| row.frame).collect(), seed);
    let mut random = Random::new(seed);
    let mut taken = 0;
    for number in 0..count {
        let frame = frames.next_frame();
        // A header that was changed dies of its checksum, unless that is changed with it.
        let frame = if random.below(4) > 0 { with_outer_sum(frame) } else { frame };
        let expected = host.run(&frame);
        taken += usize::from(expected.counter == DECAPSULATED);
        let got = run_in_kernel(program, &frame)?;
        let input = Outcome { action: 0, frame, counter: 0 };
        expect_equal(&expected, &got).map_err(|error| {
            format!(
                "frame {number} of seed {seed}\n      in {input}\n{}",
                error.message().unwrap_or_default()
            )
        })?;
    }
    // A fuzzer whose frames all die at the door tests the door.
    if taken < count / 20 || taken > count * 9 / 10 {
        return Err(format!("{taken} of {count} frames were decapsulated: the frames are not mixed").into());
    }
    Ok(())
}
