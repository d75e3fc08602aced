//! The life of one connection.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::{Request, Response, Version};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::server::graceful::GracefulConnection;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::settings::ServeSettings;
use super::streams::Streams;
use super::{Handler, protocol};
use crate::body::Body;
use crate::connection::{Active, Connection, Peer};
use crate::pace::{self, Clock};
use crate::socket::{Socket, Stream};
use crate::tls::{self, ReloadingTls};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Running,
    Draining,
    Cut,
}

/// What all connections of one listener share.
pub(super) struct Acceptor {
    tls: Option<Arc<ReloadingTls>>,
    handler: Arc<dyn Handler>,
    settings: ServeSettings,
    http1: http1::Builder,
    http2: http2::Builder<Streams>,
}

impl Acceptor {
    pub(super) fn new(tls: Option<Arc<ReloadingTls>>, handler: Arc<dyn Handler>, settings: ServeSettings) -> Acceptor {
        let (http1, http2) = (protocol::http1(&settings), protocol::http2());
        Acceptor { tls, handler, settings, http1, http2 }
    }

    /// Serves one connection to its end.
    pub(super) async fn run(
        &self,
        stream: Stream,
        peer: Peer,
        local: Option<SocketAddr>,
        mut phases: watch::Receiver<Phase>,
    ) {
        let _open = Open::count(self);
        let conn = Connection::new(peer, local);
        let socket = Socket::new(stream, self.settings.write_stall_timeout);
        let deadline = Instant::now() + self.settings.handshake_timeout;
        // A handshake carries no request: it may be dropped as soon as draining begins.
        let mut handshake_phases = phases.clone();
        let draining = async { _ = handshake_phases.wait_for(|phase| *phase != Phase::Running).await.is_ok() };
        tokio::select! {
            biased;
            () = draining => {}
            ready = self.prepare(socket, conn, deadline) => match ready {
                Ok(ready) => self.serve(ready, &mut phases).await,
                Err(error) => tracing::debug!(%error, "a connection ended before its first request"),
            }
        }
    }

    /// Chooses the protocol, after the TLS handshake where there is one.
    async fn prepare(&self, mut socket: Socket, mut conn: Connection, deadline: Instant) -> io::Result<Ready> {
        let Some(tls) = &self.tls else {
            let http2 = self.settings.h2c && timeout_at(deadline, socket.begins_http2()).await??;
            if !http2 {
                conn.files = socket.enable_files();
            }
            return Ok(Ready { io: Io::Plain(socket), http2, conn: Arc::new(conn) });
        };
        let accepted = match timeout_at(deadline, tls.accept(socket)).await {
            Ok(accepted) => accepted,
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "the TLS handshake took too long")),
        };
        let accepted =
            accepted.inspect_err(|_| _ = self.settings.counters.handshake_failures.fetch_add(1, Ordering::Relaxed))?;
        conn.tls = true;
        conn.client_certificate = accepted.client_certificate;
        Ok(Ready { io: Io::Tls(accepted.stream), http2: accepted.http2, conn: Arc::new(conn) })
    }

    async fn serve(&self, ready: Ready, phases: &mut watch::Receiver<Phase>) {
        let Ready { io, http2, conn } = ready;
        let result = match io {
            Io::Plain(socket) => self.speak(socket, http2, &conn, phases).await,
            Io::Tls(stream) => self.speak(stream, http2, &conn, phases).await,
        };
        if let Err(error) = result {
            tracing::debug!(error = &error as &dyn std::error::Error, peer = ?conn.peer, "a connection ended early");
        }
        self.settings.counters.sendfile_bytes.fetch_add(conn.sendfile_bytes(), Ordering::Relaxed);
    }

    async fn speak<T>(
        &self,
        io: T,
        http2: bool,
        conn: &Arc<Connection>,
        phases: &mut watch::Receiver<Phase>,
    ) -> Result<(), hyper::Error>
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (handler, shared) = (Arc::clone(&self.handler), Arc::clone(conn));
        let service = service_fn(move |req| answer(&*handler, req, &shared));
        if http2 {
            let connection = pin!(self.http2.serve_connection(TokioIo::new(io), service));
            follow(connection, Some((conn, self.settings.http2_idle_timeout)), phases).await
        } else {
            // hyper closes idle HTTP/1 connections itself, by its time limit for the next head.
            let connection = pin!(self.http1.serve_connection(TokioIo::new(io), service));
            follow(connection, None, phases).await
        }
    }
}

/// A connection whose protocol is known.
struct Ready {
    io: Io,
    http2: bool,
    conn: Arc<Connection>,
}

#[expect(clippy::large_enum_variant, reason = "lives for a moment between two calls, a box would cost more")]
enum Io {
    Plain(Socket),
    Tls(tls::TlsStream),
}

fn answer(
    handler: &dyn Handler,
    req: Request<Incoming>,
    conn: &Arc<Connection>,
) -> impl Future<Output = Result<Response<Body>, Infallible>> + Send + use<> {
    let active = Active::begin(conn);
    // HTTP/2 cuts bodies into frames, so their bytes never reach the socket as they are.
    let sendfile = req.version() <= Version::HTTP_11;
    let future = handler.call(req, conn);
    async move {
        pace::begin();
        let mut response = future.await;
        response.body_mut().attach(active, sendfile);
        Ok(response)
    }
}

/// Polls a connection to its end, and passes on the signals to drain or to stop. `idle` is set where hyper has no
/// limit of its own.
async fn follow<C: GracefulConnection<Error = hyper::Error>>(
    mut connection: Pin<&mut C>,
    idle: Option<(&Arc<Connection>, Duration)>,
    phases: &mut watch::Receiver<Phase>,
) -> Result<(), hyper::Error> {
    let limit = idle.map_or(Duration::MAX, |(_, limit)| limit);
    let mut seen = None;
    let mut draining = false;
    let mut clock = Clock::default();
    loop {
        tokio::select! {
            biased;
            // An answer of HTTP/1 that was not taken in time ends the connection.
            result = poll_fn(|cx| clock.poll(cx, |cx| connection.as_mut().poll(cx))) => return result.unwrap_or(Ok(())),
            changed = phases.changed() => {
                // A closed channel means that `serve` itself is gone.
                if changed.is_err() || *phases.borrow_and_update() == Phase::Cut {
                    return Ok(());
                }
            }
            () = tokio::time::sleep(limit), if idle.is_some() => {
                let now = idle.map(|(conn, _)| conn.activity());
                let quiet = now.is_some_and(|(active, _)| active == 0) && now == seen;
                seen = now;
                if !quiet {
                    continue;
                }
                // What is left in its streams is not taken, and would keep it for ever.
                if draining {
                    return Ok(());
                }
            }
        }
        if !draining {
            draining = true;
            connection.as_mut().graceful_shutdown();
        }
    }
}

/// Keeps the gauge of open connections right, also when the task panics.
struct Open<'a>(&'a Acceptor);

impl Open<'_> {
    fn count(acceptor: &Acceptor) -> Open<'_> {
        acceptor.settings.counters.open.fetch_add(1, Ordering::Relaxed);
        Open(acceptor)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.settings.counters.open.fetch_sub(1, Ordering::Relaxed);
    }
}
