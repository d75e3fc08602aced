//! The API server is away, silent, or back.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use access::{
    NamespaceState, Namespaces, Rbac, Reach, Reply, Resource, ReviewError, Rights, TokenReviewer, Verb, Verdict,
};
use cluster::{
    ApiError, Call, ConnectSettings, Connection, NamespaceSource, NoProof, Outcome, RbacSource, TokenReviews, get,
};
use kube::config::Kubeconfig;
use serde_json::Value;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;

use crate::support::{
    PATIENCE, binding, client, create, delete, kubeconfig, namespace, namespace_path, rbac_path, right, role, unique,
    until_true, user,
};

/// A call ends after five seconds, and the second failed probe comes a second after the first.
const SOON: Duration = Duration::from_secs(30);

/// A connection to an address where no cluster is.
async fn connect_to(address: &str, dir: &Path) -> Connection {
    let path = dir.join("kubeconfig");
    let text = format!(
        r#"{{"apiVersion": "v1", "kind": "Config", "current-context": "c",
            "contexts": [{{"name": "c", "context": {{"cluster": "c", "user": "u"}}}}],
            "clusters": [{{"name": "c", "cluster": {{"server": "http://{address}"}}}}],
            "users": [{{"name": "u", "user": {{"token": "secret-of-ours"}}}}]}}"#
    );
    std::fs::write(&path, text).unwrap();
    Connection::connect(&ConnectSettings { kubeconfig: Some(path), context: None }).await.unwrap()
}

#[tokio::test]
async fn nobody_listens() {
    let dir = tempfile::tempdir().unwrap();
    // Bound, so that nobody else listens there.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let connection = connect_to(&socket.local_addr().unwrap().to_string(), dir.path()).await;
    let probe = tokio::spawn(Arc::clone(connection.reach()).run(connection.clone()));
    let review = TokenReviews::new(&connection, Vec::new());
    assert!(matches!(review.review("a.b.c", false).await, Err(ReviewError::Unavailable { .. })));
    let noticed = until_true("notice", || connection.reach().away_for().is_some()).await;
    assert!(noticed < SOON, "{noticed:?}");
    let asked = || connection.counters().get(Call::TokenReview, Outcome::Unavailable);
    let before = asked();
    assert!(matches!(review.review("a.b.c", false).await, Err(ReviewError::Unavailable { .. })));
    assert_eq!((before, asked()), (1, 1), "nobody is asked while nobody is there");
    let source = NamespaceSource::new(&connection);
    assert_eq!(source.confirm("shop").await, NamespaceState::Unknown);
    let proof = source.proof_gone("shop", &access::NamespaceUid("1".into())).await;
    assert!(matches!(proof, Err(NoProof::Unknown(_))), "{proof:?}");
    probe.abort();
}

#[tokio::test]
async fn somebody_listens_and_says_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let connection = connect_to(&listener.local_addr().unwrap().to_string(), dir.path()).await;
    let silent = tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            open.push(stream);
        }
    });
    let probe = tokio::spawn(Arc::clone(connection.reach()).run(connection.clone()));
    let asked = Instant::now();
    let answer = connection.call::<Value>(Call::Namespace, get("/api/v1/namespaces/shop").unwrap()).await;
    assert!(matches!(answer, Err(ApiError::Unavailable { .. })), "{answer:?}");
    assert!(asked.elapsed() < SOON, "{:?}", asked.elapsed());
    until_true("notice", || connection.reach().away_for().is_some()).await;
    let text = format!("{answer:?}");
    assert!(!text.contains("secret-of-ours"), "{text}");
    probe.abort();
    silent.abort();
}

/// Something between us and the API server that can be cut.
struct Line {
    address: String,
    cut: watch::Sender<bool>,
    /// Each change silences the connections that there are; new ones work.
    silence: watch::Sender<()>,
    refused: Arc<AtomicBool>,
}

impl Line {
    async fn to(server: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (cut, is_cut) = watch::channel(false);
        let (silence, is_silent) = watch::channel(());
        let refused = Arc::new(AtomicBool::new(false));
        let noted = Arc::clone(&refused);
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let (server, mut is_cut, noted) = (server.clone(), is_cut.clone(), Arc::clone(&noted));
                let mut is_silent = is_silent.clone();
                is_silent.mark_unchanged();
                tokio::spawn(async move {
                    if *is_cut.borrow_and_update() {
                        noted.store(true, Ordering::SeqCst);
                        return;
                    }
                    let Ok(mut far) = TcpStream::connect(server).await else { return };
                    tokio::select! {
                        // In this order: what is said after a change is not passed on, however late the change is seen.
                        biased;
                        // Both ends stay open, and nothing is said any more.
                        _ = is_silent.changed() => std::future::pending().await,
                        _ = is_cut.changed() => {}
                        _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                    }
                });
            }
        });
        Self { address, cut, silence, refused }
    }
}

/// The same cluster, through a line that can be cut.
async fn through_a_line(path: PathBuf, dir: &Path) -> (Line, Connection) {
    let mut config = Kubeconfig::read_from(path).unwrap();
    let current = config.current_context.clone().unwrap();
    let context = config.contexts.iter().find(|context| context.name == current).unwrap().context.clone().unwrap();
    let named = config.clusters.iter_mut().find(|cluster| cluster.name == context.cluster).unwrap();
    let cluster = named.cluster.as_mut().unwrap();
    let uri: http::Uri = cluster.server.as_deref().unwrap().parse().unwrap();
    let host = uri.host().unwrap().to_owned();
    let line = Line::to(format!("{host}:{}", uri.port_u16().unwrap_or(443))).await;
    cluster.server = Some(format!("https://{}", line.address));
    cluster.tls_server_name.get_or_insert(host);
    let path = dir.join("kubeconfig");
    std::fs::write(&path, serde_json::to_vec(&config).unwrap()).unwrap();
    let settings = ConnectSettings { kubeconfig: Some(path), context: None };
    (line, Connection::connect(&settings).await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changed_meanwhile_counts_after_a_cut() {
    let Some(path) = kubeconfig("a cut of the line to the API server") else { return };
    let dir = tempfile::tempdir().unwrap();
    let direct = client(&path).await;
    let (line, connection) = through_a_line(path, dir.path()).await;
    let shop = unique("away");
    namespace(&direct, &shop).await;
    create(&direct, &rbac_path(&shop, "roles"), &role("puller", &["get"], &["**"])).await;
    create(&direct, &rbac_path(&shop, "rolebindings"), &binding("bob", "Role", "puller", "bob")).await;

    tokio::spawn(Arc::clone(connection.reach()).run(connection.clone()));
    let rbac = Arc::new(Rbac::new());
    let source = RbacSource::new(&connection, Arc::clone(&rbac), None);
    tokio::spawn(Arc::clone(&source).run());
    until_true("first list", || source.is_ready()).await;
    let pulls = |who: &str| {
        let caller = user(who);
        let reply = rbac.check(&caller, right(Verb::Get, Resource::RepositoryAccesses, &shop, "app"));
        matches!(reply, Reply::Ready(Verdict::Granted))
    };
    assert!(pulls("bob"));
    until_true("running watches", || connection.reach().away_for().is_none()).await;

    line.cut.send(true).unwrap();
    let noticed = until_true("notice", || connection.reach().away_for().is_some()).await;
    eprintln!("a cut is noticed after {noticed:?}");
    // A probe of just before the cut may have been the first that failed.
    until_true("refusal", || line.refused.load(Ordering::SeqCst)).await;
    assert!(pulls("bob"), "what was known stays known");
    delete(&direct, &format!("{}/bob", rbac_path(&shop, "rolebindings"))).await;
    create(&direct, &rbac_path(&shop, "rolebindings"), &binding("eve", "Role", "puller", "eve")).await;

    line.cut.send(false).unwrap();
    let back = until_true("recovery", || connection.reach().away_for().is_none()).await;
    let current = until_true("what changed meanwhile", || !pulls("bob") && pulls("eve")).await;
    eprintln!("back after {back:?}, current {current:?} later");
    delete(&direct, &namespace_path(&shop)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_that_fell_silent_is_found_and_begun_anew() {
    let Some(path) = kubeconfig("a watch that falls silent") else { return };
    let dir = tempfile::tempdir().unwrap();
    let direct = client(&path).await;
    let (line, connection) = through_a_line(path, dir.path()).await;
    let source = NamespaceSource::new(&connection);
    tokio::spawn(Arc::clone(&source).run());
    until_true("first list", || source.is_ready()).await;
    let (before, after) = (unique("before"), unique("after"));
    namespace(&direct, &before).await;
    until_true("watch", || matches!(source.state(&before), NamespaceState::Exists(_))).await;

    line.silence.send(()).unwrap();
    let began = Instant::now();
    namespace(&direct, &after).await;
    let mut changes = source.changes();
    let seen = async {
        while source.state(&after) == NamespaceState::Absent {
            changes.changed().await.unwrap();
        }
    };
    // Not bounded by the time of one watch: the next one may begin on another connection that is silent.
    tokio::time::timeout(PATIENCE, seen).await.unwrap();
    eprintln!("a silent watch is replaced after {:?}", began.elapsed());
    assert!(began.elapsed() > Duration::from_secs(1), "the line was not silent");
    for name in [before, after] {
        delete(&direct, &namespace_path(&name)).await;
    }
}
