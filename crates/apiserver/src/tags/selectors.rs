//! Which tags a request is about: field and label selectors, decided from a tag's identity alone.

mod field;
mod label;

pub(crate) use field::FieldSelector;
pub(crate) use label::{LabelSelector, is_label_value};

use super::identity::Identity;

/// Both selectors of a request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Selectors {
    pub(crate) fields: FieldSelector,
    pub(crate) labels: LabelSelector,
}

impl Selectors {
    pub(crate) fn matches(&self, tag: &Identity<'_>) -> bool {
        self.fields.matches(tag) && self.labels.matches(|key| tag.label(key))
    }
}
