//! Serves the API: routes to requests for the core loop, and its answers to JSON.
//!
//! Each connection has a task of its own, each request a limit of size and time; a client that is slow or hangs costs
//! that task and nothing else.

use std::time::Duration;

use anyhow::Context;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, FromRequest, Path, RawQuery, Request as HttpRequest, State};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post, put};
use axum::{Json, Router};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::{mpsc, oneshot};

use super::socket::Socket;
use super::types::{Done, NewBackend, Refusal, SetAdmin, VERSION};
use super::{Error, Reply, Request};

/// Longest body of a request.
const MAX_BODY_BYTES: usize = 64 * 1024;
/// From the head of a request to its answer.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// How long requests that are under way may take once the daemon stops.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);

/// Answers on `socket` until `shutdown` ends, then removes its file. Requests under way get a second to finish.
///
/// # Errors
/// The socket cannot be served.
pub async fn serve(
    socket: Socket,
    requests: mpsc::Sender<Request>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> anyhow::Result<()> {
    let Socket { listener, file } = socket;
    let (stopping, stopped) = oneshot::channel();
    let shutdown = async move {
        shutdown.await;
        // The receiver lives in the select below, as long as there is anything to tell it.
        let _ = stopping.send(());
    };
    let serving = axum::serve(listener, router(requests, REQUEST_TIMEOUT)).with_graceful_shutdown(shutdown);
    let result = tokio::select! {
        result = serving => result.context("api server"),
        () = async { let _ = stopped.await; tokio::time::sleep(DRAIN_TIMEOUT).await } => Ok(()),
    };
    drop(file);
    result
}

fn router(requests: mpsc::Sender<Request>, limit: Duration) -> Router {
    Router::new()
        .route("/v1/status", get(status))
        .route("/v1/services", get(services))
        .route("/v1/backends", get(backends))
        .route("/v1/explain", post(explain))
        .route("/v1/capture", post(begin_capture).get(captures).delete(end_capture))
        .route("/v1/services/{service}/backends", post(add_backend))
        .route("/v1/services/{service}/backends/{name}", delete(delete_backend))
        .route("/v1/services/{service}/backends/{name}/admin", put(set_admin))
        .fallback(|| refuse_future(StatusCode::NOT_FOUND, "no such path: the API is under /v1/"))
        .method_not_allowed_fallback(|| {
            refuse_future(StatusCode::METHOD_NOT_ALLOWED, "this path does not take this method")
        })
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(from_fn(move |request: HttpRequest, next: Next| async move {
            match tokio::time::timeout(limit, next.run(request)).await {
                Ok(response) => response,
                Err(_) => refuse(StatusCode::GATEWAY_TIMEOUT, &format!("no answer within {limit:?}")),
            }
        }))
        .with_state(requests)
}

type Core = State<mpsc::Sender<Request>>;

async fn status(State(core): Core) -> Response {
    answer(&core, |reply| Request::Status { reply }).await
}

async fn services(State(core): Core) -> Response {
    answer(&core, |reply| Request::Services { reply }).await
}

async fn backends(State(core): Core, RawQuery(query): RawQuery) -> Response {
    // Names need no escapes (config::rules), so a query needs no decoding.
    let service = match query.as_deref().map(|query| query.split_once('=').unwrap_or((query, ""))) {
        None | Some(("", "")) => None,
        Some(("service", name)) => Some(name.to_owned()),
        Some((other, _)) => {
            let text = format!("query {other:?} is unknown: only service=NAME is known");
            return refuse(StatusCode::BAD_REQUEST, &text);
        }
    };
    answer(&core, |reply| Request::Backends { service, reply }).await
}

async fn explain(State(core): Core, body: Body) -> Response {
    match body.read() {
        Ok(question) => answer(&core, |reply| Request::Explain { question, reply }).await,
        Err((status, text)) => refuse(status, &text),
    }
}

async fn begin_capture(State(core): Core, body: Body) -> Response {
    match body.read() {
        Ok(wanted) => change(&core, |reply| Request::BeginCapture { wanted, reply }).await,
        Err((status, text)) => refuse(status, &text),
    }
}

async fn captures(State(core): Core) -> Response {
    answer(&core, |reply| Request::Captures { reply }).await
}

async fn end_capture(State(core): Core) -> Response {
    change(&core, |reply| Request::EndCapture { reply }).await
}

async fn add_backend(State(core): Core, Path(service): Path<String>, body: Body) -> Response {
    match body.read::<NewBackend>() {
        Ok(backend) => change(&core, |reply| Request::AddBackend { service, backend, reply }).await,
        Err((status, text)) => refuse(status, &text),
    }
}

async fn delete_backend(State(core): Core, Path((service, name)): Path<(String, String)>) -> Response {
    change(&core, |reply| Request::DeleteBackend { service, name, reply }).await
}

async fn set_admin(State(core): Core, Path((service, name)): Path<(String, String)>, body: Body) -> Response {
    match body.read() {
        Ok(SetAdmin { admin }) => {
            change(&core, |reply| Request::SetAdmin { service, name, admin, reply }).await
        }
        Err((status, text)) => refuse(status, &text),
    }
}

/// A body as it came in, or why it did not; `read` is where it becomes what was expected.
struct Body(Result<Bytes, (StatusCode, String)>);

impl<S: Send + Sync> FromRequest<S> for Body {
    type Rejection = std::convert::Infallible;

    async fn from_request(request: HttpRequest, state: &S) -> Result<Self, Self::Rejection> {
        Ok(Self(Bytes::from_request(request, state).await.map_err(|rejection| {
            let status = rejection.status();
            let text = if status == StatusCode::PAYLOAD_TOO_LARGE {
                format!("body is longer than {MAX_BODY_BYTES} bytes")
            } else {
                format!("body cannot be read: {}", rejection.body_text())
            };
            (status, text)
        })))
    }
}

impl Body {
    fn read<T: DeserializeOwned>(self) -> Result<T, (StatusCode, String)> {
        serde_json::from_slice(&self.0?).map_err(|error| {
            (StatusCode::BAD_REQUEST, format!("body is not the JSON expected here: {error}"))
        })
    }
}

async fn answer<T: Serialize>(
    core: &mpsc::Sender<Request>,
    request: impl FnOnce(Reply<T>) -> Request,
) -> Response {
    match ask(core, request).await {
        Ok(answer) => Json(answer).into_response(),
        Err(error) => refuse(status_of(&error), &error.to_string()),
    }
}

async fn change(core: &mpsc::Sender<Request>, request: impl FnOnce(Reply<()>) -> Request) -> Response {
    match ask(core, request).await {
        Ok(()) => Json(Done { version: VERSION }).into_response(),
        Err(error) => refuse(status_of(&error), &error.to_string()),
    }
}

async fn ask<T>(core: &mpsc::Sender<Request>, request: impl FnOnce(Reply<T>) -> Request) -> Result<T, Error> {
    let stopping = || Error::Failed("the daemon is stopping".to_owned());
    let (reply, answer) = oneshot::channel();
    core.send(request(reply)).await.map_err(|_| stopping())?;
    answer.await.map_err(|_| stopping())?
}

fn status_of(error: &Error) -> StatusCode {
    match error {
        Error::NotFound(_) => StatusCode::NOT_FOUND,
        Error::Invalid(_) => StatusCode::UNPROCESSABLE_ENTITY,
        Error::Conflict(_) => StatusCode::CONFLICT,
        Error::Failed(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn refuse(status: StatusCode, error: &str) -> Response {
    (status, Json(Refusal { error: error.to_owned() })).into_response()
}

fn refuse_future(status: StatusCode, error: &'static str) -> std::future::Ready<Response> {
    std::future::ready(refuse(status, error))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{UnixListener, UnixStream};
    use tokio::sync::mpsc;

    use super::{Request, router};

    /// What a daemon answers whose core does with requests as told.
    async fn answer(core: impl AsyncFnOnce(mpsc::Receiver<Request>)) -> String {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        let listener = UnixListener::bind(&path).unwrap();
        let (requests, received) = mpsc::channel(1);
        tokio::spawn(axum::serve(listener, router(requests, Duration::from_millis(100))).into_future());
        let ask = async {
            let mut stream = UnixStream::connect(&path).await.unwrap();
            stream
                .write_all(b"GET /v1/status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                .await
                .unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            answer
        };
        let asked = async { tokio::join!(ask, core(received)).0 };
        tokio::time::timeout(Duration::from_secs(10), asked).await.expect("an answer in time")
    }

    #[tokio::test]
    async fn a_core_that_does_not_answer_is_not_waited_for_for_ever() {
        let answer = answer(async |mut received| {
            let Some(Request::Status { mut reply }) = received.recv().await else { return };
            // Until the server has given up.
            reply.closed().await;
        })
        .await;
        assert!(answer.starts_with("HTTP/1.1 504 "), "{answer}");
        assert!(answer.ends_with("{\"error\":\"no answer within 100ms\"}"), "{answer}");
    }

    #[tokio::test]
    async fn a_core_that_stops_is_said_to() {
        for before_the_request in [true, false] {
            let answer = answer(async |mut received| {
                if !before_the_request {
                    let _ = received.recv().await;
                }
            })
            .await;
            assert!(answer.starts_with("HTTP/1.1 500 "), "{answer}");
            assert!(answer.ends_with("{\"error\":\"the daemon is stopping\"}"), "{answer}");
        }
    }
}
