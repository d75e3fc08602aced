//! A running registry.

use crate::http::{Answer, Begun};
use crate::script::{Script, user};
use ::tenancy::Tenancy;
use access::{
    Action, AuthenticatedAllowAll, BySource, Caller, Chain, Clock, ClusterPolicy, ClusterRules, ClusterTokenLimits,
    ClusterTokens, Directory, Keys, ManualClock, Record, Source, Standing, TokenAuthority, TokenKind, TokenSettings,
    Users,
};
use arc_swap::ArcSwap;
use content::{IndexChildren, Namespace, Store};
use net::{Gate, GateLimits, Listener, ServeSettings};
use oci::Digest;
use registry::{
    BuildInfo, Cluster, Gates, Health, Identity, Live, Metrics, MetricsAccess, Realm, Registry, Service, Signer,
};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use storage::Driver;
use storage::memory::MemoryDriver;

pub(crate) const CI: &str = "system:serviceaccount:shop:ci";
pub(crate) const ALL: [Action; 3] = [Action::Pull, Action::Push, Action::Delete];

/// Every source of ours has one user.
struct Bobs;

impl Users for Bobs {
    fn standing(&self, source: Source, name: &str) -> Standing {
        match (source, name) {
            (Source::Htpasswd | Source::StaticUser, "bob") => Standing::Current(Record::of(source, name, b"hash")),
            _ => Standing::NotTracked,
        }
    }

    fn generation(&self) -> u64 {
        0
    }
}

pub(crate) struct World {
    pub(crate) script: Arc<Script>,
    pub(crate) driver: MemoryDriver,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) tokens: Arc<TokenAuthority>,
    address: SocketAddr,
    now: i64,
    server: tokio::task::JoinHandle<()>,
}

impl Drop for World {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// A token of the cluster for `user` that ends at `exp`.
fn jwt(user: &str, exp: i64) -> String {
    let encode = |value: serde_json::Value| data_encoding::BASE64URL_NOPAD.encode(value.to_string().as_bytes());
    format!(
        "{}.{}.c2ln",
        encode(serde_json::json!({"alg": "RS256"})),
        encode(serde_json::json!({"sub": user, "exp": exp}))
    )
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with_catalog(false).await
    }

    pub(crate) async fn with_catalog(catalog_filtered: bool) -> Self {
        Self::build(catalog_filtered, live(), |driver| Arc::new(driver)).await
    }

    /// On a driver that stands in front of the one in memory.
    pub(crate) async fn on(redirect: bool, front: impl FnOnce(MemoryDriver) -> Arc<dyn Driver>) -> Self {
        Self::build(false, Live { redirects: redirects(redirect), ..live() }, front).await
    }

    async fn build(catalog_filtered: bool, live: Live, front: impl FnOnce(MemoryDriver) -> Arc<dyn Driver>) -> Self {
        let now = i64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_secs()).unwrap();
        let clock = Arc::new(ManualClock::new(now));
        let (script, driver) = (Arc::new(Script::new()), MemoryDriver::default());
        let settings = TokenSettings {
            issuer: "homeport".into(),
            service: "registry.test".into(),
            access_life: Duration::from_secs(300),
            refresh_life: Duration::from_secs(3600),
            leeway: Duration::from_secs(30),
        };
        let keys = Keys::new(&[7; 32], None).unwrap();
        let users = Arc::new(Directory::new(vec![Arc::new(Bobs)]));
        let tokens = Arc::new(TokenAuthority::new(settings, keys, users, clock.clone() as Arc<dyn Clock>, 100));
        let limits = ClusterTokenLimits {
            ttl: Duration::from_secs(60),
            negative_ttl: Duration::from_secs(10),
            stale_for: Duration::from_secs(600),
        };
        let cluster = Arc::new(ClusterTokens::new(script.clone(), clock.clone(), limits, 100).unwrap());
        let policy = ClusterPolicy { stale_for: Duration::from_secs(600) };
        let rules = Arc::new(ClusterRules::new(script.clone(), script.clone(), script.clone(), policy));
        let identity = Identity {
            authenticator: Arc::new(Chain::new(vec![
                Arc::new(access::Anonymous::without_credentials()),
                tokens.clone(),
                cluster.clone(),
            ])),
            authorizer: Arc::new(
                BySource::new()
                    .with(Source::Cluster, rules.clone())
                    .with(Source::Anonymous, rules)
                    .with(Source::Htpasswd, Arc::new(AuthenticatedAllowAll)),
            ),
            tokens: Some(tokens.clone()),
            anonymous: true,
            open: false,
            cluster: Some(Arc::new(Cluster {
                tokens: cluster,
                tenancy: Arc::new(Tenancy::new(script.clone(), script.clone())),
                catalog_filtered,
                figures: Box::new(|text| text.push_str("script_figures 1\n")),
            })),
        };
        let gate = || Gate::new(GateLimits { max_running: 0, max_in_queue: 0, max_wait_in_queue: Duration::ZERO });
        let registry = Arc::new(Registry {
            store: Store::new(front(driver.clone()), content::Settings::default()),
            identity: ArcSwap::from_pointee(identity),
            live: ArcSwap::from_pointee(live),
            gates: Gates { read: gate(), write: gate() },
            signer: ArcSwap::from_pointee(Signer::new(&[9; 32], None)),
            metrics: Metrics::new(BuildInfo { version: "0.0.0", commit: "test" }),
            figures: Box::new(|text| text.push_str("outside_figures 1\n")),
            health: Arc::new(Health::default()),
        });
        let listener = Listener::bind_tcp("127.0.0.1:0", 64).await.unwrap();
        let address = listener.local_addrs()[0];
        let service = Arc::new(Service::new(registry));
        let server = tokio::spawn(async move {
            net::serve(listener, None, service, ServeSettings::new(), std::future::pending()).await;
        });
        script.exists("shop", "u1");
        script.grant(user(CI), &ALL, "shop", "**");
        Self { script, driver, clock, tokens, address, now, server }
    }

    /// Another process on the same storage.
    pub(crate) fn other_process(&self) -> Arc<Store> {
        Store::new(Arc::new(self.driver.clone()), content::Settings::default())
    }

    /// Lets requests come so far that the cluster has been asked about their namespaces, `count` times.
    pub(crate) async fn until_asked(&self, count: usize) {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
        while self.script.asked.load(Ordering::SeqCst) < count {
            assert!(tokio::time::Instant::now() < deadline, "requests do not come in");
            tokio::task::yield_now().await;
        }
    }

    pub(crate) async fn owner(&self, namespace: &str) -> Option<String> {
        let owner = self.other_process().namespace_owner(Namespace::parse(namespace).unwrap()).await.unwrap();
        owner.map(|owner| owner.uid)
    }

    /// A token that lives for an hour.
    pub(crate) fn token(&self, user: &str) -> String {
        jwt(user, self.now + 3600)
    }

    pub(crate) fn token_for(&self, user: &str, life: i64) -> String {
        jwt(user, self.now + life)
    }

    /// A token of ours for the user `bob` of a source, or for nobody.
    pub(crate) fn own_token(&self, source: Option<Source>) -> String {
        let bob = |source| Caller::named("bob", source).with_record(Record::of(source, "bob", b"hash"));
        let caller = source.map_or_else(Caller::anonymous, bob);
        self.tokens.issue(&caller, TokenKind::Access).unwrap().token
    }

    /// A request with this `Authorization`.
    pub(crate) async fn send(&self, authorization: Option<&str>, method: &str, path: &str, body: &[u8]) -> Answer {
        let mut begun = Begun::new(self.address, method, path, authorization, &[], body.len()).await;
        begun.send(body).await;
        begun.answer().await
    }

    /// A request of [`CI`].
    pub(crate) async fn ci(&self, method: &str, path: &str, body: &[u8]) -> Answer {
        self.send(Some(&bearer(&self.token(CI))), method, path, body).await
    }

    /// A request of [`CI`] with headers.
    pub(crate) async fn ci_with(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
        let authorization = bearer(&self.token(CI));
        Begun::new(self.address, method, path, Some(&authorization), headers, 0).await.answer().await
    }

    /// A request of [`CI`] whose body comes later.
    pub(crate) async fn ci_begin(&self, method: &str, path: &str, length: usize) -> Begun {
        Begun::new(self.address, method, path, Some(&bearer(&self.token(CI))), &[], length).await
    }

    pub(crate) async fn post_form(&self, path: &str, form: &str) -> Answer {
        let headers = [("content-type", "application/x-www-form-urlencoded")];
        let mut begun = Begun::new(self.address, "POST", path, None, &headers, form.len()).await;
        begun.send(form.as_bytes()).await;
        begun.answer().await
    }

    /// Pushes an image over one blob; returns the digest of its manifest.
    pub(crate) async fn push(&self, repository: &str, tag: &str) -> Digest {
        let digest = Digest::sha256(BLOB);
        let pushed = self.ci("POST", &format!("/v2/{repository}/blobs/uploads/?digest={digest}"), BLOB).await;
        assert_eq!(pushed.status, 201, "{}", pushed.body);
        let pushed = self.ci("PUT", &format!("/v2/{repository}/manifests/{tag}"), manifest().as_bytes()).await;
        assert_eq!(pushed.status, 201, "{}", pushed.body);
        Digest::sha256(manifest().as_bytes())
    }

    /// Begins an upload; returns its address.
    pub(crate) async fn begin(&self, repository: &str) -> String {
        let begun = self.ci("POST", &format!("/v2/{repository}/blobs/uploads/"), b"").await;
        assert_eq!(begun.status, 202, "{}", begun.body);
        begun.header("location").to_owned()
    }
}

pub(crate) const BLOB: &[u8] = b"{}";

pub(crate) fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

pub(crate) fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", data_encoding::BASE64.encode(format!("{user}:{password}").as_bytes()))
}

pub(crate) fn manifest() -> String {
    serde_json::json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": Digest::sha256(BLOB).to_string(),
            "size": BLOB.len(),
        },
        "layers": [],
    })
    .to_string()
}

fn redirects(enabled: bool) -> registry::Redirects {
    let life = content::AddressLife { least: Duration::from_secs(1200), most: Duration::from_secs(7200) };
    registry::Redirects { enabled, networks: Vec::new(), except: Vec::new(), life }
}

fn live() -> Live {
    Live {
        read_only: false,
        delete: true,
        headers: Vec::new(),
        prefix: String::new(),
        base_url: None,
        realm: Realm::FromRequest,
        service: Some("registry.test".into()),
        catalog_max: 1000,
        tags_max: 1000,
        index_children: IndexChildren::Any,
        blobs_required: true,
        url_allowed: Box::new(|_| true),
        upload_bytes_max: None,
        redirects: redirects(false),
        body_idle: Duration::from_secs(10),
        metrics: MetricsAccess::Open,
        metrics_secret: None,
        audit: false,
        access_log: false,
    }
}
