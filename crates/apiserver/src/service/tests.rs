use std::sync::atomic::Ordering;

use http::{Method, StatusCode, header};
use http_body_util::Empty;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::json;

use crate::limits::{BODY_BYTES_MAX, REQUEST_TIME_MAX};
use crate::testing::{Answer, FrontProxy, World, read, until};

const VERSION: &str = "/apis/payload-registry.deckhouse.io/v1alpha1";
const TAGS: &str = "/apis/payload-registry.deckhouse.io/v1alpha1/namespaces/project-1/payloadrepositorytags";

fn refused(answer: &Answer, code: u16, reason: &str) {
    assert_eq!((answer.status.as_u16(), &answer.json()["reason"]), (code, &json!(reason)), "{}", answer.text());
    assert_eq!(answer.json()["code"], code);
    assert_eq!(answer.header(header::CONTENT_TYPE), "application/json");
}

#[tokio::test]
async fn probes_are_open_and_tell_what_is_missing() {
    let world = World::start(&["project-1"]).await;
    for path in ["/livez", "/readyz", "/healthz"] {
        let answer = world.direct(Method::GET, path, &[]).await;
        assert_eq!((answer.status, answer.text()), (StatusCode::OK, "ok"), "{path}");
    }
    world.knobs.rules_unknown.store(true, Ordering::SeqCst);
    let answer = world.direct(Method::GET, "/readyz", &[]).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(answer.text().contains("rules"), "{}", answer.text());
    world.knobs.rules_unknown.store(false, Ordering::SeqCst);
    world.server.leave();
    assert_eq!(world.direct(Method::GET, "/readyz", &[]).await.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(world.direct(Method::GET, "/livez", &[]).await.status, StatusCode::OK);
    assert_eq!(world.get("alice", TAGS).await.status, StatusCode::OK, "what comes nevertheless is answered");
}

#[tokio::test]
async fn headers_without_the_proxys_certificate_are_refused() {
    let world = World::start(&["project-1"]).await;
    let forged = [("x-remote-user", "admin"), ("x-remote-group", "system:masters")];
    for path in [TAGS, VERSION, "/apis"] {
        refused(&world.direct(Method::GET, path, &forged).await, 401, "Unauthorized");
        for certificate in [world.proxy.issue("somebody-else"), FrontProxy::new().certificate()] {
            refused(&world.with_certificate(certificate, path, &forged).await, 401, "Unauthorized");
        }
        let proxied = world.with_certificate(world.proxy.certificate(), path, &forged).await;
        assert_eq!(proxied.status, StatusCode::OK, "{path}");
    }
    // A good token does not make them better.
    let both = [("authorization", "Bearer alice"), ("x-remote-user", "admin")];
    refused(&world.direct(Method::GET, TAGS, &both).await, 401, "Unauthorized");
}

#[tokio::test]
async fn direct_callers_come_with_tokens() {
    let world = World::start(&["project-1"]).await;
    let with = |value: &'static str| [("authorization", value)];
    assert_eq!(world.direct(Method::GET, TAGS, &with("Bearer alice")).await.status, StatusCode::OK);
    for value in ["Bearer bad", "Basic YTpi", "Digest x", "Bearer", "nonsense"] {
        refused(&world.direct(Method::GET, TAGS, &with(value)).await, 401, "Unauthorized");
    }
    let later = world.direct(Method::GET, TAGS, &with("Bearer later")).await;
    refused(&later, 503, "ServiceUnavailable");
    assert_eq!(later.header(header::RETRY_AFTER), "7");
    refused(&world.direct(Method::GET, TAGS, &[]).await, 401, "Unauthorized");
    let acting = [("authorization", "Bearer alice"), ("impersonate-user", "bob")];
    refused(&world.direct(Method::GET, TAGS, &acting).await, 400, "BadRequest");
}

#[tokio::test]
async fn paths_are_the_clusters_to_allow() {
    let world = World::start(&["project-1"]).await;
    for path in ["/", "/api", "/apis", VERSION, "/version", "/openapi/v2", "/openapi/v3"] {
        assert_eq!(world.get("alice", path).await.status, StatusCode::OK, "{path}");
        let denied = world.get("nobody", path).await;
        refused(&denied, 403, "Forbidden");
        let message = format!("forbidden: User \"nobody\" cannot get path \"{path}\"");
        assert_eq!(denied.json()["message"], message);
    }
    let asked = world.cluster.reviews();
    let about = json!({ "path": VERSION, "verb": "get" });
    assert!(asked.iter().any(|spec| spec["user"] == "alice" && spec["nonResourceAttributes"] == about), "{asked:?}");
    let asked = asked.len();
    refused(&world.get("nobody", "/nowhere").await, 404, "NotFound");
    refused(&world.get("alice", "/nowhere").await, 404, "NotFound");
    refused(&world.ask("alice", Method::POST, "/apis", &[], "{}").await, 405, "MethodNotAllowed");
    assert_eq!(world.cluster.reviews().len(), asked, "nobody is asked about what there is not");
}

/// Whoever can reach the port must not keep the cluster busy.
#[tokio::test]
async fn strangers_cause_one_question_per_path() {
    let world = World::start(&["project-1"]).await;
    for number in 0..50 {
        refused(&world.direct(Method::GET, &format!("/x{number}"), &[]).await, 403, "Forbidden");
        let method = Method::from_bytes(format!("M{number}").as_bytes()).unwrap();
        refused(&world.direct(method, "/apis", &[]).await, 405, "MethodNotAllowed");
    }
    assert!(world.cluster.reviews().is_empty());
    for path in ["/apis", "/apis/", "/%61pis", "/a%70is/", "/apis?x=1"] {
        assert_eq!(world.direct(Method::GET, path, &[]).await.status, StatusCode::OK, "{path}");
    }
    let asked = world.cluster.reviews();
    assert_eq!(asked.len(), 1, "{asked:?}");
    assert_eq!(asked[0]["nonResourceAttributes"], json!({ "path": "/apis", "verb": "get" }));
}

fn running(world: &World) -> String {
    let mut text = String::new();
    world.server.figures(&mut text);
    let line = text.lines().find_map(|line| line.strip_prefix("homeport_api_limited_requests{state=\"running\"} "));
    line.unwrap().to_owned()
}

#[tokio::test]
async fn one_caller_leaves_room_for_others() {
    let world = World::start(&["project-1"]).await;
    tokio::time::pause();
    let open = |user: &'static str, path: String| {
        let world = &world;
        async move { world.open(user, Method::GET, &path, &[], "").await }
    };
    let mut held = Vec::new();
    for _ in 0..16 {
        held.push(open("alice", TAGS.to_owned()).await);
    }
    assert_eq!(running(&world), "16");
    let refused_one = world.get("alice", TAGS).await;
    refused(&refused_one, 429, "TooManyRequests");
    assert!(!refused_one.header(header::RETRY_AFTER).is_empty());
    assert_eq!(world.get("bob", TAGS).await.status, StatusCode::OK);
    for _ in 0..200 {
        let watch = open("alice", format!("{TAGS}?watch=1")).await;
        assert_eq!(watch.status(), StatusCode::OK);
        held.push(watch);
    }
    refused(&world.get("alice", &format!("{TAGS}?watch=1")).await, 429, "TooManyRequests");
    assert_eq!(open("bob", format!("{TAGS}?watch=1")).await.status(), StatusCode::OK);
    let masters = [("x-remote-group", "system:masters")];
    for _ in 0..17 {
        held.push(world.open("admin", Method::GET, TAGS, &masters, "").await);
    }
    assert!(held.iter().all(|answer| answer.status() == StatusCode::OK));
    held.clear();
    assert_eq!((running(&world).as_str(), world.get("alice", TAGS).await.status), ("0", StatusCode::OK));
}

#[tokio::test]
async fn a_body_that_does_not_come_takes_no_place() {
    let world = World::start(&["project-1"]).await;
    tokio::time::pause();
    let endless = futures_util::stream::pending::<std::io::Result<hyper::body::Frame<bytes::Bytes>>>();
    let request = http::Request::delete(format!("{TAGS}/nb2hi4a")).header("authorization", "Bearer alice");
    let request = request.body(http_body_util::StreamBody::new(endless)).unwrap();
    let connection = net::Connection::detached(net::Peer::Unix("/x".into()));
    let mut answering = std::pin::pin!(world.server.answer(request, &connection));
    assert!(futures_util::poll!(&mut answering).is_pending());
    assert_eq!(running(&world), "0");
    let begun = tokio::time::Instant::now();
    refused(&read(answering.await).await, 400, "BadRequest");
    assert!(begun.elapsed() < REQUEST_TIME_MAX / 2);
}

/// A client of HTTP/2 that takes answers and reads nothing of them.
#[tokio::test]
async fn answers_that_nobody_takes_give_their_places_back() {
    let world = World::start(&["project-1"]).await;
    let listener = net::Listener::bind_tcp("127.0.0.1:0", 16).await.unwrap();
    let address = listener.local_addrs()[0];
    let settings = net::ServeSettings { h2c: true, ..net::ServeSettings::new() };
    let handler = std::sync::Arc::new(world.server.clone());
    tokio::spawn(net::serve(listener, None, handler, settings, std::future::pending()));
    let socket = tokio::net::TcpStream::connect(address).await.unwrap();
    let mut builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
    let opened = builder.initial_stream_window_size(0).handshake(TokioIo::new(socket)).await;
    let (mut client, connection) = opened.unwrap();
    tokio::spawn(connection);
    let mut held = Vec::new();
    for _ in 0..4 {
        let request = http::Request::get(format!("http://x{TAGS}?timeout=20s")).header("authorization", "Bearer alice");
        let asked = client.send_request(request.body(Empty::<bytes::Bytes>::new()).unwrap());
        held.push(asked.await.unwrap());
    }
    assert!(held.iter().all(|answer| answer.status() == StatusCode::OK));
    assert_eq!(running(&world), "4");
    until("the places", || running(&world) == "0").await;
}

/// As `kube-aggregator` 1.34 asks, and what it needs to find.
#[tokio::test]
async fn the_aggregator_finds_what_it_asks_for() {
    let world = World::start(&["project-1"]).await;
    let masters = [("x-remote-group", "system:masters")];
    let asked = world.cluster.reviews().len();
    let probe = world.ask("system:kube-aggregator", Method::GET, VERSION, &masters, "").await;
    assert_eq!((probe.status, &probe.json()["kind"]), (StatusCode::OK, &json!("APIResourceList")));
    assert_eq!(world.cluster.reviews().len(), asked, "the probe waits for nobody");

    let accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,\
                  application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList";
    let headers = [masters[0], ("accept", accept)];
    let groups = world.ask("system:kube-aggregator", Method::GET, "/apis", &headers, "").await;
    assert_eq!(groups.json()["kind"], "APIGroupDiscoveryList");
    let tag = groups.header(header::ETAG).to_owned();
    let again = [headers[0], headers[1], ("if-none-match", tag.as_str())];
    let again = world.ask("system:kube-aggregator", Method::GET, "/apis", &again, "").await;
    assert_eq!(again.status, StatusCode::NOT_MODIFIED);

    let openapi = world.get_as("system:aggregator", "/openapi/v2", "application/json").await;
    assert_eq!((openapi.status, &openapi.json()["swagger"]), (StatusCode::OK, &json!("2.0")));
    let root = world.get("system:aggregator", "/openapi/v3").await;
    let key = &VERSION[1..];
    let address = root.json()["paths"][key]["serverRelativeURL"].as_str().unwrap().to_owned();
    let document = world.get_as("alice", &address, "application/json").await;
    assert_eq!((document.status, &document.json()["openapi"]), (StatusCode::OK, &json!("3.0.0")));
    assert!(document.header(header::CACHE_CONTROL).contains("immutable"));
    let protobuf = "application/com.github.proto-openapi.spec.v3.v1.0+protobuf";
    refused(&world.get_as("alice", &address, protobuf).await, 406, "NotAcceptable");
    let old = world.get("alice", &format!("/openapi/v3{VERSION}?hash=OLD")).await;
    assert_eq!((old.status.as_u16(), old.header(header::LOCATION)), (301, address.as_str()));
}

#[tokio::test]
async fn tags_are_not_made_here() {
    let world = World::start(&["project-1"]).await;
    let name = format!("{TAGS}/nb2hi4a");
    for (method, path) in [
        (Method::POST, TAGS),
        (Method::PUT, name.as_str()),
        (Method::PATCH, name.as_str()),
        (Method::OPTIONS, name.as_str()),
    ] {
        let protobuf = [("content-type", "application/vnd.kubernetes.protobuf")];
        let answer = world.ask("alice", method.clone(), path, &protobuf, "k8s\0...").await;
        refused(&answer, 405, "MethodNotAllowed");
        assert_eq!(answer.header(header::ALLOW), "GET, HEAD, DELETE");
        if method != Method::OPTIONS {
            let message = answer.json()["message"].as_str().unwrap().to_owned();
            assert!(message.starts_with("tags are made by pushing an image; "), "{message}");
        }
    }
}

#[tokio::test]
async fn what_is_too_large_or_of_the_wrong_kind_is_refused() {
    let world = World::start(&["project-1"]).await;
    refused(&world.get("alice", &format!("{TAGS}?fieldSelector={}", "x".repeat(16 * 1024))).await, 400, "BadRequest");
    let large = world.delete("alice", &format!("{TAGS}/nb2hi4a"), &"x".repeat(BODY_BYTES_MAX + 1)).await;
    refused(&large, 413, "RequestEntityTooLarge");
    let yaml = [("content-type", "application/yaml")];
    let answer = world.ask("alice", Method::DELETE, &format!("{TAGS}/nb2hi4a"), &yaml, "kind: DeleteOptions").await;
    refused(&answer, 415, "UnsupportedMediaType");
    refused(&world.get_as("alice", TAGS, "application/yaml").await, 406, "NotAcceptable");
    refused(&world.get("alice", &format!("{TAGS}?timeout=soon")).await, 400, "BadRequest");
    assert_eq!(world.get("alice", &format!("{TAGS}?timeout=32s")).await.status, StatusCode::OK);
}

#[tokio::test]
async fn requests_are_counted_and_their_places_given_back() {
    let world = World::start(&["project-1"]).await;
    world.get("alice", TAGS).await;
    world.get("alice", "/apis").await;
    world.direct(Method::GET, TAGS, &[]).await;
    let mut text = String::new();
    world.server.figures(&mut text);
    for line in [
        "homeport_api_requests_total{verb=\"list\",code=\"200\"} 1\n",
        "homeport_api_requests_total{verb=\"list\",code=\"401\"} 1\n",
        "homeport_api_requests_total{verb=\"path\",code=\"200\"} 1\n",
        "homeport_api_limited_requests{state=\"running\"} 0\n",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
}
