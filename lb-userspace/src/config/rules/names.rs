//! Names, and texts that go into a probe.

use hyper::http::uri::PathAndQuery;

/// Longest interface name in bytes (`IFNAMSIZ` less its final zero).
const INTERFACE_NAME_BYTES: usize = 15;
/// Longest name of a node, a service or a backend in bytes.
const NAME_BYTES: usize = 64;

pub(in crate::config) fn name(typed: &str) -> Result<String, String> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if typed.is_empty() || typed.len() > NAME_BYTES || !typed.bytes().all(allowed) {
        return Err(format!("name {typed:?} is not 1 to {NAME_BYTES} of the characters A-Z a-z 0-9 . _ -"));
    }
    Ok(typed.to_owned())
}

/// A name that the kernel takes for an interface (`dev_valid_name` in net/core/dev.c).
pub(in crate::config) fn interface(typed: &str) -> Result<String, String> {
    if typed.len() > INTERFACE_NAME_BYTES {
        return Err(format!(
            "interface name {typed:?} is longer than {INTERFACE_NAME_BYTES} bytes: no interface can be called so, \
             see 'ip link'"
        ));
    }
    let refused = |c: char| c == '/' || c == ':' || c.is_whitespace() || c.is_control();
    if typed.is_empty() || typed == "." || typed == ".." || typed.contains(refused) {
        return Err(format!("interface name {typed:?} is not one the kernel allows: see 'ip link'"));
    }
    Ok(typed.to_owned())
}

pub(in crate::config) fn path(typed: &str) -> Result<String, String> {
    let plain = typed.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
    if !typed.starts_with('/') || !plain || typed.parse::<PathAndQuery>().is_err() {
        return Err(format!(
            "path {typed:?} is not a path: write one such as /healthz, without spaces, other characters as %XX"
        ));
    }
    Ok(typed.to_owned())
}

pub(in crate::config) fn host(typed: &str) -> Result<String, String> {
    if typed.is_empty() || !typed.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/') {
        return Err(format!("host {typed:?} is not a host name: write one such as www.example.com"));
    }
    Ok(typed.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_paths_and_hosts() {
        assert!(name(&"x".repeat(64)).is_ok() && name(&"x".repeat(65)).is_err());
        assert!(name("a/b").is_err() && name("").is_err() && name("wéb").is_err());
        assert!(
            path("/a?b=c").is_ok() && path("/a b").is_err() && path("a").is_err() && path("/a#b").is_err()
        );
        assert!(host("www.example.com:80").is_ok() && host("a b").is_err() && host("").is_err());
        assert!(host("a\r\nX: y").is_err());
        assert!(interface("eth0.100").is_ok() && interface("a/b").is_err() && interface("").is_err());
        assert!(interface("0123456789abcde").is_ok() && interface("0123456789abcdef").is_err());
    }
}
