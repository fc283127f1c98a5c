//! Does the backend accept a TCP connection? Nothing is sent and nothing read.

use std::net::SocketAddr;

use tokio::net::TcpStream;

use super::Failure;

/// Connects once, without a limit of time: the caller sets it.
///
/// # Errors
/// Why there is no connection.
pub async fn probe(address: SocketAddr) -> Result<(), Failure> {
    connect(address).await.map(drop)
}

/// A connection that ends with RST: ended with FIN, thousands of checks would fill the host with TIME_WAIT.
pub(super) async fn connect(address: SocketAddr) -> Result<TcpStream, Failure> {
    let stream = TcpStream::connect(address).await?;
    stream.set_zero_linger()?;
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::health::probe::testing::{Server, check, refusing_address};
    use crate::health::probe::{Failure, run};
    use crate::model::CheckKind;

    const LIMIT: Duration = Duration::from_secs(5);

    #[tokio::test]
    async fn a_listener_that_accepts_is_a_success() {
        let server = Server::hang().await;
        let latency = run(server.address, &check(CheckKind::Tcp, LIMIT)).await.unwrap();
        assert!(latency < LIMIT);
    }

    #[tokio::test]
    async fn a_port_without_listener_refuses() {
        let address = refusing_address().await;
        assert_eq!(run(address, &check(CheckKind::Tcp, LIMIT)).await, Err(Failure::Refused));
        assert_eq!(Failure::Refused.to_string(), "connection refused");
    }

    #[tokio::test]
    async fn a_listener_whose_queue_is_full_does_not_answer() {
        let server = Server::full_queue().await;
        let limit = Duration::from_millis(200);
        let failure = run(server.address, &check(CheckKind::Tcp, limit)).await.unwrap_err();
        assert_eq!(failure, Failure::NoAnswer(limit));
        assert_eq!(failure.to_string(), "no answer within 200ms");
    }
}
