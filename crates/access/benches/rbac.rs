//! What a decision costs in a large cluster: 10,000 RoleBindings in 2,000 namespaces and 200 ClusterRoleBindings.
//!
//! `cargo bench -p access`. Before the figures of criterion it prints the memory that the index takes.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use access::{
    Action, Authorizer, Binding, BindingKey, Caller, ClusterPolicy, ClusterRules, Decision, EveryNamespaceExists,
    PolicyRule, Rbac, Reach, Reply, RoleKey, Source, Subject, Target,
};
use criterion::Criterion;

const NAMESPACES: usize = 2000;
const BINDINGS_PER_NAMESPACE: usize = 5;
const CLUSTER_BINDINGS: usize = 200;

/// An API server that always answers.
struct Near;

impl Reach for Near {
    fn away_for(&self) -> Option<Duration> {
        None
    }
}

fn rule(verbs: &[&str], names: &[&str]) -> PolicyRule {
    let texts = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect();
    PolicyRule {
        api_groups: texts(&["payload-registry.deckhouse.io"]),
        resources: texts(&["payloadrepositoryaccesses"]),
        verbs: texts(verbs),
        resource_names: texts(names),
    }
}

fn namespace(number: usize) -> String {
    format!("team-{number}-production")
}

fn service_account(number: usize, account: usize) -> String {
    format!("system:serviceaccount:{}:deployer-{account}", namespace(number))
}

/// Five subjects in each namespace, each with a Role of its own.
fn fill(rbac: &Rbac) {
    let patterns: [&[&str]; BINDINGS_PER_NAMESPACE] = [
        &["frontend/**"],
        &["backend/api-*", "backend/worker-?"],
        &["{web,api}/**", "tools/*"],
        &["**/release", "base/[a-m]*/image"],
        &[],
    ];
    for number in 0..NAMESPACES {
        for (account, names) in patterns.iter().enumerate() {
            let (namespace, name) = (Some(namespace(number).into()), format!("registry-access-{account}"));
            let role = RoleKey { namespace: namespace.clone(), name: name.as_str().into() };
            rbac.apply_role(&role, &[rule(&["get", "create"], names)]);
            let subjects = match account {
                0 => vec![Subject::Group(format!("team-{number}-developers").into())],
                _ => vec![Subject::User(service_account(number, account).into())],
            };
            rbac.apply_binding(&Binding { key: BindingKey { namespace, name: name.into() }, role, subjects });
        }
    }
    for number in 0..CLUSTER_BINDINGS {
        let role = RoleKey { namespace: None, name: format!("platform-{number}").into() };
        rbac.apply_role(&role, &[rule(&["get"], &["platform/**"])]);
        let key = BindingKey { namespace: None, name: format!("platform-{number}").into() };
        let subjects = vec![Subject::Group(format!("platform-{number}").into())];
        rbac.apply_binding(&Binding { key, role, subjects });
    }
    rbac.set_complete();
}

/// Resident memory of this process in KiB, where the system tells.
fn resident_kib() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse().ok()
}

fn is_allowed(rules: &ClusterRules, caller: &Caller, repository: &str) -> bool {
    match rules.decide(black_box(caller), Action::Pull, Target::Repository(black_box(repository))) {
        Reply::Ready(decision) => matches!(decision, Decision::Allow),
        Reply::Pending(_) => false,
    }
}

/// The slowest decisions: criterion gives means, the promise is about one in a hundred.
fn print_percentiles(name: &str, decide: impl Fn(usize) -> bool) {
    const ROUNDS: usize = 200_000;
    let mut nanoseconds: Vec<u128> = (0..ROUNDS)
        .map(|round| {
            let start = Instant::now();
            black_box(decide(round));
            start.elapsed().as_nanos()
        })
        .collect();
    nanoseconds.sort_unstable();
    let at = |share: f64| nanoseconds.get((ROUNDS as f64 * share) as usize).copied().unwrap_or_default();
    println!("{name}: p50 {} ns, p99 {} ns, p99.9 {} ns", at(0.5), at(0.99), at(0.999));
}

struct Case {
    name: &'static str,
    caller: Caller,
    path: &'static str,
    granted: bool,
}

fn cases() -> Vec<Case> {
    let few = ["system:serviceaccounts", "system:serviceaccounts:team-7-production", "system:authenticated"];
    let account = |number: usize| Caller::named(&service_account(7, number), Source::Cluster).with_groups(few);
    // Half of the groups have bindings somewhere.
    let many = || {
        let elsewhere = (0..25).map(|number| format!("platform-{number}"));
        let nowhere = (0..24).map(|number| format!("oidc:department-{number}"));
        elsewhere.chain(nowhere)
    };
    let developer = Caller::named("alice@example.com", Source::Cluster);
    vec![
        Case { name: "service account, granted", caller: account(2), path: "web/shop/image", granted: true },
        Case { name: "service account, pattern, granted", caller: account(3), path: "a/b/c/release", granted: true },
        Case { name: "service account, denied", caller: account(3), path: "base/zoo/image", granted: false },
        Case { name: "stranger, denied", caller: account(9), path: "web/shop/image", granted: false },
        Case {
            name: "50 groups, granted by the last",
            caller: developer.clone().with_groups(many().chain(["team-7-developers".to_owned()])),
            path: "frontend/shop/image",
            granted: true,
        },
        Case {
            name: "50 groups, denied",
            caller: developer.with_groups(many().chain(["oidc:last".to_owned()])),
            path: "frontend/shop/image",
            granted: false,
        },
    ]
}

fn main() {
    let before = resident_kib();
    let start = Instant::now();
    let rbac = Arc::new(Rbac::new());
    fill(&rbac);
    println!("filled in {} ms", start.elapsed().as_millis());
    if let (Some(before), Some(after)) = (before, resident_kib()) {
        println!("memory of the index: {} KiB", after.saturating_sub(before));
    }
    let policy = ClusterPolicy { stale_for: Duration::from_secs(600) };
    let rules = ClusterRules::new(rbac, Arc::new(EveryNamespaceExists::new()), Arc::new(Near), policy);
    let mut criterion = Criterion::default().configure_from_args();
    for Case { name, caller, path, granted } in cases() {
        let repositories: Vec<String> = (0..NAMESPACES).map(|number| format!("{}/{path}", namespace(number))).collect();
        let Some(own) = repositories.get(7) else { continue };
        assert_eq!(is_allowed(&rules, &caller, own), granted, "{name}");
        criterion.bench_function(name, |bencher| bencher.iter(|| is_allowed(&rules, &caller, own)));
        print_percentiles(name, |_| is_allowed(&rules, &caller, own));
        // Through all namespaces, so that nothing of the index stays in the processor's caches.
        print_percentiles("  any namespace", |round| {
            let spread = round * 997 % NAMESPACES;
            repositories.get(spread).is_some_and(|repository| is_allowed(&rules, &caller, repository))
        });
    }
    criterion.final_summary();
}
