//! Asking a server of ours on loopback: a status or a short text is all that is wanted, so no HTTP crate is built for it.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

/// GET; the status.
pub fn status(port: u16, path: &str) -> Result<u16> {
    request(port, "GET", path, "")
}

/// GET; the body. An error when the status is not 200.
pub fn text(port: u16, path: &str) -> Result<String> {
    let answer = exchange(port, "GET", path, "")?;
    let (status, text) = (status_of(&answer)?, String::from_utf8_lossy(&answer));
    ensure!(status == 200, "{path} is answered by status {status}");
    let (head, body) = text
        .split_once("\r\n\r\n")
        .context("an answer without an end of its head")?;
    ensure!(
        !head.to_ascii_lowercase().contains("transfer-encoding"),
        "{path} is answered in chunks, which nobody here puts together"
    );
    Ok(body.to_owned())
}

/// One HTTP/1.1 exchange; the status.
pub fn request(port: u16, method: &str, path: &str, body: &str) -> Result<u16> {
    status_of(&exchange(port, method, path, body)?)
}

fn exchange(port: u16, method: &str, path: &str, body: &str) -> Result<Vec<u8>> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(answer)
}

fn status_of(answer: &[u8]) -> Result<u16> {
    let head = String::from_utf8_lossy(answer);
    let status = head
        .split_whitespace()
        .nth(1)
        .context("the server closed the connection without an answer")?;
    status
        .parse()
        .with_context(|| format!("no HTTP status in {status:?}"))
}
