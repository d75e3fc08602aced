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
    stream::iter((0..OBJECTS).map(|number| make(format!("object-{number}")))).buffer_unordered(AT_ONCE).count().await;

    let seen = Mutex::new(Seen::default());
    let feed = connection.reach().feed("configmaps");
    let ours = |object: &ConfigMap| object.metadata.namespace == space && object.metadata.name.starts_with("object-");
    let watched = follow::<ConfigMap>(&connection, &feed, |change| {
        let mut seen = seen.lock().unwrap();
        let names = match &change {
            Change::Start => {
                seen.starts += 1;
                return;
            }
            Change::Complete => {
                seen.complete = true;
                return;
            }
            Change::Listed(_) => &mut seen.listed,
            Change::Applied(_) => &mut seen.applied,
            Change::Deleted(_) => &mut seen.deleted,
        };
        if let Change::Listed(object) | Change::Applied(object) | Change::Deleted(object) = change
            && ours(&object)
        {
            names.insert(object.metadata.name);
        }
    });
    let checks = async {
        until_true("the list", || seen.lock().unwrap().complete).await;
        let (starts, listed) = {
            let seen = seen.lock().unwrap();
            (seen.starts, seen.listed.len())
        };
        assert_eq!((starts, listed), (1, OBJECTS));
        make("object-new".into()).await;
        until_true("an addition", || seen.lock().unwrap().applied.contains("object-new")).await;
        delete(&connection, &format!("{path}/object-7")).await;
        until_true("a removal", || seen.lock().unwrap().deleted.contains("object-7")).await;
    };
    tokio::select! {
        () = watched => panic!("a watch does not end"),
        () = checks => {}
    }
    delete(&connection, &namespace_path(&space)).await;
}
