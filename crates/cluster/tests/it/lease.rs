//! One leader, always, and soon again.

use std::time::{Duration, Instant};

use cluster::{Call, Connection, LeaderElection, LeaseSettings, Outcome};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use crate::support::{PATIENCE, connect, delete, namespace, namespace_path, read, unique};

/// As usual, since on a busy machine a renewal may come late.
const DURATION: Duration = Duration::from_secs(15);
const RENEW: Duration = Duration::from_secs(2);

struct Candidate {
    connection: Connection,
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
        Self { connection: connection.clone(), leading, stop: Some(stop), task }
    }

    async fn leads(&mut self) -> Duration {
        let began = Instant::now();
        tokio::time::timeout(PATIENCE, self.leading.wait_for(|leading| *leading)).await.unwrap().unwrap();
        began.elapsed()
    }

    /// Whether it must have let go: it led, and no call about the lease has failed since.
    async fn stop(mut self) -> bool {
        let calls = |outcome| self.connection.counters().get(Call::Lease, outcome);
        let failed = || calls(Outcome::Refused) + calls(Outcome::Unavailable);
        let (led, before) = (*self.leading.borrow(), failed());
        self.stop.take().unwrap().send(()).unwrap();
        self.task.await.unwrap();
        assert!(!*self.leading.borrow());
        led && failed() == before
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_leads_and_another_follows() {
    let Some((client, connection)) = connect("election of a leader").await else { return };
    let space = unique("lease");
    namespace(&client, &space).await;
    let path = format!("/apis/coordination.k8s.io/v1/namespaces/{space}/leases/leader");
    let holder = || async { read(&client, &path).await["spec"]["holderIdentity"].as_str().map(String::from) };

    let mut first = Candidate::start(&connection, &space, "first");
    first.leads().await;
    assert!(holder().await.unwrap().starts_with("first_"));
    let mut second = Candidate::start(&connection, &space, "second");
    // Longer than the lease lasts: it is renewed, and the second one waits. Where calls take seconds it may not be renewed
    // in time, and the first one has said so before the second one leads.
    let early = tokio::time::timeout(DURATION + RENEW, second.leads()).await;
    assert!(early.is_err() || !*first.leading.borrow(), "never do both lead");

    let let_go = first.stop().await;
    let released = holder().await.is_none_or(|holder| !holder.starts_with("first_"));
    assert!(released || !let_go, "who leads lets go");
    let after = second.leads().await;
    assert!(!released || after < DURATION - RENEW, "a released lease is taken at the next look, not after {after:?}");
    assert!(holder().await.unwrap().starts_with("second_"));

    // Killed: nobody releases the lease.
    let began = Instant::now();
    let mut third = Candidate::start(&connection, &space, "third");
    second.task.abort();
    third.leads().await;
    let after = began.elapsed();
    assert!(after >= DURATION, "not before the lease has ended, but after {after:?}");
    assert!(after < DURATION * 4, "{after:?}");
    let let_go = third.stop().await;
    let released = holder().await.is_none_or(|holder| holder.is_empty());
    assert!(released || !let_go, "who leads lets go");
    delete(&client, &namespace_path(&space)).await;
}
