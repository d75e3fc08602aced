//! The store, as the clean-up after namespaces sees it.

use content::{Namespace, Store};
use operator::namespaces::{ContentError, NamespaceContent, Owned, Removal};
use std::sync::Arc;

/// Namespaces that are read together.
const PAGE: usize = 1_000;

pub(crate) struct Tenants {
    store: Arc<Store>,
}

impl Tenants {
    pub(crate) fn new(store: Arc<Store>) -> Self {
        Self { store }
    }
}

impl NamespaceContent for Tenants {
    async fn owned(&self) -> Result<Vec<Owned>, ContentError> {
        let mut owned = Vec::new();
        let mut after = Some(String::new());
        while let Some(last) = after {
            let page = self.store.owned_namespaces(&last, PAGE).await?;
            owned.extend(page.entries.into_iter().map(|(namespace, owner)| Owned { namespace, uid: owner.uid }));
            after = page.next;
        }
        Ok(owned)
    }

    async fn with_content(&self) -> Result<Vec<String>, ContentError> {
        let mut names = Vec::new();
        let mut after = Some(String::new());
        while let Some(last) = after {
            let page = self.store.namespaces_with_content(&last, PAGE).await?;
            names.extend(page.entries);
            after = page.next;
        }
        Ok(names)
    }

    async fn claim(&self, namespace: &str, uid: &str) -> Result<String, ContentError> {
        Ok(self.store.claim_namespace(parse(namespace)?, uid).await?.uid)
    }

    async fn remove(&self, removal: &Removal) -> Result<bool, ContentError> {
        let namespace = parse(removal.namespace())?;
        Ok(match self.store.delete_namespace(namespace, removal.gone(), removal.successor()).await? {
            content::Removal::Done => true,
            // The next one was as fast; what is there is theirs.
            content::Removal::OwnedBy(_) => false,
        })
    }

    async fn cluster(&self) -> Result<Option<String>, ContentError> {
        Ok(self.store.cluster().await?.map(|owner| owner.uid))
    }

    async fn claim_cluster(&self, uid: &str) -> Result<String, ContentError> {
        Ok(self.store.claim_cluster(uid).await?.uid)
    }
}

fn parse(namespace: &str) -> Result<Namespace<'_>, ContentError> {
    Namespace::parse(namespace).ok_or_else(|| format!("{namespace:?} is no namespace").into())
}
