//! Content goes with its namespace.

use std::sync::Arc;
use std::time::Duration;

use cluster::NamespaceSource;
use operator::namespaces::{self, Metrics, Settings};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::store::Content;
use crate::world::{World, run, until};

struct CleanUp {
    metrics: Arc<Metrics>,
    leader: watch::Sender<bool>,
    _tasks: JoinSet<()>,
}

fn start(world: &World, content: &Content) -> CleanUp {
    let source = NamespaceSource::new(&world.connection);
    let metrics = Arc::new(Metrics::default());
    let (leader, leader_seen) = watch::channel(true);
    let settings = Settings { interval: Duration::from_secs(2), drain: Duration::from_secs(1), ..Settings::default() };
    let mut tasks = JoinSet::new();
    tasks.spawn(Arc::clone(&source).run());
    tasks.spawn(namespaces::run(source, Arc::new(content.clone()), settings, leader_seen, Arc::clone(&metrics)));
    CleanUp { metrics, leader, _tasks: tasks }
}

async fn is_removed(world: &World, content: &Content) {
    until("the content is gone", async || (!content.has(&world.namespace)).then_some(())).await;
}

#[test]
fn content_goes_with_its_namespace_and_is_not_there_for_the_next() {
    run("content_goes_with_its_namespace_and_is_not_there_for_the_next", async |world| {
        let content = Content::new();
        content.put(&world.namespace).await;
        let clean_up = start(&world, &content);
        // What was there before is adopted.
        let uid = until("an owner is written", async || content.owner(&world.namespace).await).await;
        world.delete_namespace().await;
        world.is_gone().await;
        let next = world.create_namespace().await;
        assert_ne!(uid, next);
        is_removed(&world, &content).await;
        until("the next is the owner, or nobody", async || {
            content.owner(&world.namespace).await.is_none_or(|owner| owner == next).then_some(())
        })
        .await;
        assert_eq!((clean_up.metrics.counts().adopted, clean_up.metrics.counts().errors), (1, 0));
        // What the next pushes stays.
        content.put(&world.namespace).await;
        until("the next is the owner", async || {
            (content.owner(&world.namespace).await.as_deref() == Some(next.as_str())).then_some(())
        })
        .await;
        assert!(content.has(&world.namespace));
    });
}

#[test]
fn a_namespace_deleted_while_nothing_ran_is_cleaned_up_at_the_start() {
    run("a_namespace_deleted_while_nothing_ran_is_cleaned_up_at_the_start", async |world| {
        let content = Content::new();
        content.put(&world.namespace).await;
        let first = start(&world, &content);
        until("an owner is written", async || content.owner(&world.namespace).await).await;
        drop(first);
        world.delete_namespace().await;
        world.is_gone().await;
        assert!(content.has(&world.namespace));
        let second = start(&world, &content);
        is_removed(&world, &content).await;
        until("the record is gone", async || content.owner(&world.namespace).await.is_none().then_some(())).await;
        until("it is counted", async || (second.metrics.counts().removed == 1).then_some(())).await;
    });
}

#[test]
fn another_cluster_removes_nothing() {
    run("another_cluster_removes_nothing", async |world| {
        let content = Content::new();
        content.put(&world.namespace).await;
        content.put("absent-in-this-cluster").await;
        content.store.claim_cluster("some other cluster").await.unwrap();
        let parsed = content::Namespace::parse("absent-in-this-cluster").unwrap();
        content.store.claim_namespace(parsed, "of the other cluster").await.unwrap();
        let clean_up = start(&world, &content);
        until("it is noticed", async || (clean_up.metrics.counts().held == 1).then_some(())).await;
        clean_up.leader.send_replace(false);
        until("nobody leads", async || (clean_up.metrics.counts().held == 0).then_some(())).await;
        clean_up.leader.send_replace(true);
        until("it is noticed again", async || (clean_up.metrics.counts().held == 1).then_some(())).await;
        assert!(content.has("absent-in-this-cluster") && content.has(&world.namespace));
        let counts = clean_up.metrics.counts();
        assert_eq!((counts.removed, counts.adopted), (0, 0));
    });
}
