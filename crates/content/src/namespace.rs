//! Whose content a namespace holds.
//!
//! The first part of a repository's name is a namespace of the cluster. Names come again, UIDs do not: the owner record
//! holds the UID of the namespace that the content was pushed for. Content of another UID than the living namespace's is
//! nobody's to see and waits for its removal.

use crate::{Error, Result, Store, layout};
use bytes::Bytes;
use oci::RepoName;
use serde::{Deserialize, Serialize};
use std::time::SystemTime;
use storage::{Batch, ErrorKind};

/// Longest record that is read, in bytes.
const RECORD_MAX: usize = 4096;
/// Longest UID in bytes; those of Kubernetes have 36.
const UID_MAX: usize = 256;
const VERSION: u32 = 1;
/// So often somebody may have been faster, and yet nothing be there.
const CLAIMS_MAX: usize = 5;

/// The first part of repository names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Namespace<'a>(&'a str);

impl<'a> Namespace<'a> {
    /// Checks `name` against the grammar of one part of a repository's name.
    #[must_use]
    pub fn parse(name: &'a str) -> Option<Self> {
        (RepoName::parse(name).is_ok() && !name.contains('/')).then_some(Self(name))
    }

    /// The namespace of a repository. A name of one part is its own.
    #[must_use]
    pub fn of(repo: RepoName<'a>) -> Self {
        Self(repo.as_str().split('/').next().unwrap_or_default())
    }

    /// The text.
    #[must_use]
    pub fn as_str(self) -> &'a str {
        self.0
    }

    /// The repository is of this namespace.
    pub(crate) fn has(self, repo: &str) -> bool {
        repo.strip_prefix(self.0).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

/// Whom the content of a namespace belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// UID of the namespace in the cluster.
    pub uid: String,
}

/// Some of a list of namespaces.
#[derive(Debug)]
pub struct NamespacePage<T> {
    /// In ASCII order.
    pub entries: Vec<T>,
    /// More follow after this name.
    pub next: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct Record {
    version: u32,
    uid: String,
}

impl Record {
    fn encode(uid: &str) -> Bytes {
        // Strings and numbers always have a JSON form.
        serde_json::to_vec(&Self { version: VERSION, uid: uid.to_owned() }).unwrap_or_default().into()
    }

    fn decode(bytes: &[u8]) -> Option<Owner> {
        let record: Self = serde_json::from_slice(bytes).ok()?;
        (record.version == VERSION && is_uid(&record.uid)).then_some(Owner { uid: record.uid })
    }
}

fn is_uid(uid: &str) -> bool {
    !uid.is_empty() && uid.len() <= UID_MAX
}

impl Store {
    /// Whom the content of a namespace belongs to, from storage; `None`: nobody has claimed it.
    ///
    /// # Errors
    /// [`Error::OwnerDamaged`], [`Error::Storage`].
    pub async fn namespace_owner(&self, namespace: Namespace<'_>) -> Result<Option<Owner>> {
        Ok(self.owner_record(&layout::namespace(namespace.0)).await?.map(|(owner, _)| owner))
    }

    /// The same, and since when: everything that was pushed for this owner came later.
    ///
    /// # Errors
    /// As [`Store::namespace_owner`].
    pub async fn namespace_claim(&self, namespace: Namespace<'_>) -> Result<Option<(Owner, SystemTime)>> {
        let key = layout::namespace(namespace.0);
        match self.driver.read(&key, RECORD_MAX).await {
            Ok((stat, bytes)) => match Record::decode(&bytes) {
                Some(owner) => Ok(Some((owner, stat.modified))),
                None => Err(Error::OwnerDamaged(key)),
            },
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) if error.kind == ErrorKind::TooLarge => Err(Error::OwnerDamaged(key)),
            Err(error) => Err(error.into()),
        }
    }

    /// Makes the namespace with this UID the owner, unless there is one; returns who it is now.
    ///
    /// # Errors
    /// [`Error::OwnerDamaged`], also for a UID that none can be; [`Error::Storage`].
    pub async fn claim_namespace(&self, namespace: Namespace<'_>, uid: &str) -> Result<Owner> {
        self.claim(&layout::namespace(namespace.0), uid).await
    }

    /// Which cluster the namespaces are of, by the UID that [`Store::claim_cluster`] was first given.
    ///
    /// # Errors
    /// [`Error::OwnerDamaged`], [`Error::Storage`].
    pub async fn cluster(&self) -> Result<Option<Owner>> {
        Ok(self.owner_record(layout::CLUSTER).await?.map(|(owner, _)| owner))
    }

    /// Remembers which cluster the namespaces are of, unless that is known; returns which it is now.
    ///
    /// # Errors
    /// As [`Store::claim_namespace`].
    pub async fn claim_cluster(&self, uid: &str) -> Result<Owner> {
        self.claim(layout::CLUSTER, uid).await
    }

    /// At most `limit` namespaces after `after` that have an owner. Damaged records are left out, and logged.
    ///
    /// # Errors
    /// [`Error::Storage`].
    pub async fn owned_namespaces(&self, after: &str, limit: usize) -> Result<NamespacePage<(String, Owner)>> {
        let names = self.namespaces_below(layout::NAMESPACES, false, after, limit).await?;
        let mut entries = Vec::with_capacity(names.entries.len());
        for name in names.entries {
            match self.owner_record(&layout::namespace(&name)).await {
                Ok(Some((owner, _))) => entries.push((name, owner)),
                Ok(None) => {}
                Err(Error::OwnerDamaged(key)) => tracing::error!(key, "damaged owner record, nothing is removed by it"),
                Err(error) => return Err(error),
            }
        }
        Ok(NamespacePage { entries, next: names.next })
    }

    /// At most `limit` first parts of names of repositories after `after`.
    ///
    /// # Errors
    /// [`Error::Storage`].
    pub async fn namespaces_with_content(&self, after: &str, limit: usize) -> Result<NamespacePage<String>> {
        self.namespaces_below(layout::REPOSITORIES, true, after, limit).await
    }

    async fn namespaces_below(
        &self,
        prefix: &str,
        is_prefix: bool,
        after: &str,
        limit: usize,
    ) -> Result<NamespacePage<String>> {
        let list = self.driver.list(prefix, after, limit).await?;
        let names = || list.range.clone().map(|index| list.names.at(index));
        let next = names().next_back().filter(|_| list.more).map(|name| name.text.to_owned());
        let wanted = names().filter(|name| name.is_prefix == is_prefix && Namespace::parse(name.text).is_some());
        Ok(NamespacePage { entries: wanted.map(|name| name.text.to_owned()).collect(), next })
    }

    /// The owner in a record, and the record as it is stored.
    pub(crate) async fn owner_record(&self, key: &str) -> Result<Option<(Owner, Bytes)>> {
        let damaged = || Error::OwnerDamaged(key.to_owned());
        match self.driver.get(key, RECORD_MAX).await {
            Ok(bytes) => Ok(Some((Record::decode(&bytes).ok_or_else(damaged)?, bytes))),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) if error.kind == ErrorKind::TooLarge => Err(damaged()),
            Err(error) => Err(error.into()),
        }
    }

    async fn claim(&self, key: &str, uid: &str) -> Result<Owner> {
        if !is_uid(uid) {
            return Err(Error::OwnerDamaged(key.to_owned()));
        }
        for _ in 0..CLAIMS_MAX {
            if let Some((owner, _)) = self.owner_record(key).await? {
                return Ok(owner);
            }
            let batch = Batch::new().create(key, Record::encode(uid)).lock(layout::owner_lock(key));
            match self.driver.apply(batch).await {
                Ok(()) => return Ok(Owner { uid: uid.to_owned() }),
                // Somebody else was faster.
                Err(error) if error.kind == ErrorKind::Conflict => {}
                Err(error) => return Err(error.into()),
            }
        }
        // What is there is no record.
        Err(Error::OwnerDamaged(key.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use storage::Driver;
    use storage::memory::MemoryDriver;

    fn namespace(name: &str) -> Namespace<'_> {
        Namespace::parse(name).unwrap()
    }

    #[test]
    fn names_belong_to_their_first_part() {
        for (repo, expected) in [("a", "a"), ("a/b", "a"), ("a-b/c/d", "a-b")] {
            assert_eq!(Namespace::of(RepoName::parse(repo).unwrap()).as_str(), expected);
        }
        assert!(namespace("a").has("a") && namespace("a").has("a/b") && !namespace("a").has("ab/c"));
        for bad in ["", "a/b", "..", "_a", "A"] {
            assert_eq!(Namespace::parse(bad), None, "{bad}");
        }
    }

    #[tokio::test]
    async fn the_first_claim_counts() {
        let driver = MemoryDriver::default();
        let store = Store::new(Arc::new(driver.clone()), crate::Settings::default());
        assert_eq!(store.namespace_owner(namespace("shop")).await.unwrap(), None);
        let mut claims = tokio::task::JoinSet::new();
        for number in 0..20 {
            let store = Arc::clone(&store);
            claims.spawn(async move { store.claim_namespace(namespace("shop"), &format!("u{number}")).await.unwrap() });
        }
        let owners = claims.join_all().await;
        let stored = store.namespace_owner(namespace("shop")).await.unwrap().unwrap();
        assert!(owners.iter().all(|owner| *owner == stored), "{owners:?} {stored:?}");
        assert_eq!(driver.keys(), ["homeport/v1/namespaces/shop"]);
        assert!(store.claim_namespace(namespace("other"), "").await.is_err());
        assert_eq!(store.claim_cluster("c1").await.unwrap().uid, "c1");
        assert_eq!(store.claim_cluster("c2").await.unwrap().uid, "c1");
        assert_eq!(store.cluster().await.unwrap().unwrap().uid, "c1");
    }

    #[tokio::test]
    async fn a_damaged_record_is_neither_an_owner_nor_none() {
        let driver = MemoryDriver::default();
        let store = Store::new(Arc::new(driver.clone()), crate::Settings::default());
        for damaged in ["", "{}", "{\"version\":2,\"uid\":\"u\"}", "{\"version\":1,\"uid\":\"\"}"] {
            driver.apply(Batch::new().put("homeport/v1/namespaces/shop", damaged)).await.unwrap();
            assert!(matches!(store.namespace_owner(namespace("shop")).await, Err(Error::OwnerDamaged(_))), "{damaged}");
            assert!(store.claim_namespace(namespace("shop"), "u2").await.is_err());
            assert!(store.owned_namespaces("", 10).await.unwrap().entries.is_empty());
        }
    }

    #[tokio::test]
    async fn lists_come_in_pages() {
        let driver = MemoryDriver::default();
        let store = Store::new(Arc::new(driver.clone()), crate::Settings::default());
        let mut batch = Batch::new();
        for name in ["_x/y", "a/_manifests", "b/c/_layers", "c/d/e/_manifests"] {
            batch = batch.put(format!("{}/{name}/k", layout::REPOSITORIES), "1");
        }
        driver.apply(batch).await.unwrap();
        for name in ["a", "b", "d"] {
            store.claim_namespace(namespace(name), &format!("uid-{name}")).await.unwrap();
        }
        let (mut content, mut owned) = (Vec::new(), Vec::new());
        let mut after = Some(String::new());
        while let Some(last) = after {
            let page = store.namespaces_with_content(&last, 1).await.unwrap();
            content.extend(page.entries);
            after = page.next;
        }
        let mut after = Some(String::new());
        while let Some(last) = after {
            let page = store.owned_namespaces(&last, 2).await.unwrap();
            owned.extend(page.entries.into_iter().map(|(name, owner)| format!("{name} {}", owner.uid)));
            after = page.next;
        }
        assert_eq!(content, ["a", "b", "c"]);
        assert_eq!(owned, ["a uid-a", "b uid-b", "d uid-d"]);
    }
}
