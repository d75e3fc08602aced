//! The whole API in one process: storage in memory, and a cluster that says what a test tells it to.
//!
//! Requests go through [`ApiServer::answer`], the way of those from the network.

mod cluster;
mod proxy;

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::io::Read;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use access::{
    Action, AuthError, Authenticating, Authenticator, Authorizer, Caller, Claim, Credential, Deciding, Decision, Reach,
    Reply as Later, Source, Target,
};
use bytes::Bytes;
use content::{IndexChildren, Namespace, PutManifest, Store};
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use net::{Body, Connection, Peer};
use oci::{Digest, RepoName, Tag};
use serde_json::{Value, json};
use storage::Driver;
use storage::memory::MemoryDriver;
use storage::testing::CutDriver;
use tenancy::Tenancy;

pub(crate) use self::cluster::Cluster;
pub(crate) use self::proxy::FrontProxy;
use crate::{ApiServer, Parts, Switches};

/// How long anything may take that a test waits for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until `check` holds.
pub(crate) async fn until(what: &str, mut check: impl FnMut() -> bool) {
    let wait = async {
        while !check() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, wait).await.is_ok(), "waited in vain for: {what}");
}

/// Rights as a test gives them: user, repository (or all below `prefix/*`), action.
#[derive(Default)]
pub(crate) struct Rights(Mutex<Vec<(String, String, Action)>>);

impl Rights {
    pub(crate) fn grant(&self, user: &str, repositories: &str, actions: &[Action]) {
        let mut rights = self.0.lock().unwrap();
        rights.extend(actions.iter().map(|action| (user.to_owned(), repositories.to_owned(), *action)));
    }

    pub(crate) fn revoke(&self, user: &str) {
        self.0.lock().unwrap().retain(|(owner, ..)| owner != user);
    }
}

impl Authorizer for Rights {
    fn decide<'a>(&'a self, caller: &'a Caller, action: Action, target: Target<'a>) -> Deciding<'a> {
        let Target::Repository(repo) = target else { panic!("asked about {target}") };
        let covers =
            |pattern: &str| pattern.strip_suffix('*').map_or(pattern == repo, |prefix| repo.starts_with(prefix));
        let user = caller.name().unwrap_or("system:anonymous");
        let rights = self.0.lock().unwrap();
        let granted = rights.iter().any(|(owner, pattern, right)| owner == user && *right == action && covers(pattern));
        let reason = || format!("{caller} cannot {} {target}", action.as_str());
        Later::Ready(if granted { Decision::Allow } else { Decision::Deny { reason: reason() } })
    }

    fn grants_stamp(&self, caller: &Caller, _: Option<&str>) -> u64 {
        let user = caller.name().unwrap_or("system:anonymous");
        let rights = self.0.lock().unwrap();
        let own: Vec<_> = rights.iter().filter(|(owner, ..)| owner == user).map(|right| format!("{right:?}")).collect();
        BuildHasherDefault::<DefaultHasher>::default().hash_one(own)
    }
}

/// A token is the name of its user; `bad` is nobody's.
struct Tokens;

impl Authenticator for Tokens {
    fn claim(&self, _: &Credential) -> Claim {
        Claim::Mine
    }

    fn authenticate<'a>(&'a self, credential: &'a Credential) -> Authenticating<'a> {
        let Credential::Bearer(token) = credential else { return Later::Ready(Err(AuthError::Invalid)) };
        Later::Ready(match std::str::from_utf8(token.expose()).unwrap() {
            "bad" => Err(AuthError::Invalid),
            "later" => Err(AuthError::Unavailable { retry_after: Duration::from_secs(7) }),
            "admin" => Ok(Caller::named("admin", Source::Cluster).with_groups(["system:masters"])),
            name => Ok(Caller::named(name, Source::Cluster).with_groups(["system:authenticated"])),
        })
    }
}

struct Here;

impl Reach for Here {
    fn away_for(&self) -> Option<Duration> {
        None
    }
}

/// What a test changes while the server runs.
#[derive(Default)]
pub(crate) struct Knobs {
    pub(crate) read_only: AtomicBool,
    pub(crate) no_delete: AtomicBool,
    pub(crate) rules_unknown: AtomicBool,
}

/// A server and everything around it.
pub(crate) struct World {
    pub(crate) server: ApiServer,
    pub(crate) store: Arc<Store>,
    pub(crate) driver: MemoryDriver,
    pub(crate) rights: Arc<Rights>,
    pub(crate) cluster: Cluster,
    pub(crate) proxy: FrontProxy,
    pub(crate) knobs: Arc<Knobs>,
    connection: Arc<Connection>,
    proxied: Arc<Connection>,
}

/// An answer, read to its end and unpacked.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub(crate) fn header(&self, name: impl header::AsHeaderName) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

impl World {
    /// A server that is ready, in a cluster with these namespaces and `kube-system`; the UID of each is `<name>-uid`.
    pub(crate) async fn start(namespaces: &[&str]) -> Self {
        Self::start_on(MemoryDriver::default(), namespaces).await
    }

    /// The same on another storage.
    pub(crate) async fn start_on(driver: MemoryDriver, namespaces: &[&str]) -> Self {
        Self::start_over(Arc::new(driver.clone()), driver, namespaces).await
    }

    /// The same on another storage that fails from the first change on.
    pub(crate) async fn start_failing(driver: MemoryDriver, namespaces: &[&str]) -> Self {
        Self::start_over(Arc::new(CutDriver::new(driver.clone(), 0)), driver, namespaces).await
    }

    /// The server goes through `storage` to what is in `driver`.
    async fn start_over(storage: Arc<dyn Driver>, driver: MemoryDriver, namespaces: &[&str]) -> Self {
        let proxy = FrontProxy::new();
        let cluster = Cluster::start(namespaces, &proxy).await;
        let store = Store::new(storage, content::Settings::default());
        let (rights, knobs) = (Arc::<Rights>::default(), Arc::<Knobs>::default());
        let sources = cluster.sources().await;
        let (switches, rules) = (Arc::clone(&knobs), Arc::clone(&knobs));
        let server = ApiServer::new(Parts {
            store: Arc::clone(&store),
            tenancy: Arc::new(Tenancy::new(sources.namespaces.clone(), Arc::new(Here))),
            namespaces: sources.namespaces,
            authorizer: rights.clone(),
            tokens: Arc::new(Tokens),
            trust: sources.trust,
            paths: sources.paths,
            rules_ready: Box::new(move || !rules.rules_unknown.load(Ordering::SeqCst)),
            switches: Box::new(move || Switches {
                read_only: switches.read_only.load(Ordering::SeqCst),
                delete: !switches.no_delete.load(Ordering::SeqCst),
                audit: true,
                access_log: true,
            }),
            host: Box::new(|| "registry.example.com".to_owned()),
            version: "1.2.3",
        });
        let connection = Connection::detached(peer());
        let mut proxied = Connection::detached(peer());
        Arc::get_mut(&mut proxied).unwrap().client_certificate = Some(proxy.certificate());
        Self { server, store, driver, rights, cluster, proxy, knobs, connection, proxied }
    }

    /// A GET by the user, brought by the front proxy.
    pub(crate) async fn get(&self, user: &str, path: &str) -> Answer {
        self.ask(user, Method::GET, path, &[], "").await
    }

    /// A GET in a form of its own.
    pub(crate) async fn get_as(&self, user: &str, path: &str, accept: &str) -> Answer {
        self.ask(user, Method::GET, path, &[("accept", accept)], "").await
    }

    pub(crate) async fn delete(&self, user: &str, path: &str, body: &str) -> Answer {
        self.ask(user, Method::DELETE, path, &[], body).await
    }

    /// Any request by the user, brought by the front proxy, with its answer read to the end.
    pub(crate) async fn ask(
        &self,
        user: &str,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        read(self.open(user, method, path, headers, body).await).await
    }

    /// The same with an answer that has only begun: for watches.
    pub(crate) async fn open(
        &self,
        user: &str,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Response<Body> {
        let request = request(method, path, headers, body);
        let (mut head, body) = request.into_parts();
        head.headers.insert("x-remote-user", user.parse().unwrap());
        self.server.answer(Request::from_parts(head, body), &self.proxied).await
    }

    /// A request without the front proxy.
    pub(crate) async fn direct(&self, method: Method, path: &str, headers: &[(&str, &str)]) -> Answer {
        read(self.server.answer(request(method, path, headers, ""), &self.connection).await).await
    }

    /// A request over a connection with this certificate.
    pub(crate) async fn with_certificate(
        &self,
        certificate: net::ClientCertificate,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Answer {
        let mut connection = Connection::detached(peer());
        Arc::get_mut(&mut connection).unwrap().client_certificate = Some(certificate);
        read(self.server.answer(request(Method::GET, path, headers, ""), &connection).await).await
    }

    /// Pushes an image of one layer, told apart by `seed`, under the tags; the repository is `namespace/…`. The namespace is
    /// claimed as by a real push.
    pub(crate) async fn push(&self, repo: &str, tags: &[&str], seed: &str) -> Digest {
        let name = RepoName::parse(repo).unwrap();
        let namespace = Namespace::of(name);
        if let Some(uid) = self.cluster.uid(namespace.as_str()) {
            self.store.claim_namespace(namespace, &uid).await.unwrap();
        }
        let config = json!({ "architecture": "amd64", "os": "linux", "created": "2026-01-02T03:04:05Z", "seed": seed });
        let config = self.push_blob(name, config.to_string().as_bytes()).await;
        let layer = self.push_blob(name, format!("layer {seed}").as_bytes()).await;
        let descriptor = |kind: &str, (digest, size): (Digest, usize)| json!({ "mediaType": kind, "digest": digest.to_string(), "size": size });
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": descriptor("application/vnd.oci.image.config.v1+json", config),
            "layers": [descriptor("application/vnd.oci.image.layer.v1.tar+gzip", layer)],
        });
        self.push_manifest(repo, tags, &manifest).await
    }

    /// Pushes a manifest as it is, under the tags; what it refers to need not be there.
    pub(crate) async fn push_manifest(&self, repo: &str, tags: &[&str], manifest: &Value) -> Digest {
        let tags: Vec<Tag<'_>> = tags.iter().map(|tag| Tag::parse(tag).unwrap()).collect();
        let put = PutManifest {
            bytes: manifest.to_string().into(),
            content_type: None,
            digest: None,
            tags: &tags,
            blobs_required: false,
            children: &IndexChildren::Any,
            url_allowed: &|_| true,
        };
        self.store.manifest_put(RepoName::parse(repo).unwrap(), put).await.unwrap().digest
    }

    pub(crate) async fn push_blob(&self, name: RepoName<'_>, bytes: &[u8]) -> (Digest, usize) {
        let digest = Digest::sha256(bytes);
        let ticket = self.store.upload_begin(name, digest.algorithm(), None);
        let length = Some(bytes.len() as u64);
        let mut upload = self.store.upload_open(name, ticket.id, Some(&ticket), length).await.unwrap();
        upload.write(bytes).await.unwrap();
        upload.commit(name, digest).await.unwrap();
        (digest, bytes.len())
    }
}

fn peer() -> Peer {
    Peer::Tcp(([192, 0, 2, 7], 4711).into())
}

fn request(method: Method, path: &str, headers: &[(&str, &str)], body: &str) -> Request<Full<Bytes>> {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Full::from(body.to_owned())).unwrap()
}

/// Reads an answer to its end.
pub(crate) async fn read(response: Response<Body>) -> Answer {
    let (head, body) = response.into_parts();
    let packed = body.collect().await.unwrap().to_bytes();
    let is_packed = head.headers.get(header::CONTENT_ENCODING).is_some_and(|encoding| encoding == "gzip");
    let body = if is_packed { unpack(&packed) } else { packed };
    Answer { status: head.status, headers: head.headers, body }
}

pub(crate) fn unpack(packed: &[u8]) -> Bytes {
    let mut unpacked = Vec::new();
    flate2::read::GzDecoder::new(packed).read_to_end(&mut unpacked).unwrap();
    unpacked.into()
}
