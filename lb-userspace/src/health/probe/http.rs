//! Does the backend answer an HTTP/1.1 request with a status that means well?
//!
//! Only the head of the answer is read: a body that never ends costs nothing, and what it says is not judged.

use std::net::SocketAddr;
use std::pin::pin;

use futures_util::future::{Either, select};
use http_body_util::Empty;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, CONNECTION, HOST, USER_AGENT};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;

use super::{Failure, tcp};

/// Longest head of an answer.
const MAX_HEADER_BYTES: usize = 16 * 1024;

/// Sends `GET path` once, without a limit of time: the caller sets it.
///
/// # Errors
/// Why there is no answer with a status from 200 to 399.
pub async fn probe(address: SocketAddr, path: &str, host: Option<&str>) -> Result<(), Failure> {
    let request = Request::builder()
        .method(Method::GET)
        .uri(path)
        .header(HOST, host.map_or_else(|| address.to_string(), str::to_owned))
        .header(USER_AGENT, concat!("xlb-check/", env!("CARGO_PKG_VERSION")))
        .header(ACCEPT, "*/*")
        .header(CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|error| Failure::Other(error.to_string()))?;
    let stream = TokioIo::new(tcp::connect(address).await?);
    let mut builder = http1::Builder::new();
    let (mut sender, connection) =
        builder.max_buf_size(MAX_HEADER_BYTES).handshake(stream).await.map_err(reason)?;
    let answer = pin!(sender.send_request(request));
    let response = match select(answer, pin!(connection)).await {
        Either::Left((response, _)) => response,
        // The connection ended first: the answer it got, or the reason it has none, is waiting.
        Either::Right((_, answer)) => answer.await,
    };
    match response.map_err(reason)?.status().as_u16() {
        200..=399 => Ok(()),
        status => Err(Failure::Status(status)),
    }
}

fn reason(error: hyper::Error) -> Failure {
    if error.is_parse_too_large() {
        return Failure::HeaderTooLong(MAX_HEADER_BYTES);
    }
    if error.is_parse() {
        return Failure::NotHttp;
    }
    if error.is_incomplete_message() || error.is_canceled() || error.is_closed() {
        return Failure::Closed;
    }
    let source = std::error::Error::source(&error).and_then(|source| source.downcast_ref::<std::io::Error>());
    match source {
        Some(io) => Failure::from(std::io::Error::new(io.kind(), io.to_string())),
        None => Failure::Other(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use crate::health::probe::testing::{Server, check, refusing_address};
    use crate::health::probe::{Failure, run};
    use crate::model::{Check, CheckKind};

    const LIMIT: Duration = Duration::from_secs(5);

    fn http(timeout: Duration) -> Check {
        check(
            CheckKind::Http { path: "/healthz?a=b".to_owned(), host: Some("www.example.com".to_owned()) },
            timeout,
        )
    }

    #[tokio::test]
    async fn statuses_from_200_to_399_are_successes() {
        for (status, expected) in [
            (200, Ok(())),
            (204, Ok(())),
            (399, Ok(())),
            (101, Err(Failure::Status(101))),
            (400, Err(Failure::Status(400))),
            (503, Err(Failure::Status(503))),
        ] {
            let server = Server::answer(&format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n")).await;
            assert_eq!(run(server.address, &http(LIMIT)).await.map(drop), expected);
        }
        assert_eq!(Failure::Status(503).to_string(), "status 503");
    }

    #[tokio::test]
    async fn the_request_is_what_the_check_says() {
        let mut server = Server::answer("HTTP/1.1 200 OK\r\n\r\n").await;
        assert!(run(server.address, &http(LIMIT)).await.is_ok());
        let request = server.request().await.to_lowercase();
        assert!(request.starts_with("get /healthz?a=b http/1.1\r\n"), "{request}");
        assert!(request.contains("\r\nhost: www.example.com\r\n"), "{request}");
    }

    #[tokio::test]
    async fn without_host_the_header_is_the_address() {
        let mut server = Server::answer("HTTP/1.1 200 OK\r\n\r\n").await;
        let plain = check(CheckKind::Http { path: "/".to_owned(), host: None }, LIMIT);
        assert!(run(server.address, &plain).await.is_ok());
        let expected = format!("\r\nhost: {}\r\n", server.address);
        assert!(server.request().await.to_lowercase().contains(&expected));
    }

    #[tokio::test]
    async fn a_body_that_never_ends_is_not_read() {
        let server = Server::endless_body().await;
        let began = Instant::now();
        assert!(run(server.address, &http(LIMIT)).await.is_ok());
        assert!(began.elapsed() < LIMIT);
    }

    #[tokio::test]
    async fn what_answers_otherwise_is_a_failure_with_a_reason() {
        let limit = Duration::from_millis(200);
        let endless_head = format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(100_000));
        for (server, expected) in [
            (Server::answer("SSH-2.0-OpenSSH_10.0\r\n").await, Failure::NotHttp),
            (Server::answer("\0\u{1}\u{2}garbage").await, Failure::NotHttp),
            (Server::answer("").await, Failure::Closed),
            (Server::answer("HTTP/1.1 200 OK\r\nContent-").await, Failure::Closed),
            (Server::answer(&endless_head).await, Failure::HeaderTooLong(16 * 1024)),
            (Server::hang().await, Failure::NoAnswer(limit)),
        ] {
            let expected_text = expected.to_string();
            let limit = if matches!(expected, Failure::NoAnswer(_)) { limit } else { LIMIT };
            assert_eq!(run(server.address, &http(limit)).await, Err(expected), "{expected_text}");
        }
        assert_eq!(run(refusing_address().await, &http(LIMIT)).await, Err(Failure::Refused));
    }
}
