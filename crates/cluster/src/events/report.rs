//! What is reported.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

/// What a report is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Regarding {
    /// Such as `v1`.
    pub api_version: String,
    /// Such as `Secret`.
    pub kind: String,
    /// `None` for objects of the whole cluster.
    pub namespace: Option<String>,
    /// The name.
    pub name: String,
    /// The UID.
    pub uid: String,
    /// The version of the object, if the report is about this one: another version is another report.
    pub resource_version: Option<String>,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// For information.
    Normal,
    /// Somebody should do something.
    Warning,
}

/// One report. Equal reports are one Event with a count.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Report {
    /// What it is about.
    pub regarding: Regarding,
    /// How bad it is.
    pub kind: EventKind,
    /// A word in CamelCase.
    pub reason: &'static str,
    /// A sentence for people.
    pub message: String,
}

impl Report {
    /// Equal for equal reports on all replicas: who comes second is told that the Event exists.
    pub(super) fn number(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        hasher.finish()
    }

    pub(super) fn name(&self) -> String {
        format!("homeport-{:016x}", self.number())
    }

    /// Events about objects of the whole cluster are kept in `default`.
    pub(super) fn namespace(&self) -> &str {
        self.regarding.namespace.as_deref().unwrap_or("default")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(version: Option<&str>) -> Report {
        let regarding = Regarding {
            api_version: "v1".into(),
            kind: "Secret".into(),
            namespace: None,
            name: "a".into(),
            uid: "7".into(),
            resource_version: version.map(Into::into),
        };
        Report { regarding, kind: EventKind::Warning, reason: "Wrong", message: "wrong".into() }
    }

    #[test]
    fn equal_reports_have_one_name_and_others_another() {
        assert_eq!(report(Some("1")).name(), report(Some("1")).name());
        assert_ne!(report(Some("1")).name(), report(Some("2")).name());
        assert_ne!(report(None).name(), Report { message: "other".into(), ..report(None) }.name());
        assert_eq!((report(None).namespace(), report(None).name().len()), ("default", 25));
    }
}
