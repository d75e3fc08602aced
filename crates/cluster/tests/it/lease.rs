//! One leader, always, and soon again.

use std::time::{Duration, Instant};

use cluster::{Connection, LeaderElection, LeaseSettings};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use crate::support::{PATIENCE, connect, delete, namespace, namespace_path, read, unique};

/// As usual, since on a busy machine a renewal may come late.
const DURATION: Duration = Duration::from_secs(15);
const RENEW: Duration = Duration::from_secs(2);

struct Candidate {
    leading: watch::Receiver<bool>,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Candidate {
    fn start(connection: &Connection, namespace: &str, name: &str) -> Self {
        let mut settings = LeaseSettings::new(namespace, "leader", name);
        (settings.duration, settings.renew) = (DURATION, RENEW);
        let (election, leading) = LeaderElection::new(connection, settings);
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(election.run(async {
            let _ = stopped.await;
        }));
        Self { leading, stop: Some(stop), task }
    }

    async fn leads(&mut self) -> Duration {
        let began = Instant::now();
        tokio::time::timeout(PATIENCE, self.leading.wait_for(|leading| *leading)).await.unwrap().unwrap();
        began.elapsed()
    }

    async fn stop(mut self) {
        self.stop.take().unwrap().send(()).unwrap();
        self.task.await.unwrap();
        assert!(!*self.leading.borrow());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_leads_and_another_follows() {
    let Some(connection) = connect("election of a leader").await else { return };
    let space = unique("lease");
    namespace(&connection, &space).await;
    let path = format!("/apis/coordination.k8s.io/v1/namespaces/{space}/leases/leader");
    let holder =
        || async { read(&connection, &path).await.unwrap()["spec"]["holderIdentity"].as_str().map(String::from) };

    let mut first = Candidate::start(&connection, &space, "first");
    first.leads().await;
    assert!(holder().await.unwrap().starts_with("first_"));
    let mut second = Candidate::start(&connection, &space, "second");
    // Longer than the lease lasts: it is renewed, and the second one waits.
    let early = tokio::time::timeout(DURATION + RENEW, second.leads()).await;
    assert!(early.is_err() && *first.leading.borrow());

    first.stop().await;
    let after = second.leads().await;
    assert!(after < DURATION - RENEW, "a released lease is taken at the next look, not after {after:?}");
    assert!(holder().await.unwrap().starts_with("second_"));

    // Killed: nobody releases the lease.
    let began = Instant::now();
    let mut third = Candidate::start(&connection, &space, "third");
    second.task.abort();
    third.leads().await;
    let after = began.elapsed();
    assert!(after >= DURATION, "not before the lease has ended, but after {after:?}");
    assert!(after < DURATION * 4, "{after:?}");
    third.stop().await;
    assert_eq!(holder().await.unwrap_or_default(), "");
    delete(&connection, &namespace_path(&space)).await;
}
