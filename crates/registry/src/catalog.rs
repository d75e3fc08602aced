//! `GET /v2/_catalog`: all repositories, or those that the caller may pull.

use crate::auth;
use crate::context::Cluster;
use crate::error::{Error, Result};
use crate::lists::{head_only, page, push_list, read_only_method, set_next};
use crate::respond;
use crate::service::Call;
use content::Namespace;
use http::Response;
use net::Body;
use oci::{ErrorCode, Page, RepoName};
use std::time::{Duration, Instant};

/// Most names that one request looks at, and for how long. Then the page ends, however few of them are shown.
const LOOKED_AT_MAX: usize = 2000;
const LOOKING_MAX: Duration = Duration::from_secs(2);
/// Names that are read together while not all of them are shown.
const CHUNK: usize = 500;
/// No repository's name begins like this.
const CURSOR: char = '~';

/// What a caller sees of a page, and where the next one begins.
struct Shown {
    names: Vec<String>,
    next: Option<String>,
}

pub(crate) async fn answer(call: &Call<'_>) -> Result<Response<Body>> {
    read_only_method(call)?;
    let page = page(call, call.live().catalog_max, call.live().catalog_max)?;
    let shown = match &call.identity.cluster {
        Some(cluster) if page.limit > 0 => select(call, cluster, page.clone()).await?,
        _ => {
            let found = call.registry.store.catalog(&page).await?;
            Shown { next: found.names.last().filter(|_| found.more).cloned(), names: found.names }
        }
    };
    let mut body = String::from("{\"repositories\":[");
    push_list(&mut body, shown.names.iter().map(String::as_str));
    body.push_str("]}\n");
    let mut response = respond::full("application/json", body);
    if let Some(next) = shown.next {
        set_next(call, &mut response, &page, &next, None);
    }
    Ok(head_only(call, response))
}

async fn select(call: &Call<'_>, cluster: &Cluster, page: Page) -> Result<Shown> {
    let (store, signer) = (&call.registry.store, call.registry.signer.load_full());
    let mut last = match page.last {
        Some(cursor) if cursor.starts_with(CURSOR) => {
            let opened = signer.open(&cursor[CURSOR.len_utf8()..]);
            Some(opened.ok_or_else(|| {
                Error::new(ErrorCode::PaginationNumberInvalid, "last is not good any more, begin with the first page")
            })?)
        }
        other => other,
    };
    let mut names: Vec<String> = Vec::new();
    let mut look = Look { call, cluster, namespace: None };
    let (started, mut looked_at) = (Instant::now(), 0);
    let limit = if cluster.catalog_filtered { CHUNK } else { page.limit.saturating_add(1).min(CHUNK) };
    loop {
        let found = store.catalog(&Page { limit, last: last.clone(), explicit: true }).await?;
        for name in found.names {
            if looked_at >= LOOKED_AT_MAX || (looked_at > 0 && started.elapsed() >= LOOKING_MAX) {
                // The last name that was looked at may be one that the caller must not learn.
                let sealed = last.as_deref().and_then(|last| signer.seal(last));
                return Ok(Shown { names, next: sealed.map(|sealed| format!("{CURSOR}{sealed}")) });
            }
            looked_at += 1;
            if look.shows(&name).await? {
                if names.len() == page.limit {
                    return Ok(Shown { next: names.last().cloned(), names });
                }
                names.push(name.clone());
            }
            last = Some(name);
        }
        if !found.more {
            return Ok(Shown { names, next: None });
        }
    }
}

/// Names of one namespace come together, so its owner is looked up once.
struct Look<'a> {
    call: &'a Call<'a>,
    cluster: &'a Cluster,
    namespace: Option<(String, bool)>,
}

impl Look<'_> {
    async fn shows(&mut self, name: &str) -> Result<bool> {
        // A directory that no registry made is no namespace's.
        let Ok(repo) = RepoName::parse(name) else { return Ok(!self.cluster.catalog_filtered) };
        if self.cluster.catalog_filtered && !auth::can_pull(self.call.identity, self.call.caller, name).await? {
            return Ok(false);
        }
        let namespace = Namespace::of(repo).as_str();
        if let Some((known, shown)) = &self.namespace
            && known == namespace
        {
            return Ok(*shown);
        }
        let shown = match self.cluster.tenancy.is_readable(&self.call.registry.store, repo).await {
            Ok(readable) => readable,
            // One of many is not to hide the others.
            Err(content::Error::OwnerDamaged(key)) => {
                tracing::error!(key, "damaged owner record, the namespace is not listed");
                false
            }
            Err(error) => return Err(error.into()),
        };
        self.namespace = Some((namespace.to_owned(), shown));
        Ok(shown)
    }
}
