//! One try: does the backend answer now? How often to try, and what follows, is decided elsewhere.

pub mod http;
pub mod tcp;
#[cfg(test)]
pub(super) mod testing;

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use thiserror::Error;

use crate::model::{Check, CheckKind};

/// Why a probe failed. Two failures are equal when an operator would call them the same.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Failure {
    /// Nobody listens on the port (RST).
    #[error("connection refused")]
    Refused,
    /// The connection was cut before an answer came.
    #[error("connection closed before an answer")]
    Closed,
    /// Neither success nor failure in time.
    #[error("no answer within {0:?}")]
    NoAnswer(Duration),
    /// No route, or a router or neighbor that says no.
    #[error("no route to the backend")]
    NoRoute,
    /// An HTTP status outside of 200 to 399.
    #[error("status {0}")]
    Status(u16),
    /// Something answered, but not in HTTP/1.
    #[error("answer is not HTTP")]
    NotHttp,
    /// The head of the answer exceeds what a probe reads.
    #[error("answer has more than {0} bytes of header")]
    HeaderTooLong(usize),
    /// What the system said, when it is none of the above.
    #[error("{0}")]
    Other(String),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        use io::ErrorKind as Kind;
        let kinds: [(&[Kind], Self); 3] = [
            (&[Kind::ConnectionRefused], Self::Refused),
            (&[Kind::HostUnreachable, Kind::NetworkUnreachable], Self::NoRoute),
            (
                &[Kind::ConnectionReset, Kind::ConnectionAborted, Kind::BrokenPipe, Kind::UnexpectedEof],
                Self::Closed,
            ),
        ];
        let known = kinds.into_iter().find(|(kinds, _)| kinds.contains(&error.kind()));
        known.map_or_else(|| Self::Other(error.to_string()), |(_, failure)| failure)
    }
}

/// Probes `address` once as `check` says; the time until it answered.
///
/// # Errors
/// Why the backend does not count as fit; at the latest after `check.timeout`.
pub async fn run(address: SocketAddr, check: &Check) -> Result<Duration, Failure> {
    let began = Instant::now();
    let probe = async {
        match &check.kind {
            CheckKind::Tcp => tcp::probe(address).await,
            CheckKind::Http { path, host } => http::probe(address, path, host.as_deref()).await,
        }
    };
    match tokio::time::timeout(check.timeout, probe).await {
        Ok(result) => result.map(|()| began.elapsed()),
        Err(_) => Err(Failure::NoAnswer(check.timeout)),
    }
}
