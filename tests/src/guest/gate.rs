//! The instruction gate: every bench case, counted in a guest, against its budget.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use super::budget::{Budget, Comparison};
use super::{Contents, Cost, Job, Kernel, machine};

/// Counts every case.
///
/// # Errors
/// QEMU does not start, or the guest did not get to its end, or a program did not do what it is timed for.
pub fn count(kernel: &Kernel, contents: &Contents) -> Result<Vec<Cost>> {
    machine::run(kernel, contents, Job::Instructions)?.costs(kernel)
}

/// How the costs compare with the budget.
#[derive(Debug)]
pub struct Verdict {
    /// A table, and what to do.
    pub text: String,
    /// How many cases keep their budget.
    pub passed: usize,
    /// How many do not, or have none.
    pub failed: usize,
}

/// Compares the costs with the budget. `file` is where the budget is kept; what has changed since is asked of git.
#[must_use]
pub fn compare(kernel: &Kernel, costs: &[Cost], budget: &Budget, file: &Path) -> Verdict {
    let mut verdict = judge(costs, budget);
    if verdict.failed > 0 {
        let name = |file: &Path| file.file_name().unwrap_or_default().display().to_string();
        let _ = writeln!(
            verdict.text,
            "\nthe costs were counted on {}, those of {} on {}\n{}",
            kernel.release,
            name(file),
            budget.kernel,
            suspects(file).unwrap_or_else(|error| format!("git does not tell what has changed: {error:#}"))
        );
    }
    verdict
}

fn judge(costs: &[Cost], budget: &Budget) -> Verdict {
    let mut verdict = Verdict { text: String::new(), passed: 0, failed: 0 };
    let text = &mut verdict.text;
    let _ = writeln!(text, "{:<28} {:>12} {:>8} {:>8}", "CASE", "INSTRUCTIONS", "BUDGET", "CHANGE");
    for cost in costs {
        let comparison = budget.compare(cost);
        let recorded = budget.instructions.get(&cost.case).copied();
        let change = recorded.map_or_else(String::new, |recorded| {
            format!("{:+.1} %", 100.0 * (f64::from(cost.instructions) / f64::from(recorded) - 1.0))
        });
        let remark = match comparison {
            Comparison::Kept => "",
            Comparison::Lower => "cheaper: lower its budget",
            Comparison::Exceeded => "EXCEEDED",
            Comparison::Unknown => "FAILED: no budget is recorded",
        };
        match comparison {
            Comparison::Kept | Comparison::Lower => verdict.passed += 1,
            Comparison::Exceeded | Comparison::Unknown => verdict.failed += 1,
        }
        let recorded = recorded.map_or_else(|| "-".to_owned(), |recorded| recorded.to_string());
        let line = format!("{:<28} {:>12} {recorded:>8} {change:>8}  {remark}", cost.case, cost.instructions);
        let _ = writeln!(text, "{}", line.trim_end());
    }
    for gone in budget.instructions.keys().filter(|case| costs.iter().all(|cost| cost.case != **case)) {
        verdict.failed += 1;
        let _ = writeln!(text, "{gone:<28} {:>12}  FAILED: the budget names it, the bench does not", "-");
    }
    if verdict.failed > 0 {
        text.push_str(
            "\nwhat is meant to be so is recorded with `cargo xtask bench --instructions --record`\n",
        );
    }
    verdict
}

/// The commits that have touched the packet path since the budget was recorded.
fn suspects(file: &Path) -> Result<String> {
    let root = root();
    let git = |words: &[&str]| {
        let output = Command::new("git").arg("-C").arg(&root).args(words).output();
        let output = output.context("git cannot be started")?;
        if !output.status.success() {
            bail!("git {}: {}", words.join(" "), String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    const PATHS: [&str; 3] = ["--", "lb-common", "lb-ebpf"];
    let file = file.display().to_string();
    let recorded = git(&["log", "-1", "--format=%H", "--", &file])?;
    if recorded.is_empty() {
        bail!("the budget is not committed");
    }
    let commits = git(&[&["log", "--format=  %h %s", &format!("{recorded}..HEAD")], &PATHS[..]].concat())?;
    let uncommitted = git(&[&["status", "--short"], &PATHS[..]].concat())?;
    let mut text = match commits.is_empty() {
        true => "no commit has touched lb-common or lb-ebpf since the budget was recorded".to_owned(),
        false => format!("commits to lb-common and lb-ebpf since the budget was recorded:\n  {commits}"),
    };
    if !uncommitted.is_empty() {
        let _ = write!(text, "\nand what is not committed:\n{uncommitted}");
    }
    Ok(text)
}

/// Where the budget is kept.
#[must_use]
pub fn budget_file() -> PathBuf {
    root().join("tests/budgets/instructions.toml")
}

fn root() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().unwrap_or(tests).to_path_buf()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_case_fails_above_its_budget_without_one_and_when_it_is_gone() {
        let cost = |case: &str, instructions| Cost { case: case.to_owned(), instructions };
        let budget = Budget::of("6.12", &[cost("kept", 100), cost("dearer", 100), cost("gone", 100)]);
        let verdict = judge(&[cost("kept", 102), cost("dearer", 104), cost("new", 7)], &budget);
        assert_eq!((verdict.passed, verdict.failed), (1, 3));
        let lines: Vec<&str> = verdict.text.lines().collect();
        assert_eq!(
            lines,
            [
                "CASE                         INSTRUCTIONS   BUDGET   CHANGE",
                "kept                                  102      100   +2.0 %",
                "dearer                                104      100   +4.0 %  EXCEEDED",
                "new                                     7        -           FAILED: no budget is recorded",
                "gone                                    -  FAILED: the budget names it, the bench does not",
                "",
                "what is meant to be so is recorded with `cargo xtask bench --instructions --record`",
            ]
        );
    }
}
