use std::sync::Arc;
use std::sync::atomic::Ordering;

use http::StatusCode;
use proptest::prelude::*;

use super::*;
use crate::tags::continuation::{Continuation, mark};

const TABLE: &str =
    "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";
const PARTIAL: &str = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io";

#[tokio::test]
async fn everybody_sees_what_they_may() {
    let world = World::start(&["shop", "lab"]).await;
    for repo in ["shop/app", "shop/web/app", "shop/web", "lab/app"] {
        world.push(repo, &["v2", "v1"], repo).await;
    }
    world.rights.grant("alice", "shop/web/app", &[Action::Pull]);
    world.rights.grant("alice", "lab/*", &[Action::Pull]);
    world.rights.grant("root", "shop/*", &[Action::Pull]);
    world.rights.grant("bob", "shop/app", &[Action::Delete]);
    let list = async |user, namespace| tags(&world.get(user, &all(namespace)).await.json());
    assert_eq!(list("alice", Some("shop")).await, ["web/app:v1", "web/app:v2"]);
    assert_eq!(list("alice", None).await, ["app:v1", "app:v2", "web/app:v1", "web/app:v2"], "lab comes before shop");
    assert_eq!(list("root", Some("shop")).await, ["app:v1", "app:v2", "web:v1", "web:v2", "web/app:v1", "web/app:v2"]);
    assert_eq!(list("bob", None).await, [""; 0], "who may delete may not read");
    assert_eq!(list("nobody", Some("shop")).await, [""; 0]);
    assert_eq!(list("root", Some("none")).await, [""; 0]);
    assert_eq!(list("root", Some("NOT%20A")).await, [""; 0]);
    world.rights.revoke("alice");
    assert_eq!(list("alice", None).await, [""; 0]);
}

#[tokio::test]
async fn an_empty_list_is_a_list() {
    let world = world(&["shop"]).await;
    let list = world.get(USER, &all(Some("shop"))).await.json();
    assert_eq!((&list["kind"], &list["apiVersion"]), (&"PayloadRepositoryTagList".into(), &API_VERSION.into()));
    assert_eq!(list["items"], serde_json::json!([]));
    assert!(list["metadata"]["resourceVersion"].as_str().unwrap().parse::<u64>().unwrap() > 0);
    assert_eq!(list["metadata"].as_object().unwrap().len(), 1);
}

#[tokio::test]
async fn namespaces_come_and_go() {
    let world = world(&["shop", "lab"]).await;
    world.push("shop/app", &["v1"], "a").await;
    world.push("lab/app", &["v1"], "a").await;
    let uid = world.get(USER, &one("shop", "app", "v1")).await.json()["metadata"]["uid"].clone();
    let list = async || tags(&world.get(USER, &all(None)).await.json());
    assert_eq!(list().await.len(), 2);
    world.cluster.set_namespace("shop", "shop-uid", true);
    assert_eq!(list().await.len(), 2, "a namespace on its way out still has its tags");
    world.cluster.remove_namespace("shop");
    wait(&world, "the namespace is gone", None, 1).await;
    assert_eq!(world.get(USER, &one("shop", "app", "v1")).await.status, StatusCode::NOT_FOUND);
    world.cluster.set_namespace("shop", "another-uid", false);
    world.cluster.set_namespace("fresh", "fresh-uid", false);
    world.rights.grant(USER, "fresh/*", &[Action::Pull]);
    world.push("fresh/app", &["v1"], "a").await;
    wait(&world, "the new namespace is known", None, 2).await;
    assert_eq!(tags(&world.get(USER, &all(Some("shop"))).await.json()), [""; 0], "not the content of its predecessor");
    assert_eq!(world.get(USER, &one("shop", "app", "v1")).await.status, StatusCode::NOT_FOUND);
    assert!(uid.is_string());
}

/// Waits until a list has so many tags.
async fn wait(world: &World, what: &str, namespace: Option<&str>, count: usize) {
    let deadline = std::time::Instant::now() + crate::testing::PATIENCE;
    while tags(&world.get(USER, &all(namespace)).await.json()).len() != count {
        assert!(std::time::Instant::now() < deadline, "waited in vain for: {what}");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn selectors() {
    let world = world(&["shop", "lab"]).await;
    for repo in ["shop/app", "shop/web/app", "lab/app"] {
        world.push(repo, &["v1", "v2", "odd_"], repo).await;
    }
    let count = async |query: &str| {
        let answer = world.get(USER, &format!("{}?{query}", all(None))).await;
        assert_eq!(answer.status, StatusCode::OK, "{query}: {}", answer.text());
        tags(&answer.json()).len()
    };
    for (query, expected) in [
        ("fieldSelector=repository%3Dapp", 6),
        ("fieldSelector=repository%3Dweb/app", 3),
        ("fieldSelector=repository%3Dweb/app,tag%3Dv1", 1),
        ("fieldSelector=repository!%3Dapp", 3),
        ("fieldSelector=tag%3Dv1", 3),
        ("fieldSelector=tag%3Dv1,metadata.namespace%3Dlab", 1),
        ("fieldSelector=metadata.name%3Dmfyhaotwge", 2),
        ("fieldSelector=metadata.name%3Dmfyhaotwge,tag%3Dv2", 0),
        ("fieldSelector=metadata.name%3Dmfyhaotwge,repository%3Dweb", 0),
        ("fieldSelector=metadata.name%3DNOT", 0),
        ("fieldSelector=repository%3D..", 0),
        ("fieldSelector=tag%3D..", 0),
        ("fieldSelector=metadata.namespace%3Dnone", 0),
        ("labelSelector=payload-registry.deckhouse.io/repository%3Dweb.app", 3),
        ("labelSelector=payload-registry.deckhouse.io/tag+in+(v1,v2)", 6),
        ("labelSelector=!payload-registry.deckhouse.io/tag", 3),
        ("labelSelector=other%3Da", 0),
        ("labelSelector=payload-registry.deckhouse.io/tag%3Dv1&fieldSelector=repository%3Dapp", 2),
    ] {
        assert_eq!(count(query).await, expected, "{query}");
    }
    let within = world.get(USER, &format!("{}?fieldSelector=metadata.namespace%3Dlab", all(Some("shop")))).await;
    assert_eq!(tags(&within.json()), [""; 0]);
}

#[tokio::test]
async fn mistakes_are_400() {
    let world = world(&["shop"]).await;
    for query in [
        "labelSelector=a%3D%3D%3Db",
        "fieldSelector=spec.x%3Db",
        "resourceVersion=abc",
        "resourceVersionMatch=Exact",
        "limit=x",
        "continue=abc",
        "watch=1&resourceVersion=abc",
        "sendInitialEvents=1",
    ] {
        let answer = world.get(USER, &format!("{}?{query}", all(Some("shop")))).await;
        assert_eq!(refusal(&answer), (400, "BadRequest".into()), "{query}");
    }
    let exact = world.get(USER, &format!("{}?resourceVersion=5&resourceVersionMatch=Exact", all(Some("shop")))).await;
    assert_eq!(refusal(&exact), (410, "Expired".into()));
    for query in ["resourceVersion=0", "resourceVersion=5", "resourceVersion=5&resourceVersionMatch=NotOlderThan"] {
        assert_eq!(world.get(USER, &format!("{}?{query}", all(Some("shop")))).await.status, StatusCode::OK, "{query}");
    }
}

#[tokio::test]
async fn what_is_to_come_is_refused() {
    let world = world(&["shop"]).await;
    world.push("shop/app", &["v1"], "a").await;
    let (soon, later) = (in_seconds(9), in_seconds(60));
    for path in [all(None), all(Some("shop"))] {
        for query in ["", "&resourceVersionMatch=NotOlderThan", "&limit=1"] {
            // The clock of another replica may be ahead.
            let list = world.get(USER, &format!("{path}?resourceVersion={soon}{query}")).await;
            assert_eq!(tags(&list.json()), ["app:v1"], "{path} {query}");
            is_too_large(&world.get(USER, &format!("{path}?resourceVersion={later}{query}")).await, later);
        }
        for version in [soon, later] {
            let exact = world.get(USER, &format!("{path}?resourceVersion={version}&resourceVersionMatch=Exact")).await;
            assert_eq!(refusal(&exact), (410, "Expired".into()));
        }
    }
    is_too_large(&world.delete(USER, &format!("{}?resourceVersion={later}", all(Some("shop"))), "").await, later);
    assert_eq!(tags(&world.get(USER, &all(Some("shop"))).await.json()), ["app:v1"]);
}

#[tokio::test]
async fn other_forms() {
    let world = world(&["shop"]).await;
    world.push("shop/app", &["v1", "v2"], "a").await;
    let path = all(Some("shop"));
    let table = world.get_as(USER, &path, TABLE).await.json();
    assert_eq!((&table["kind"], &table["apiVersion"]), (&"Table".into(), &"meta.k8s.io/v1".into()));
    assert_eq!(table["columnDefinitions"][0]["format"], "name");
    let rows = table["rows"].as_array().unwrap();
    assert_eq!(rows.iter().map(|row| row["cells"][2].as_str().unwrap()).collect::<Vec<_>>(), ["v1", "v2"]);
    assert_eq!(rows[0]["object"]["kind"], "PartialObjectMetadata");
    let partial = world.get_as(USER, &path, PARTIAL).await.json();
    assert_eq!(
        (&partial["kind"], &partial["apiVersion"]),
        (&"PartialObjectMetadataList".into(), &"meta.k8s.io/v1".into())
    );
    assert_eq!(partial["items"][1], world.get_as(USER, &path, TABLE).await.json()["rows"][1]["object"]);
    let protobuf = world.get_as(USER, &path, "application/vnd.kubernetes.protobuf").await;
    assert_eq!(protobuf.status, StatusCode::NOT_ACCEPTABLE);
}

#[tokio::test]
async fn long_lists_come_in_pieces() {
    let world = world(&["shop"]).await;
    let names: Vec<String> = (0..600).map(|number| format!("v{number:03}")).collect();
    let texts: Vec<&str> = names.iter().map(String::as_str).collect();
    for part in texts.chunks(50) {
        world.push("shop/app", part, "a").await;
    }
    world.push("shop/zoo", &["last"], "b").await;
    for (headers, key) in [(vec![], "items"), (vec![("accept", TABLE), ("accept-encoding", "gzip")], "rows")] {
        let list = world.ask(USER, http::Method::GET, &all(Some("shop")), &headers, "").await.json();
        assert_eq!(list[key].as_array().unwrap().len(), 601);
        assert!(list["metadata"]["resourceVersion"].is_string());
    }
    let whole = tags(&world.get(USER, &all(Some("shop"))).await.json());
    assert!(whole.is_sorted() && whole[600] == "zoo:last");
    // A client that goes away ends the work; nothing hangs.
    drop(world.open(USER, http::Method::GET, &all(Some("shop")), &[], "").await);
    let page = world.get(USER, &format!("{}?limit=100000", all(Some("shop")))).await.json();
    assert_eq!(page["items"].as_array().unwrap().len(), 601);
    assert_eq!(page["metadata"].get("continue"), None);
}

#[tokio::test]
async fn tokens_are_for_their_list_and_for_a_while() {
    let world = world(&["shop", "lab"]).await;
    world.push("shop/app", &["v1", "v2", "v3"], "a").await;
    let first = world.get(USER, &format!("{}?limit=1", all(Some("shop")))).await.json();
    let token = first["metadata"]["continue"].as_str().unwrap();
    let version = &first["metadata"]["resourceVersion"];
    let next = world.get(USER, &format!("{}?limit=1&continue={token}", all(Some("shop")))).await.json();
    assert_eq!((tags(&next), &next["metadata"]["resourceVersion"]), (vec!["app:v2".to_owned()], version));
    let rest = world.get(USER, &format!("{}?continue={token}", all(Some("shop")))).await.json();
    assert_eq!(tags(&rest), ["app:v2", "app:v3"]);
    for path in [
        format!("{}?limit=1&continue={token}", all(Some("lab"))),
        format!("{}?limit=1&continue={token}", all(None)),
        format!("{}?limit=1&continue={token}&labelSelector=a", all(Some("shop"))),
        format!("{}?limit=1&continue={}", all(Some("shop")), &token[1..]),
    ] {
        assert_eq!(refusal(&world.get(USER, &path).await), (400, "BadRequest".into()), "{path}");
    }
    let old = Continuation { version: Version::of_now(1_000_000), repo: "shop/app".into(), tag: "v1".into() };
    let old = old.encode(&mark(Some("shop"), "", ""));
    let expired = world.get(USER, &format!("{}?limit=1&continue={old}", all(Some("shop")))).await;
    assert_eq!(refusal(&expired), (410, "Expired".into()));
    let fresh = expired.json()["metadata"]["continue"].as_str().unwrap().to_owned();
    let goes_on = world.get(USER, &format!("{}?limit=1&continue={fresh}", all(Some("shop")))).await.json();
    assert_eq!(tags(&goes_on), ["app:v2"]);
    // What the token names need not be there any more.
    world.delete(USER, &one("shop", "app", "v1"), "").await;
    let after = world.get(USER, &format!("{}?limit=5&continue={token}", all(Some("shop")))).await.json();
    assert_eq!(tags(&after), ["app:v2", "app:v3"]);
}

/// A manifest with about as many texts as are shown.
fn large() -> Value {
    let annotations: serde_json::Map<_, _> =
        (0..64).map(|number| (format!("k{number}"), "x".repeat(240).into())).collect();
    let layer = |number: usize| serde_json::json!({ "mediaType": "a".repeat(250), "digest": oci::Digest::sha256(&number.to_le_bytes()).to_string(), "size": 3 });
    serde_json::json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": { "mediaType": "application/vnd.oci.image.config.v1+json", "digest": oci::Digest::sha256(b"c").to_string(), "size": 3 },
        "layers": (0..200).map(layer).collect::<Vec<_>>(),
        "annotations": annotations,
    })
}

#[tokio::test]
async fn large_objects_make_short_pages_and_small_pieces() {
    use http_body_util::BodyExt as _;
    let world = world(&["shop"]).await;
    let names: Vec<String> = (0..150).map(|number| format!("v{number:03}")).collect();
    for part in names.chunks(50) {
        world.push_manifest("shop/app", &part.iter().map(String::as_str).collect::<Vec<_>>(), &large()).await;
    }
    let one = world.get(USER, &one("shop", "app", "v000")).await.body.len();
    assert!((60_000..110_000).contains(&one), "{one}");
    let (mut found, mut token, mut pages) = (Vec::new(), String::new(), 0);
    loop {
        let page = world.get(USER, &format!("{}?limit=1000&continue={token}", all(Some("shop")))).await;
        assert!(page.body.len() < (4 << 20) + (512 << 10), "{}", page.body.len());
        let page = page.json();
        found.extend(tags(&page));
        pages += 1;
        match page["metadata"]["continue"].as_str() {
            Some(next) => token = next.to_owned(),
            None => break,
        }
    }
    assert!(pages > 1 && found.len() == 150 && found.is_sorted_by(|one, two| one < two), "{pages} {}", found.len());
    for (query, most) in [("", 512 << 10), ("?watch=1", 256 << 10)] {
        let path = format!("{}{query}", all(Some("shop")));
        let mut body = world.open(USER, http::Method::GET, &path, &[], "").await.into_body();
        let (mut size, mut pieces) = (0, 0);
        while size < 140 * one {
            let piece = body.frame().await.unwrap().unwrap().into_data().unwrap();
            assert!(piece.len() <= most, "{}", piece.len());
            size += piece.len();
            pieces += 1;
        }
        assert!(pieces > 20, "{pieces}");
    }
}

#[tokio::test]
async fn tokens_name_no_other_places() {
    let world = world(&["shop"]).await;
    world.push("shop/app", &["v1"], "a").await;
    let version = in_seconds(0);
    let forged = Continuation { version, repo: "shop".into(), tag: "v1".into() }.encode(&mark(Some("shop"), "", ""));
    let refused = world.get(USER, &format!("{}?limit=1&continue={forged}", all(Some("shop")))).await;
    assert_eq!(refusal(&refused), (400, "BadRequest".into()));
}

/// A walk that finds nothing lets others go on.
#[tokio::test]
async fn what_matches_nothing_is_no_hindrance() {
    let world = Arc::new(world(&["shop"]).await);
    let digest = world.push("shop/app", &["v1"], "a").await;
    let mut batch = storage::Batch::new();
    for number in 0..20_000 {
        let key = format!("docker/registry/v2/repositories/shop/app/_manifests/tags/t{number:05}/current/link");
        batch = batch.put(key, digest.to_string());
    }
    storage::Driver::apply(&world.driver, batch).await.unwrap();
    let terms = "metadata.name!%3Dmfyhaotwge,".repeat(40);
    let turns = async |selector: &str| {
        let path = format!("{}?fieldSelector={terms}{selector}", all(Some("shop")));
        let asking = Arc::clone(&world);
        let list = tokio::spawn(async move { tags(&asking.get(USER, &path).await.json()).len() });
        let mut turns = 0;
        while !list.is_finished() {
            tokio::task::yield_now().await;
            turns += 1;
        }
        (list.await.unwrap(), turns)
    };
    let (few, many) = (turns("repository%3Dnone").await, turns("&labelSelector=none").await);
    assert_eq!((few.0, many.0), (0, 0));
    assert!(many.1 >= few.1 + 2, "{few:?} {many:?}");
}

#[tokio::test]
async fn without_rules_nobody_is_shown_anything_wrong() {
    let world = world(&["shop"]).await;
    world.push("shop/app", &["v1"], "a").await;
    world.knobs.read_only.store(true, Ordering::SeqCst);
    assert_eq!(tags(&world.get(USER, &all(Some("shop"))).await.json()), ["app:v1"], "reading goes on");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Pages put together are the whole list, whatever there is and whoever asks for it.
    #[test]
    fn pages_add_up(
        content in proptest::collection::btree_map("(lab|shop|shop-a)/[ab](/[ab]|-a){0,2}", proptest::collection::btree_set("[a-c.]{0,2}[ab]", 1..5), 0..9),
        limit in 1usize..6,
        only in proptest::option::of("lab|shop"),
        selector in "|fieldSelector=tag%3Da|fieldSelector=repository%3Da|labelSelector=payload-registry[.]deckhouse[.]io/tag!%3Da",
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let world = world(&["lab", "shop", "shop-a"]).await;
            let mut expected = Vec::new();
            for (repo, texts) in &content {
                let valid: Vec<&str> = texts.iter().map(String::as_str).filter(|text| oci::Tag::parse(text).is_ok()).collect();
                if !valid.is_empty() {
                    world.push(repo, &valid, repo).await;
                }
                let (namespace, relative) = repo.split_once('/').unwrap();
                if only.as_ref().is_some_and(|only| only != namespace) || (selector.contains("repository") && relative != "a") {
                    continue;
                }
                let wanted = valid.iter().filter(|text| match &*selector {
                    "fieldSelector=tag%3Da" => **text == "a",
                    other => !other.starts_with("label") || **text != "a",
                });
                expected.extend(wanted.map(|text| (namespace.to_owned(), relative.to_owned(), (*text).to_owned())));
            }
            expected.sort();
            let base = format!("{}?{selector}", all(only.as_deref()));
            let whole = tags(&world.get(USER, &base).await.json());
            let texts: Vec<_> = expected.iter().map(|(_, repo, tag)| format!("{repo}:{tag}")).collect();
            assert_eq!(whole, texts);
            let (mut pages, mut token) = (Vec::new(), String::new());
            loop {
                let page = world.get(USER, &format!("{base}&limit={limit}&continue={token}")).await.json();
                let found = tags(&page);
                assert!(found.len() <= limit);
                pages.extend(found);
                match page["metadata"]["continue"].as_str() {
                    Some(next) => token = next.to_owned(),
                    None => break,
                }
            }
            assert_eq!(pages, whole);
        });
    }
}
