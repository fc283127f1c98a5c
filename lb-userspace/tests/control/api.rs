//! The API over a real socket: what client and server say to each other, and what neither may do to the other.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use lb_userspace::api::client::{Client, Error};
use lb_userspace::api::socket;
use lb_userspace::api::types::{Admin, NewBackend};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::timeout;

use super::support;

const PATIENCE: Duration = Duration::from_secs(10);

fn new(name: &str, address: &str) -> NewBackend {
    NewBackend { name: name.to_owned(), address: address.to_owned(), port: None, server_id: None, weight: 3 }
}

/// Status and words of a refusal.
fn refusal<T: std::fmt::Debug>(result: Result<T, Error>) -> (u16, String) {
    match result {
        Err(Error::Refused { status, text }) => (status.as_u16(), text),
        other => panic!("not a refusal: {other:?}"),
    }
}

#[tokio::test]
async fn what_the_core_says_arrives_unchanged() {
    let daemon = support::start();
    let client = Client::new(&daemon.socket);
    assert_eq!(client.status().await.unwrap(), support::status());
    assert_eq!(client.services().await.unwrap(), support::services());
    let backends = client.backends(Some("web")).await.unwrap();
    assert_eq!(
        backends.backends,
        [support::backend("web1", "10.0.0.11"), support::backend("web2", "10.0.0.12")]
    );
    assert_eq!(client.backends(None).await.unwrap(), backends);
}

#[tokio::test]
async fn changes_are_made() {
    let daemon = support::start();
    let client = Client::new(&daemon.socket);
    client.add_backend("web", &new("web3", "10.0.0.13")).await.unwrap();
    client.set_admin("web", "web1", Admin::Drain).await.unwrap();
    client.delete_backend("web", "web2").await.unwrap();
    let backends = client.backends(None).await.unwrap().backends;
    let seen: Vec<_> = backends.iter().map(|b| (b.name.as_str(), b.weight, b.admin)).collect();
    assert_eq!(seen, [("web1", 1, Admin::Drain), ("web3", 3, Admin::Ready)]);
}

#[tokio::test]
async fn each_refusal_has_its_status_and_the_cores_words() {
    let daemon = support::start();
    let client = Client::new(&daemon.socket);
    let no_service = refusal(client.backends(Some("wbe")).await);
    assert_eq!(no_service, (404, "service wbe: not found: did you mean web?".to_owned()));
    let no_backend = refusal(client.delete_backend("web", "web9").await);
    assert_eq!(no_backend, (404, "service web: backend web9: not found: did you mean web1?".to_owned()));
    let twice = refusal(client.add_backend("web", &new("web1", "10.0.0.13")).await);
    assert_eq!(twice, (409, "service web: backend web1: is already there".to_owned()));
    let invalid = refusal(client.add_backend("web", &new("web3", "bad")).await);
    assert_eq!(invalid, (422, "address \"bad\" is bad".to_owned()));
    let failed = refusal(client.set_admin("web", "broken", Admin::Ready).await);
    assert_eq!(failed, (500, "the kernel said no".to_owned()));
}

/// Sends `request` as it is; the status and the error of the answer.
async fn raw(socket: &Path, request: &[u8]) -> (u16, String) {
    let mut stream = UnixStream::connect(socket).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("an answer in time").unwrap();
    let answer = String::from_utf8(answer).unwrap();
    let status = answer.split(' ').nth(1).expect("a status").parse().unwrap();
    let (_, body) = answer.split_once("\r\n\r\n").expect("a body");
    let json: serde_json::Value =
        serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}"));
    (status, json["error"].as_str().expect("a sentence").to_owned())
}

fn http(line: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("{line} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}")
        .into_bytes()
}

#[tokio::test]
async fn bad_requests_are_answered_with_a_sentence() {
    let daemon = support::start();
    let add = "POST /v1/services/web/backends";
    let put = "PUT /v1/services/web/backends/web1/admin";
    let large = format!("{{\"name\": \"{}\"}}", "x".repeat(70_000));
    let not_json = "body is not the JSON expected here:";
    for (line, body, status, sentence) in [
        ("GET /nowhere", "", 404, "no such path: the API is under /v1/"),
        ("DELETE /v1/status", "", 405, "this path does not take this method"),
        ("GET /v1/backends?servce=web", "", 400, "query \"servce\" is unknown: only service=NAME is known"),
        (add, "not json", 400, &format!("{not_json} expected ident at line 1 column 2")),
        (add, "", 400, &format!("{not_json} EOF while parsing a value at line 1 column 0")),
        (add, "{\"name\": \"x\"}", 400, &format!("{not_json} missing field `address` at line 1 column 13")),
        (
            add,
            "{\"name\": \"x\", \"wieght\": 1}",
            400,
            &format!(
                "{not_json} unknown field `wieght`, expected one of `name`, `address`, `port`, `server_id`, `weight` at \
                 line 1 column 22"
            ),
        ),
        (
            put,
            "{\"admin\": \"off\"}",
            400,
            &format!("{not_json} unknown variant `off`, expected `ready` or `drain` at line 1 column 15"),
        ),
        (add, &large, 413, "body is longer than 65536 bytes"),
    ] {
        assert_eq!(
            raw(&daemon.socket, &http(line, body)).await,
            (status, sentence.to_owned()),
            "{line} {body:.40}"
        );
    }
    assert!(Client::new(&daemon.socket).status().await.is_ok(), "and the next client is served");
}

#[tokio::test]
async fn clients_that_hang_cost_nobody_else_an_answer() {
    let daemon = support::start();
    let mut hanging = Vec::new();
    for n in 0..200 {
        let mut stream = UnixStream::connect(&daemon.socket).await.unwrap();
        let part: &[u8] = if n % 2 == 0 {
            b"GET /v1/sta"
        } else {
            b"POST /v1/services/web/backends HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\n{"
        };
        stream.write_all(part).await.unwrap();
        hanging.push(stream);
    }
    let began = Instant::now();
    let client = Client::new(&daemon.socket);
    for _ in 0..10 {
        timeout(PATIENCE, client.status()).await.expect("in time").unwrap();
    }
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    drop(daemon.stop);
    timeout(PATIENCE, daemon.server).await.expect("hanging clients do not hold up the end").unwrap().unwrap();
}

#[tokio::test]
async fn the_socket_comes_and_goes_with_the_server() {
    let daemon = support::start();
    let mode = fs::metadata(&daemon.socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    drop(daemon.stop);
    timeout(PATIENCE, daemon.server).await.expect("in time").unwrap().unwrap();
    assert!(!daemon.socket.exists());
}

#[tokio::test]
async fn a_live_socket_is_not_taken() {
    let daemon = support::start();
    let error = socket::bind(&daemon.socket).unwrap_err().to_string();
    let shown = daemon.socket.display();
    let expected =
        format!("socket {shown} is in use by another xlb: stop it, or choose another with --socket");
    assert_eq!(error, expected);
    assert!(Client::new(&daemon.socket).status().await.is_ok(), "the other one lives on");
}

#[tokio::test]
async fn what_a_dead_daemon_left_is_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("xlb.sock");
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists(), "a listener that ends leaves its file");
    let socket = socket::bind(&path).unwrap();
    assert!(UnixStream::connect(&path).await.is_ok());
    drop(socket);
    assert!(!path.exists());
}

#[tokio::test]
async fn a_socket_that_another_has_replaced_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("xlb.sock");
    let first = socket::bind(&path).unwrap();
    fs::rename(&path, directory.path().join("aside")).unwrap();
    let _second = socket::bind(&path).unwrap();
    drop(first);
    assert!(UnixStream::connect(&path).await.is_ok());
}

#[tokio::test]
async fn a_file_of_another_kind_is_not_touched() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notes.txt");
    fs::write(&path, "precious").unwrap();
    let error = socket::bind(&path).unwrap_err().to_string();
    let shown = path.display();
    assert_eq!(
        error,
        format!("socket {shown}: there is a file of another kind: choose another path with --socket")
    );
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
}

#[tokio::test]
async fn a_path_too_long_for_a_socket_says_so() {
    let path = format!("/tmp/{}", "x".repeat(103));
    let error = socket::bind(path.as_ref()).unwrap_err().to_string();
    let expected = format!(
        "socket {path}: its path has 108 bytes, a unix socket allows 107: choose a shorter one with --socket"
    );
    assert_eq!(error, expected);
}

#[tokio::test]
async fn without_a_daemon_the_client_says_what_to_do() {
    let error = Client::new("/nonexistent/xlb.sock".as_ref()).status().await.unwrap_err().to_string();
    let way_out = "start it with 'xlb run', or name its socket with --socket";
    assert_eq!(
        error,
        format!("no xlb answers at /nonexistent/xlb.sock (No such file or directory): {way_out}")
    );
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("xlb.sock");
    drop(UnixListener::bind(&path).unwrap());
    let error = Client::new(&path).status().await.unwrap_err().to_string();
    assert_eq!(error, format!("no xlb answers at {} (Connection refused): {way_out}", path.display()));
}

#[tokio::test]
async fn what_does_not_speak_the_api_is_told_apart() {
    for answer in [
        "SSH-2.0-OpenSSH\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
        "HTTP/1.1 500 No\r\n\r\n",
        "",
    ] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("other.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let other = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 1024];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(answer.as_bytes()).await;
        });
        let error = Client::new(&path).status().await.unwrap_err();
        assert!(matches!(error, Error::Garbled { .. }), "{answer:?}: {error:?}");
        other.await.unwrap();
    }
}
