//! The proxy against a plain echo server: what is cut is cut, what is relayed arrives, and both are counted.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use harness::{Chunks, Proxy, When};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const DEADLINE: Duration = Duration::from_secs(10);

/// An echo server that counts the bytes it was sent.
async fn echo() -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let received = Arc::new(AtomicUsize::new(0));
    let counter = received.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let counter = counter.clone();
            tokio::spawn(async move {
                let mut buffer = [0; 1024];
                while let Ok(count @ 1..) = stream.read(&mut buffer).await {
                    counter.fetch_add(count, Ordering::SeqCst);
                    if stream.write_all(&buffer[..count]).await.is_err() {
                        break;
                    }
                }
            });
        }
    });
    (address, received)
}

async fn start(protocol: Chunks) -> (Proxy, Arc<AtomicUsize>) {
    let (address, received) = echo().await;
    (
        Proxy::start("127.0.0.1:0", &address.to_string(), protocol)
            .await
            .unwrap(),
        received,
    )
}

/// Sends `text` and returns what comes back before the connection ends or the echo is complete.
async fn exchange(stream: &mut TcpStream, text: &[u8]) -> Vec<u8> {
    let mut back = vec![0; text.len()];
    if stream.write_all(text).await.is_err() {
        return Vec::new();
    }
    let mut filled = 0;
    while filled < back.len() {
        match tokio::time::timeout(DEADLINE, stream.read(&mut back[filled..]))
            .await
            .unwrap()
        {
            Ok(count @ 1..) => filled += count,
            _ => break,
        }
    }
    back.truncate(filled);
    back
}

#[tokio::test]
async fn it_relays_both_ways_and_shows_what_the_client_sends() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = seen.clone();
    let chunks = Chunks::inspect(move |bytes| {
        log.lock().unwrap().extend_from_slice(bytes);
        None
    });
    let (proxy, _) = start(chunks).await;
    let mut client = TcpStream::connect(proxy.address()).await.unwrap();
    assert_eq!(exchange(&mut client, b"hello").await, b"hello");
    assert_eq!(*seen.lock().unwrap(), b"hello");
    assert_eq!(proxy.accepted(), 1);
}

#[tokio::test]
async fn a_cut_before_the_request_keeps_it_from_the_server() {
    let (proxy, received) = start(Chunks::inspect(|_| Some(When::BeforeRequest))).await;
    let mut client = TcpStream::connect(proxy.address()).await.unwrap();
    assert_eq!(exchange(&mut client, b"hello").await, b"");
    assert_eq!(received.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_cut_before_the_response_lets_the_server_have_the_request() {
    let (proxy, received) = start(Chunks::inspect(|_| Some(When::BeforeResponse))).await;
    let mut client = TcpStream::connect(proxy.address()).await.unwrap();
    assert_eq!(exchange(&mut client, b"hello").await, b"");
    assert_eq!(received.load(Ordering::SeqCst), 5);
}

#[tokio::test]
async fn an_outage_ends_open_connections_and_new_ones_until_it_is_over() {
    let (proxy, _) = start(Chunks::relay()).await;
    let mut client = TcpStream::connect(proxy.address()).await.unwrap();
    assert_eq!(exchange(&mut client, b"before").await, b"before");
    proxy.outage();
    assert_eq!(exchange(&mut client, b"during").await, b"");
    let mut refused = TcpStream::connect(proxy.address()).await.unwrap();
    assert_eq!(exchange(&mut refused, b"during").await, b"");
    assert_eq!(proxy.accepted(), 1);
    proxy.resume();
    let mut client = TcpStream::connect(proxy.address()).await.unwrap();
    assert_eq!(exchange(&mut client, b"after").await, b"after");
}

#[tokio::test]
async fn a_second_proxy_waits_for_the_address_of_the_first() {
    let (first, _) = start(Chunks::relay()).await;
    let (address, (forward, _)) = (first.address().to_string(), echo().await);
    let free = AtomicBool::new(false);
    let second = async {
        let second = Proxy::start(&address, &forward.to_string(), Chunks::relay())
            .await
            .unwrap();
        assert!(
            free.load(Ordering::SeqCst),
            "it listens although the first does"
        );
        second
    };
    let meanwhile = async {
        let mut client = TcpStream::connect(first.address()).await.unwrap();
        assert_eq!(exchange(&mut client, b"first").await, b"first");
        free.store(true, Ordering::SeqCst);
        drop(first);
    };
    let (second, ()) = tokio::join!(second, meanwhile);
    let mut client = TcpStream::connect(second.address()).await.unwrap();
    assert_eq!(exchange(&mut client, b"second").await, b"second");
}
