//! The catalog of a registry with tenants.

use crate::http::Answer;
use crate::script::user;
use crate::world::{ALL, CI, World};
use access::Action;
use std::sync::atomic::Ordering;
use storage::{Batch, Driver};

const READER: &str = "system:serviceaccount:toys:x";

/// Empty repositories, as far as the catalog goes.
async fn make(world: &World, names: impl IntoIterator<Item = String>) {
    let mut batch = Batch::new();
    for name in names {
        batch = batch.put(format!("docker/registry/v2/repositories/{name}/_manifests/tags/x/current/link"), "");
    }
    world.driver.apply(batch).await.unwrap();
}

fn next(answer: &Answer) -> Option<String> {
    let link = answer.header("link");
    let address = link.strip_prefix('<').and_then(|link| link.split_once('>')).map(|(address, _)| address.to_owned());
    assert_eq!(address.is_some(), !link.is_empty(), "{link}");
    address
}

/// Follows the links; returns the names and the number of pages. No answer may hold `secret`.
async fn walk(world: &World, first: &str, secret: &str) -> (Vec<String>, usize) {
    let (mut names, mut pages, mut path) = (Vec::new(), 0, Some(first.to_owned()));
    while let Some(address) = path {
        let answer = world.send(Some(&crate::world::bearer(&world.token(READER))), "GET", &address, b"").await;
        assert_eq!(answer.status, 200, "{address}: {}", answer.body);
        assert!(!answer.head.contains(secret) && !answer.body.contains(secret), "{}\n{}", answer.head, answer.body);
        let page: Vec<String> = serde_json::from_value(answer.json()["repositories"].clone()).unwrap();
        names.extend(page);
        pages += 1;
        assert!(pages < 100, "no end");
        path = next(&answer);
    }
    (names, pages)
}

#[tokio::test]
async fn filtered_it_shows_what_its_reader_may_pull() {
    let world = World::with_catalog(true).await;
    let names = ["shop/hidden-a", "shop/hidden-b", "shop/open", "toys/a", "toys/hidden-c", "toys/z", "zoo/hidden-d"];
    make(&world, names.map(str::to_owned)).await;
    world.script.grant(user(READER), &[Action::Pull], "shop", "open");
    world.script.grant(user(READER), &[Action::Pull], "toys", "[az]");
    let visible = ["shop/open", "toys/a", "toys/z"].map(str::to_owned);
    for (path, pages) in
        [("/v2/_catalog", 1), ("/v2/_catalog?n=1", 3), ("/v2/_catalog?n=2", 2), ("/v2/_catalog?n=3", 1)]
    {
        assert_eq!(walk(&world, path, "hidden").await, (visible.to_vec(), pages), "{path}");
    }
    assert_eq!(walk(&world, "/v2/_catalog?last=toys/b&n=5", "hidden").await.0, ["toys/z"]);
    assert_eq!(walk(&world, "/v2/_catalog?n=0", "hidden").await.0, [""; 0]);
    world.script.undecided.store(true, Ordering::SeqCst);
    let answer = world.send(Some(&crate::world::bearer(&world.token(READER))), "GET", "/v2/_catalog", b"").await;
    assert_eq!(answer.refusal(), (503, "UNAVAILABLE".to_owned()));
}

#[tokio::test]
async fn many_hidden_names_end_a_page_and_stay_hidden() {
    let world = World::with_catalog(true).await;
    let hidden = (0..4500).map(|number| format!("mass/hidden-{number:05}"));
    make(&world, hidden.chain(["aaa/first".to_owned(), "zoo/last".to_owned()])).await;
    world.script.grant(user(READER), &[Action::Pull], "aaa", "first");
    world.script.grant(user(READER), &[Action::Pull], "zoo", "*");
    let (names, pages) = walk(&world, "/v2/_catalog?n=1", "hidden").await;
    assert_eq!(names, ["aaa/first", "zoo/last"]);
    assert!((3..=12).contains(&pages), "{pages} pages");
    for bad in ["~", "~AAAA", "~hidden"] {
        let path = format!("/v2/_catalog?last={bad}");
        let answer = world.send(Some(&crate::world::bearer(&world.token(READER))), "GET", &path, b"").await;
        assert_eq!(answer.refusal(), (400, "PAGINATION_NUMBER_INVALID".to_owned()), "{bad}");
    }
}

#[tokio::test]
async fn unfiltered_it_hides_only_what_is_nobodys() {
    let world = World::new().await;
    world.script.exists("toys", "t1");
    world.script.grant(user(CI), &ALL, "toys", "**");
    for name in ["shop/a", "shop/b", "toys/a", "toys/b"] {
        world.push(name, "v1").await;
    }
    make(&world, ["before/cluster".to_owned()]).await;
    let all = ["before/cluster", "shop/a", "shop/b", "toys/a", "toys/b"];
    assert_eq!(walk(&world, "/v2/_catalog?n=2", "hidden").await, (all.map(str::to_owned).to_vec(), 3));
    world.script.exists("shop", "u2");
    let rest = ["before/cluster", "toys/a", "toys/b"].map(str::to_owned);
    assert_eq!(walk(&world, "/v2/_catalog?n=2", "shop").await, (rest.to_vec(), 2));
    assert_eq!(walk(&world, "/v2/_catalog", "shop").await, (rest.to_vec(), 1));
}
