//! Objects of the API, as far as they are needed here: what is not read costs no memory.

use std::fmt;

use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Deserializer};

/// Metadata of an object.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Meta {
    /// The name.
    pub name: String,
    /// The namespace; empty for objects of the whole cluster.
    pub namespace: String,
    /// The UID.
    pub uid: String,
    /// The version of the object.
    pub resource_version: String,
    /// Whether the object is being deleted.
    #[serde(rename = "deletionTimestamp", deserialize_with = "is_set")]
    pub deleting: bool,
}

fn is_set<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    Ok(Option::<IgnoredAny>::deserialize(deserializer)?.is_some())
}

/// A part of an object that may be something else than expected: then it is absent, and the rest of the object, of the
/// list and of the watch can still be read.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Lenient<T> {
    /// As expected; a missing part or `null` is the default.
    Read(T),
    /// Something else, and why.
    Odd(String),
}

impl<T: Default> Default for Lenient<T> {
    fn default() -> Self {
        Self::Read(T::default())
    }
}

impl<T: fmt::Debug> fmt::Debug for Lenient<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(value) => value.fmt(f),
            Self::Odd(why) => write!(f, "odd: {why}"),
        }
    }
}

impl<'de, T: DeserializeOwned + Default> Deserialize<'de> for Lenient<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = serde_json::Value::deserialize(deserializer)?;
        Ok(match Option::<T>::deserialize(value) {
            Ok(value) => Self::Read(value.unwrap_or_default()),
            Err(error) => Self::Odd(error.to_string()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_read_and_the_rest_is_not() {
        let meta: Meta = serde_json::from_str(
            r#"{"name":"a","uid":"u","resourceVersion":"7","managedFields":[{"x":1}],"labels":null,
                "deletionTimestamp":"2026-01-01T00:00:00Z"}"#,
        )
        .unwrap();
        assert_eq!((meta.name.as_str(), meta.namespace.as_str(), meta.resource_version.as_str()), ("a", "", "7"));
        assert!(meta.deleting);
        assert!(!serde_json::from_str::<Meta>(r#"{"deletionTimestamp":null}"#).unwrap().deleting);
    }

    #[test]
    fn odd_parts_do_not_spoil_the_rest() {
        #[derive(Debug, Deserialize)]
        struct Part {
            #[serde(default)]
            rules: Lenient<Vec<u8>>,
        }
        let rules = |text: &str| serde_json::from_str::<Part>(text).unwrap().rules;
        assert_eq!(rules("{}"), Lenient::Read(vec![]));
        assert_eq!(rules(r#"{"rules":null}"#), Lenient::Read(vec![]));
        assert_eq!(rules(r#"{"rules":[1,2]}"#), Lenient::Read(vec![1, 2]));
        for odd in [r#"{"rules":"x"}"#, r#"{"rules":[1,"x"]}"#, r#"{"rules":{"a":[]}}"#] {
            assert!(matches!(rules(odd), Lenient::Odd(_)), "{odd}");
        }
    }
}
