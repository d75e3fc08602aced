//! A collection of more than one page.

use std::collections::BTreeSet;
use std::sync::Mutex;

use cluster::{Change, Kind, Meta, follow};
use futures_util::{StreamExt, stream};
use serde::Deserialize;
use serde_json::json;

use crate::support::{connect, create, delete, namespace, namespace_path, unique, until_true};

/// More than two pages of a list.
const OBJECTS: usize = 1_050;
const AT_ONCE: usize = 16;

#[derive(Clone, Deserialize)]
struct ConfigMap {
    metadata: Meta,
}

impl Kind for ConfigMap {
    const PATH: &'static str = "/api/v1/configmaps";

    fn meta(&self) -> &Meta {
        &self.metadata
    }
}

#[derive(Default)]
struct Seen {
    listed: BTreeSet<String>,
    starts: usize,
    complete: bool,
    applied: BTreeSet<String>,
    deleted: BTreeSet<String>,
}

#[tokio::test(flavor = "multi_thread")]
async fn all_pages_are_listed_and_then_watched() {
    let Some(connection) = connect("a list of several pages").await else { return };
    let space = unique("pages");
    namespace(&connection, &space).await;
    let path = format!("{}/configmaps", namespace_path(&space));
    let make = |name: String| {
        let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}});
        let (connection, path) = (&connection, &path);
        async move { create(connection, path, &object).await }
    };
    stream::iter((0..OBJECTS).map(|number| make(format!("listed-{number}")))).buffer_unordered(AT_ONCE).count().await;

    let seen = Mutex::new(Seen::default());
    let feed = connection.reach().feed("configmaps");
    let ours = |object: &ConfigMap| object.metadata.namespace == space && object.metadata.name.starts_with("listed-");
    let watched = follow::<ConfigMap>(&connection, &feed, |change| {
        let mut seen = seen.lock().unwrap();
        match change {
            Change::Start => seen.starts += 1,
            Change::Complete => seen.complete = true,
            Change::Listed(object) if ours(&object) => drop(seen.listed.insert(object.metadata.name)),
            Change::Applied(object) if object.metadata.namespace == space => {
                drop(seen.applied.insert(object.metadata.name))
            }
            Change::Deleted(object) if ours(&object) => drop(seen.deleted.insert(object.metadata.name)),
            _ => {}
        }
    });
    let checks = async {
        until_true("the list", || seen.lock().unwrap().complete).await;
        assert_eq!((seen.lock().unwrap().starts, seen.lock().unwrap().listed.len()), (1, OBJECTS));
        make("watched".into()).await;
        until_true("an addition", || seen.lock().unwrap().applied.contains("watched")).await;
        delete(&connection, &format!("{path}/listed-7")).await;
        until_true("a removal", || seen.lock().unwrap().deleted.contains("listed-7")).await;
    };
    tokio::select! {
        () = watched => panic!("a watch does not end"),
        () = checks => {}
    }
    delete(&connection, &namespace_path(&space)).await;
}
