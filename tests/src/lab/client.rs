//! An HTTP client that opens a connection per request, as the worst clients do.
//!
//! Call it from a thread inside the client's namespace.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

/// An answer.
#[derive(Debug)]
pub struct Reply {
    /// Status code.
    pub status: u16,
    /// What follows the header.
    pub body: Vec<u8>,
}

impl Reply {
    /// The body, as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// GET on a new connection; `limit` is for each of connecting, sending and every piece of the answer.
///
/// # Errors
/// Those of the connection; an answer that is not HTTP or shorter than it says is `InvalidData`.
pub fn get(server: SocketAddr, path: &str, limit: Duration) -> io::Result<Reply> {
    request(server, "GET", path, &[], limit)
}

/// PUT on a new connection; limits and errors as for [`get`].
///
/// # Errors
/// As for [`get`].
pub fn put(server: SocketAddr, path: &str, body: &[u8], limit: Duration) -> io::Result<Reply> {
    request(server, "PUT", path, body, limit)
}

fn request(server: SocketAddr, method: &str, path: &str, body: &[u8], limit: Duration) -> io::Result<Reply> {
    let mut stream = TcpStream::connect_timeout(&server, limit)?;
    stream.set_read_timeout(Some(limit))?;
    stream.set_write_timeout(Some(limit))?;
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: lab\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(body)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    parse(&answer).ok_or_else(|| {
        let what = format!("{} bytes of answer that are no complete HTTP", answer.len());
        io::Error::new(io::ErrorKind::InvalidData, what)
    })
}

fn parse(answer: &[u8]) -> Option<Reply> {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    let (head, body) = answer.split_at(end);
    let body = body.get(4..)?;
    let head = std::str::from_utf8(head).ok()?;
    let status = head.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("content-length").then(|| value.parse::<usize>().ok())?
    });
    // nginx gives a length with everything but "created" and "no content".
    (length.unwrap_or(0) == body.len()).then(|| Reply { status, body: body.to_vec() })
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn a_short_answer_is_no_answer() {
        let whole = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nweb1\n";
        assert_eq!(parse(whole).map(|reply| (reply.status, reply.text())), Some((200, "web1\n".to_owned())));
        assert!(parse(&whole[..whole.len() - 1]).is_none());
        assert!(parse(b"HTTP/1.1 200 OK\r\n").is_none());
        assert!(parse(b"").is_none());
    }
}
