//! Tags as objects of the cluster: the API on a listener of its own.

use super::cluster::Kubernetes;
use super::network::{bind, renew};
use crate::cmd::version;
use crate::settings::{self, Listen, Settings};
use anyhow::Context;
use apiserver::{ApiServer, Parts, Switches};
use arc_swap::ArcSwap;
use cluster::{PathReviews, RequestHeaders};
use net::{ClientAuth, Listener, ReloadingTls, ServeSettings, TlsError, TlsSettings, TlsVersion};
use registry::Registry;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::{JoinError, JoinHandle, JoinSet};

/// How often the files of the certificate are looked at.
const FILES_INTERVAL: Duration = Duration::from_secs(2);
/// How often an address is tried that cannot be listened on.
const BIND_INTERVAL: Duration = Duration::from_secs(2);
/// Requests that take longer at the end are cut. Open watches are not waited for at all.
const DRAIN_MAX: Duration = Duration::from_secs(5);

/// The API, before it is served.
pub(crate) struct Api {
    server: ApiServer,
    trust: Arc<RequestHeaders>,
    host: ApiHost,
    listen: Listen,
    tls: TlsSettings,
}

/// The registry's name in addresses of images; a reload may change it.
pub(crate) type ApiHost = Arc<ArcSwap<String>>;

impl Api {
    /// `None` when it is not wanted.
    ///
    /// # Errors
    /// When the address cannot be listened on. Nobody listens yet: without a certificate a caller would wait for an answer,
    /// and one that is refused asks another replica.
    pub(crate) async fn prepare(
        kubernetes: Option<&Arc<Kubernetes>>,
        registry: &Arc<Registry>,
        settings: &Settings,
    ) -> anyhow::Result<Option<Self>> {
        let wanted = settings.kubernetes.as_ref().and_then(|kubernetes| kubernetes.api.as_ref());
        let Some((kubernetes, api)) = kubernetes.zip(wanted) else { return Ok(None) };
        drop(bind(&api.listen).await.context("homeport.kubernetes.api.addr")?);
        let trust = RequestHeaders::new(&kubernetes.connection);
        let host = ApiHost::new(ArcSwap::from_pointee(api.host.clone()));
        let server = ApiServer::new(parts(kubernetes, registry, &trust, &host));
        kubernetes.show_api(server.clone());
        Ok(Some(Self { server, trust, host, listen: api.listen.clone(), tls: tls(api) }))
    }

    pub(crate) fn host(&self) -> ApiHost {
        Arc::clone(&self.host)
    }

    /// Serves until the end, which [`Serving::end`] asks for.
    pub(super) fn start(self, tasks: &mut JoinSet<()>) -> Serving {
        tasks.spawn(Arc::clone(&self.trust).run());
        let (stop, stopping) = watch::channel(false);
        Serving { server: self.server.clone(), stop, task: tokio::spawn(self.serve(stopping)) }
    }

    async fn serve(self, stopping: watch::Receiver<bool>) {
        let (tls, listener) = tokio::select! {
            ready = self.begin() => match ready {
                Ok(ready) => ready,
                Err(error) => return tracing::error!(error = with_causes(&error), "the kubernetes API cannot be served"),
            },
            () = asked(stopping.clone()) => return,
        };
        let address = listener.local_addrs().first().map_or_else(|| self.listen.to_string(), ToString::to_string);
        tracing::info!(address, "kubernetes API listening on {address}");
        let shutdown = async {
            asked(stopping).await;
            self.server.stop();
        };
        let limits = ServeSettings { drain_timeout: DRAIN_MAX, ..ServeSettings::new() };
        let handler = Arc::new(self.server.clone());
        let served = net::serve(listener, Some(Arc::clone(&tls)), handler, limits, shutdown);
        tokio::select! {
            served = served => tracing::info!(connections = served.accepted, cut = served.cut, "kubernetes API stopped"),
            () = follow(&tls) => {}
        }
    }

    /// Waits for the certificate, and listens.
    async fn begin(&self) -> Result<(Arc<ReloadingTls>, Listener), TlsError> {
        let tell = |error: &TlsError| {
            tracing::warn!(error = with_causes(error), "the kubernetes API waits for its certificate");
        };
        let tls = ReloadingTls::load_when_there(self.tls.clone(), FILES_INTERVAL, tell).await?;
        let mut told = false;
        loop {
            match bind(&self.listen).await {
                Ok(listener) => return Ok((Arc::new(tls), listener)),
                Err(error) if !std::mem::replace(&mut told, true) => {
                    tracing::error!(error = format!("{error:#}"), "the kubernetes API cannot listen yet");
                }
                Err(_) => {}
            }
            tokio::time::sleep(BIND_INTERVAL).await;
        }
    }
}

/// The API that runs.
pub(super) struct Serving {
    server: ApiServer,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Serving {
    /// Waits until it ends by itself, which it should not.
    pub(super) async fn ended(&mut self) -> Result<(), JoinError> {
        (&mut self.task).await
    }

    /// Says that the end is near; everything goes on.
    pub(super) fn leave(&self) {
        self.server.leave();
    }

    /// Ends open watches, finishes running requests and closes the listener.
    pub(super) async fn end(self) {
        // Nobody listens when it has ended already.
        let _ = self.stop.send(true);
        if !self.task.is_finished() {
            drop(self.task.await);
        }
    }
}

fn parts(kubernetes: &Arc<Kubernetes>, registry: &Arc<Registry>, trust: &Arc<RequestHeaders>, host: &ApiHost) -> Parts {
    let cluster = kubernetes.cluster();
    let (rules, live, host) = (Arc::clone(kubernetes), Arc::clone(registry), Arc::clone(host));
    Parts {
        store: Arc::clone(&registry.store),
        tenancy: Arc::clone(&cluster.tenancy),
        namespaces: Arc::clone(&kubernetes.namespaces),
        authorizer: kubernetes.rules(),
        tokens: kubernetes.authenticator(),
        trust: Arc::clone(trust),
        paths: PathReviews::new(&kubernetes.connection),
        rules_ready: Box::new(move || rules.are_rules_ready()),
        switches: Box::new(move || {
            let live = live.live.load();
            Switches { read_only: live.read_only, delete: live.delete, audit: live.audit, access_log: live.access_log }
        }),
        host: Box::new(move || host.load().to_string()),
        version: version::VERSION,
    }
}

fn tls(api: &settings::Api) -> TlsSettings {
    TlsSettings {
        certificate: api.certificate.clone(),
        key: api.key.clone(),
        client_cas: Vec::new(),
        // Whose it is depends on what the cluster says at the time of the request.
        client_auth: ClientAuth::Request,
        minimum_version: TlsVersion::V1_2,
        cipher_suites: Vec::new(),
        http2: true,
    }
}

/// Follows the exchange of the certificate.
async fn follow(tls: &Arc<ReloadingTls>) {
    let mut told = None;
    loop {
        tokio::time::sleep(FILES_INTERVAL).await;
        renew(tls, "homeport.kubernetes.api.certificate", &mut told).await;
    }
}

async fn asked(mut stopping: watch::Receiver<bool>) {
    drop(stopping.wait_for(|stop| *stop).await);
}

fn with_causes(error: &TlsError) -> String {
    let causes = std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
