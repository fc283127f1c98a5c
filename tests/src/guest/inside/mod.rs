//! Inside a guest: process 1.

mod forwarding;
mod init;
mod instructions;
mod paths;
mod programs;
mod report;
mod rows;
mod too_old;

use anyhow::Result;

use self::report::Report;
use super::Job;

/// Makes the machine usable, does the job, says that it is complete, and switches the machine off.
///
/// # Errors
/// The machine is not as it has to be. The kernel then panics, since its process 1 ends, and the machine goes off.
pub fn main(job: Job) -> Result<()> {
    init::mount()?;
    let mut report = Report::open()?;
    if let Err(error) = init::bring_up().and_then(|()| work(job, &mut report)) {
        report.failed("the guest", &error)?;
    }
    report.finish()?;
    init::power_off()
}

fn work(job: Job, report: &mut Report) -> Result<()> {
    match job {
        Job::Matrix => {
            programs::check(report)?;
            rows::check(report)?;
            forwarding::check(report)
        }
        Job::TooOld => too_old::check(report),
        Job::Instructions => instructions::count(report),
        Job::Paths => paths::count(report),
    }
}
