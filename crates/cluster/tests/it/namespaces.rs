//! Namespaces come, go and come again.

use std::sync::Arc;
use std::time::Instant;

use access::{NamespaceState, NamespaceUid, Namespaces};
use cluster::{Call, NamespaceSource, NoProof, Outcome};

use crate::support::{PATIENCE, connect, delete, namespace, namespace_path, unique, until, until_true};

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_comes_and_goes_and_comes_again() {
    let Some((client, connection)) = connect("life of a namespace").await else { return };
    let source = NamespaceSource::new(&connection);
    let name = unique("ns");
    assert_eq!(source.state("default"), NamespaceState::Unknown, "nothing is read yet");
    assert_eq!(source.list(), None);
    tokio::spawn(Arc::clone(&source).run());
    until_true("first list", || source.is_ready()).await;
    assert!(matches!(source.state("default"), NamespaceState::Exists(_)));
    assert_eq!(source.state(&name), NamespaceState::Absent);

    let began = Instant::now();
    let first = NamespaceUid(namespace(&client, &name).await.into());
    assert_eq!(source.confirm(&name).await, NamespaceState::Exists(first.clone()), "found at once");
    until_true("namespace in memory", || source.state(&name) == NamespaceState::Exists(first.clone())).await;
    eprintln!("a new namespace is known after {:?}", began.elapsed());
    assert!(source.list().unwrap().iter().any(|found| *found.name == *name && !found.terminating));
    assert_eq!(source.proof_gone(&name, &first).await, Err(NoProof::Present));

    let mut changes = source.changes();
    changes.mark_unchanged();
    delete(&client, &namespace_path(&name)).await;
    tokio::time::timeout(PATIENCE, changes.changed()).await.unwrap().unwrap();
    until_true("end of the namespace", || source.state(&name) == NamespaceState::Absent).await;
    let proof = source.proof_gone(&name, &first).await.unwrap();
    assert_eq!((proof.namespace(), proof.gone(), proof.successor()), (&*name, &first, None));
    until("confirmed end", || async { (source.confirm(&name).await == NamespaceState::Absent).then_some(()) }).await;

    let second = NamespaceUid(namespace(&client, &name).await.into());
    let proof = source.proof_gone(&name, &first).await.unwrap();
    assert_eq!(proof.successor(), Some(&second));
    assert_eq!(source.proof_gone(&name, &second).await, Err(NoProof::Present));
    delete(&client, &namespace_path(&name)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_that_lags_is_not_believed_when_it_matters() {
    let Some((client, connection)) = connect("a namespace behind the back of its watch").await else { return };
    let source = NamespaceSource::new(&connection);
    let name = unique("lag");
    let first = NamespaceUid(namespace(&client, &name).await.into());
    let watch = tokio::spawn(Arc::clone(&source).run());
    until_true("namespace in memory", || source.state(&name) == NamespaceState::Exists(first.clone())).await;
    watch.abort();
    assert!(watch.await.unwrap_err().is_cancelled());

    delete(&client, &namespace_path(&name)).await;
    until("end of the namespace", || async { source.proof_gone(&name, &first).await.ok() }).await;
    let second = NamespaceUid(namespace(&client, &name).await.into());
    assert_eq!(source.confirm(&name).await, NamespaceState::Exists(first), "memory says so");
    let calls = || connection.counters().get(Call::Namespace, Outcome::Ok);
    let (before, began) = (calls(), Instant::now());
    for _ in 0..200 {
        assert_eq!(source.confirm_now(&name).await, NamespaceState::Exists(second.clone()));
    }
    let allowed = began.elapsed().as_secs() + 1;
    assert!((1..=allowed).contains(&(calls() - before)), "{} calls", calls() - before);
    delete(&client, &namespace_path(&name)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_questions_about_what_is_not_there_are_few_calls() {
    let Some((_, connection)) = connect("questions about an absent namespace").await else { return };
    let source = NamespaceSource::new(&connection);
    tokio::spawn(Arc::clone(&source).run());
    until_true("first list", || source.is_ready()).await;
    let name = unique("absent");
    let began = Instant::now();
    let questions: Vec<_> = (0..200)
        .map(|_| {
            let (source, name) = (Arc::clone(&source), name.clone());
            tokio::spawn(async move { source.confirm(&name).await })
        })
        .collect();
    for question in questions {
        assert_eq!(question.await.unwrap(), NamespaceState::Absent);
    }
    let calls = connection.counters().get(Call::Namespace, Outcome::Refused);
    let allowed = began.elapsed().as_secs() + 1;
    assert!((1..=allowed).contains(&calls), "{calls} calls");
    for odd in ["Upper", "a/b", "..", "a_b", ""] {
        assert_eq!(source.confirm(odd).await, NamespaceState::Absent);
        assert!(matches!(source.proof_gone(odd, &NamespaceUid("1".into())).await, Err(NoProof::Unknown(_))));
    }
    assert_eq!(connection.counters().get(Call::Namespace, Outcome::Refused), calls);
}
