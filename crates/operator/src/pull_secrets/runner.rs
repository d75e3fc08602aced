//! The loop of the controller: one task owns everything that is remembered, looks run beside each other within it.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use tokio::sync::watch;
use tokio::time::Instant;

use super::Scope;
use super::follow::{self, Follow};
use super::index::{self, Index};
use super::settings::Settings;
use super::turn::{Outcome, Worker};
use super::view::Key;
use crate::schedule::Schedule;

/// Secrets that are looked at at the same time.
const TURNS_MAX: usize = 8;
/// However far the next renewal is away, each Secret is looked at after this time: clocks are set, machines sleep.
const REST_MAX: Duration = Duration::from_secs(6 * 3600);
/// However near it is.
const REST_MIN: Duration = Duration::from_secs(1);

/// Looks after Secrets until it is dropped.
pub(super) async fn lead(worker: &Worker, scope: &Scope, settings: &mut watch::Receiver<Arc<Settings>>) {
    let client = worker.connection.client();
    let mut secrets = Follow::<Secret>::new(client.clone(), scope, "secrets");
    let mut accounts = Follow::<ServiceAccount>::new(client.clone(), scope, "serviceaccounts");
    let mut known = Known { index: Index::default(), schedule: Schedule::new(), full: false };
    let mut running = FuturesUnordered::new();
    let mut settings_may_change = true;
    loop {
        while running.len() < TURNS_MAX {
            let now = Instant::now();
            let Some(key) = known.schedule.take(now) else { break };
            let may_issue = known.index.wait(&key, now).is_zero();
            let settings = Arc::clone(&settings.borrow());
            running.push(async move {
                let outcome = worker.turn(&key, &settings, may_issue).await;
                (key, outcome)
            });
        }
        worker.metrics.set_managed(known.index.managed(), known.index.elsewhere(), known.index.soonest_end());
        // While all turns are taken, what is due waits for one of them.
        let next = known.schedule.next().filter(|_| running.len() < TURNS_MAX);
        tokio::select! {
            change = secrets.next() => known.secret(change),
            change = accounts.next() => known.account(change),
            Some((key, outcome)) = running.next(), if !running.is_empty() => known.over(&key, outcome, worker.now()),
            () = sleep_until(next), if next.is_some() => {}
            changed = settings.changed(), if settings_may_change => match changed {
                Ok(()) => known.look_at_all(),
                Err(_) => settings_may_change = false,
            },
        }
    }
}

async fn sleep_until(time: Option<Instant>) {
    if let Some(time) = time {
        tokio::time::sleep_until(time).await;
    }
}

struct Known {
    index: Index,
    schedule: Schedule<Key>,
    full: bool,
}

impl Known {
    fn secret(&mut self, change: follow::Change) {
        match change {
            follow::Change::Start => self.index.begin(),
            follow::Change::Listed(metadata) | follow::Change::Applied(metadata) => {
                let change = self.index.apply(&metadata);
                self.follow_up(change);
            }
            follow::Change::Complete => {
                for key in self.index.finish() {
                    self.schedule.forget(&key);
                }
            }
            follow::Change::Deleted(metadata) => {
                if let Some(key) = Key::of(&metadata) {
                    let change = self.index.delete(&key);
                    self.follow_up(change);
                }
            }
        }
    }

    fn follow_up(&mut self, change: index::Change) {
        match change {
            index::Change::None => {}
            index::Change::Look(key) => self.schedule.wake(&key, Instant::now()),
            index::Change::Forget(key) => self.schedule.forget(&key),
            index::Change::TooMany if self.full => {}
            index::Change::TooMany => {
                self.full = true;
                tracing::error!(known = self.index.len(), "too many annotated Secrets, some are not looked after");
            }
        }
    }

    fn account(&mut self, change: follow::Change) {
        let concerned = match change {
            follow::Change::Start => {
                self.index.accounts_begin();
                return;
            }
            follow::Change::Listed(metadata) => self.account_there(metadata, true),
            follow::Change::Applied(metadata) => self.account_there(metadata, false),
            follow::Change::Complete => self.index.accounts_finish(),
            follow::Change::Deleted(metadata) => match account_key(metadata) {
                Some((account, _)) => self.index.account_gone(&account),
                None => return,
            },
        };
        self.look_at(concerned);
    }

    fn account_there(&mut self, metadata: ObjectMeta, listed: bool) -> Vec<Key> {
        let Some((account, uid)) = account_key(metadata) else { return Vec::new() };
        self.index.account_there(account, uid.as_deref(), listed)
    }

    fn look_at(&mut self, keys: Vec<Key>) {
        let now = Instant::now();
        for key in &keys {
            self.schedule.wake(key, now);
        }
    }

    fn look_at_all(&mut self) {
        self.look_at(self.index.keys().cloned().collect());
    }

    fn over(&mut self, key: &Key, outcome: Outcome, now: Timestamp) {
        let instant = Instant::now();
        match outcome {
            Outcome::Rest { until, written } => {
                // What has to be renewed has a token.
                self.index.looked(key, until.is_some());
                self.remember(key, written);
                self.schedule.done(key, until.map(|until| instant + rest(until, now)));
            }
            Outcome::Filled { renew, written } => {
                self.index.issued(key, instant);
                self.index.looked(key, true);
                self.remember(key, written);
                self.schedule.done(key, renew.map(|renew| instant + rest(renew, now)));
            }
            Outcome::Later => {
                let wait = self.index.wait(key, instant).max(REST_MIN);
                self.schedule.done(key, Some(instant + wait));
            }
            Outcome::Elsewhere => {
                self.index.left(key);
                self.schedule.done(key, None);
            }
            // The watch tells when it is gone.
            Outcome::Ending { uid } => {
                if self.index.ends(key, &uid) {
                    // Nor is what happened during this look a reason for another one.
                    self.schedule.forget(key);
                }
                self.schedule.done(key, None);
            }
            Outcome::Failed => self.schedule.failed(key, instant),
            // The watch tells, and a Secret of the same name may have come already.
            Outcome::Gone => self.schedule.done(key, None),
        }
    }

    fn remember(&mut self, key: &Key, written: Option<String>) {
        if let Some(version) = written {
            self.index.written(key, version);
        }
    }
}

fn account_key(metadata: ObjectMeta) -> Option<(index::AccountKey, Option<String>)> {
    Some(((metadata.namespace?, metadata.name?), metadata.uid))
}

fn rest(until: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(until.duration_since(now)).unwrap_or_default().clamp(REST_MIN, REST_MAX)
}

#[cfg(test)]
mod tests {
    use super::super::names;
    use super::super::testing::at;
    use super::*;

    fn metadata(uid: &str) -> ObjectMeta {
        ObjectMeta {
            namespace: Some("shop".into()),
            name: Some("pull".into()),
            uid: Some(uid.into()),
            resource_version: Some(uid.into()),
            annotations: Some([(names::SERVICE_ACCOUNT.to_owned(), "ci".to_owned())].into()),
            ..ObjectMeta::default()
        }
    }

    #[test]
    fn one_whose_namespace_ends_is_not_looked_at_again_whatever_happened_meanwhile() {
        let key = Key { namespace: "shop".into(), name: "pull".into() };
        for (replaced, again) in [(false, false), (true, true)] {
            let mut known = Known { index: Index::default(), schedule: Schedule::new(), full: false };
            known.secret(follow::Change::Applied(metadata("one")));
            assert_eq!(known.schedule.take(Instant::now()), Some(key.clone()));
            // The list of ServiceAccounts comes late.
            known.account(follow::Change::Complete);
            if replaced {
                known.secret(follow::Change::Deleted(metadata("one")));
                known.secret(follow::Change::Applied(metadata("two")));
            }
            known.over(&key, Outcome::Ending { uid: "one".into() }, at(0));
            assert_eq!(known.schedule.take(Instant::now()).is_some(), again);
        }
    }

    #[test]
    fn no_rest_is_too_short_or_too_long() {
        assert_eq!(rest(at(100), at(40)), Duration::from_secs(60));
        assert_eq!(rest(at(40), at(100)), REST_MIN);
        assert_eq!(rest(at(10_000_000), at(0)), REST_MAX);
    }
}
