//! The Role and the binding that would grant what is missing.

use access::Action;
use serde_json::Value;

use super::question::{Question, Subject};

const SLUG_BYTES_MAX: usize = 100;

/// As YAML for `kubectl apply`.
pub(super) fn yaml(question: &Question) -> String {
    // Who pushes also looks for what is there already.
    let (word, verbs) = match question.action {
        Action::Push => ("push", "get, create"),
        Action::Delete => ("delete", "get, delete"),
        _ => ("pull", "get"),
    };
    let name = quoted(&format!("{word}-{}", slug(&question.path)));
    let namespace = quoted(&question.namespace);
    format!(
        "apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {{name: {name}, namespace: {namespace}}}
rules:
  - apiGroups: [payload-registry.deckhouse.io]
    resources: [payloadrepositoryaccesses]
    resourceNames: [{path}]
    verbs: [{verbs}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {{name: {name}, namespace: {namespace}}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: {name}}}
subjects:
  - {subject}
",
        path = quoted(&question.path),
        subject = subject(&question.subject),
    )
}

fn subject(subject: &Subject) -> String {
    let named = |kind: &str, name: &str| {
        format!("{{apiGroup: rbac.authorization.k8s.io, kind: {kind}, name: {}}}", quoted(name))
    };
    match subject {
        Subject::User(name) => named("User", name),
        Subject::Anonymous => named("Group", "system:unauthenticated"),
        Subject::ServiceAccount { namespace, name } => {
            format!("{{kind: ServiceAccount, name: {}, namespace: {}}}", quoted(name), quoted(namespace))
        }
    }
}

/// A path as part of a name.
fn slug(path: &str) -> String {
    path.chars().take(SLUG_BYTES_MAX).map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect()
}

/// A text in JSON is the same text in YAML.
fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}
