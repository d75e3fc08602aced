//! The rules that the API server lists for a caller.

use access::{PolicyRule, Right, Rules};
use serde::Deserialize;

/// The answer of the API server.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Listed {
    resource_rules: Option<Vec<Rule>>,
    incomplete: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Rule {
    verbs: Option<Vec<String>>,
    api_groups: Option<Vec<String>>,
    resources: Option<Vec<String>>,
    resource_names: Option<Vec<String>>,
}

/// Rules of one caller in one namespace, as far as they concern this registry.
pub(super) struct RuleSet {
    rules: Rules,
    /// Whether there may be rights that are not listed.
    pub(super) incomplete: bool,
}

impl RuleSet {
    /// Nothing is listed, and nothing is excluded.
    pub(super) fn unlisted() -> Self {
        Self { rules: Rules::new(&[]), incomplete: true }
    }

    /// Whether a rule grants the right.
    pub(super) fn grant(&self, right: Right<'_>) -> bool {
        self.rules.grant(right)
    }

    /// About how many bytes of memory they take.
    pub(super) fn bytes(&self) -> usize {
        self.rules.bytes()
    }
}

impl From<Listed> for RuleSet {
    fn from(Listed { resource_rules, incomplete }: Listed) -> Self {
        let rules: Vec<PolicyRule> = resource_rules.into_iter().flatten().map(Into::into).collect();
        Self { rules: Rules::new(&rules), incomplete }
    }
}

impl From<Rule> for PolicyRule {
    fn from(Rule { verbs, api_groups, resources, resource_names }: Rule) -> Self {
        let [verbs, api_groups, resources, resource_names] =
            [verbs, api_groups, resources, resource_names].map(Option::unwrap_or_default);
        Self { api_groups, resources, verbs, resource_names }
    }
}

#[cfg(test)]
mod tests {
    use access::{Resource, Verb};

    use super::*;

    fn asked(verb: Verb, path: &str) -> Right<'_> {
        Right { verb, resource: Resource::RepositoryAccesses, namespace: Some("shop"), name: Some(path) }
    }

    fn granted(rule: &str, verb: Verb, path: &str) -> bool {
        let listed: Listed = serde_json::from_str(&format!(r#"{{"resourceRules":[{rule}]}}"#)).unwrap();
        RuleSet::from(listed).grant(asked(verb, path))
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
    fn rules_about_other_things_take_no_room() {
        let pods = r#"{"verbs":["get"],"apiGroups":[""],"resources":["pods"],"resourceNames":["a-long-name"]}"#;
        let listed = |count: usize| -> RuleSet {
            let rules = vec![pods; count].join(",");
            serde_json::from_str::<Listed>(&format!(r#"{{"resourceRules":[{rules}]}}"#)).unwrap().into()
        };
        assert_eq!(listed(1_000).bytes(), RuleSet::unlisted().bytes());
    }

    #[test]
    fn nothing_listed_grants_nothing() {
        assert!(!RuleSet::unlisted().grant(asked(Verb::Get, "any")));
        assert!(RuleSet::unlisted().incomplete);
    }
}
