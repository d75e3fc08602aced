//! The content store as the clean-up sees it.

use std::sync::Arc;

use content::{Namespace, Store};
use operator::namespaces::{ContentError, NamespaceContent, Owned, Removal};
use storage::memory::MemoryDriver;
use storage::{Batch, Driver};

const PAGE: usize = 1000;

#[derive(Clone)]
pub(crate) struct Content {
    pub(crate) driver: MemoryDriver,
    pub(crate) store: Arc<Store>,
}

impl Content {
    pub(crate) fn new() -> Self {
        let driver = MemoryDriver::default();
        Self { store: Store::new(Arc::new(driver.clone()), content::Settings::default()), driver }
    }

    /// A repository of the namespace, as the registry leaves it.
    pub(crate) async fn put(&self, namespace: &str) {
        let key = format!("docker/registry/v2/repositories/{namespace}/app/_manifests/tags/1/current/link");
        self.driver.apply(Batch::new().put(key, "sha256:0")).await.unwrap();
    }

    pub(crate) fn has(&self, namespace: &str) -> bool {
        let tree = format!("docker/registry/v2/repositories/{namespace}/");
        self.driver.keys().iter().any(|key| key.starts_with(&tree))
    }

    pub(crate) async fn owner(&self, namespace: &str) -> Option<String> {
        self.store.namespace_owner(name(namespace).unwrap()).await.unwrap().map(|owner| owner.uid)
    }
}

fn name(namespace: &str) -> Result<Namespace<'_>, ContentError> {
    Namespace::parse(namespace).ok_or_else(|| format!("{namespace:?} is no namespace").into())
}

impl NamespaceContent for Content {
    async fn owned(&self) -> Result<Vec<Owned>, ContentError> {
        let (mut all, mut after) = (Vec::new(), Some(String::new()));
        while let Some(last) = after {
            let page = self.store.owned_namespaces(&last, PAGE).await?;
            all.extend(page.entries.into_iter().map(|(namespace, owner)| Owned { namespace, uid: owner.uid }));
            after = page.next;
        }
        Ok(all)
    }

    async fn with_content(&self) -> Result<Vec<String>, ContentError> {
        let (mut all, mut after) = (Vec::new(), Some(String::new()));
        while let Some(last) = after {
            let page = self.store.namespaces_with_content(&last, PAGE).await?;
            all.extend(page.entries);
            after = page.next;
        }
        Ok(all)
    }

    async fn claim(&self, namespace: &str, uid: &str) -> Result<String, ContentError> {
        Ok(self.store.claim_namespace(name(namespace)?, uid).await?.uid)
    }

    async fn remove(&self, removal: &Removal) -> Result<bool, ContentError> {
        let (gone, successor) = (removal.gone(), removal.successor());
        let removed = self.store.delete_namespace(name(removal.namespace())?, gone, successor).await?;
        Ok(removed == content::Removal::Done)
    }

    async fn cluster(&self) -> Result<Option<String>, ContentError> {
        Ok(self.store.cluster().await?.map(|owner| owner.uid))
    }

    async fn claim_cluster(&self, uid: &str) -> Result<String, ContentError> {
        Ok(self.store.claim_cluster(uid).await?.uid)
    }
}
