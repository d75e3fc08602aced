//! One leader, always, and soon again.

use std::time::{Duration, Instant};

use cluster::{Connection, LeaderElection, LeaseSettings};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use crate::support::{PATIENCE, connect, delete, namespace, namespace_path, read, unique};

struct Candidate {
    leading: watch::Receiver<bool>,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Candidate {
    fn start(connection: &Connection, namespace: &str, name: &str) -> Self {
        let mut settings = LeaseSettings::new(namespace, "leader", name);
        (settings.duration, settings.renew) = (Duration::from_secs(3), Duration::from_secs(1));
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
    let early = tokio::time::timeout(Duration::from_secs(5), second.leads()).await;
    assert!(early.is_err() && *first.leading.borrow());

    first.stop().await;
    let after = second.leads().await;
    assert!(after < Duration::from_millis(2_500), "a released lease is taken at once, not after {after:?}");
    assert!(holder().await.unwrap().starts_with("second_"));

    // Killed: nobody releases the lease.
    let mut third = Candidate::start(&connection, &space, "third");
    second.task.abort();
    let after = third.leads().await;
    assert!(after >= Duration::from_secs(2), "not before the lease has ended, but after {after:?}");
    assert!(after < Duration::from_secs(8), "{after:?}");
    third.stop().await;
    assert_eq!(holder().await.unwrap_or_default(), "");
    delete(&connection, &namespace_path(&space)).await;
}
