//! Every long-lived task of the process.

use super::api::Serving;
use super::network::renew;
use super::storage::remove_leftovers;
use super::{Api, ApiHost, Identities, Kubernetes, Leadership, gate_limits, immutable_tags, live, secrets};
use crate::logging::Logging;
use crate::settings::{self, Flags, Probe, Settings};
use bucket::BucketDriver;
use content::Store;
use net::ReloadingTls;
use registry::{Registry, Signer};
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use storage::ErrorKind;
use tokio::signal::unix::Signal;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// How often files are looked at. Kubernetes exchanges a mounted secret by a link, which only a look at the content sees.
const WATCH_INTERVAL: Duration = Duration::from_secs(2);
/// While the cluster is being read for the first time.
const STARTING_INTERVAL: Duration = Duration::from_millis(100);
/// While requests to storage fail at once.
const OUTAGE_INTERVAL: Duration = Duration::from_millis(500);
/// With no health check configured.
const PROBE_DEFAULT: Probe = Probe { interval: Duration::from_secs(10), threshold: 3 };

/// The tasks; all end when this is dropped.
pub(crate) struct Tasks {
    tasks: JoinSet<()>,
    leadership: Option<Leadership>,
    api: Option<Serving>,
    store: Arc<Store>,
}

impl Tasks {
    pub(crate) fn start(
        registry: &Arc<Registry>,
        settings: &Settings,
        bucket: Option<Arc<BucketDriver>>,
        kubernetes: Option<Arc<Kubernetes>>,
        api: Option<Api>,
        reload: Reload,
    ) -> Self {
        let mut tasks = JoinSet::new();
        let store = Arc::clone(&registry.store);
        let leadership = kubernetes
            .as_ref()
            .and_then(|kubernetes| kubernetes.start(&mut tasks, &registry.store, !settings.storage.read_only));
        let open = bucket.as_ref().map(|bucket| bucket.circuit().changes());
        tasks.spawn(probe(Arc::clone(registry), kubernetes, open, settings.health.clone()));
        if settings.storage.uploads.purge && !settings.storage.read_only {
            tasks.spawn(expire(Arc::clone(registry), settings.storage.uploads.clone()));
            if let Some(bucket) = bucket.filter(|_| !settings.storage.uploads.dry_run) {
                tasks.spawn(remove_leftovers(bucket, settings.storage.uploads.clone()));
            }
        }
        tasks.spawn(reload.watch());
        // Other replicas may have watches on what is pushed here.
        tasks.spawn(Arc::clone(&store).share_changes());
        let api = api.map(|api| api.start(&mut tasks));
        Self { tasks, leadership, api, store }
    }

    /// Waits until one of the tasks ends, which none should: what it looked after would grow old unseen.
    pub(crate) async fn ended(&mut self) {
        let api = async {
            match &mut self.api {
                Some(api) => api.ended().await,
                None => std::future::pending().await,
            }
        };
        let ended = tokio::select! {
            ended = self.tasks.join_next() => ended.and_then(Result::err),
            ended = api => ended.err(),
        };
        let cause = ended.map_or_else(|| "it returned".to_owned(), |error| error.to_string());
        tracing::error!(cause, "a task of the registry ended by itself, which is a defect of homeport");
    }

    /// The end is near: whoever can should go elsewhere.
    pub(crate) fn leave(&self) {
        if let Some(api) = &self.api {
            api.leave();
        }
    }

    /// To be called when the registry itself serves nobody any more: until then the cluster goes on finding the API here.
    pub(crate) async fn stop(mut self) {
        if let Some(api) = self.api.take() {
            api.end().await;
        }
        self.tasks.shutdown().await;
        if let Some(leadership) = self.leadership.take() {
            leadership.leave().await;
        }
        if let Err(error) = self.store.close_changes().await {
            tracing::warn!(%error, "other replicas cannot be told of this end; they look at everything again");
        }
    }
}

/// Asks storage regularly whether it is there.
///
/// `open`: requests to it fail at once, since it does not answer.
async fn probe(
    registry: Arc<Registry>,
    kubernetes: Option<Arc<Kubernetes>>,
    mut open: Option<watch::Receiver<bool>>,
    health: settings::Health,
) {
    let probe = health.storage.unwrap_or(PROBE_DEFAULT);
    let (mut failures, mut is_full) = (0, false);
    loop {
        let was_open = open.as_mut().is_some_and(|open| *open.borrow_and_update());
        let probed = tokio::select! {
            probed = registry.store.probe() => probed,
            // Others have found out meanwhile, this way or that.
            () = changed(&mut open) => {
                if open.as_ref().is_some_and(|open| *open.borrow()) {
                    registry.health.set_problem(Some("storage: the service does not answer".to_owned()));
                }
                continue;
            }
        };
        let was_full = std::mem::take(&mut is_full);
        let storage = match probed {
            Ok(()) => {
                failures = 0;
                None
            }
            // It answers: what is there can be pulled, and room can be made.
            Err(content::Error::Storage(error)) if error.kind == ErrorKind::NoSpace => {
                (failures, is_full) = (0, true);
                if !was_full {
                    tracing::error!("storage is full: pushes are refused with 507 until there is room");
                }
                None
            }
            Err(error) => {
                failures += 1;
                let cause = std::error::Error::source(&error).and_then(std::error::Error::source);
                let text = cause.map_or_else(|| error.to_string(), ToString::to_string);
                if !was_open {
                    tracing::error!(failures, error = text, "storage does not answer");
                }
                (was_open || failures >= probe.threshold).then(|| format!("storage: {text}"))
            }
        };
        let file = health.files.iter().find(|(path, _)| path.exists());
        let file = file.map(|(path, _)| format!("{} exists", path.display()));
        let missing = kubernetes.as_ref().and_then(|kubernetes| kubernetes.missing());
        let pause = match missing {
            Some(_) => STARTING_INTERVAL.min(probe.interval),
            None if was_open => OUTAGE_INTERVAL.min(probe.interval),
            None => probe.interval,
        };
        registry.health.set_problem(storage.or(file).or(missing.map(str::to_owned)));
        drop(tokio::time::timeout(pause, changed(&mut open)).await);
    }
}

async fn changed(open: &mut Option<watch::Receiver<bool>>) {
    if let Some(open) = open
        && open.changed().await.is_ok()
    {
        return;
    }
    std::future::pending().await
}

/// Ends uploads that nobody continues.
async fn expire(registry: Arc<Registry>, uploads: settings::Uploads) {
    loop {
        match registry.store.expire_uploads(uploads.expiry, uploads.dry_run).await {
            Ok(expired) if expired.sessions + expired.orphans > 0 => {
                let dry_run = uploads.dry_run;
                tracing::info!(
                    sessions = expired.sessions,
                    orphans = expired.orphans,
                    dry_run,
                    "expired uploads removed"
                );
            }
            Ok(_) => {}
            Err(error) => tracing::error!(%error, "expired uploads cannot be removed"),
        }
        tokio::time::sleep(uploads.interval).await;
    }
}

/// Everything that a reload needs.
pub(crate) struct Reload {
    pub(crate) registry: Arc<Registry>,
    pub(crate) settings: Settings,
    pub(crate) config: Option<PathBuf>,
    pub(crate) flags: Flags,
    pub(crate) identities: Identities,
    pub(crate) tls: Option<Arc<ReloadingTls>>,
    pub(crate) api_host: Option<ApiHost>,
    pub(crate) logging: Logging,
    /// In place of secrets that the settings do not have.
    pub(crate) made_up: Vec<u8>,
    pub(crate) hangups: Signal,
}

impl Reload {
    async fn watch(mut self) {
        let mut seen = self.fingerprint().await;
        let mut told = None;
        let opened_read_only = self.settings.storage.read_only;
        loop {
            let asked = tokio::select! {
                _ = self.hangups.recv() => true,
                () = tokio::time::sleep(WATCH_INTERVAL) => false,
            };
            if let Some(tls) = &self.tls {
                renew(tls, "http.tls.certificate", &mut told).await;
            }
            let now = self.fingerprint().await;
            if asked || now != seen {
                seen = now;
                // Files are read, perhaps from a network.
                if let Err(error) = tokio::task::block_in_place(|| self.reload(opened_read_only)) {
                    tracing::error!(
                        error = format!("{error:#}"),
                        "the new configuration is not usable, the old one stays"
                    );
                }
            }
        }
    }

    async fn fingerprint(&self) -> u64 {
        let tls = self.settings.http.tls.as_ref();
        let not_tls = |path: &PathBuf| tls.is_none_or(|tls| *path != tls.certificate && *path != tls.key);
        let mut files: Vec<PathBuf> = self.settings.watched_files().into_iter().filter(not_tls).collect();
        files.extend(self.config.clone());
        let hashed = tokio::task::spawn_blocking(move || {
            let mut hasher = DefaultHasher::new();
            for file in &files {
                read(file).hash(&mut hasher);
            }
            hasher.finish()
        });
        hashed.await.unwrap_or(0)
    }

    /// Takes over what can be changed while running and tells what cannot.
    fn reload(&mut self, opened_read_only: bool) -> anyhow::Result<()> {
        let (mut new, warnings) = settings::load(self.config.as_deref(), crate::environment::variables(), &self.flags)?;
        for warning in &warnings {
            tracing::warn!("{warning}");
        }
        // What was opened only to be read, and has tasks accordingly, stays so.
        let stays_read_only = opened_read_only && !new.storage.read_only;
        new.storage.read_only |= opened_read_only;
        let secrets = secrets(&new, &self.made_up);
        let identity = self.identities.build(&new, &secrets)?;
        let live = live(&new)?;
        let immutable = immutable_tags(&new)?;
        let (applied, mut restart) = settings::reload_diff(&self.settings, &new);
        restart.extend(stays_read_only.then(|| "storage.maintenance.readonly.enabled".to_owned()));
        // Before a request can be seen to have been answered by what follows.
        self.logging.reload(&new.log);
        self.registry.identity.store(Arc::new(identity));
        self.registry.live.store(Arc::new(live));
        self.registry.store.set_immutable_tags(immutable);
        let (current, previous) = &secrets.uploads;
        self.registry.signer.store(Arc::new(Signer::new(current, previous.as_deref())));
        self.registry.gates.read.reconfigure(gate_limits(new.limits.read));
        self.registry.gates.write.reconfigure(gate_limits(new.limits.write));
        let api = new.kubernetes.as_ref().and_then(|kubernetes| kubernetes.api.as_ref());
        if let Some((shown, api)) = self.api_host.as_ref().zip(api) {
            shown.store(Arc::new(api.host.clone()));
        }
        self.settings = new;
        tracing::info!(applied = applied.join(","), "configuration read again");
        if !restart.is_empty() {
            tracing::warn!(keys = restart.join(","), "changed settings that need a restart");
        }
        Ok(())
    }
}

fn read(path: &Path) -> Option<Vec<u8>> {
    std::fs::read(path).ok()
}
