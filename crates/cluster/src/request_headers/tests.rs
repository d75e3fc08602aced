use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderValue};
use net::ClientCertificate;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use serde_json::json;

use super::*;
use crate::testing::Server;

/// One that could be the front proxy's.
pub(super) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(super) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(super) fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate that a client has shown.
    pub(super) fn issue(&self, common_name: Option<&str>, last_year: i32) -> ClientCertificate {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        if let Some(name) = common_name {
            params.distinguished_name.push(DnType::CommonName, name);
        }
        params.not_after = date_time_ymd(last_year, 12, 31);
        let certificate = params.signed_by(&KeyPair::generate().unwrap(), &self.0).unwrap();
        ClientCertificate::new(certificate.der().to_vec(), Vec::new(), false)
    }
}

/// The ConfigMap as the API writes it.
fn object(version: usize, data: &serde_json::Value) -> serde_json::Value {
    let name = "extension-apiserver-authentication";
    let meta = json!({"name": name, "namespace": "kube-system", "resourceVersion": version.to_string()});
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data})
}

fn data(authority: &Authority, header: &str) -> serde_json::Value {
    json!({
        "client-ca-file": "of no interest here",
        "requestheader-client-ca-file": authority.pem(),
        "requestheader-allowed-names": "[]",
        "requestheader-username-headers": json!([header]).to_string(),
    })
}

/// A server whose ConfigMap becomes, one by one, what the events say; and how many of them it may tell.
async fn scripted(list: String, events: Vec<String>) -> (Server, Arc<AtomicUsize>) {
    let may_tell = Arc::new(AtomicUsize::new(0));
    let told = Arc::clone(&may_tell);
    let server = Server::start(move |target, _| {
        let query = target.strip_prefix("/api/v1/namespaces/kube-system/configmaps?").unwrap();
        let selected = query.strip_prefix("fieldselector=metadata.name%3dextension-apiserver-authentication&");
        let Some(watch) = selected.unwrap().strip_prefix("watch=true&") else { return Some((200, list.clone())) };
        let from: usize = watch.rsplit_once("&resourceversion=").unwrap().1.parse().unwrap();
        // One without an event ends at once and is begun again a little later.
        let event = (from < told.load(Ordering::SeqCst)).then(|| events[from].clone() + "\n");
        Some((200, event.unwrap_or_default()))
    })
    .await;
    (server, may_tell)
}

fn list_of(items: &[serde_json::Value]) -> String {
    json!({"metadata": {"resourceVersion": "0"}, "items": items}).to_string()
}

async fn watched_from(server: &Server, version: usize) {
    let end = format!("&resourceversion={version}");
    server.until("watch", |asked| asked.iter().any(|target| target.contains("watch") && target.ends_with(&end))).await;
}

#[tokio::test]
async fn what_the_config_map_says_counts_at_once_and_what_it_does_not_say_changes_nothing() {
    let (first, second) = (Authority::new(), Authority::new());
    let event = |kind: &str, version, data| json!({"type": kind, "object": object(version, data)}).to_string();
    let mut broken = data(&first, "X-Remote-User");
    broken["requestheader-allowed-names"] = json!("[not a list");
    let events = vec![
        event("MODIFIED", 1, &data(&second, "X-Other-User")),
        event("DELETED", 2, &data(&second, "X-Other-User")),
        event("ADDED", 3, &broken),
        event("MODIFIED", 4, &json!({"client-ca-file": "x"})),
        event("MODIFIED", 5, &data(&first, "X-Remote-User")),
    ];
    let (server, may_tell) = scripted(list_of(&[object(0, &data(&first, "X-Remote-User"))]), events).await;
    let source = RequestHeaders::new(&server.connection);
    assert!(!source.is_ready() && source.current().is_none());
    tokio::spawn(Arc::clone(&source).run());

    // Whose certificate is the proxy's, with which header.
    let proxies = [first.issue(None, 2100), second.issue(None, 2100)];
    let believed = || {
        let current = source.current();
        assert_eq!(source.is_ready(), current.is_some());
        let trust = current.as_ref().as_ref()?;
        let vouched = proxies.each_ref().map(|proxy| trust.authorities.vouches_for(proxy, SystemTime::now()));
        Some((vouched, trust.user_headers[0].as_str().to_owned()))
    };
    let (of_first, of_second) =
        (Some(([true, false], "x-remote-user".to_owned())), Some(([false, true], "x-other-user".to_owned())));
    for (told, expected) in [&of_first, &of_second, &of_second, &of_second, &None, &of_first].into_iter().enumerate() {
        may_tell.store(told, Ordering::SeqCst);
        watched_from(&server, told).await;
        assert_eq!(&believed(), expected, "after event {told}");
    }

    let trust = source.current();
    let headers = HeaderMap::from_iter([("x-remote-user".parse().unwrap(), HeaderValue::from_static("bob"))]);
    let caller = trust.as_ref().as_ref().unwrap().caller(Some(&proxies[0]), &headers);
    assert_eq!(caller.unwrap().unwrap().name(), Some("bob"));
}

#[tokio::test]
async fn a_cluster_without_it_has_nobody_to_trust_and_is_not_away() {
    let (server, _) = scripted(list_of(&[]), Vec::new()).await;
    let source = RequestHeaders::new(&server.connection);
    tokio::spawn(Arc::clone(&source).run());
    watched_from(&server, 0).await;
    assert!(!source.is_ready() && source.current().is_none());
    server.clock.advance(Duration::from_secs(3_600));
    assert_eq!(access::Reach::away_for(&**server.connection.reach()), None, "the registry does not depend on it");
}
