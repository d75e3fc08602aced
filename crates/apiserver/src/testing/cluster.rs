//! A cluster's API server, as far as this crate asks it anything.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use cluster::{ConnectSettings, Connection, NamespaceSource, PathReviews, RequestHeaders};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::proxy::{FrontProxy, NAME};
use super::until;

/// Namespaces by name: UID and whether it is being deleted.
type Namespaces = BTreeMap<String, (String, bool)>;

/// What it has, and what it was asked.
struct State {
    namespaces: Mutex<Namespaces>,
    /// Events of the namespaces so far; each has the position behind it as its version.
    events: Mutex<Vec<Value>>,
    news: watch::Sender<usize>,
    headers: Value,
    /// Reviews that were asked for.
    reviews: Mutex<Vec<Value>>,
}

pub(crate) struct Cluster {
    state: Arc<State>,
    kubeconfig: tempfile::NamedTempFile,
}

/// The parts of the API that look at the cluster.
pub(crate) struct Sources {
    pub(crate) namespaces: Arc<NamespaceSource>,
    pub(crate) trust: Arc<RequestHeaders>,
    pub(crate) paths: Arc<PathReviews>,
}

impl Cluster {
    pub(crate) async fn start(namespaces: &[&str], proxy: &FrontProxy) -> Self {
        let named = namespaces.iter().copied().chain(["kube-system"]);
        let namespaces = named.map(|name| (name.to_owned(), (format!("{name}-uid"), false))).collect();
        let headers = json!({
            "requestheader-client-ca-file": proxy.pem(),
            "requestheader-allowed-names": json!([NAME]).to_string(),
            "requestheader-username-headers": "[\"X-Remote-User\"]",
            "requestheader-uid-headers": "[\"X-Remote-Uid\"]",
            "requestheader-group-headers": "[\"X-Remote-Group\"]",
            "requestheader-extra-headers-prefix": "[\"X-Remote-Extra-\"]",
        });
        let state = Arc::new(State {
            namespaces: Mutex::new(namespaces),
            events: Mutex::default(),
            news: watch::Sender::new(0),
            headers,
            reviews: Mutex::default(),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&serving)));
            }
        });
        let kubeconfig = tempfile::NamedTempFile::new().unwrap();
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "contexts": [{ "name": "test", "context": { "cluster": "test", "user": "test" } }],
            "clusters": [{ "name": "test", "cluster": { "server": format!("http://{address}") } }],
            "users": [{ "name": "test", "user": {} }],
        });
        std::fs::write(kubeconfig.path(), config.to_string()).unwrap();
        Self { state, kubeconfig }
    }

    /// Sources that follow it, once they know everything.
    pub(crate) async fn sources(&self) -> Sources {
        let settings = ConnectSettings { kubeconfig: Some(self.kubeconfig.path().to_owned()), context: None };
        let connection = Connection::connect(&settings).await.unwrap();
        let sources = Sources {
            namespaces: NamespaceSource::new(&connection),
            trust: RequestHeaders::new(&connection),
            paths: PathReviews::new(&connection),
        };
        tokio::spawn(Arc::clone(&sources.namespaces).run());
        tokio::spawn(Arc::clone(&sources.trust).run());
        until("the cluster", || sources.namespaces.is_ready() && sources.trust.is_ready()).await;
        sources
    }

    pub(crate) fn uid(&self, namespace: &str) -> Option<String> {
        self.state.namespaces.lock().unwrap().get(namespace).map(|(uid, _)| uid.clone())
    }

    /// Makes a namespace or changes it. The server learns of it a moment later.
    pub(crate) fn set_namespace(&self, name: &str, uid: &str, terminating: bool) {
        self.state.namespaces.lock().unwrap().insert(name.to_owned(), (uid.to_owned(), terminating));
        self.state.tell("MODIFIED", name, uid, terminating);
    }

    /// Removes a namespace.
    pub(crate) fn remove_namespace(&self, name: &str) {
        let removed = self.state.namespaces.lock().unwrap().remove(name);
        if let Some((uid, terminating)) = removed {
            self.state.tell("DELETED", name, &uid, terminating);
        }
    }

    /// The specs of the SubjectAccessReviews so far.
    pub(crate) fn reviews(&self) -> Vec<Value> {
        self.state.reviews.lock().unwrap().clone()
    }
}

impl State {
    fn tell(&self, kind: &str, name: &str, uid: &str, terminating: bool) {
        let mut events = self.events.lock().unwrap();
        let object = namespace(name, uid, terminating, events.len() + 1);
        events.push(json!({ "type": kind, "object": object }));
        self.news.send_replace(events.len());
    }

    fn list(&self) -> Value {
        let version = self.events.lock().unwrap().len();
        let namespaces = self.namespaces.lock().unwrap();
        let items: Vec<Value> =
            namespaces.iter().map(|(name, (uid, terminating))| namespace(name, uid, *terminating, version)).collect();
        json!({ "metadata": { "resourceVersion": version.to_string() }, "items": items })
    }

    /// Users whose name begins with `no` may see no paths.
    fn review(&self, question: &Value) -> Value {
        let spec = question["spec"].clone();
        let allowed = !spec["user"].as_str().unwrap_or_default().starts_with("no");
        self.reviews.lock().unwrap().push(spec);
        json!({ "kind": "SubjectAccessReview", "apiVersion": "authorization.k8s.io/v1", "status": { "allowed": allowed } })
    }
}

fn namespace(name: &str, uid: &str, terminating: bool, version: usize) -> Value {
    let mut object = json!({
        "kind": "Namespace",
        "apiVersion": "v1",
        "metadata": { "name": name, "uid": uid, "resourceVersion": version.to_string() },
    });
    if terminating {
        object["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
    }
    object
}

fn absent(name: &str) -> Value {
    json!({
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "message": format!("namespaces {name:?} not found"),
        "reason": "NotFound",
        "details": { "name": name, "kind": "namespaces" },
        "code": 404,
    })
}

async fn serve(stream: TcpStream, state: Arc<State>) {
    let mut stream = BufReader::new(stream);
    while let Some((target, body)) = request(&mut stream).await {
        let parameter = |name: &str| {
            let query = target.split_once('?').map_or("", |(_, query)| query);
            let found = query.split('&').filter_map(|pair| pair.split_once('=')).find(|(key, _)| *key == name);
            found.map(|(_, value)| value.to_owned())
        };
        let is_watch = parameter("watch").is_some();
        let from = parameter("resourceVersion").and_then(|version| version.parse().ok()).unwrap_or(0);
        let answer = if target.starts_with("/api/v1/namespaces/kube-system/configmaps") {
            if is_watch {
                return silence(stream).await;
            }
            let name = "extension-apiserver-authentication";
            let meta = json!({ "name": name, "namespace": "kube-system", "resourceVersion": "1" });
            json!({ "metadata": { "resourceVersion": "1" }, "items": [{ "metadata": meta, "data": state.headers }] })
        } else if let Some(name) = target.strip_prefix("/api/v1/namespaces/") {
            let name = name.split('?').next().unwrap_or_default();
            match state.namespaces.lock().unwrap().get(name) {
                Some((uid, terminating)) => namespace(name, uid, *terminating, 1),
                None => absent(name),
            }
        } else if target.starts_with("/api/v1/namespaces") {
            if is_watch {
                return tell(stream, &state, from).await;
            }
            state.list()
        } else if target.contains("/subjectaccessreviews") {
            state.review(&serde_json::from_str(&body).unwrap())
        } else {
            json!({ "gitVersion": "v1.34.4" })
        };
        let text = answer.to_string();
        let code = answer["code"].as_u64().unwrap_or(200);
        let head = format!("HTTP/1.1 {code} X\r\nContent-Type: application/json\r\nContent-Length:");
        if stream.write_all(format!("{head} {}\r\n\r\n{text}", text.len()).as_bytes()).await.is_err() {
            return;
        }
    }
}

/// The target and the body of the next request.
async fn request(stream: &mut BufReader<TcpStream>) -> Option<(String, String)> {
    let (mut target, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
            return None;
        }
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        if target.is_empty() {
            target = line.split(' ').nth(1)?.to_owned();
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length: ") {
            length = value.parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    Some((target, String::from_utf8(body).ok()?))
}

const STREAM: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";

async fn silence(mut stream: BufReader<TcpStream>) {
    if stream.write_all(STREAM.as_bytes()).await.is_ok() {
        // Until the other side hangs up.
        let _ = stream.read_u8().await;
    }
}

async fn tell(mut stream: BufReader<TcpStream>, state: &State, mut told: usize) {
    let mut news = state.news.subscribe();
    if stream.write_all(STREAM.as_bytes()).await.is_err() {
        return;
    }
    loop {
        let fresh: Vec<Value> = state.events.lock().unwrap().get(told..).unwrap_or_default().to_vec();
        told += fresh.len();
        for event in fresh {
            let line = format!("{event}\n");
            if stream.write_all(format!("{:x}\r\n{line}\r\n", line.len()).as_bytes()).await.is_err() {
                return;
            }
        }
        tokio::select! {
            changed = news.changed() => if changed.is_err() { return },
            _ = stream.read_u8() => return,
        }
    }
}
