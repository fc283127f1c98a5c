//! Whole paths: what a packet costs from the generator to the backend, through xlb and through the kernel's own balancers.

use std::fmt::Write as _;

use anyhow::{Context, Result};

use super::{Contents, Cost, Job, Kernel, machine};

/// The path that ends where the others begin: a packet is made, and dropped at the balancer.
pub(super) const BASE: &str = "generator, drop at the balancer";
/// Mode `dsr`.
pub(super) const DSR: &str = "xlb dsr";
/// The kernel's IPVS, direct routing.
pub(super) const IPVS: &str = "IPVS DR";
/// nftables, destination NAT by a hash of the flow.
pub(super) const NFT: &str = "nftables DNAT";

/// What `dsr` may cost above the base, in instructions.
const MOST_DSR: u32 = 700;

/// Boots the kernel, counts every path, and gives a table.
///
/// # Errors
/// QEMU does not start, the guest did not get to its end, or a path does not deliver.
pub fn run(kernel: &Kernel, contents: &Contents) -> Result<String> {
    let costs = machine::run(kernel, contents, Job::Paths)?.costs(kernel)?;
    Ok(format!("whole paths, 60-byte UDP frames of 1,024 flows, {}\n{}", kernel.release, table(&costs)?))
}

fn table(costs: &[Cost]) -> Result<String> {
    let of = |path: &str| costs.iter().find(|cost| cost.case == path).map(|cost| cost.instructions);
    let base = of(BASE).context("the guest has not counted the base")?;
    let dsr = of(DSR).context("the guest has not counted dsr")?.saturating_sub(base);
    let mut text = format!("{:<34} {:>12} {:>9} {:>7}\n", "PATH", "INSTRUCTIONS", "MARGINAL", "OF DSR");
    for Cost { case, instructions } in costs {
        if case == BASE {
            let _ = writeln!(text, "{case:<34} {instructions:>12}");
            continue;
        }
        let marginal = instructions.saturating_sub(base);
        let aim = match case == DSR {
            true if marginal <= MOST_DSR => format!("   at most {MOST_DSR}: met"),
            true => format!("   at most {MOST_DSR}: MISSED"),
            false => String::new(),
        };
        let ratio = f64::from(marginal) / f64::from(dsr);
        let _ = writeln!(text, "{case:<34} {instructions:>12} {marginal:>9} {ratio:>7.1}{aim}");
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_base_is_taken_off() {
        let costs = [(BASE, 1000), (DSR, 1650), (IPVS, 6200)]
            .map(|(case, instructions)| Cost { case: case.to_owned(), instructions });
        assert_eq!(
            table(&costs).unwrap().lines().collect::<Vec<_>>(),
            [
                "PATH                               INSTRUCTIONS  MARGINAL  OF DSR",
                "generator, drop at the balancer            1000",
                "xlb dsr                                    1650       650     1.0   at most 700: met",
                "IPVS DR                                    6200      5200     8.0",
            ]
        );
        assert!(table(&costs[1..]).is_err());
    }
}
