//! `homeport serve`

use crate::cmd::version;
use crate::logging::Logging;
use crate::settings::{self, Driver, Flags, Settings, Warning};
use crate::wiring::{self, Api, Identities, Kubernetes, Reload, Storage, Tasks};
use anyhow::Context;
use content::Store;
use net::{Gate, Listener};
use registry::{BuildInfo, DebugService, Gates, Health, Metrics, Registry, Service, Signer};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

/// Threads for calls that block: the disk's queue is never longer than this.
const BLOCKING_THREADS: usize = 64;

/// How long a copy into a place that is being served can go on.
const FORGET_INTERVAL: Duration = Duration::from_secs(30);

pub(crate) fn run(config: Option<PathBuf>, flags: Flags) -> anyhow::Result<()> {
    let (settings, warnings) = settings::load(config.as_deref(), crate::environment::variables(), &flags)?;
    let logging = Logging::start(&settings.log)?;
    net::install_provider();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS)
        .thread_name("homeport")
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(serve(config, flags, settings, &warnings, logging))
}

async fn serve(
    config: Option<PathBuf>,
    flags: Flags,
    settings: Settings,
    warnings: &[Warning],
    logging: Logging,
) -> anyhow::Result<()> {
    let storage = Storage::open(&settings).await?;
    let ours = take_over(&storage, &settings).await?;
    let secrets = wiring::secrets(&settings, &storage.made_up);
    let kubernetes = cluster(&settings).await?;
    let identities = Identities::new(kubernetes.clone())?;
    let identity = identities.build(&settings, &secrets)?;
    let tls = wiring::tls(&settings)?;
    let (current, previous) = &secrets.uploads;
    let registry = Arc::new(Registry {
        store: Store::new(Arc::clone(&storage.driver), content_settings(&settings)?),
        identity: arc_swap::ArcSwap::from_pointee(identity),
        live: arc_swap::ArcSwap::from_pointee(wiring::live(&settings)?),
        gates: Gates {
            read: Gate::new(wiring::gate_limits(settings.limits.read)),
            write: Gate::new(wiring::gate_limits(settings.limits.write)),
        },
        signer: arc_swap::ArcSwap::from_pointee(Signer::new(current, previous.as_deref())),
        metrics: Metrics::new(BuildInfo { version: version::VERSION, commit: version::COMMIT }),
        health: Arc::new(first_health(kubernetes.as_deref())),
        figures: Box::new(storage.figures()),
    });
    registry.store.set_immutable_tags(wiring::immutable_tags(&settings)?);
    let listener = wiring::bind(&settings.http.listen).await.context("http.addr")?;
    let api = Api::prepare(kubernetes.as_ref(), &registry, &settings).await?;
    // Whoever reads that we listen may send signals.
    let signals = Signals::new().context("cannot listen for signals")?;
    announce(config.as_deref(), &settings, &listener, warnings)?;

    let (stop, stopping) = watch::channel(false);
    let debug = debug_server(&registry, &settings, stopping.clone()).await?;
    let reload = Reload {
        registry: Arc::clone(&registry),
        settings: settings.clone(),
        config,
        flags,
        identities,
        tls: tls.clone(),
        api_host: api.as_ref().map(Api::host),
        logging,
        made_up: storage.made_up,
        hangups: signals.hangups,
    };
    let mut tasks = Tasks::start(&registry, &settings, storage.bucket, kubernetes, api, reload);
    let service = Arc::new(Service::new(Arc::clone(&registry)));
    let serve_settings = wiring::serve_settings(&settings);
    let mut failed = false;
    let shutdown = async {
        tokio::select! {
            () = wait_for_signal(signals.terminate, signals.interrupt) => {}
            () = tasks.ended() => failed = true,
        }
        tracing::info!("stopping: running requests are finished first");
        registry.health.stop();
        tasks.leave();
    };
    let served = net::serve(listener, tls, service, serve_settings, shutdown).await;
    // Without a debug listener nobody listens.
    let _ = stop.send(true);
    if let Some(ours) = ours {
        ours.abort();
    }
    tasks.stop().await;
    if let Some(debug) = debug {
        drop(debug.await);
    }
    storage.driver.close().await.context("cannot leave the data folder in order; the next start repairs it")?;
    tracing::info!(connections = served.accepted, cut = served.cut, "stopped");
    if failed {
        anyhow::bail!("a task ended by itself, which is a defect of homeport; the log says why");
    }
    Ok(())
}

/// From now on the storage is this registry's and no copy any more, unless it is only read.
async fn take_over(storage: &Storage, settings: &Settings) -> anyhow::Result<Option<tokio::task::JoinHandle<()>>> {
    if settings.storage.read_only {
        return Ok(None);
    }
    transfer::forget_mark(&*storage.driver).await.context("storage cannot be written")?;
    Ok(Some(tokio::spawn(stay_ours(Arc::clone(&storage.driver)))))
}

/// Ends a copy that somebody begins into this place.
async fn stay_ours(driver: Arc<dyn storage::Driver>) {
    loop {
        tokio::time::sleep(FORGET_INTERVAL).await;
        match transfer::forget_mark(&*driver).await {
            Ok(false) => {}
            Ok(true) => {
                tracing::warn!("somebody copies into this storage, which this registry serves: the copy ends now")
            }
            // The probe tells of storage that fails.
            Err(error) => tracing::debug!(%error, "cannot see whether somebody copies into this storage"),
        }
    }
}

fn content_settings(settings: &Settings) -> anyhow::Result<content::Settings> {
    Ok(content::Settings {
        manifest_bytes_max: settings.limits.manifest_bytes_max,
        upload_expiry: settings.storage.uploads.expiry,
        addresses: wiring::addresses(settings)?,
    })
}

/// Until the first look at the storage has ended: not ready while it is not known what somebody may do.
fn first_health(kubernetes: Option<&Kubernetes>) -> Health {
    let health = Health::default();
    health.set_problem(kubernetes.and_then(Kubernetes::missing).map(str::to_owned));
    health
}

async fn cluster(settings: &Settings) -> anyhow::Result<Option<Arc<Kubernetes>>> {
    let Some(kubernetes) = &settings.kubernetes else { return Ok(None) };
    Ok(Some(Arc::new(Kubernetes::connect(kubernetes).await?)))
}

async fn debug_server(
    registry: &Arc<Registry>,
    settings: &Settings,
    mut stopping: watch::Receiver<bool>,
) -> anyhow::Result<Option<tokio::task::JoinHandle<()>>> {
    let Some(debug) = &settings.http.debug else { return Ok(None) };
    let listener = wiring::bind(&debug.listen).await.context("http.debug.addr")?;
    let service = Arc::new(DebugService::new(Arc::clone(registry), debug.metrics_path.clone()));
    let limits = net::ServeSettings::new();
    Ok(Some(tokio::spawn(async move {
        let shutdown = async { drop(stopping.wait_for(|stop| *stop).await) };
        net::serve(listener, None, service, limits, shutdown).await;
    })))
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangups: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangups: signal(SignalKind::hangup())?,
        })
    }
}

async fn wait_for_signal(mut terminate: Signal, mut interrupt: Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

/// Says where everything is. For a person who starts it without a file, on standard output and with the next step.
fn announce(
    config: Option<&Path>,
    settings: &Settings,
    listener: &Listener,
    warnings: &[Warning],
) -> anyhow::Result<()> {
    let place = place(&settings.storage.driver);
    let address = listener.local_addrs().first().map_or_else(|| settings.http.listen.to_string(), ToString::to_string);
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    tracing::info!(
        version = version::VERSION,
        commit = version::COMMIT,
        address,
        tls = settings.http.tls.is_some(),
        storage = place,
        auth = auth_name(settings),
        cache = "inmemory",
        read_only = settings.storage.read_only,
        "listening on {address}"
    );
    if config.is_some() {
        return Ok(());
    }
    let scheme = if settings.http.tls.is_some() { "https" } else { "http" };
    let name = address.replace("127.0.0.1", "localhost").replace("[::]", "localhost").replace("0.0.0.0", "localhost");
    crate::cmd::print(&format!(
        "\nHomeport is listening on {scheme}://{address}\nData is in {place}\n\nPush a first image:\n  docker tag alpine {name}/demo/alpine\n  docker push {name}/demo/alpine\n\n"
    ))
}

/// Where the data is, for a person.
pub(crate) fn place(driver: &Driver) -> String {
    match driver {
        Driver::Filesystem { root } => root.canonicalize().unwrap_or_else(|_| root.clone()).display().to_string(),
        Driver::S3(s3) if s3.root_directory.is_empty() => format!("s3://{}", s3.bucket),
        Driver::S3(s3) => format!("s3://{}/{}", s3.bucket, s3.root_directory),
        Driver::Gcs(gcs) if gcs.root_directory.is_empty() => format!("gs://{}", gcs.bucket),
        Driver::Gcs(gcs) => format!("gs://{}/{}", gcs.bucket, gcs.root_directory),
        Driver::Azure(azure) => {
            let place = format!("azure://{}/{}/{}", azure.account_name, azure.container, azure.root_directory);
            place.trim_end_matches('/').to_owned()
        }
        Driver::Swift(swift) if swift.prefix.is_empty() => format!("swift://{}", swift.container),
        Driver::Swift(swift) => format!("swift://{}/{}", swift.container, swift.prefix),
    }
}

/// Which users there are, for the first line of the log.
fn auth_name(settings: &Settings) -> String {
    let kinds = [
        ("htpasswd", matches!(settings.auth, settings::Auth::Htpasswd { .. })),
        ("users", !settings.users.is_empty()),
        ("kubernetes", settings.kubernetes.is_some()),
    ];
    let kinds: Vec<&str> = kinds.into_iter().filter(|(_, there)| *there).map(|(name, _)| name).collect();
    if kinds.is_empty() { "none".to_owned() } else { kinds.join(",") }
}
