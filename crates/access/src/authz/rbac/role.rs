//! A role, reduced to what concerns this registry.

use std::hash::{DefaultHasher, Hash, Hasher};

use super::object::{PolicyRule, RoleProblem};
use crate::authz::glob::{PATTERN_BYTES_MAX, Pattern, Places};
use crate::authz::rights::{Resource, Right, Verb};

/// More names than one role can need; rules take patterns.
const NAMES_MAX: usize = 4096;
/// All patterns of a role together: so much work may one binding be to a decision.
const STEPS_MAX: usize = 32 * 1024;
/// What all patterns of a role together may take in memory beyond their texts.
const EXTRA_BYTES_MAX: usize = 256 * 1024;
/// So many problems of a role are told.
const PROBLEMS_MAX: usize = 20;
/// How much of a name is repeated in a problem.
const ENTRY_CHARS_MAX: usize = 64;

const RESOURCES: [Resource; 5] =
    [Resource::RepositoryAccesses, Resource::Layers, Resource::ImageStreams, Resource::Images, Resource::Metrics];
const VERBS: [Verb; 5] = [Verb::Get, Verb::List, Verb::Create, Verb::Update, Verb::Delete];

/// The rules of a role that concern us; at least one.
#[derive(Clone, Debug)]
pub(super) struct Role {
    pub(super) rules: Box<[Rule]>,
    /// How many rules, names and steps a decision may have to look at.
    pub(super) cost: usize,
    /// Equal roles have equal ones.
    pub(super) print: u64,
}

#[derive(Clone, Debug)]
pub(super) struct Rule {
    /// Of [`resource_bit`].
    resources: u8,
    /// Of [`verb_bit`].
    verbs: u8,
    /// `None` is all of them.
    names: Option<Box<[Name]>>,
}

/// One of `resourceNames`.
#[derive(Clone, Debug)]
pub(super) struct Name {
    pub(super) text: Box<str>,
    /// For resources whose names are patterns; `None` matches nothing there.
    pattern: Option<Pattern>,
}

/// What a name would be compared with.
#[derive(Clone, Copy)]
pub(super) struct Wanted<'a> {
    pub(super) right: Right<'a>,
    /// The name of the right as a path.
    pub(super) path: Option<&'a Places<'a>>,
}

impl Role {
    pub(super) fn grants(&self, wanted: Wanted<'_>) -> bool {
        self.rules.iter().any(|rule| rule.is_about(wanted.right) && rule.names_it(wanted))
    }

    pub(super) fn bytes(&self) -> usize {
        self.rules.iter().map(Rule::bytes).sum()
    }
}

impl Hash for Rule {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let names = self.names.as_deref().map(|names| names.iter().map(|name| &*name.text).collect::<Vec<_>>());
        (self.resources, self.verbs, names).hash(state);
    }
}

impl Rule {
    fn bytes(&self) -> usize {
        let pattern = |name: &Name| name.pattern.as_ref().map_or(0, Pattern::extra_bytes);
        // The text is there twice, as it is and as a pattern.
        let bytes = |name: &Name| size_of::<Name>() + 2 * name.text.len() + pattern(name);
        size_of::<Self>() + self.names().unwrap_or_default().iter().map(bytes).sum::<usize>()
    }

    /// Whether resource and verb are those of the rule.
    pub(super) fn is_about(&self, right: Right<'_>) -> bool {
        self.concerns(right.resource) && self.verbs & verb_bit(right.verb) != 0
    }

    pub(super) fn concerns(&self, resource: Resource) -> bool {
        self.resources & resource_bit(resource) != 0
    }

    fn cost(&self) -> usize {
        let names = self.names.as_deref().unwrap_or_default().iter();
        1 + names.map(|name| name.pattern.as_ref().map_or(1, Pattern::cost)).sum::<usize>()
    }

    fn names_it(&self, wanted: Wanted<'_>) -> bool {
        self.names.is_none() || self.name_for(wanted).is_some()
    }

    /// The first of its names that covers what is wanted.
    pub(super) fn name_for(&self, wanted: Wanted<'_>) -> Option<&Name> {
        let names = self.names.as_deref()?;
        match wanted.right.resource {
            Resource::RepositoryAccesses => {
                let path = wanted.path?;
                names.iter().find(|name| name.pattern.as_ref().is_some_and(|pattern| pattern.covers(path)))
            }
            Resource::Layers | Resource::ImageStreams | Resource::Images | Resource::Metrics => {
                let wanted = wanted.right.name?;
                names.iter().find(|name| *name.text == *wanted)
            }
        }
    }

    pub(super) fn names(&self) -> Option<&[Name]> {
        self.names.as_deref()
    }

    pub(super) fn verbs(&self) -> impl Iterator<Item = &'static str> {
        VERBS.into_iter().filter(|verb| self.verbs & verb_bit(*verb) != 0).map(Verb::as_str)
    }
}

impl Name {
    /// Whether this resource takes patterns and this is none.
    pub(super) fn is_unreadable(&self, resource: Resource) -> bool {
        resource == Resource::RepositoryAccesses && self.pattern.is_none()
    }
}

const fn resource_bit(resource: Resource) -> u8 {
    1 << resource as u8
}

const fn verb_bit(verb: Verb) -> u8 {
    1 << verb as u8
}

/// What of the rules concerns us, and what in that is odd. `namespace` is that of a Role.
pub(super) fn compile(rules: &[PolicyRule], namespace: Option<&str>) -> (Option<Role>, Vec<RoleProblem>) {
    let mut compiler = Compiler { namespace, names: 0, steps: 0, extra_bytes: 0, problems: Vec::new() };
    let rules: Box<[Rule]> = rules.iter().filter_map(|rule| compiler.rule(rule)).collect();
    let cost = rules.iter().map(Rule::cost).sum();
    let mut print = DefaultHasher::new();
    rules.iter().for_each(|rule| rule.hash(&mut print));
    ((!rules.is_empty()).then_some(Role { rules, cost, print: print.finish() }), compiler.problems)
}

struct Compiler<'a> {
    namespace: Option<&'a str>,
    names: usize,
    steps: usize,
    extra_bytes: usize,
    problems: Vec<RoleProblem>,
}

impl Compiler<'_> {
    fn rule(&mut self, rule: &PolicyRule) -> Option<Rule> {
        self.look_for_traps(rule);
        let resources = RESOURCES.into_iter().filter(|resource| includes(rule, *resource));
        let resources = resources.fold(0, |bits, resource| bits | resource_bit(resource));
        let verbs = VERBS.into_iter().filter(|verb| rule.verbs.iter().any(|text| text == "*" || text == verb.as_str()));
        let verbs = verbs.fold(0, |bits, verb| bits | verb_bit(verb));
        if resources == 0 || verbs == 0 {
            return None;
        }
        let patterns = resources & resource_bit(Resource::RepositoryAccesses) != 0;
        // A name that is left out matches nothing; only a rule that never had names is about all.
        let names = (!rule.resource_names.is_empty())
            .then(|| rule.resource_names.iter().filter_map(|text| self.name(text, patterns)).collect());
        Some(Rule { resources, verbs, names })
    }

    fn name(&mut self, text: &str, is_pattern: bool) -> Option<Name> {
        self.names += 1;
        if self.names > NAMES_MAX {
            self.problem(text, format!("a role may have {NAMES_MAX} resourceNames, this and later ones are ignored"));
            return None;
        }
        // What is longer names nothing that exists, and would only take room.
        let kept = if text.len() > PATTERN_BYTES_MAX { "" } else { text };
        let pattern = if is_pattern { self.pattern(text) } else { None };
        (pattern.is_some() || !kept.is_empty()).then(|| Name { text: kept.into(), pattern })
    }

    fn pattern(&mut self, text: &str) -> Option<Pattern> {
        if let Some(problem) = Pattern::problem(text, self.namespace) {
            self.problem(text, problem);
        }
        let pattern = Pattern::parse(text).ok()?;
        let (steps, extra_bytes) = (pattern.steps(), pattern.extra_bytes());
        if steps > STEPS_MAX - self.steps || extra_bytes > EXTRA_BYTES_MAX - self.extra_bytes {
            self.problem(text, "the patterns of this role are too many for one role, it matches nothing".into());
            return None;
        }
        self.steps += steps;
        self.extra_bytes += extra_bytes;
        Some(pattern)
    }

    /// Rules that look as if they concerned us and do not.
    fn look_for_traps(&mut self, rule: &PolicyRule) {
        for text in rule.resources.iter().filter(|text| *text == "imagestreams/*") {
            self.problem(text, "rules know no such form, write \"imagestreams/layers\"".into());
        }
    }

    fn problem(&mut self, entry: &str, text: String) {
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(RoleProblem { entry: entry.chars().take(ENTRY_CHARS_MAX).collect(), text });
        }
    }
}

/// Whether API group and resource of a rule include ours, by the rules of RBAC: `*` is everything, `*/sub` a
/// sub-resource of everything, all else exact.
fn includes(rule: &PolicyRule, resource: Resource) -> bool {
    let name = resource.as_str();
    let sub_resource = name.split_once('/').map(|(_, sub)| sub);
    rule.api_groups.iter().any(|group| group == "*" || resource.groups().contains(&group.as_str()))
        && rule.resources.iter().any(|text| {
            text == "*" || text == name || sub_resource.is_some_and(|sub| text.strip_prefix("*/") == Some(sub))
        })
}
