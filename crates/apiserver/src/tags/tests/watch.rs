use std::collections::BTreeMap;
use std::sync::Arc;

use http::{Method, StatusCode};
use http_body_util::BodyExt;
use net::Body;

use super::*;
use crate::testing::{PATIENCE, read};
use storage::memory::MemoryDriver;

const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io";

/// An open watch.
struct Watch {
    body: Body,
    text: Vec<u8>,
}

impl Watch {
    async fn open(world: &World, path: &str) -> Self {
        Self::open_as(world, USER, path, "application/json").await
    }

    async fn open_as(world: &World, user: &str, path: &str, accept: &str) -> Self {
        let response =
            world.open(user, Method::GET, path, &[("accept", accept), ("accept-encoding", "gzip")], "").await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers().get("content-encoding"), None);
        Self { body: response.into_body(), text: Vec::new() }
    }

    /// The next event; `None` at the end.
    async fn next(&mut self) -> Option<Value> {
        let wait = async {
            loop {
                if let Some(end) = self.text.iter().position(|byte| *byte == b'\n') {
                    let line: Vec<u8> = self.text.drain(..=end).collect();
                    return Some(serde_json::from_slice(&line).unwrap());
                }
                let frame = self.body.frame().await?.unwrap();
                self.text.extend_from_slice(frame.data_ref().unwrap());
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.expect("waited in vain for an event")
    }

    /// Type, repository and tag of the next event.
    async fn told(&mut self) -> (String, String) {
        let event = self.next().await.expect("the watch has ended");
        let status = &event["object"]["status"];
        let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("{event}")).to_owned();
        (text(&event["type"]), format!("{}:{}", text(&status["repository"]), text(&status["tag"])))
    }

    async fn tells(&mut self, kind: &str, tag: &str) {
        assert_eq!(self.told().await, (kind.to_owned(), tag.to_owned()));
    }

    /// The code of the error that ends it.
    async fn fails(&mut self) -> u64 {
        let event = self.next().await.expect("the watch has ended without a word");
        assert_eq!((&event["type"], &event["object"]["kind"]), (&"ERROR".into(), &"Status".into()), "{event}");
        assert_eq!(self.next().await, None);
        event["object"]["code"].as_u64().unwrap()
    }
}

async fn version(world: &World) -> String {
    world.get(USER, &all(None)).await.json()["metadata"]["resourceVersion"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn everything_and_then_what_changes() {
    let world = world(&["shop"]).await;
    world.push("shop/app", &["v1"], "a").await;
    let path = format!("{}?watch=true", all(Some("shop")));
    let mut from_zero = Watch::open(&world, &format!("{path}&resourceVersion=0")).await;
    from_zero.tells("ADDED", "app:v1").await;
    let since = version(&world).await;
    let mut later = Watch::open(&world, &format!("{path}&resourceVersion={since}")).await;
    world.push("shop/web/app", &["v1"], "b").await;
    from_zero.tells("ADDED", "web/app:v1").await;
    later.tells("ADDED", "web/app:v1").await;
    world.push("shop/app", &["v1"], "c").await;
    from_zero.tells("MODIFIED", "app:v1").await;
    later.tells("MODIFIED", "app:v1").await;
    world.delete(USER, &one("shop", "web/app", "v1"), "").await;
    let gone = later.next().await.unwrap();
    assert_eq!((&gone["type"], &gone["object"]["status"]["repository"]), (&"DELETED".into(), &"web/app".into()));
    assert_eq!(from_zero.next().await.unwrap(), gone);
    world.push("shop/app", &["v2"], "c").await;
    from_zero.tells("ADDED", "app:v2").await;
    later.tells("ADDED", "app:v2").await;
    // What has come since then is told again, and exactly that: the version is that of the removal.
    let removal = gone["object"]["metadata"]["resourceVersion"].as_str().unwrap();
    Watch::open(&world, &format!("{path}&resourceVersion={removal}")).await.tells("ADDED", "app:v2").await;
    let listed = world.get(USER, &one("shop", "app", "v2")).await.json();
    let mut whole = Watch::open(&world, &format!("{path}&resourceVersion={since}&fieldSelector=tag%3Dv2")).await;
    assert_eq!(whole.next().await.unwrap()["object"], listed);
}

/// There nobody looks at a tag before it is pushed.
#[tokio::test]
async fn what_is_new_on_a_service() {
    let world = granted(World::start_on(MemoryDriver::remote(), &["shop"]).await, &["shop"]);
    let since = version(&world).await;
    let path = format!("{}?watch=true&resourceVersion={since}", all(Some("shop")));
    let mut early = Watch::open(&world, &path).await;
    world.push("shop/app", &["v1"], "a").await;
    early.tells("ADDED", "app:v1").await;
    world.push("shop/app", &["v1"], "b").await;
    early.tells("MODIFIED", "app:v1").await;
    world.push("shop/app", &["v1"], "b").await;
    early.tells("MODIFIED", "app:v1").await;
    let mut late = Watch::open(&world, &path).await;
    for kind in ["ADDED", "MODIFIED", "MODIFIED"] {
        late.tells(kind, "app:v1").await;
    }
    world.delete(USER, &one("shop", "app", "v1"), "").await;
    world.push("shop/app", &["v1"], "a").await;
    early.tells("DELETED", "app:v1").await;
    // Told with the removal, since the tag is there again when the watcher looks; or by the push.
    early.tells("ADDED", "app:v1").await;
}

#[tokio::test]
async fn what_happened_before_the_watcher_looks() {
    let world = world(&["shop"]).await;
    world.push("shop/app", &["v1"], "a").await;
    let since = version(&world).await;
    let uid = |event: &Value| event["object"]["metadata"]["uid"].clone();
    let first = world.get(USER, &one("shop", "app", "v1")).await.json()["metadata"]["uid"].clone();
    world.delete(USER, &one("shop", "app", "v1"), "").await;
    world.push("shop/app", &["v1"], "b").await;
    world.push("shop/app", &["gone"], "b").await;
    world.delete(USER, &one("shop", "app", "gone"), "").await;
    let mut watch = Watch::open(&world, &format!("{}?watch=1&resourceVersion={since}", all(None))).await;
    // The removal of the first life, and what is there now.
    let (removed, added) = (watch.next().await.unwrap(), watch.next().await.unwrap());
    assert_eq!((&removed["type"], uid(&removed)), (&"DELETED".into(), first.clone()));
    assert_eq!(added["type"], "ADDED");
    assert_ne!(uid(&added), first);
    watch.tells("ADDED", "app:v1").await;
    watch.tells("DELETED", "app:gone").await;
}

#[tokio::test]
async fn only_what_is_selected_and_may_be_seen() {
    let world = world(&["shop", "lab"]).await;
    world.rights.grant("bob", "shop/app", &[Action::Pull]);
    let since = version(&world).await;
    let open = async |user, namespace, query: &str| {
        let path = format!("{}?watch=1&resourceVersion={since}&{query}", all(namespace));
        Watch::open_as(&world, user, &path, "application/json").await
    };
    let mut everywhere = open(USER, None, "").await;
    let mut lab = open(USER, Some("lab"), "").await;
    let mut tag = open(USER, None, "fieldSelector=tag%3Dv2").await;
    let mut label = open(USER, None, "labelSelector=payload-registry.deckhouse.io/repository%3Dweb").await;
    let mut bob = open("bob", None, "").await;
    let name = crate::tags::name::encode("app", "v2");
    let mut named = open(USER, Some("lab"), &format!("fieldSelector=metadata.name%3D{name}")).await;
    for repo in ["shop/app", "shop/web", "lab/app"] {
        world.push(repo, &["v1"], repo).await;
        world.push(repo, &["v2"], repo).await;
    }
    for told in ["app:v1", "app:v2", "web:v1", "web:v2", "app:v1", "app:v2"] {
        everywhere.tells("ADDED", told).await;
    }
    for told in ["app:v1", "app:v2"] {
        lab.tells("ADDED", told).await;
        bob.tells("ADDED", told).await;
    }
    for told in ["app:v2", "web:v2", "app:v2"] {
        tag.tells("ADDED", told).await;
    }
    label.tells("ADDED", "web:v1").await;
    named.tells("ADDED", "app:v2").await;
    let mut nobody = open("nobody", None, "").await;
    world.push("shop/app", &["v4"], "x").await;
    everywhere.tells("ADDED", "app:v4").await;
    world.server.stop();
    assert_eq!(nobody.next().await, None, "nothing for who has no right, and the end when the server stops");
}

#[tokio::test]
async fn other_rights_end_the_watch() {
    let world = world(&["shop"]).await;
    world.push("shop/app", &["v1"], "a").await;
    world.rights.grant("bob", "shop/web", &[Action::Pull]);
    let since = async || {
        let list = world.get("bob", &all(None)).await.json();
        (tags(&list), list["metadata"]["resourceVersion"].as_str().unwrap().to_owned())
    };
    let open = async |since: &str| {
        let path = format!("{}?watch=1&resourceVersion={since}", all(None));
        Watch::open_as(&world, "bob", &path, "application/json").await
    };
    let (before, first) = since().await;
    let mut watch = open(&first).await;
    world.rights.grant("bob", "shop/app", &[Action::Pull]);
    world.push("shop/web", &["v1"], "a").await;
    assert_eq!(watch.fails().await, 410, "what is seen now was there before, and is no change");
    let refused = world.get("bob", &format!("{}?watch=1&resourceVersion={first}", all(None))).await;
    assert_eq!(refusal(&refused), (410, "Expired".into()), "nor is it one for who comes back");
    let (after, second) = since().await;
    assert_eq!((before.len(), after.len()), (0, 2));
    let mut watch = open(&second).await;
    world.push("shop/app", &["v2"], "a").await;
    watch.tells("ADDED", "app:v2").await;
    let (_, third) = since().await;
    // Between the list and the watch.
    world.rights.revoke("bob");
    let refused = world.get("bob", &format!("{}?watch=1&resourceVersion={third}", all(None))).await;
    assert_eq!(refusal(&refused), (410, "Expired".into()));
    world.push("shop/app", &["v3"], "a").await;
    assert_eq!(watch.fails().await, 410, "what is not seen any more has to go");
    let everything = world.get("bob", &format!("{}?watch=1&timeoutSeconds=1", all(None))).await;
    assert_eq!((everything.status, everything.text()), (StatusCode::OK, ""));
}

/// Lets the time pass after which a watch looks whether anything is to be said.
async fn a_minute_passes() {
    tokio::time::pause();
    tokio::time::advance(std::time::Duration::from_secs(61)).await;
    tokio::time::resume();
}

#[tokio::test]
async fn other_rights_end_a_watch_on_which_nothing_happens() {
    let world = world(&["shop"]).await;
    world.push("shop/app", &["v1"], "a").await;
    world.rights.grant("bob", "shop/web", &[Action::Pull]);
    let list = world.get("bob", &all(None)).await.json();
    let since = list["metadata"]["resourceVersion"].as_str().unwrap();
    let path = format!("{}?watch=1&allowWatchBookmarks=1&resourceVersion={since}", all(None));
    let mut watch = Watch::open_as(&world, "bob", &path, "application/json").await;
    let mut quiet =
        Watch::open_as(&world, "bob", &path.replace("&allowWatchBookmarks=1", ""), "application/json").await;
    a_minute_passes().await;
    assert_eq!(watch.next().await.unwrap()["type"], "BOOKMARK", "the rights are what they were");
    world.rights.grant("bob", "shop/app", &[Action::Pull]);
    a_minute_passes().await;
    assert_eq!((watch.fails().await, quiet.fails().await), (410, 410));
}

/// Whoever goes on from the bookmark would be told nothing of rights that were looked at before it.
#[tokio::test]
async fn other_rights_are_told_before_the_last_bookmark() {
    let world = world(&["shop"]).await;
    world.push("shop/app", &["v1"], "a").await;
    let since = world.get("bob", &all(None)).await.json()["metadata"]["resourceVersion"].clone();
    let path = format!("{}?watch=1&timeoutSeconds=30&resourceVersion={}", all(None), since.as_str().unwrap());
    let open = async |query: &str| Watch::open_as(&world, "bob", &format!("{path}{query}"), "application/json").await;
    let (mut watch, mut quiet) = (open("&allowWatchBookmarks=1").await, open("").await);
    world.rights.grant("bob", "shop/app", &[Action::Pull]);
    assert_eq!(tags(&world.get("bob", &all(None)).await.json()), ["app:v1"]);
    a_minute_passes().await;
    assert_eq!((watch.fails().await, quiet.fails().await), (410, 410));
}

/// A ServiceAccount has another token every hour, and each has an id.
#[tokio::test]
async fn a_new_token_is_no_new_caller() {
    let world = world(&["shop"]).await;
    world.push("shop/app", &["v1"], "a").await;
    let ask = async |token: &str, path: &str| {
        let id = ("x-remote-extra-authentication.kubernetes.io%2fcredential-id", token);
        world.open("bob", Method::GET, path, &[id], "").await
    };
    let list = read(ask("JTI=1", &all(None)).await).await.json();
    let since = list["metadata"]["resourceVersion"].as_str().unwrap();
    let path = format!("{}?watch=1&timeoutSeconds=1&resourceVersion={since}", all(None));
    assert_eq!(ask("JTI=2", &path).await.status(), StatusCode::OK);
    world.rights.grant("bob", "shop/app", &[Action::Pull]);
    assert_eq!(refusal(&read(ask("JTI=3", &path).await).await), (410, "Expired".into()));
}

#[tokio::test]
async fn an_earlier_tenant_is_not_told_of() {
    let world = world(&["shop"]).await;
    let since = version(&world).await;
    let names: Vec<String> = (0..80).map(|number| format!("v{number}")).collect();
    for part in names.chunks(40) {
        world.push("shop/app", &part.iter().map(String::as_str).collect::<Vec<_>>(), "secret").await;
    }
    // Remembered by this process.
    world.get(USER, &one("shop", "app", "v1")).await;
    assert_eq!(world.delete(USER, &all(Some("shop")), "").await.status, StatusCode::OK);
    world.push("shop/app", &["last"], "secret").await;
    world.cluster.remove_namespace("shop");
    let deadline = std::time::Instant::now() + PATIENCE;
    while world.get(USER, &one("shop", "app", "last")).await.status == StatusCode::OK {
        assert!(std::time::Instant::now() < deadline);
        tokio::task::yield_now().await;
    }
    let last = (oci::RepoName::parse("shop/app").unwrap(), oci::Tag::parse("last").unwrap());
    world.store.tag_delete(last.0, last.1, None).await.unwrap();
    let removed = version(&world).await;
    world.cluster.set_namespace("shop", "another-uid", false);
    let shop = content::Namespace::parse("shop").unwrap();
    let path = |since: &str| format!("{}?watch=1&resourceVersion={since}", all(Some("shop")));
    // What another replica does is heard a moment later: nothing says here that the namespace has ended.
    let key = "homeport/v1/namespaces/shop";
    storage::Driver::apply(&world.driver, storage::Batch::new().delete_tree(key)).await.unwrap();
    world.rights.grant("bob", "shop/*", &[Action::Pull]);
    world.push("shop/own", &["v1"], "b").await;
    while tags(&world.get("bob", &all(Some("shop"))).await.json()).len() != 1 {
        assert!(std::time::Instant::now() < deadline);
        tokio::task::yield_now().await;
    }
    let told = async || {
        let mut watch = Watch::open_as(&world, "bob", &path(&since), "application/json").await;
        watch.fails().await
    };
    assert_eq!(told().await, 410, "its own is claimed later than what was removed");
    let mut own = Watch::open_as(&world, "bob", &path(&removed), "application/json").await;
    own.tells("ADDED", "own:v1").await;
    let (repo, tag) = (oci::RepoName::parse("shop/own").unwrap(), oci::Tag::parse("v1").unwrap());
    world.store.tag_delete(repo, tag, None).await.unwrap();
    own.tells("DELETED", "own:v1").await;
    storage::Driver::apply(&world.driver, storage::Batch::new().delete_tree(key)).await.unwrap();
    assert_eq!(told().await, 410, "nobody has claimed anything");
    // Here it is known.
    world.store.claim_namespace(shop, "shop-uid").await.unwrap();
    world.store.delete_namespace(shop, "shop-uid", None).await.unwrap();
    assert_eq!(told().await, 410);
}

#[tokio::test]
async fn bookmarks() {
    let world = world(&["shop"]).await;
    world.push("shop/app", &["v1"], "a").await;
    let path = format!("{}?watch=1&allowWatchBookmarks=true", all(None));
    let mut watch = Watch::open(
        &world,
        &format!("{path}&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&resourceVersion="),
    )
    .await;
    watch.tells("ADDED", "app:v1").await;
    let mark = watch.next().await.unwrap();
    assert_eq!(
        (&mark["type"], &mark["object"]["kind"], &mark["object"]["apiVersion"]),
        (&"BOOKMARK".into(), &"PayloadRepositoryTag".into(), &API_VERSION.into())
    );
    assert_eq!(mark["object"]["metadata"]["annotations"], json!({ "k8s.io/initial-events-end": "true" }));
    let mut short =
        Watch::open(&world, &format!("{path}&timeoutSeconds=1&resourceVersion={}", version(&world).await)).await;
    let last = short.next().await.unwrap();
    assert_eq!((&last["type"], last["object"]["metadata"].get("annotations")), (&"BOOKMARK".into(), None));
    assert_eq!(short.next().await, None, "its time is over");
    world.push("shop/app", &["v2"], "a").await;
    let since = last["object"]["metadata"]["resourceVersion"].as_str().unwrap();
    Watch::open(&world, &format!("{path}&resourceVersion={since}")).await.tells("ADDED", "app:v2").await;
    let mut bare = Watch::open(
        &world,
        &format!("{}?watch=1&timeoutSeconds=1&resourceVersion={since}&fieldSelector=tag%3Dx", all(None)),
    )
    .await;
    assert_eq!(bare.next().await, None, "no bookmark for who has not asked for any");
    let mut empty = Watch::open(
        &world,
        &format!("{path}&fieldSelector=tag%3Dx&sendInitialEvents=true&resourceVersionMatch=NotOlderThan"),
    )
    .await;
    assert_eq!(empty.next().await.unwrap()["type"], "BOOKMARK");
    let mut from_now =
        Watch::open(&world, &format!("{path}&sendInitialEvents=false&resourceVersionMatch=NotOlderThan")).await;
    world.push("shop/app", &["v3"], "a").await;
    from_now.tells("ADDED", "app:v3").await;
}

#[tokio::test]
async fn tables() {
    let world = world(&["shop"]).await;
    world.push("shop/app", &["v1", "v2"], "a").await;
    let path =
        format!("{}?watch=1&allowWatchBookmarks=1&sendInitialEvents=1&resourceVersionMatch=NotOlderThan", all(None));
    let mut watch = Watch::open_as(&world, USER, &path, TABLE).await;
    let (first, second, mark) = (watch.next().await.unwrap(), watch.next().await.unwrap(), watch.next().await.unwrap());
    assert_eq!((&first["type"], &first["object"]["kind"]), (&"ADDED".into(), &"Table".into()));
    assert_eq!(first["object"]["columnDefinitions"].as_array().unwrap().len(), 7);
    assert_eq!(first["object"]["rows"][0]["cells"][2], "v1");
    assert_eq!(first["object"]["rows"][0]["object"]["kind"], "PartialObjectMetadata");
    assert_eq!(
        (&second["object"]["columnDefinitions"], &second["object"]["rows"][0]["cells"][2]),
        (&Value::Null, &"v2".into())
    );
    assert_eq!(mark["object"]["rows"][0]["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
    let partial = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io";
    let mut watch = Watch::open_as(&world, USER, &path, partial).await;
    let event = watch.next().await.unwrap();
    assert_eq!((&event["object"]["kind"], event["object"].get("status")), (&"PartialObjectMetadata".into(), None));
    let refused = world.get_as(USER, &format!("{path}&includeObject=Some"), TABLE).await;
    assert_eq!(refusal(&refused), (400, "BadRequest".into()));
}

#[tokio::test]
async fn versions_that_cannot_be_resumed() {
    let world = world(&["shop"]).await;
    let now: u64 = version(&world).await.parse().unwrap();
    let micros = Version::from(now).micros();
    let at = |micros: u64| Version::of_now(micros).number();
    for old in [5, at(micros - 3_600_000_000), at(micros + 3_600_000_000), u64::MAX, now - (1 << 11) * 60_000_000] {
        let answer = world.get(USER, &format!("{}?watch=1&resourceVersion={old}", all(None))).await;
        assert_eq!(refusal(&answer), (410, "Expired".into()), "{old}");
    }
    // The time of another process: known only after the margin has passed since the start.
    let foreign = world.get(USER, &format!("{}?watch=1&resourceVersion={}", all(None), at(micros))).await;
    assert_eq!(refusal(&foreign), (410, "Expired".into()));
}

#[tokio::test]
async fn what_is_not_known_ends_the_watch() {
    let world = world(&["shop", "lab"]).await;
    world.push("shop/app", &["v1"], "a").await;
    let since = version(&world).await;
    let path = |namespace| format!("{}?watch=1&resourceVersion={since}", all(namespace));
    let mut everywhere = Watch::open(&world, &path(None)).await;
    let mut shop = Watch::open(&world, &path(Some("shop"))).await;
    let mut lab = Watch::open(&world, &path(Some("lab"))).await;
    let shop_namespace = content::Namespace::parse("shop").unwrap();
    world.store.delete_namespace(shop_namespace, "shop-uid", None).await.unwrap();
    assert_eq!(everywhere.fails().await, 410);
    assert_eq!(shop.fails().await, 410);
    world.push("lab/app", &["v1"], "a").await;
    lab.tells("ADDED", "app:v1").await;
    // More than is kept has happened since then.
    let names: Vec<String> = (0..32).map(|number| format!("v{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    for _ in 0..=content::CHANGES_MAX / names.len() {
        world.push("shop/app", &names, "b").await;
    }
    let answer = world.get(USER, &path(None)).await;
    assert_eq!(refusal(&answer), (410, "Expired".into()));
    assert_eq!(lab.fails().await, 410, "one that falls behind is told so");
}

#[tokio::test]
async fn tags_of_a_namespace_that_ends_are_told_to_be_gone() {
    let world = world(&["shop"]).await;
    world.push("shop/app", &["v1"], "a").await;
    let uid = world.get(USER, &one("shop", "app", "v1")).await.json()["metadata"]["uid"].clone();
    let mut watch =
        Watch::open(&world, &format!("{}?watch=1&resourceVersion={}", all(None), version(&world).await)).await;
    let (repo, tag) = (oci::RepoName::parse("shop/app").unwrap(), oci::Tag::parse("v1").unwrap());
    world.cluster.remove_namespace("shop");
    let deadline = std::time::Instant::now() + PATIENCE;
    while world.get(USER, &one("shop", "app", "v1")).await.status == StatusCode::OK {
        assert!(std::time::Instant::now() < deadline);
        tokio::task::yield_now().await;
    }
    world.store.tag_delete(repo, tag, None).await.unwrap();
    let gone = watch.next().await.unwrap();
    assert_eq!((&gone["type"], &gone["object"]["metadata"]["uid"]), (&"DELETED".into(), &uid));
}

/// Applies events as an informer does.
fn apply(known: &mut BTreeMap<String, Value>, event: &Value) {
    let object = &event["object"];
    let name = object["metadata"]["name"].as_str().unwrap().to_owned();
    match event["type"].as_str().unwrap() {
        "ADDED" | "MODIFIED" => drop(known.insert(name, object["metadata"]["uid"].clone())),
        "DELETED" => drop(known.remove(&name)),
        other => panic!("{other}: {event}"),
    }
}

/// Pushes and deletes race with each other and with watchers that come and go; in the end all know what there is.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn watchers_agree_in_the_end() {
    let world = Arc::new(world(&["shop"]).await);
    let list = async |world: &World| {
        let list = world.get(USER, &all(None)).await.json();
        let items = list["items"].as_array().unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let known: BTreeMap<_, _> =
            items.iter().map(|item| (text(&item["metadata"]["name"]), item["metadata"]["uid"].clone())).collect();
        (known, text(&list["metadata"]["resourceVersion"]))
    };
    world.push("shop/app", &["v0"], "a").await;
    let mut actors = tokio::task::JoinSet::new();
    for actor in 0..4u64 {
        let world = Arc::clone(&world);
        actors.spawn(async move {
            for round in 0..60u64 {
                let tag = format!("v{}", (actor * 7 + round * 5) % 3);
                if (actor + round) % 2 == 0 {
                    world.push("shop/app", &[&tag], &format!("{}", round % 4)).await;
                } else {
                    let answer = world.delete(USER, &one("shop", "app", &tag), "").await;
                    assert!(matches!(answer.status, StatusCode::OK | StatusCode::NOT_FOUND), "{}", answer.text());
                }
            }
        });
    }
    let mut watchers = Vec::new();
    while !actors.is_empty() {
        if watchers.len() < 20 {
            let (known, since) = list(&world).await;
            let watch = Watch::open(&world, &format!("{}?watch=1&resourceVersion={since}", all(None))).await;
            watchers.push((known, watch));
        }
        let done = tokio::time::timeout(std::time::Duration::from_millis(1), actors.join_next()).await;
        if let Ok(Some(done)) = done {
            done.unwrap();
        }
    }
    let (truth, _) = list(&world).await;
    // Nothing can be known to be the last word, so one more is said.
    world.push("shop/end", &["end"], "z").await;
    for (mut known, mut watch) in watchers {
        loop {
            let event = watch.next().await.unwrap();
            if event["object"]["status"]["repository"] == "end" {
                break;
            }
            apply(&mut known, &event);
        }
        assert_eq!(known, truth);
    }
}
