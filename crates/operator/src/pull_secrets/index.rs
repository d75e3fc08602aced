//! The Secrets that ask for a token: what is remembered of them between two looks. No data, no credentials.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use tokio::time::Instant;

use super::view::{Annotations, Key};

/// More annotated Secrets than this are not looked after: they would need more than about 100 MiB.
const SECRETS_MAX: usize = 100_000;
/// A Secret that needs a new token again within this time is in a fight with somebody, such as a tool that puts its
/// own content back.
const FIGHT: Duration = Duration::from_secs(600);
/// The longest wait between two tokens in a fight.
const FIGHT_DELAY_MAX: Duration = Duration::from_secs(300);

/// A ServiceAccount by its namespace and name.
pub(super) type AccountKey = (String, String);

#[derive(Debug, Default)]
struct Entry {
    resource_version: String,
    /// The version that our own last change made.
    written: Option<String>,
    account: String,
    account_uid: Option<String>,
    expires: Option<Timestamp>,
    /// What it says is what we wrote. Before anybody has looked, it could be anybody's word.
    filled: bool,
    issued: Option<Instant>,
    fights: u32,
    round: u64,
    uid: Option<String>,
    /// Its namespace is about to be gone, which does not turn back.
    ending: bool,
}

/// What a change of a Secret means for us.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Change {
    None,
    Look(Key),
    Forget(Key),
    /// It would be one too many.
    TooMany,
}

#[derive(Debug, Default)]
pub(super) struct Index {
    secrets: HashMap<Key, Entry>,
    by_account: HashMap<AccountKey, BTreeSet<Key>>,
    by_end: BTreeSet<(Timestamp, Key)>,
    /// Those that another operator fills.
    elsewhere: HashSet<Key>,
    round: u64,
    accounts_seen: HashSet<AccountKey>,
}

impl Index {
    /// A Secret is there, in this state.
    pub(super) fn apply(&mut self, metadata: &ObjectMeta) -> Change {
        let Some(key) = Key::of(metadata) else { return Change::None };
        let annotations = Annotations::of(metadata);
        let Some(account) = annotations.service_account else { return self.delete(&key) };
        let resource_version = metadata.resource_version.clone().unwrap_or_default();
        if let Some(entry) = self.secrets.get_mut(&key) {
            entry.round = self.round;
            if entry.resource_version == resource_version {
                return Change::None;
            }
        } else if self.secrets.len() >= SECRETS_MAX {
            return Change::TooMany;
        }
        let elsewhere = self.elsewhere.contains(&key);
        let mut old = self.take(&key).unwrap_or_default();
        if elsewhere {
            self.elsewhere.insert(key.clone());
        }
        let ending = old.ending && old.uid == metadata.uid;
        let ours = old.written.take().is_some_and(|written| written == resource_version);
        let expires = annotations.expires_at.and_then(|text| text.parse().ok());
        self.by_end.extend(expires.filter(|_| old.filled).map(|end| (end, key.clone())));
        self.by_account.entry((key.namespace.clone(), account.clone())).or_default().insert(key.clone());
        let account_uid = annotations.service_account_uid;
        let (round, uid) = (self.round, metadata.uid.clone());
        let entry = Entry { resource_version, account, account_uid, expires, round, uid, ending, ..old };
        self.secrets.insert(key.clone(), entry);
        if ours || ending { Change::None } else { Change::Look(key) }
    }

    /// A Secret is gone, or no longer ours.
    pub(super) fn delete(&mut self, key: &Key) -> Change {
        self.take(key).map_or(Change::None, |_| Change::Forget(key.clone()))
    }

    fn take(&mut self, key: &Key) -> Option<Entry> {
        let entry = self.secrets.remove(key)?;
        self.elsewhere.remove(key);
        if let Some(end) = entry.expires {
            self.by_end.remove(&(end, key.clone()));
        }
        let account = (key.namespace.clone(), entry.account.clone());
        if let Some(keys) = self.by_account.get_mut(&account) {
            keys.remove(key);
            if keys.is_empty() {
                self.by_account.remove(&account);
            }
        }
        Some(entry)
    }

    /// The list of Secrets starts over.
    pub(super) fn begin(&mut self) {
        self.round += 1;
    }

    /// The list is complete: what was not in it is gone.
    pub(super) fn finish(&mut self) -> Vec<Key> {
        let gone: Vec<Key> =
            self.secrets.iter().filter(|(_, entry)| entry.round != self.round).map(|(key, _)| key.clone()).collect();
        for key in &gone {
            self.take(key);
        }
        gone
    }

    /// A ServiceAccount is there: which Secrets have a token of another one, or none.
    pub(super) fn account_there(&mut self, account: AccountKey, uid: Option<&str>, listed: bool) -> Vec<Key> {
        let keys = self.by_account.get(&account).into_iter().flatten();
        let other = |key: &&Key| {
            self.secrets.get(*key).is_some_and(|entry| !entry.ending && entry.account_uid.as_deref() != uid)
        };
        let found = keys.filter(other).cloned().collect();
        if listed && self.by_account.contains_key(&account) {
            self.accounts_seen.insert(account);
        }
        found
    }

    /// A ServiceAccount is gone: which Secrets name it.
    pub(super) fn account_gone(&self, account: &AccountKey) -> Vec<Key> {
        self.by_account.get(account).into_iter().flatten().filter(|key| !self.is_ending(key)).cloned().collect()
    }

    /// The list of ServiceAccounts starts over.
    pub(super) fn accounts_begin(&mut self) {
        self.accounts_seen.clear();
    }

    /// The list is complete: which Secrets name a ServiceAccount that was not in it. They may have come after it was read,
    /// so this is a reason to look, not a proof.
    pub(super) fn accounts_finish(&mut self) -> Vec<Key> {
        let seen = std::mem::take(&mut self.accounts_seen);
        let unseen = self.by_account.iter().filter(|(account, _)| !seen.contains(*account));
        unseen.flat_map(|(_, keys)| keys).filter(|key| !self.is_ending(key)).cloned().collect()
    }

    /// The namespace of a Secret is about to be gone. Nothing can be done for this one any more, only for another Secret of
    /// its name; `false`: there is one already.
    pub(super) fn ends(&mut self, key: &Key, uid: &str) -> bool {
        let Some(entry) = self.secrets.get_mut(key) else { return true };
        entry.ending |= entry.uid.as_deref() == Some(uid);
        entry.ending
    }

    fn is_ending(&self, key: &Key) -> bool {
        self.secrets.get(key).is_some_and(|entry| entry.ending)
    }

    /// Somebody has looked: another operator fills the Secret.
    pub(super) fn left(&mut self, key: &Key) {
        self.looked(key, false);
        if self.secrets.contains_key(key) {
            self.elsewhere.insert(key.clone());
        }
    }

    /// We changed a Secret, which made this version: no reason to look at it again.
    pub(super) fn written(&mut self, key: &Key, resource_version: String) {
        if let Some(entry) = self.secrets.get_mut(key) {
            entry.written = Some(resource_version);
        }
    }

    /// Somebody has looked: the Secret has a token of ours, or it has none.
    pub(super) fn looked(&mut self, key: &Key, filled: bool) {
        self.elsewhere.remove(key);
        let Some(entry) = self.secrets.get_mut(key) else { return };
        entry.filled = filled;
        let Some(end) = entry.expires else { return };
        if filled {
            self.by_end.insert((end, key.clone()));
        } else {
            self.by_end.remove(&(end, key.clone()));
        }
    }

    /// How long a Secret has to wait for its next token.
    pub(super) fn wait(&mut self, key: &Key, now: Instant) -> Duration {
        let Some(entry) = self.secrets.get_mut(key) else { return Duration::ZERO };
        let Some(issued) = entry.issued else { return Duration::ZERO };
        let passed = now.saturating_duration_since(issued);
        if passed >= FIGHT {
            entry.fights = 0;
            return Duration::ZERO;
        }
        let wait = Duration::from_secs(1 << entry.fights.min(16)).min(FIGHT_DELAY_MAX);
        wait.saturating_sub(passed)
    }

    /// A token was written.
    pub(super) fn issued(&mut self, key: &Key, now: Instant) {
        if let Some(entry) = self.secrets.get_mut(key) {
            if entry.issued.is_some_and(|issued| now.saturating_duration_since(issued) < FIGHT) {
                entry.fights = entry.fights.saturating_add(1);
            }
            entry.issued = Some(now);
        }
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &Key> {
        self.secrets.iter().filter(|(_, entry)| !entry.ending).map(|(key, _)| key)
    }

    /// How many Secrets other operators fill.
    pub(super) fn elsewhere(&self) -> usize {
        self.elsewhere.len()
    }

    /// How many are ours to look after.
    pub(super) fn managed(&self) -> usize {
        self.secrets.len() - self.elsewhere.len()
    }

    pub(super) fn len(&self) -> usize {
        self.secrets.len()
    }

    /// The end of the token that ends first, of those that we wrote.
    pub(super) fn soonest_end(&self) -> Option<Timestamp> {
        self.by_end.first().map(|(end, _)| *end)
    }
}

#[cfg(test)]
#[path = "index_tests.rs"]
mod tests;
