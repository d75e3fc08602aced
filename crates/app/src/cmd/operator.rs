//! `homeport operator`: the controllers that need rights which the registry itself must not have.

use crate::logging::Logging;
use crate::settings::{self, Flags, Kubernetes, Settings};
use crate::wiring;
use access::{Reach, SystemClock};
use anyhow::Context;
use cluster::{Connection, Events, LeaderElection, LeaseSettings};
use http::{Response, StatusCode, header};
use net::{Body, Handler, HandlerFuture};
use operator::api_certificate;
use operator::pull_secrets::{self, Counts, Metrics, Scope};
use std::fmt::Write;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;

const COMPONENT: &str = "homeport-operator";
/// What it does is waiting.
const THREADS: usize = 2;
/// Probes that wait to be accepted.
const BACKLOG: u32 = 64;

pub(crate) fn run(config: Option<PathBuf>, listen: &str, flags: &Flags) -> anyhow::Result<()> {
    let (settings, warnings) = settings::load(config.as_deref(), crate::environment::variables(), flags)?;
    let _logging = Logging::start(&settings.log)?;
    for warning in &warnings {
        tracing::warn!("{warning}");
    }
    let Some(kubernetes) = settings.kubernetes.clone() else {
        anyhow::bail!("there is no cluster to look after: set homeport.kubernetes.enabled: true");
    };
    net::install_provider();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .enable_all()
        .thread_name("homeport")
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(operate(&settings, &kubernetes, listen))
}

async fn operate(settings: &Settings, kubernetes: &Kubernetes, listen: &str) -> anyhow::Result<()> {
    let connection = wiring::connect(kubernetes).await?;
    let listener = net::Listener::bind_tcp(listen, BACKLOG).await.context("--listen")?;
    let address = listener.local_addrs().first().map_or_else(|| listen.to_owned(), ToString::to_string);
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for signals")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for signals")?;

    let hosts = kubernetes.hosts.clone();
    if hosts.is_empty() {
        tracing::warn!("homeport.kubernetes.hosts is empty: pull secrets get no entry");
    }
    let audience = kubernetes.audiences.first().cloned();
    let namespace = wiring::lease_namespace(kubernetes, &connection);
    let wanted = pull_secrets::Settings::new(&namespace, hosts, audience, kubernetes.pull_secret_lifetime);
    // Kept: the receiver's end would end the controller.
    let (_settings, wanted) = watch::channel(Arc::new(wanted));
    let events = Events::new(&connection, COMPONENT, &wiring::instance());
    let metrics = Arc::new(Metrics::default());
    let lease = LeaseSettings::new(&namespace, pull_secrets::LEASE, &wiring::instance());
    let (election, leader) = LeaderElection::new(&connection, lease);
    let (stop, stopping) = watch::channel(false);

    let mut tasks = JoinSet::new();
    tasks.spawn(Arc::clone(connection.reach()).run(connection.clone()));
    tasks.spawn(Arc::clone(&events).run());
    let certificate = Arc::new(api_certificate::Metrics::default());
    let report = Arc::new(Report {
        connection: connection.clone(),
        metrics: Arc::clone(&metrics),
        certificate: kubernetes.api.is_some().then(|| Arc::clone(&certificate)),
        leader: leader.clone(),
    });
    let api = kubernetes.api.is_some().then(|| api_certificate::Settings::new(&namespace));
    if let Some(settings) = api.clone() {
        let clock = Arc::new(SystemClock::new());
        tasks.spawn(api_certificate::run(connection.clone(), settings, clock, leader.clone(), certificate));
    }
    tasks.spawn(pull_secrets::run(connection.clone(), Scope::Cluster, events, wanted, leader, metrics));
    let election = tokio::spawn(election.run(stopped(stopping.clone())));
    tracing::info!(version = super::version::VERSION, address, "operator runs");
    let mut failed = false;
    let shutdown = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            // All of them run for ever; whoever started us starts us again.
            _ = tasks.join_next() => failed = true,
        }
        tracing::info!("stopping");
        // Nobody listens when everything has ended already.
        let _ = stop.send(true);
        if let Some(settings) = &api {
            api_certificate::retire(&connection, settings).await;
        }
    };
    net::serve(listener, None, report, wiring::serve_settings(settings), shutdown).await;
    // The lease is given back, so that the next one need not wait.
    drop(election.await);
    tasks.shutdown().await;
    if failed {
        anyhow::bail!("a controller ended by itself, which is a defect of homeport; the log says why");
    }
    tracing::info!("stopped");
    Ok(())
}

async fn stopped(mut stopping: watch::Receiver<bool>) {
    drop(stopping.wait_for(|stop| *stop).await);
}

/// Health and figures, for whoever runs it.
struct Report {
    connection: Connection,
    metrics: Arc<Metrics>,
    /// `None`: tags are not served as objects of the cluster.
    certificate: Option<Arc<api_certificate::Metrics>>,
    leader: watch::Receiver<bool>,
}

impl Report {
    fn metrics(&self) -> String {
        let Counts { managed, elsewhere, soonest_end, filled, refused, deleted, errors } = self.metrics.counts();
        let mut out = String::new();
        let mut put = |name: &str, kind: &str, help: &str, value: String| {
            // Writing to a string cannot fail.
            let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}");
        };
        put("homeport_leader", "gauge", "1 while this process leads.", u8::from(*self.leader.borrow()).to_string());
        put("homeport_pull_secrets", "gauge", "Annotated Secrets that are looked after.", managed.to_string());
        let help = "Annotated Secrets that other operators of the cluster look after.";
        put("homeport_pull_secrets_elsewhere", "gauge", help, elsewhere.to_string());
        if let Some(end) = soonest_end {
            let help = "When the first of their tokens ends, in Unix time.";
            put("homeport_pull_secrets_soonest_expiry_seconds", "gauge", help, end.to_string());
        }
        put("homeport_pull_secrets_filled_total", "counter", "Tokens written into Secrets.", filled.to_string());
        let help = "Looks at Secrets that ask for something they cannot have.";
        put("homeport_pull_secrets_refused_total", "counter", help, refused.to_string());
        let help = "Secrets deleted with their ServiceAccounts.";
        put("homeport_pull_secrets_deleted_total", "counter", help, deleted.to_string());
        put("homeport_pull_secrets_errors_total", "counter", "Looks at Secrets that failed.", errors.to_string());
        if let Some(metrics) = &self.certificate {
            show_certificate(&mut put, metrics.counts());
        }
        wiring::api_metrics(&mut out, &self.connection);
        out
    }
}

fn show_certificate(put: &mut impl FnMut(&str, &str, &str, String), counts: api_certificate::Counts) {
    let api_certificate::Counts { end, renewed, errors } = counts;
    if let Some(end) = end {
        let help = "When the certificate of the Kubernetes API of tags ends, in Unix time.";
        put("homeport_api_certificate_expiry_seconds", "gauge", help, end.to_string());
    }
    let help = "Certificates made for the Kubernetes API of tags.";
    put("homeport_api_certificate_renewed_total", "counter", help, renewed.to_string());
    let help = "Looks at the certificate of the Kubernetes API of tags that failed.";
    put("homeport_api_certificate_errors_total", "counter", help, errors.to_string());
}

impl Handler for Report {
    fn call(&self, request: http::Request<hyper::body::Incoming>, _connection: &Arc<net::Connection>) -> HandlerFuture {
        let away = self.connection.reach().away_for();
        let (status, text) = match request.uri().path() {
            "/readyz" if away.is_some() => {
                (StatusCode::SERVICE_UNAVAILABLE, "not ready: the API server does not answer\n".to_owned())
            }
            "/healthz" | "/livez" | "/readyz" => (StatusCode::OK, "ok\n".to_owned()),
            "/metrics" => (StatusCode::OK, self.metrics()),
            _ => (StatusCode::NOT_FOUND, "nothing is here but /livez, /readyz and /metrics\n".to_owned()),
        };
        let mut response = Response::new(Body::full(text));
        *response.status_mut() = status;
        let text = http::HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
        response.headers_mut().insert(header::CONTENT_TYPE, text);
        Box::pin(std::future::ready(response))
    }
}
