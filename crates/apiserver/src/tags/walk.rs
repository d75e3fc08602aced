//! All tags that a caller may see, in the order of namespace, repository and tag, piece by piece.
//!
//! Rights are asked once per repository. What lies before the start costs nothing, nor do repositories that a selector
//! rules out.

use std::collections::VecDeque;
use std::sync::Arc;

use access::Action;
use content::{Namespace, TagsPage};
use oci::{Page, RepoName};

use super::identity::Identity;
use super::name;
use super::selectors::Selectors;
use super::view::{Living, View};
use crate::status::Result;

/// Namespaces, repositories and tags that are listed together.
const NAMESPACES_AHEAD: usize = 1_000;
const REPOSITORIES_AHEAD: usize = 200;
const TAGS_AHEAD: usize = 1_000;
/// Tags that are held against the selectors before others may go on.
const TAGS_AT_ONCE: usize = 64;
/// Namespaces that memory does not have and that one list asks the cluster about.
const CONFIRMED_MAX: usize = 16;

/// One tag, not looked at yet.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) space: Arc<Living>,
    /// Full name.
    pub(crate) repo: Arc<str>,
    pub(crate) tag: Box<str>,
}

impl Entry {
    pub(crate) fn identity(&self) -> Identity<'_> {
        Identity { namespace: &self.space.name, repo: &self.repo, tag: &self.tag }
    }
}

/// Where a walk goes on: after this tag of this repository.
#[derive(Clone, Debug)]
pub(crate) struct Start {
    pub(crate) repo: Arc<str>,
    pub(crate) tag: Box<str>,
}

/// The walk. An error ends it.
pub(crate) struct Walk {
    view: View,
    selectors: Arc<Selectors>,
    spaces: Spaces,
    repositories: Repositories,
    tags: Option<Tags>,
    confirmed: usize,
}

/// The namespaces that are left.
struct Spaces {
    names: VecDeque<String>,
    /// Go on listing after this name.
    next: Option<String>,
    start: Option<Start>,
}

/// The repositories that are left of a namespace.
#[derive(Default)]
struct Repositories {
    space: Option<Arc<Living>>,
    names: VecDeque<Arc<str>>,
    next: Option<Arc<str>>,
    start: Option<Start>,
}

/// The tags that are left of a repository.
struct Tags {
    space: Arc<Living>,
    repo: Arc<str>,
    source: Source,
}

enum Source {
    One(Option<Box<str>>),
    Page { page: TagsPage, at: usize },
}

impl Walk {
    /// Through one namespace, or all of them.
    pub(crate) fn new(view: View, selectors: Arc<Selectors>, namespace: Option<&str>, start: Option<Start>) -> Self {
        let only = match (namespace, selectors.fields.namespace()) {
            (Some(one), Some(two)) if one != two => return Self::over(view, selectors, Spaces::none()),
            (one, two) => one.or(two),
        };
        let first = start.as_ref().and_then(|start| start.repo.split('/').next()).map(str::to_owned);
        let spaces = match (only, first) {
            (Some(only), Some(first)) if *only < *first => Spaces::none(),
            (Some(only), first) => {
                let start = start.filter(|_| first.as_deref() == Some(only));
                Spaces { names: VecDeque::from([only.to_owned()]), next: None, start }
            }
            (None, Some(first)) => Spaces { names: VecDeque::from([first.clone()]), next: Some(first), start },
            (None, None) => Spaces { names: VecDeque::new(), next: Some(String::new()), start: None },
        };
        Self::over(view, selectors, spaces)
    }

    fn over(view: View, selectors: Arc<Selectors>, spaces: Spaces) -> Self {
        Self { view, selectors, spaces, repositories: Repositories::default(), tags: None, confirmed: 0 }
    }

    /// The next tags, at most `max`; fewer only when these are the last ones.
    ///
    /// # Errors
    /// Those of storage, and 503 when rights or namespaces cannot be told.
    pub(crate) async fn next(&mut self, max: usize) -> Result<Vec<Entry>> {
        let mut found = Vec::new();
        while found.len() < max {
            // What comes from memory never waits, and a selector may rule out all of it.
            tokio::task::consume_budget().await;
            if self.tags.is_none() {
                let Some(tags) = self.next_tags().await? else { break };
                self.tags = Some(tags);
            }
            let is_over = |tags: &mut Tags| !tags.take(&self.selectors, max, &mut found);
            if let Some(tags) = self.tags.take_if(is_over) {
                self.tags = tags.following(&self.view).await?;
            }
        }
        Ok(found)
    }

    async fn next_tags(&mut self) -> Result<Option<Tags>> {
        loop {
            tokio::task::consume_budget().await;
            let Some((space, repo, after)) = self.next_repository().await? else { return Ok(None) };
            if !self.view.may(Action::Pull, &repo).await? {
                continue;
            }
            let Ok(name) = RepoName::parse(&repo) else { continue };
            if !self.view.is_readable(name).await? {
                continue;
            }
            let named = self.selectors.fields.name().and_then(|text| name::decode(&space.name, text));
            let only = match (self.selectors.fields.tag(), named) {
                (Some(one), Some(named)) if *one != *named.tag => continue,
                (Some(one), _) => Some(Box::from(one)),
                (None, named) => named.map(|named| named.tag),
            };
            if let Some(only) = only {
                let is_before = after.as_deref().is_some_and(|after| *only <= *after);
                if !is_before && oci::Tag::parse(&only).is_ok() {
                    return Ok(Some(Tags { space, repo, source: Source::One(Some(only)) }));
                }
                continue;
            }
            if let Some(tags) = Tags::page(&self.view, space, repo, after.as_deref()).await? {
                return Ok(Some(tags));
            }
        }
    }

    /// The next repository, and the tag to begin after.
    async fn next_repository(&mut self) -> Result<Option<(Arc<Living>, Arc<str>, Option<Box<str>>)>> {
        loop {
            let here = &mut self.repositories;
            if let (Some(space), Some(repo)) = (&here.space, here.names.pop_front()) {
                let after = here.start.take_if(|start| start.repo == repo).map(|start| start.tag);
                return Ok(Some((Arc::clone(space), repo, after)));
            }
            if let (Some(space), Some(after)) = (&here.space, here.next.take()) {
                let Some(namespace) = Namespace::parse(&space.name) else { continue };
                let page = self.view.store().repositories(namespace, &after, REPOSITORIES_AHEAD).await?;
                // A repository without a path below its namespace is nobody's to see.
                let names = page.names.iter().filter(|name| name.contains('/'));
                here.names.extend(names.map(|name| Arc::from(name.as_str())));
                here.next = page.names.last().filter(|_| page.more).map(|name| Arc::from(name.as_str()));
                continue;
            }
            let Some(space) = self.next_space().await? else { return Ok(None) };
            self.repositories = self.enter(space);
        }
    }

    fn enter(&mut self, space: Living) -> Repositories {
        let space = Arc::new(space);
        let start = self.spaces.start.take();
        let fields = &self.selectors.fields;
        let named = fields.name().map(|text| name::decode(&space.name, text).map(|named| named.repo));
        let chosen = fields.repository().map(|relative| [&space.name, "/", relative].concat());
        let only: Option<Arc<str>> = match (named, chosen) {
            (Some(None), _) => return Repositories::default(),
            (Some(Some(named)), Some(chosen)) if *named != *chosen => return Repositories::default(),
            (Some(Some(named)), _) => Some(named.into()),
            (None, chosen) => chosen.map(Into::into),
        };
        if let Some(only) = only {
            let wanted = start.as_ref().is_none_or(|start| start.repo <= only);
            let names = wanted.then_some(only).into_iter().collect();
            return Repositories { space: Some(space), names, next: None, start };
        }
        let first = start.as_ref().map(|start| Arc::clone(&start.repo));
        let next = first.clone().unwrap_or_else(|| "".into());
        Repositories { space: Some(space), names: first.into_iter().collect(), next: Some(next), start }
    }

    async fn next_space(&mut self) -> Result<Option<Living>> {
        loop {
            tokio::task::consume_budget().await;
            if let Some(name) = self.spaces.names.pop_front() {
                if !self.view.may_see_any(&name) {
                    self.spaces.start = None;
                    continue;
                }
                let known = self.view.remembered(&name)?;
                // Memory may not have a namespace yet that was made a moment ago and has its first image.
                let space = match known {
                    None if self.confirmed < CONFIRMED_MAX => {
                        self.confirmed += 1;
                        self.view.namespace(&name).await?
                    }
                    known => known,
                };
                if let Some(space) = space {
                    return Ok(Some(space));
                }
                self.spaces.start = None;
                continue;
            }
            let Some(after) = self.spaces.next.take() else { return Ok(None) };
            let page = self.view.store().namespaces_with_content(&after, NAMESPACES_AHEAD).await?;
            self.spaces.next = page.next;
            self.spaces.names.extend(page.entries.into_iter().filter(|name| access::is_label(name)));
        }
    }
}

impl Spaces {
    fn none() -> Self {
        Self { names: VecDeque::new(), next: None, start: None }
    }
}

impl Tags {
    /// The tags of a repository after `after`; `None` when there are none.
    async fn page(view: &View, space: Arc<Living>, repo: Arc<str>, after: Option<&str>) -> Result<Option<Self>> {
        let Ok(name) = RepoName::parse(&repo) else { return Ok(None) };
        let wanted = Page { limit: TAGS_AHEAD, last: after.map(str::to_owned), explicit: true };
        match view.store().tags(name, &wanted).await {
            Ok(page) if page.iter().len() == 0 => Ok(None),
            Ok(page) => Ok(Some(Self { space, repo, source: Source::Page { page, at: 0 } })),
            Err(content::Error::NameUnknown) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Takes tags until there are `max`, or enough were looked at; false when this page is at its end.
    fn take(&mut self, selectors: &Selectors, max: usize, found: &mut Vec<Entry>) -> bool {
        let (space, repo) = (&self.space, &self.repo);
        let mut select = |tag: &str| {
            let identity = Identity { namespace: &space.name, repo, tag };
            if selectors.matches(&identity) {
                found.push(Entry { space: Arc::clone(space), repo: Arc::clone(repo), tag: tag.into() });
            }
            found.len() < max
        };
        match &mut self.source {
            Source::One(tag) => {
                if let Some(tag) = tag.take() {
                    select(&tag);
                }
                false
            }
            Source::Page { page, at } => {
                for tag in page.iter().skip(*at).take(TAGS_AT_ONCE) {
                    *at += 1;
                    // Files that are no tags may lie there.
                    if oci::Tag::parse(tag).is_ok() && !select(tag) {
                        break;
                    }
                }
                *at < page.iter().len()
            }
        }
    }

    /// The next page of the same repository.
    async fn following(self, view: &View) -> Result<Option<Self>> {
        let last = match &self.source {
            Source::Page { page, .. } if page.more() => page.iter().last().map(str::to_owned),
            _ => None,
        };
        match last {
            Some(last) => Self::page(view, self.space, self.repo, Some(&last)).await,
            None => Ok(None),
        }
    }
}
