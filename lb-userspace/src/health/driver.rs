//! Runs the check of one backend: owns its timer, probes, feeds the machine, and tells the core loop what changed.
//!
//! What an event means for traffic is the core loop's business. One task per backend, so that a backend that hangs
//! delays nobody's probes but its own.

use std::net::SocketAddr;

use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::MissedTickBehavior;

use super::machine::{Health, Machine, Outcome};
use super::probe::{self, Failure};
use crate::model::Check;

/// Which backend to check, and how.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    /// Name of the service.
    pub service: String,
    /// Name of the backend within the service.
    pub backend: String,
    /// Where to probe: the backend's address with the check's port.
    pub address: SocketAddr,
    /// The rule.
    pub check: Check,
}

/// A backend's health changed, or the reason of its failures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Whose check says so.
    pub target: Target,
    /// Health since the probe; the same as before if only `detail` is new.
    pub health: Health,
    /// What the last probe met, for people: `answered in 1.2ms`, `connection refused`.
    pub detail: String,
}

/// A running check; it stops when this is dropped.
#[derive(Debug)]
#[must_use = "the check stops when this is dropped"]
pub struct Checker {
    task: AbortHandle,
}

impl Drop for Checker {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Checks `target` from now on: at once, then every interval. A probe that outlasts its interval skips a turn.
///
/// Ends by itself when nobody receives `events` any more. Must be called within a tokio runtime.
pub fn spawn(target: Target, events: mpsc::Sender<Event>) -> Checker {
    Checker { task: tokio::spawn(run(target, events)).abort_handle() }
}

async fn run(target: Target, events: mpsc::Sender<Event>) {
    let check = &target.check;
    let mut machine = Machine::new(check.rise, check.fall);
    let mut reported: Option<Failure> = None;
    let mut turns = tokio::time::interval(check.interval);
    turns.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        turns.tick().await;
        let result = probe::run(target.address, check).await;
        let outcome = if result.is_ok() { Outcome::Success } else { Outcome::Failure };
        let transition = machine.observe(outcome);
        let failure = result.as_ref().err().cloned();
        if transition.is_none() && failure == reported {
            continue;
        }
        let detail = match &result {
            Ok(latency) => format!("answered in {:.1}ms", latency.as_secs_f64() * 1000.0),
            Err(failure) => failure.to_string(),
        };
        reported = failure;
        let event = Event { target: target.clone(), health: machine.health(), detail };
        if events.send(event).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::time::Duration;

    use tokio::sync::mpsc;
    use tokio::time::timeout;

    use super::{Checker, Event, Target, spawn};
    use crate::health::Health;
    use crate::health::probe::testing::{Server, refusing_address};
    use crate::model::{Check, CheckKind};

    const PATIENCE: Duration = Duration::from_secs(10);

    fn start(address: SocketAddr, kind: CheckKind) -> (Checker, mpsc::Receiver<Event>) {
        let (events, received) = mpsc::channel(16);
        let interval = Duration::from_millis(20);
        let check = Check { kind, interval, timeout: PATIENCE, rise: 2, fall: 3, port: None };
        let target = Target { service: "web".to_owned(), backend: "web1".to_owned(), address, check };
        (spawn(target, events), received)
    }

    fn http() -> CheckKind {
        CheckKind::Http { path: "/".to_owned(), host: None }
    }

    async fn next(events: &mut mpsc::Receiver<Event>) -> (Health, String) {
        let event =
            timeout(PATIENCE, events.recv()).await.expect("an event in time").expect("a live checker");
        assert_eq!((event.target.service.as_str(), event.target.backend.as_str()), ("web", "web1"));
        (event.health, event.detail)
    }

    #[tokio::test]
    async fn a_backend_that_leaves_and_returns_is_told_of_each_change_once() {
        let server = Server::answer("HTTP/1.1 200 OK\r\n\r\n").await;
        let address = server.address;
        let (_checker, mut events) = start(address, http());
        let (health, detail) = next(&mut events).await;
        assert_eq!(health, Health::Up);
        assert!(detail.starts_with("answered in ") && detail.ends_with("ms"), "{detail}");
        drop(server);
        // The first failure is told while up; the connection cut as the server left may come before the refused ones.
        let (mut health, mut detail) = next(&mut events).await;
        assert_eq!(health, Health::Up);
        while health == Health::Up {
            (health, detail) = next(&mut events).await;
        }
        assert_eq!((health, detail.as_str()), (Health::Down, "connection refused"));
        let _back = Server::answer_at(address, "HTTP/1.1 204 No Content\r\n\r\n").await;
        let (health, _) = next(&mut events).await;
        assert_eq!(health, Health::Down, "one success of two");
        assert_eq!(next(&mut events).await.0, Health::Up);
    }

    #[tokio::test]
    async fn another_reason_is_told_though_health_stays() {
        let address = refusing_address().await;
        let (_checker, mut events) = start(address, http());
        assert_eq!(next(&mut events).await, (Health::Down, "connection refused".to_owned()));
        let _sick = Server::answer_at(address, "HTTP/1.1 503 No\r\n\r\n").await;
        assert_eq!(next(&mut events).await, (Health::Down, "status 503".to_owned()));
    }

    #[tokio::test]
    async fn a_dropped_checker_probes_no_more() {
        let mut server = Server::answer("HTTP/1.1 200 OK\r\n\r\n").await;
        let (checker, mut events) = start(server.address, http());
        let _ = next(&mut events).await;
        server.request().await;
        drop(checker);
        assert!(timeout(PATIENCE, events.recv()).await.expect("the task ends").is_none());
    }

    #[tokio::test]
    async fn a_checker_nobody_listens_to_ends() {
        let server = Server::answer("HTTP/1.1 200 OK\r\n\r\n").await;
        let (checker, events) = start(server.address, http());
        drop(events);
        let ended = async {
            while !checker.task.is_finished() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, ended).await.expect("the task ends by itself");
    }
}
