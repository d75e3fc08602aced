//! The rules that the API server lists for a caller.

use access::{Pattern, Resource, Verb};
use serde::Deserialize;

/// Rules of one caller in one namespace.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct RuleSet {
    resource_rules: Option<Vec<Rule>>,
    /// Whether there may be rights that are not listed.
    pub(super) incomplete: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Rule {
    verbs: Option<Vec<String>>,
    api_groups: Option<Vec<String>>,
    resources: Option<Vec<String>>,
    resource_names: Option<Vec<String>>,
}

impl RuleSet {
    /// Nothing is listed, and nothing is excluded.
    pub(super) fn unlisted() -> Self {
        Self { resource_rules: None, incomplete: true }
    }

    /// Whether a rule grants `verb` on what has patterns for names, for this path.
    pub(super) fn grant(&self, resource: Resource, verb: Verb, path: &str) -> bool {
        self.resource_rules.iter().flatten().any(|rule| {
            lists(&rule.verbs, verb.as_str())
                && resource.groups().iter().any(|group| lists(&rule.api_groups, group))
                && lists(&rule.resources, resource.as_str())
                && rule.names(path)
        })
    }
}

impl Rule {
    fn names(&self, path: &str) -> bool {
        let names = self.resource_names.as_deref().unwrap_or_default();
        let matches = |text: &String| Pattern::parse(text).is_ok_and(|pattern| pattern.matches(path));
        names.is_empty() || names.iter().any(matches)
    }
}

fn lists(list: &Option<Vec<String>>, wanted: &str) -> bool {
    list.iter().flatten().any(|item| item == "*" || item == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn granted(rule: &str, verb: Verb, path: &str) -> bool {
        let rules: RuleSet = serde_json::from_str(&format!(r#"{{"resourceRules":[{rule}]}}"#)).unwrap();
        rules.grant(Resource::RepositoryAccesses, verb, path)
    }

    const GROUP: &str = r#""apiGroups":["payload-registry.deckhouse.io"],"resources":["payloadrepositoryaccesses"]"#;

    #[test]
    fn verbs_groups_resources_and_patterns() {
        let rule = format!(r#"{{"verbs":["get","create"],{GROUP},"resourceNames":["App/**","tools"]}}"#);
        for (verb, path, expected) in [
            (Verb::Get, "app/web", true),
            (Verb::Create, "APP/a/b", true),
            (Verb::Get, "tools", true),
            (Verb::Get, "tools/x", false),
            (Verb::Get, "apps", false),
            (Verb::Delete, "app/web", false),
        ] {
            assert_eq!(granted(&rule, verb, path), expected, "{verb:?} {path}");
        }
        assert!(granted(&format!(r#"{{"verbs":["*"],{GROUP}}}"#), Verb::Delete, "any"));
        assert!(granted(
            r#"{"verbs":["*"],"apiGroups":["*"],"resources":["*"],"resourceNames":null}"#,
            Verb::Get,
            "any"
        ));
        for other in [
            r#"{"verbs":["get"],"apiGroups":[""],"resources":["payloadrepositoryaccesses"]}"#,
            r#"{"verbs":["get"],"apiGroups":["payload-registry.deckhouse.io"],"resources":["pods"]}"#,
            r#"{"verbs":[],"apiGroups":["*"],"resources":["*"]}"#,
            r#"{"verbs":["get"],"apiGroups":["*"],"resources":["*"],"resourceNames":["[a"]}"#,
            "{}",
        ] {
            assert!(!granted(other, Verb::Get, "any"), "{other}");
        }
    }

    #[test]
    fn nothing_listed_grants_nothing() {
        assert!(!RuleSet::unlisted().grant(Resource::RepositoryAccesses, Verb::Get, "any"));
        assert!(RuleSet::unlisted().incomplete);
    }
}
