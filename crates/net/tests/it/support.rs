//! A test server with a few routes, and a client that speaks plain HTTP/1.1.

use std::fs::File;
use std::future::ready;
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use net::{
    Body, Connection, FileRange, Handler, HandlerFuture, Listener, Part, ReloadingTls, RequestBody, RequestBodyError,
    Sent, ServeSettings, Served,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// No test waits longer than this for anything.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// Routes: `/range/<offset>/<length>`, `/within/<milliseconds>/<length>`, `/parts/<length>`, `/slow` (until released), `/upload`, `/sent`, `/who`,
/// `/chain` (the certificates of the client, DER, each as a line of hexadecimal digits).
pub(crate) struct Routes {
    pub(crate) file: Arc<File>,
    pub(crate) content: Vec<u8>,
    /// Ends of the bodies of `/range` and `/within`.
    pub(crate) ends: Arc<Mutex<Vec<Sent>>>,
    pub(crate) slow_began: AtomicBool,
    pub(crate) release: Arc<Notify>,
    pub(crate) body_idle: Duration,
}

impl Routes {
    pub(crate) fn new(size: usize) -> Arc<Routes> {
        let content: Vec<u8> = (0..size).map(|at| (at / 13 + at % 251) as u8).collect();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&content).unwrap();
        Routes::over(file, content)
    }

    pub(crate) fn over(file: File, content: Vec<u8>) -> Arc<Routes> {
        Arc::new(Routes {
            file: Arc::new(file),
            content,
            ends: Arc::default(),
            slow_began: AtomicBool::new(false),
            release: Arc::default(),
            body_idle: Duration::from_millis(200),
        })
    }

    fn range(&self, offset: u64, length: u64) -> FileRange {
        FileRange { file: Arc::clone(&self.file), offset, length }
    }
}

impl Handler for Routes {
    fn call(&self, req: Request<Incoming>, conn: &Arc<Connection>) -> HandlerFuture {
        let path = req.uri().path().to_owned();
        let number = |at: usize| path.split('/').nth(at).unwrap_or_default().parse().unwrap_or(0);
        let body = match path.split('/').nth(1).unwrap_or_default() {
            "range" => {
                let ends = Arc::clone(&self.ends);
                Body::file(self.range(number(2), number(3))).on_end(move |sent| ends.lock().unwrap().push(sent))
            }
            "within" => {
                let ends = Arc::clone(&self.ends);
                let until = Instant::now() + Duration::from_millis(number(2));
                let content = self.content[..number(3) as usize].to_vec();
                Body::full(content).within(Some(until), DEADLINE).on_end(move |sent| ends.lock().unwrap().push(sent))
            }
            "parts" => {
                let file = |offset| Part::File(self.range(offset, number(2)));
                Body::parts(vec![
                    Part::Bytes("<".into()),
                    file(0),
                    Part::Bytes("|".into()),
                    file(7),
                    Part::Bytes(">".into()),
                ])
            }
            "slow" => {
                self.slow_began.store(true, Ordering::SeqCst);
                let release = Arc::clone(&self.release);
                return Box::pin(async move {
                    release.notified().await;
                    Response::new(Body::full("slow"))
                });
            }
            "upload" => return Box::pin(upload(RequestBody::new(req.into_body(), self.body_idle))),
            "sent" => Body::full(conn.sendfile_bytes().to_string()),
            "who" => Body::full(format!(
                "{:?}",
                conn.client_certificate.as_ref().map(|cert| (&cert.common_name, cert.verified))
            )),
            "chain" => Body::full(conn.client_certificate.as_ref().map_or_else(String::new, |cert| {
                let all = [&cert.der].into_iter().chain(&cert.intermediates);
                all.map(|der| der.iter().map(|byte| format!("{byte:02x}")).collect::<String>() + "\n").collect()
            })),
            _ => Body::empty(),
        };
        Box::pin(ready(Response::new(body)))
    }
}

async fn upload(mut body: RequestBody) -> Response<Body> {
    let mut total = 0;
    loop {
        match body.chunk().await {
            None => return Response::new(Body::full(total.to_string())),
            Some(Ok(data)) => total += data.len(),
            Some(Err(error)) => {
                let mut response = Response::new(Body::full(error.to_string()));
                *response.status_mut() = match error {
                    RequestBodyError::Stalled(_) => StatusCode::REQUEST_TIMEOUT,
                    RequestBodyError::Aborted(_) => StatusCode::BAD_REQUEST,
                };
                return response;
            }
        }
    }
}

pub(crate) struct Server {
    pub(crate) address: String,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<Served>,
}

impl Server {
    pub(crate) async fn start(routes: &Arc<Routes>, tls: Option<Arc<ReloadingTls>>, settings: ServeSettings) -> Server {
        let listener = Listener::bind_tcp("127.0.0.1:0", 128).await.unwrap();
        let address = listener.local_addrs()[0].to_string();
        Server::run(listener, address, routes, tls, settings)
    }

    pub(crate) fn start_unix(path: &Path, routes: &Arc<Routes>, settings: ServeSettings) -> Server {
        let listener = Listener::bind_unix(path, 128).unwrap();
        Server::run(listener, String::new(), routes, None, settings)
    }

    fn run(
        listener: Listener,
        address: String,
        routes: &Arc<Routes>,
        tls: Option<Arc<ReloadingTls>>,
        settings: ServeSettings,
    ) -> Server {
        let (stop, stopped) = oneshot::channel::<()>();
        let handler: Arc<dyn Handler> = routes.clone();
        let task = tokio::spawn(async move {
            let shutdown = async { _ = stopped.await.is_ok() };
            net::serve(listener, tls, handler, settings, shutdown).await
        });
        Server { address, stop: Some(stop), task }
    }

    pub(crate) async fn connect(&self) -> Client<TcpStream> {
        Client::new(TcpStream::connect(&self.address).await.unwrap())
    }

    /// Sends the shutdown signal.
    pub(crate) fn stop(&mut self) {
        let _ = self.stop.take().map(|stop| stop.send(()));
    }

    /// Waits until everything is closed.
    pub(crate) async fn end(mut self) -> Served {
        self.stop();
        within(&mut self.task).await.unwrap()
    }
}

pub(crate) async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(DEADLINE, future).await.expect("in time")
}

/// Waits for a condition that another task makes true.
pub(crate) async fn until(mut condition: impl FnMut() -> bool) {
    within(async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
}

pub(crate) struct Client<T> {
    pub(crate) stream: BufReader<T>,
}

impl<T: AsyncRead + AsyncWrite + Unpin> Client<T> {
    pub(crate) fn new(stream: T) -> Client<T> {
        Client { stream: BufReader::new(stream) }
    }

    pub(crate) async fn get(&mut self, path: &str) -> Vec<u8> {
        self.send(path).await;
        let (status, body) = self.answer().await.unwrap();
        assert_eq!(status, 200, "{path}");
        body
    }

    pub(crate) async fn send(&mut self, path: &str) {
        self.raw(&format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n")).await;
    }

    pub(crate) async fn raw(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    /// Status and content length.
    pub(crate) async fn head(&mut self) -> std::io::Result<(u16, usize)> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.stream.read_u8().await?);
        }
        let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
        let status = head[9..12].parse().unwrap();
        let length = head.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next());
        Ok((status, length.map_or(0, |length| length.parse().unwrap())))
    }

    pub(crate) async fn answer(&mut self) -> std::io::Result<(u16, Vec<u8>)> {
        within(async {
            let (status, length) = self.head().await?;
            let mut body = vec![0; length];
            self.stream.read_exact(&mut body).await?;
            Ok((status, body))
        })
        .await
    }

    /// True when the server closes without sending anything more.
    pub(crate) async fn is_closed(&mut self) -> bool {
        within(self.stream.read_u8()).await.is_err()
    }
}
