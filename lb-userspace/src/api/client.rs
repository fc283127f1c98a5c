//! Asks a running daemon: one connection a request, typed answers.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;
use tokio::net::UnixStream;

use super::types::{
    Admin, Backends, Captures, Done, Explanation, NewBackend, Question, Refusal, Services, SetAdmin, Status,
    Wanted,
};

/// Longest answer that is read: 100,000 backends are about 40 MB.
const MAX_ANSWER_BYTES: usize = 256 * 1024 * 1024;
/// From connecting to the end of the answer.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Why there is no answer.
#[derive(Debug, Error)]
pub enum Error {
    /// Nobody listens on the socket.
    #[error(
        "no xlb answers at {} ({}): start it with 'xlb run', or name its socket with --socket",
        socket.display(),
        cause(why)
    )]
    NoDaemon {
        /// Where it was looked for.
        socket: PathBuf,
        /// What the system said.
        why: io::Error,
    },
    /// The socket is not for us.
    #[error("{}: permission denied: run xlb as root or as a member of the socket's group", socket.display())]
    Forbidden {
        /// The socket.
        socket: PathBuf,
    },
    /// The daemon said no; its own words.
    #[error("{text}")]
    Refused {
        /// The HTTP status.
        status: StatusCode,
        /// One sentence.
        text: String,
    },
    /// The answer took too long.
    #[error("{}: no answer within {limit:?}", socket.display())]
    Slow {
        /// The socket.
        socket: PathBuf,
        /// How long was waited.
        limit: Duration,
    },
    /// What answered does not speak this API.
    #[error("{}: not an answer of xlb: {text}", socket.display())]
    Garbled {
        /// The socket.
        socket: PathBuf,
        /// What is wrong with it.
        text: String,
    },
}

/// The system's words without the number that Rust puts behind them.
fn cause(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_owned()
}

/// A daemon, known by its socket.
#[derive(Clone, Debug)]
pub struct Client {
    socket: PathBuf,
    timeout: Duration,
}

impl Client {
    /// The daemon at `socket`; nothing is sent yet.
    pub fn new(socket: &Path) -> Self {
        Self { socket: socket.to_owned(), timeout: TIMEOUT }
    }

    /// The node as a whole.
    ///
    /// # Errors
    /// No daemon, or no answer.
    pub async fn status(&self) -> Result<Status, Error> {
        self.send(Method::GET, "/v1/status", None::<&()>).await
    }

    /// All services.
    ///
    /// # Errors
    /// No daemon, or no answer.
    pub async fn services(&self) -> Result<Services, Error> {
        self.send(Method::GET, "/v1/services", None::<&()>).await
    }

    /// The backends of one service, or of all.
    ///
    /// # Errors
    /// No daemon, no answer, or no such service.
    pub async fn backends(&self, service: Option<&str>) -> Result<Backends, Error> {
        let query = service.map(|name| format!("?service={name}")).unwrap_or_default();
        self.send(Method::GET, &format!("/v1/backends{query}"), None::<&()>).await
    }

    /// What would become of a packet, and why.
    ///
    /// # Errors
    /// No daemon, no answer, or a packet that cannot be.
    pub async fn explain(&self, question: &Question) -> Result<Explanation, Error> {
        self.send(Method::POST, "/v1/explain", Some(question)).await
    }

    /// Has packets captured, until [`Self::end_capture`], or until nobody asks for [`Self::captures`] any more.
    ///
    /// # Errors
    /// No daemon, no answer, another capture, or a filter that cannot be.
    pub async fn begin_capture(&self, wanted: &Wanted) -> Result<(), Error> {
        self.send::<Done>(Method::POST, "/v1/capture", Some(wanted)).await.map(drop)
    }

    /// What was captured since the last time.
    ///
    /// # Errors
    /// No daemon, no answer, or no capture.
    pub async fn captures(&self) -> Result<Captures, Error> {
        self.send(Method::GET, "/v1/capture", None::<&()>).await
    }

    /// Ends the capture.
    ///
    /// # Errors
    /// No daemon, no answer, or no capture.
    pub async fn end_capture(&self) -> Result<(), Error> {
        self.send::<Done>(Method::DELETE, "/v1/capture", None::<&()>).await.map(drop)
    }

    /// Adds a backend to a service.
    ///
    /// # Errors
    /// No daemon, no answer, or a refusal.
    pub async fn add_backend(&self, service: &str, backend: &NewBackend) -> Result<(), Error> {
        let path = format!("/v1/services/{service}/backends");
        self.send::<Done>(Method::POST, &path, Some(backend)).await.map(drop)
    }

    /// Deletes a backend of a service.
    ///
    /// # Errors
    /// No daemon, no answer, or a refusal.
    pub async fn delete_backend(&self, service: &str, name: &str) -> Result<(), Error> {
        let path = format!("/v1/services/{service}/backends/{name}");
        self.send::<Done>(Method::DELETE, &path, None::<&()>).await.map(drop)
    }

    /// Tells the operator's wish for a backend.
    ///
    /// # Errors
    /// No daemon, no answer, or a refusal.
    pub async fn set_admin(&self, service: &str, name: &str, admin: Admin) -> Result<(), Error> {
        let path = format!("/v1/services/{service}/backends/{name}/admin");
        self.send::<Done>(Method::PUT, &path, Some(&SetAdmin { admin })).await.map(drop)
    }

    async fn send<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Result<T, Error> {
        let body = body.map(serde_json::to_vec).transpose().map_err(|error| self.garbled(&error))?;
        let (status, answer) =
            match tokio::time::timeout(self.timeout, self.exchange(method, path, body)).await {
                Ok(exchanged) => exchanged?,
                Err(_) => return Err(Error::Slow { socket: self.socket.clone(), limit: self.timeout }),
            };
        if status.is_success() {
            return serde_json::from_slice(&answer).map_err(|error| self.garbled(&error));
        }
        let refusal: Refusal = serde_json::from_slice(&answer).map_err(|error| self.garbled(&error))?;
        Err(Error::Refused { status, text: refusal.error })
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Option<Vec<u8>>,
    ) -> Result<(StatusCode, Bytes), Error> {
        let stream = UnixStream::connect(&self.socket).await.map_err(|why| {
            let socket = self.socket.clone();
            if why.kind() == io::ErrorKind::PermissionDenied {
                Error::Forbidden { socket }
            } else {
                Error::NoDaemon { socket, why }
            }
        })?;
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, "xlb")
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body.unwrap_or_default())))
            .map_err(|error| self.garbled(&error))?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| self.garbled(&error))?;
        // Moves the bytes of this one exchange; what goes wrong there, the request below reports.
        let moving = tokio::spawn(connection);
        let answer = async {
            let response = sender.send_request(request).await.map_err(|error| self.garbled(&error))?;
            let status = response.status();
            let body = Limited::new(response.into_body(), MAX_ANSWER_BYTES).collect().await;
            let body = body.map_err(|error| self.garbled(&*error))?;
            Ok((status, body.to_bytes()))
        };
        let answer = answer.await;
        moving.abort();
        answer
    }

    fn garbled(&self, error: &(dyn std::error::Error + 'static)) -> Error {
        Error::Garbled { socket: self.socket.clone(), text: error.to_string() }
    }
}
