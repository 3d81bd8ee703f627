//! Asking a server of ours on loopback: the status is all that is wanted, so no HTTP crate is built for it.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result};

/// GET; the status.
pub fn status(port: u16, path: &str) -> Result<u16> {
    request(port, "GET", path, "")
}

/// One HTTP/1.1 exchange; the status.
pub fn request(port: u16, method: &str, path: &str, body: &str) -> Result<u16> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let head = String::from_utf8_lossy(&answer);
    let status = head
        .split_whitespace()
        .nth(1)
        .context("the server closed the connection without an answer")?;
    status
        .parse()
        .with_context(|| format!("no HTTP status in {status:?}"))
}
