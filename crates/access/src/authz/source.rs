//! Different rules for callers of different sources.

use std::sync::Arc;

use crate::decision::{Action, Authorizer, Deciding, Decision, Target};
use crate::identity::{Caller, Source};
use crate::reply::Reply;

/// Sends each caller to the rules of its source; a source without rules may do nothing. This is how htpasswd
/// users who may do everything and static users with projects live side by side.
#[derive(Clone, Default)]
pub struct BySource(Vec<(Source, Arc<dyn Authorizer>)>);

impl BySource {
    /// No source has rules yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the rules of a source; given twice, the first counts.
    #[must_use]
    pub fn with(mut self, source: Source, rules: Arc<dyn Authorizer>) -> Self {
        self.0.push((source, rules));
        self
    }
}

impl Authorizer for BySource {
    fn decide<'a>(&'a self, caller: &'a Caller, action: Action, target: Target<'a>) -> Deciding<'a> {
        if let Some((_, rules)) = self.0.iter().find(|(source, _)| *source == caller.source()) {
            return rules.decide(caller, action, target);
        }
        let missing = match caller.is_anonymous() {
            true => "authentication is required",
            false => "no rules are configured for users of this kind",
        };
        Reply::Ready(Decision::deny(caller, action, target, missing))
    }
}
