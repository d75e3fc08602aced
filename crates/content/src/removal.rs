//! Removing the content of a namespace that is no more.
//!
//! Every step is bound to the owner record and the record goes last: after a crash at any point, or beside another process
//! that does the same, a repetition finds out what is left to do, and content of another owner is never touched.

use crate::changes::Change;
use crate::session::{Place, Record};
use crate::{Namespace, Owner, Result, Store, layout};
use bytes::Bytes;
use oci::RepoName;
use std::sync::Arc;
use storage::{Batch, INLINE_MAX};

/// Repositories that are looked at together.
const REPOSITORIES_AHEAD: usize = 200;

/// What came out of [`Store::delete_namespace`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Removal {
    /// The content is gone, and the namespace belongs to whom it was to be given.
    Done,
    /// The namespace belongs to somebody else; nothing of theirs was touched.
    OwnedBy(Owner),
}

impl Store {
    /// Removes everything that was pushed for the namespace with the UID `expected`, and then makes `new` its owner. Bytes of
    /// blobs stay until the garbage collection.
    ///
    /// The caller has proof that `expected` is gone, and has waited until nobody can still push for it.
    ///
    /// # Errors
    /// [`crate::Error::OwnerDamaged`], [`crate::Error::Storage`]; it may then be repeated.
    pub async fn delete_namespace(
        &self,
        namespace: Namespace<'_>,
        expected: &str,
        new: Option<&str>,
    ) -> Result<Removal> {
        let key = layout::namespace(namespace.as_str());
        if let Some((owner, record)) = self.owner_record(&key).await?
            && owner.uid == expected
            && new != Some(expected)
        {
            self.delete_sessions(namespace, expected).await?;
            self.delete_trees(namespace, &key, &record).await?;
        }
        self.forget_namespace(namespace);
        let owner = match new {
            Some(new) => Some(self.claim_namespace(namespace, new).await?),
            None => self.namespace_owner(namespace).await?,
        };
        Ok(match owner {
            Some(owner) if new == Some(expected) || new != Some(owner.uid.as_str()) => Removal::OwnedBy(owner),
            _ => Removal::Done,
        })
    }

    /// Forgets what this process remembers of the repositories of a namespace, since it belongs to somebody else now.
    pub fn forget_namespace(&self, namespace: Namespace<'_>) {
        self.caches.drop_namespace(namespace);
    }

    async fn delete_trees(&self, namespace: Namespace<'_>, key: &str, record: &Bytes) -> Result<()> {
        // Noted once, after the last step that has begun. When each tag was deleted before, as Kubernetes does, nobody has to
        // look at everything again.
        let changed = || Change::Namespace { namespace: namespace.as_str().into() };
        let changes = self.has_tags(namespace).await?.then(changed).into_iter().collect();
        let noting = self.noting(&self.under_way(namespace).await?, changes);
        let lock = layout::owner_lock(key);
        let repositories = layout::repository(namespace.as_str());
        let children = self.driver.list(&repositories, "", usize::MAX).await?;
        // In pieces: a large tree takes its time, and changes of others wait behind it.
        for child in children.names.iter().filter(|child| child.is_prefix && !child.text.starts_with('_')) {
            let tree = format!("{repositories}/{}", child.text);
            let batch = Batch::new().delete_tree_if(tree, key, record.clone()).lock(&lock);
            self.apply_noting(batch, Arc::clone(&noting)).await?;
        }
        let batch = Batch::new()
            .delete_tree_if(repositories, key, record.clone())
            .delete_tree_if(layout::namespace_referrers(namespace.as_str()), key, record.clone())
            .delete_tree_if(key, key, record.clone())
            .lock(lock);
        Ok(self.apply_noting(batch, noting).await?)
    }

    /// Whether any tag is left, be it a damaged one.
    async fn has_tags(&self, namespace: Namespace<'_>) -> Result<bool> {
        let mut after = String::new();
        loop {
            let page =
                self.walk(self.view_of_storage(), namespace.as_str().to_owned(), &after, REPOSITORIES_AHEAD).await?;
            for repo in page.names.iter().filter_map(|name| RepoName::parse(name).ok()) {
                if !self.driver.list(&layout::tags(repo), "", 1).await?.names.is_empty() {
                    return Ok(true);
                }
            }
            match page.names.into_iter().next_back().filter(|_| page.more) {
                Some(last) => after = last,
                None => return Ok(false),
            }
        }
    }

    /// Ends the sessions that began under the owner. One that a request writes just now is left: it cannot be committed any
    /// more, and expires.
    async fn delete_sessions(&self, namespace: Namespace<'_>, owner: &str) -> Result<()> {
        let sessions = self.driver.list(layout::SESSIONS, "", usize::MAX).await?;
        for name in sessions.names.iter() {
            let Some(id) = crate::SessionId::parse(name.text) else { continue };
            let Some(_active) = self.sessions.enter(id) else { continue };
            let key = layout::session(id.0);
            let bytes = match self.driver.get(&key, INLINE_MAX).await {
                Ok(bytes) => bytes,
                Err(error) if error.is_not_found() => continue,
                Err(error) => return Err(error.into()),
            };
            let Some(record) = Record::decode(&bytes) else { continue };
            let theirs = record.owner.as_deref().is_none_or(|uid| uid == owner);
            if !theirs || !namespace.has(&record.repository) {
                continue;
            }
            self.driver.apply(Batch::new().delete(key)).await?;
            if let Place::Driver(handle) = record.place {
                self.driver.discard(&handle).await?;
            }
            self.sessions.finish(id);
        }
        Ok(())
    }
}
