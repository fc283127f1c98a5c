//! Steady traffic from the client, and what became of every request.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc::{self, Receiver, Sender},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

use super::{client, netns::Netns, wait};

/// What one request came to.
#[derive(Clone, Debug)]
pub struct Sample {
    /// When its connection was begun.
    pub started: Instant,
    /// From then to its end.
    pub took: Duration,
    /// The name of the server that answered, or what went wrong.
    pub outcome: Result<String, String>,
}

/// How much traffic.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Requests under way at the same time, at most.
    pub workers: usize,
    /// Requests started per second by all workers; `None` is as fast as they can.
    pub per_second: Option<u32>,
    /// Requests in total; `None` is until stopped.
    pub total: Option<usize>,
    /// Patience with connecting and with each piece of the answer.
    pub limit: Duration,
}

/// Traffic under way; dropping it ends it.
#[derive(Debug)]
pub struct Load {
    stop: Arc<AtomicBool>,
    workers: Vec<JoinHandle<()>>,
    samples: Receiver<Sample>,
}

impl Load {
    pub(super) fn start(client: &Arc<Netns>, server: SocketAddr, plan: Plan) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let left = Arc::new(AtomicUsize::new(plan.total.unwrap_or(usize::MAX)));
        let (sender, samples) = mpsc::channel();
        let workers = (0..plan.workers)
            .map(|_| {
                let (netns, stop, left) = (Arc::clone(client), Arc::clone(&stop), Arc::clone(&left));
                let worker = Worker { server, plan, stop, left, samples: sender.clone() };
                thread::spawn(move || worker.run(&netns))
            })
            .collect();
        Self { stop, workers, samples }
    }

    /// What has come in since the last call.
    pub fn news(&self) -> Vec<Sample> {
        self.samples.try_iter().collect()
    }

    /// Adds samples to `all` until `enough` says so of them.
    ///
    /// # Errors
    /// Not within `limit`.
    pub fn collect(
        &self,
        all: &mut Vec<Sample>,
        what: &str,
        limit: Duration,
        enough: impl Fn(&[Sample]) -> bool,
    ) -> Result<()> {
        let deadline = Instant::now() + limit;
        while !enough(all) {
            ensure!(!wait::stopping(), "interrupted while waiting for {what}");
            let rest = deadline.saturating_duration_since(Instant::now());
            let sample = self.samples.recv_timeout(rest);
            all.push(sample.with_context(|| format!("{what} did not happen within {limit:?}"))?);
        }
        Ok(())
    }

    /// Ends it after the requests under way; gives all samples not yet fetched.
    #[must_use]
    pub fn finish(mut self) -> Vec<Sample> {
        self.end();
        self.news()
    }

    /// Waits until the plan's total is reached; gives all samples not yet fetched.
    #[must_use]
    pub fn complete(mut self) -> Vec<Sample> {
        self.join();
        self.news()
    }

    fn end(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.join();
    }

    fn join(&mut self) {
        for worker in self.workers.drain(..) {
            // A worker that panicked has said so.
            let _ = worker.join();
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.end();
    }
}

struct Worker {
    server: SocketAddr,
    plan: Plan,
    stop: Arc<AtomicBool>,
    left: Arc<AtomicUsize>,
    samples: Sender<Sample>,
}

impl Worker {
    fn run(&self, netns: &Netns) {
        if let Err(error) = netns.enter() {
            self.report(Instant::now(), Err(format!("{error:#}")));
            return;
        }
        let share = u32::try_from(self.plan.workers).unwrap_or(u32::MAX);
        let interval = self.plan.per_second.map(|rate| Duration::from_secs(1) * share / rate.max(1));
        while !self.stop.load(Ordering::Relaxed) && !wait::stopping() && self.take_one() {
            let started = Instant::now();
            let reply = client::get(self.server, "/", self.plan.limit);
            let outcome = match reply {
                Ok(reply) if reply.status == 200 => Ok(reply.text().trim().to_owned()),
                Ok(reply) => Err(format!("status {}", reply.status)),
                Err(error) => Err(error.to_string()),
            };
            self.report(started, outcome);
            if let Some(rest) = interval.and_then(|interval| interval.checked_sub(started.elapsed())) {
                wait::pause(rest);
            }
        }
    }

    /// One request fewer to do, if there is one.
    fn take_one(&self) -> bool {
        self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
    }

    fn report(&self, started: Instant, outcome: Result<String, String>) {
        // Nobody listens any more when the load is being dropped.
        let _ = self.samples.send(Sample { started, took: started.elapsed(), outcome });
    }
}
