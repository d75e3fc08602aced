//! What a repository must look like after operations that met: as after some order of them.

use std::collections::BTreeMap;

/// An operation on the tags and manifests of one repository; manifests are numbered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Step {
    /// Push a manifest under a tag.
    Put(&'static str, u8),
    /// Remove a tag.
    DeleteTag(&'static str),
    /// Remove a manifest.
    DeleteManifest(u8),
}

/// Manifests that are there, and what each tag is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) manifests: Vec<u8>,
    pub(crate) tags: BTreeMap<String, u8>,
}

impl State {
    pub(crate) fn after(mut self, step: Step) -> Self {
        match step {
            Step::Put(tag, manifest) => {
                self.tags.insert(tag.to_owned(), manifest);
                self.manifests.push(manifest);
                self.manifests.sort_unstable();
                self.manifests.dedup();
            }
            Step::DeleteTag(tag) => drop(self.tags.remove(tag)),
            Step::DeleteManifest(manifest) if self.manifests.contains(&manifest) => {
                self.manifests.retain(|found| *found != manifest);
                self.tags.retain(|_, found| *found != manifest);
            }
            Step::DeleteManifest(_) => {}
        }
        self
    }

    /// Some order of the steps of all actors, each actor's own order kept, leads to `end`.
    pub(crate) fn leads_to(&self, actors: &[&[Step]], end: &Self) -> bool {
        if actors.iter().all(|steps| steps.is_empty()) {
            return self == end;
        }
        (0..actors.len()).any(|index| {
            let Some((step, rest)) = actors[index].split_first() else { return false };
            let mut left = actors.to_vec();
            left[index] = rest;
            self.clone().after(*step).leads_to(&left, end)
        })
    }
}
