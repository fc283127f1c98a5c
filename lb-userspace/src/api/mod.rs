//! The daemon's API: JSON over HTTP/1.1 on a Unix socket.
//!
//! ```text
//!   CLI --client--> socket --server--> Request --mpsc--> core loop
//!                          <--JSON---  Result  <-oneshot-
//! ```
//!
//! The server parses and serialises, nothing else: whether a request is allowed and what it does is decided in the core
//! loop, one request after the other. `types` is what both ends say.

pub mod client;
pub mod server;
pub mod socket;
pub mod types;

use thiserror::Error;
use tokio::sync::oneshot;

use crate::nearest::way_out;
use types::{Admin, Backends, Captures, Explanation, NewBackend, Question, Services, Status, Wanted};

/// Where the answer to a request goes; that nobody waits for it any more is no error.
pub type Reply<T> = oneshot::Sender<Result<T, Error>>;

/// What the core loop is asked.
#[derive(Debug)]
pub enum Request {
    /// The node as a whole.
    Status {
        /// The answer.
        reply: Reply<Status>,
    },
    /// All services.
    Services {
        /// The answer.
        reply: Reply<Services>,
    },
    /// The backends of one service, or of all.
    Backends {
        /// Name of the service.
        service: Option<String>,
        /// The answer; `NotFound` if there is no such service.
        reply: Reply<Backends>,
    },
    /// What would become of a packet, and why.
    Explain {
        /// The packet.
        question: Question,
        /// The answer.
        reply: Reply<Explanation>,
    },
    /// Packets are to be captured, until the client says stop or stays away.
    BeginCapture {
        /// Which ones.
        wanted: Wanted,
        /// Sent when the program captures.
        reply: Reply<()>,
    },
    /// What was captured since the last time.
    Captures {
        /// The answer.
        reply: Reply<Captures>,
    },
    /// The capture is over.
    EndCapture {
        /// Sent when the program does not capture any more.
        reply: Reply<()>,
    },
    /// A backend is to join a service; judged by `config::backend`.
    AddBackend {
        /// Name of the service.
        service: String,
        /// As it was typed.
        backend: NewBackend,
        /// Sent when the data plane knows it; it takes traffic once its next hop and its health are known.
        reply: Reply<()>,
    },
    /// A backend is to leave a service.
    DeleteBackend {
        /// Name of the service.
        service: String,
        /// Name of the backend.
        name: String,
        /// Sent when the data plane has forgotten it.
        reply: Reply<()>,
    },
    /// An operator's wish for a backend.
    SetAdmin {
        /// Name of the service.
        service: String,
        /// Name of the backend.
        name: String,
        /// The wish.
        admin: Admin,
        /// Sent when the data plane follows it.
        reply: Reply<()>,
    },
}

/// Why the core loop refuses; each holds one sentence.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Error {
    /// There is no such thing (404).
    #[error("{0}")]
    NotFound(String),
    /// What was asked breaks a rule (422).
    #[error("{0}")]
    Invalid(String),
    /// What was asked contradicts what is (409).
    #[error("{0}")]
    Conflict(String),
    /// The daemon tried and could not (500).
    #[error("{0}")]
    Failed(String),
}

impl Error {
    /// There is no service `name`; says which of `known` was meant.
    pub fn no_service<'k>(name: &str, known: impl IntoIterator<Item = &'k str>) -> Self {
        let known: Vec<&str> = known.into_iter().collect();
        Self::NotFound(format!(
            "service {}: not found: {}",
            name.escape_debug(),
            way_out(name, "services", &known)
        ))
    }

    /// Service `service` has no backend `name`; says which of `known` was meant.
    pub fn no_backend<'k>(service: &str, name: &str, known: impl IntoIterator<Item = &'k str>) -> Self {
        let known: Vec<&str> = known.into_iter().collect();
        let hint = way_out(name, "backends", &known);
        Self::NotFound(format!("service {service}: backend {}: not found: {hint}", name.escape_debug()))
    }
}
