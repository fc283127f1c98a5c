//! The kernel matrix: what each kernel makes of the programs.

use std::fmt::Write as _;

use anyhow::Result;

use super::{Contents, Job, Kernel, Line, Program, machine};

/// The oldest kernel that xlb supports, as `lb_userspace::dataplane::kernel` has it.
const OLDEST: (u32, u32) = (6, 1);

/// How a kernel did.
pub struct Verdict {
    /// Lines for people: a table of programs, and what else was tried.
    pub text: String,
    /// How many things came out as they have to.
    pub passed: usize,
    /// How many did not.
    pub failed: usize,
}

/// Boots the kernel and tries everything; one that is too old for xlb has to be refused by name.
///
/// # Errors
/// QEMU does not start, or the guest did not get to its end.
pub fn run(kernel: &Kernel, contents: &Contents) -> Result<Verdict> {
    let job = if is_too_old(&kernel.release) { Job::TooOld } else { Job::Matrix };
    let outcome = machine::run(kernel, contents, job)?;
    let mut verdict = judge(&kernel.release, &outcome.lines);
    let _ = writeln!(
        verdict.text,
        "{}: {} passed, {} failed, in {:.1} s",
        kernel.release,
        verdict.passed,
        verdict.failed,
        outcome.took.as_secs_f64()
    );
    Ok(verdict)
}

fn judge(release: &str, lines: &[Line]) -> Verdict {
    let mut verdict = Verdict { text: String::new(), passed: 0, failed: 0 };
    let programs: Vec<&Program> = lines
        .iter()
        .filter_map(|line| match line {
            Line::Program(program) => Some(program),
            Line::Passed { .. } | Line::Failed { .. } | Line::Cost(_) | Line::Done => None,
        })
        .collect();
    if !programs.is_empty() {
        let _ = writeln!(
            verdict.text,
            "{:<28} {:<26} {:>8} {:>10}   RESULT",
            "KERNEL", "PROGRAM", "VERIFIED", "TRANSLATED"
        );
    }
    for Program { name, verified, translated, attached } in programs {
        verdict.passed += 1;
        let how = if attached.is_empty() {
            "by tail call".to_owned()
        } else {
            format!("native on {}", attached.join(", "))
        };
        let _ = writeln!(verdict.text, "{release:<28} {name:<26} {verified:>8} {translated:>10}   {how}");
    }
    let (mut rows, mut others) = (0_usize, Vec::new());
    for line in lines {
        match line {
            Line::Passed { name } => {
                verdict.passed += 1;
                // There are many, and each says the same.
                if name.starts_with("row ") { rows += 1 } else { others.push(name.as_str()) }
            }
            Line::Failed { name, why } => {
                verdict.failed += 1;
                let _ = writeln!(verdict.text, "{release}: FAILED: {name}: {why}");
            }
            Line::Program(_) | Line::Cost(_) | Line::Done => {}
        }
    }
    if rows > 0 {
        let _ = writeln!(verdict.text, "{release}: {rows} golden rows as expected");
    }
    for name in others {
        let _ = writeln!(verdict.text, "{release}: {name}: as expected");
    }
    verdict
}

fn is_too_old(release: &str) -> bool {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    matches!((numbers.next(), numbers.next()), (Some(Ok(major)), Some(Ok(minor))) if (major, minor) < OLDEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_failed_is_named_and_counted() {
        let program = Program {
            name: "xlb".to_owned(),
            verified: 644,
            translated: 420,
            attached: vec!["veth".to_owned()],
        };
        let lines = [
            Line::Program(program),
            Line::Passed { name: "row dsr".to_owned() },
            Line::Passed { name: "lab dsr".to_owned() },
            Line::Failed { name: "row ipip".to_owned(), why: "got nothing".to_owned() },
        ];
        let verdict = judge("6.1.0", &lines);
        assert_eq!((verdict.passed, verdict.failed), (3, 1));
        let lines: Vec<&str> = verdict.text.lines().collect();
        assert_eq!(
            lines[1..],
            [
                "6.1.0                        xlb                             644        420   native on veth",
                "6.1.0: FAILED: row ipip: got nothing",
                "6.1.0: 1 golden rows as expected",
                "6.1.0: lab dsr: as expected",
            ]
        );
    }

    #[test]
    fn kernels_before_6_1_are_too_old() {
        for (release, too_old) in
            [("5.10.0-46-cloud-amd64", true), ("6.1.0-56-cloud-amd64", false), ("7.3.4", false)]
        {
            assert_eq!(is_too_old(release), too_old, "{release}");
        }
    }
}
