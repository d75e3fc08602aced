//! An API server that says what a test tells it to: for answers that a real one gives only when it is in trouble.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use access::ManualClock;
use kube::{Client, Config};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::connect::Connection;

/// How long anything may take that a test waits for.
const PATIENCE: Duration = Duration::from_secs(30);

/// Status and body; `None` says nothing and keeps the line.
type Answer = Option<(u16, String)>;

pub(crate) struct Server {
    pub(crate) connection: Connection,
    pub(crate) clock: Arc<ManualClock>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// `answer` is given the target of a request and its body.
    pub(crate) async fn start(answer: impl Fn(&str, &str) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (answer, asked) = (Arc::new(answer), Arc::<Mutex<Vec<String>>>::default());
        let notes = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (answer, notes) = (Arc::clone(&answer), Arc::clone(&notes));
                tokio::spawn(async move { serve(stream, &*answer, &notes).await });
            }
        });
        let mut config = Config::new(format!("http://{address}").parse().unwrap());
        // As in a real connection.
        config.default_retry = false;
        let client = Client::try_from(config).unwrap();
        let clock = Arc::new(ManualClock::new(0));
        Self { connection: Connection::with(client, clock.clone()), clock, asked }
    }

    /// The targets of all requests so far.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    /// Waits until `check` holds for what was asked.
    pub(crate) async fn until(&self, what: &str, check: impl Fn(&[String]) -> bool) {
        let wait = async {
            while !check(&self.asked()) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        assert!(tokio::time::timeout(PATIENCE, wait).await.is_ok(), "waited in vain for: {what}");
    }

    /// From now on nobody answers, as far as the connection knows.
    pub(crate) fn go_away(&self) {
        let reach = self.connection.reach();
        reach.failed("test");
        self.clock.advance(Duration::from_secs(1));
        reach.failed("test");
        assert!(reach.is_away());
    }
}

async fn serve(stream: TcpStream, answer: &(dyn Fn(&str, &str) -> Answer + Send + Sync), notes: &Mutex<Vec<String>>) {
    let mut stream = BufReader::new(stream);
    let (mut target, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
            return;
        }
        let line = line.trim_end().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if target.is_empty() {
            target = line.split(' ').nth(1).unwrap().to_owned();
        }
        if let Some(value) = line.strip_prefix("content-length: ") {
            length = value.parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.unwrap();
    let said = answer(&target, &String::from_utf8(body).unwrap());
    notes.lock().unwrap().push(target);
    let Some((status, text)) = said else { return std::future::pending().await };
    let head = format!("HTTP/1.1 {status} X\r\nRetry-After: 7\r\nConnection: close\r\nContent-Length: {}", text.len());
    // Who has read enough hangs up.
    let _ = stream.write_all(format!("{head}\r\n\r\n{text}").as_bytes()).await;
}
