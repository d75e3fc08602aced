//! A collection of more than one page.

use std::sync::Arc;

use access::{Rbac, Reply, Resource, Rights, Verb, Verdict};
use cluster::{Call, Outcome, RbacSource};
use futures_util::{StreamExt, stream};

use crate::support::{
    binding, connect, create, delete, namespace, namespace_path, rbac_path, right, role, unique, until_true, user,
};

/// More than two pages of a list.
const OBJECTS: usize = 1_050;
const AT_ONCE: usize = 16;
/// Four collections, one of them of three pages at least.
const PAGES_MIN: u64 = 6;

#[tokio::test(flavor = "multi_thread")]
async fn all_pages_are_listed_and_then_watched() {
    let Some((client, connection)) = connect("a list of several pages").await else { return };
    let space = unique("pages");
    namespace(&client, &space).await;
    let path = rbac_path(&space, "rolebindings");
    create(&client, &rbac_path(&space, "roles"), &role("puller", &["get"], &["**"])).await;
    let bind = |name: String| {
        let (client, path) = (&client, &path);
        async move { create(client, path, &binding(&name, "Role", "puller", &name)).await }
    };
    stream::iter((0..OBJECTS).map(|number| bind(format!("user-{number}")))).buffer_unordered(AT_ONCE).count().await;

    let rbac = Arc::new(Rbac::new());
    let source = RbacSource::new(&connection, Arc::clone(&rbac), None);
    let pulls = |who: &str| {
        let (caller, asked) = (user(who), right(Verb::Get, Resource::RepositoryAccesses, &space, "app"));
        matches!(rbac.check(&caller, asked), Reply::Ready(Verdict::Granted))
    };
    tokio::spawn(Arc::clone(&source).run());
    until_true("the lists", || source.is_ready()).await;
    assert!((0..OBJECTS).all(|number| pulls(&format!("user-{number}"))));
    let pages = connection.counters().get(Call::List, Outcome::Ok);
    assert!(pages >= PAGES_MIN, "{pages}");
    assert!(!pulls("user-new"));
    bind("user-new".into()).await;
    until_true("an addition", || pulls("user-new")).await;
    delete(&client, &format!("{path}/user-7")).await;
    until_true("a removal", || !pulls("user-7")).await;
    assert_eq!(connection.counters().get(Call::List, Outcome::Ok), pages, "lists were read once");
    delete(&client, &namespace_path(&space)).await;
}
