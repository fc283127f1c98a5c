//! Servers on the loopback that behave well or badly, for the tests of the probes and the driver.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::model::{Check, CheckKind};

pub(crate) fn check(kind: CheckKind, timeout: Duration) -> Check {
    Check { kind, interval: timeout, timeout, rise: 2, fall: 3, port: None }
}

/// An address on which nobody listens: a listener had it and left.
pub(crate) async fn refusing_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

/// Stops when dropped.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    requests: mpsc::UnboundedReceiver<String>,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    /// Reads a request, writes `bytes`, closes.
    pub(crate) async fn answer(bytes: &str) -> Self {
        Self::start("127.0.0.1:0".parse().unwrap(), Behaviour::Answer(bytes.to_owned())).await
    }

    /// As `answer`, at an address of the caller's.
    pub(crate) async fn answer_at(address: SocketAddr, bytes: &str) -> Self {
        Self::start(address, Behaviour::Answer(bytes.to_owned())).await
    }

    /// Accepts, and never says a word.
    pub(crate) async fn hang() -> Self {
        Self::start("127.0.0.1:0".parse().unwrap(), Behaviour::Hang).await
    }

    /// Answers 200 with a body that never ends.
    pub(crate) async fn endless_body() -> Self {
        Self::start("127.0.0.1:0".parse().unwrap(), Behaviour::EndlessBody).await
    }

    /// Never accepts, and has no room left: a SYN is not answered.
    pub(crate) async fn full_queue() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(1).unwrap();
        let address = listener.local_addr().unwrap();
        let mut filling = Vec::new();
        while let Ok(stream) =
            tokio::time::timeout(Duration::from_millis(100), TcpStream::connect(address)).await
        {
            filling.push(stream.unwrap());
        }
        let task = tokio::spawn(async move {
            std::future::pending::<()>().await;
            drop((listener, filling));
        });
        Self { address, requests: mpsc::unbounded_channel().1, task }
    }

    /// The next request that came in.
    pub(crate) async fn request(&mut self) -> String {
        self.requests.recv().await.unwrap()
    }

    async fn start(address: SocketAddr, behaviour: Behaviour) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind(address).unwrap();
        let listener = socket.listen(64).unwrap();
        let address = listener.local_addr().unwrap();
        let (seen, requests) = mpsc::unbounded_channel();
        let task = tokio::spawn(async move {
            let mut held = Vec::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut head = vec![0; 4096];
                match &behaviour {
                    Behaviour::Hang => held.push(stream),
                    Behaviour::Answer(bytes) => {
                        let length = stream.read(&mut head).await.unwrap_or(0);
                        let _ = seen.send(String::from_utf8_lossy(&head[..length]).into_owned());
                        let _ = stream.write_all(bytes.as_bytes()).await;
                    }
                    Behaviour::EndlessBody => {
                        let _ = stream.read(&mut head).await;
                        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
                        while stream.write_all(&[b'x'; 4096]).await.is_ok() {}
                    }
                }
            }
        });
        Self { address, requests, task }
    }
}

enum Behaviour {
    Answer(String),
    Hang,
    EndlessBody,
}
