//! The rules themselves, and the caller that headers name by them.

use std::collections::BTreeMap;
use std::fmt;
use std::time::SystemTime;

use access::{Caller, Source};
use http::header::{HeaderMap, HeaderName, HeaderValue};
use net::{AuthoritiesError, ClientAuthorities, ClientCertificate};
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use thiserror::Error;

use crate::subject::{ANONYMOUS_USER, AUTHENTICATED_GROUP, UNAUTHENTICATED_GROUP};

/// Groups of a caller, and values of its further attributes.
const VALUES_MAX: usize = 1_000;

/// Why headers that name a caller are not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Forged {
    /// The client showed no certificate.
    #[error("headers name a user, but the client has no certificate")]
    NoCertificate,
    /// The certificate is not one of the front proxy's authority, or not valid now.
    #[error("headers name a user, but the certificate of the client is not the front proxy's")]
    Unknown,
    /// The authority knows the certificate, but its name is not one of the front proxy's.
    #[error("headers name a user, but the certificate of the client has another name than the front proxy's")]
    Name,
    /// More groups or attributes than anybody has.
    #[error("headers name a user with more than {VALUES_MAX} groups or attributes")]
    TooMany,
    /// A header is not UTF-8.
    #[error("headers name a user in something else than UTF-8")]
    Text,
}

/// Why the ConfigMap cannot be used.
#[derive(Debug, Error)]
pub(super) enum Unusable {
    #[error("requestheader-client-ca-file: {0}")]
    Authorities(#[source] AuthoritiesError),
    #[error("{key} is no list of texts in JSON")]
    List { key: &'static str },
}

/// The data of the ConfigMap, as far as it concerns headers. Lists are JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct Data {
    #[serde(rename = "requestheader-client-ca-file")]
    pub(super) authorities: String,
    #[serde(rename = "requestheader-allowed-names")]
    pub(super) allowed_names: String,
    #[serde(rename = "requestheader-username-headers")]
    pub(super) users: String,
    #[serde(rename = "requestheader-uid-headers")]
    pub(super) uids: String,
    #[serde(rename = "requestheader-group-headers")]
    pub(super) groups: String,
    #[serde(rename = "requestheader-extra-headers-prefix")]
    pub(super) extra_prefixes: String,
}

/// By which certificates the front proxy is known, and by which headers it names a caller.
#[derive(Clone)]
pub struct Trust {
    /// All of it as the ConfigMap says it.
    said: Data,
    /// Authorities for the certificate of the proxy.
    pub authorities: ClientAuthorities,
    /// Common names of the proxy; with none of them, any.
    pub allowed_names: Vec<String>,
    /// Headers with the name of the user; the first that has a value counts.
    pub user_headers: Vec<HeaderName>,
    /// Headers with its UID; the first that has a value counts.
    pub uid_headers: Vec<HeaderName>,
    /// Headers with its groups; all count.
    pub group_headers: Vec<HeaderName>,
    /// Beginnings of the names of headers with further attributes, in lower case.
    pub extra_prefixes: Vec<String>,
}

impl Trust {
    /// What the ConfigMap says; `None` if it names no front proxy.
    pub(super) fn read(data: &Data) -> Result<Option<Self>, Unusable> {
        if data.authorities.trim().is_empty() {
            return Ok(None);
        }
        let prefixes = list("requestheader-extra-headers-prefix", &data.extra_prefixes)?;
        Ok(Some(Self {
            authorities: ClientAuthorities::from_pem(data.authorities.as_bytes()).map_err(Unusable::Authorities)?,
            said: data.clone(),
            allowed_names: list("requestheader-allowed-names", &data.allowed_names)?,
            user_headers: names("requestheader-username-headers", &data.users)?,
            uid_headers: names("requestheader-uid-headers", &data.uids)?,
            group_headers: names("requestheader-group-headers", &data.groups)?,
            // An empty one would make every header an attribute.
            extra_prefixes: prefixes
                .iter()
                .map(|prefix| prefix.trim().to_ascii_lowercase())
                .filter(|prefix| !prefix.is_empty())
                .collect(),
        }))
    }

    /// The caller that the headers name; `None` if they name nobody.
    ///
    /// # Errors
    /// When there are such headers and the client is not the front proxy. They are the proxy's alone: from anybody else the
    /// request is to be refused, whatever other credentials it has.
    pub fn caller(
        &self,
        certificate: Option<&ClientCertificate>,
        headers: &HeaderMap,
    ) -> Result<Option<Caller>, Forged> {
        if !headers.keys().any(|name| self.is_ours(name)) {
            return Ok(None);
        }
        self.is_proxy(certificate.ok_or(Forged::NoCertificate)?)?;
        let Some(user) = first(headers, &self.user_headers)? else { return Ok(None) };
        if user == ANONYMOUS_USER {
            return Ok(Some(Caller::anonymous()));
        }
        let mut groups = self.groups(headers)?;
        if !groups.iter().any(|group| [AUTHENTICATED_GROUP, UNAUTHENTICATED_GROUP].contains(group)) {
            groups.push(AUTHENTICATED_GROUP);
        }
        Ok(Some(
            Caller::named(user, Source::Cluster)
                .with_groups(groups)
                .with_uid(first(headers, &self.uid_headers)?.unwrap_or_default())
                .with_extra(self.extra(headers)?),
        ))
    }

    fn is_proxy(&self, certificate: &ClientCertificate) -> Result<(), Forged> {
        if !self.authorities.vouches_for(certificate, SystemTime::now()) {
            return Err(Forged::Unknown);
        }
        let name = certificate.common_name.as_ref();
        if self.allowed_names.is_empty() || name.is_some_and(|name| self.allowed_names.contains(name)) {
            Ok(())
        } else {
            Err(Forged::Name)
        }
    }

    /// Whether the header is one by which the proxy describes a caller.
    fn is_ours(&self, name: &HeaderName) -> bool {
        [&self.user_headers, &self.uid_headers, &self.group_headers].into_iter().any(|names| names.contains(name))
            || self.extra_prefixes.iter().any(|prefix| name.as_str().starts_with(prefix.as_str()))
    }

    fn groups<'a>(&self, headers: &'a HeaderMap) -> Result<Vec<&'a str>, Forged> {
        let mut groups = Vec::new();
        for value in self.group_headers.iter().flat_map(|name| headers.get_all(name)) {
            let group = text(value)?;
            if group.is_empty() {
                continue;
            }
            if groups.len() == VALUES_MAX {
                return Err(Forged::TooMany);
            }
            groups.push(group);
        }
        Ok(groups)
    }

    fn extra(&self, headers: &HeaderMap) -> Result<BTreeMap<String, Vec<String>>, Forged> {
        let mut extra = BTreeMap::<_, Vec<_>>::new();
        let mut values = 0;
        for prefix in &self.extra_prefixes {
            for (name, value) in headers {
                let Some(key) = name.as_str().strip_prefix(prefix.as_str()) else { continue };
                if values == VALUES_MAX {
                    return Err(Forged::TooMany);
                }
                values += 1;
                extra.entry(decoded(key)).or_default().push(text(value)?.to_owned());
            }
        }
        Ok(extra)
    }
}

impl PartialEq for Trust {
    fn eq(&self, other: &Self) -> bool {
        self.said == other.said
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trust")
            .field("authorities", &self.authorities)
            .field("allowed_names", &self.allowed_names)
            .field("user_headers", &self.user_headers)
            .finish_non_exhaustive()
    }
}

fn list(key: &'static str, json: &str) -> Result<Vec<String>, Unusable> {
    if json.is_empty() {
        return Ok(Vec::new());
    }
    let read: Option<Vec<String>> = serde_json::from_str(json).map_err(|_| Unusable::List { key })?;
    Ok(read.unwrap_or_default())
}

/// What is no name of a header is never met.
fn names(key: &'static str, json: &str) -> Result<Vec<HeaderName>, Unusable> {
    let names = list(key, json)?;
    Ok(names.iter().filter_map(|name| HeaderName::from_bytes(name.trim().as_bytes()).ok()).collect())
}

fn text(value: &HeaderValue) -> Result<&str, Forged> {
    std::str::from_utf8(value.as_bytes()).map_err(|_| Forged::Text)
}

/// The first value that is not empty. Of several headers of the same name, the first counts.
fn first<'a>(headers: &'a HeaderMap, names: &[HeaderName]) -> Result<Option<&'a str>, Forged> {
    for value in names.iter().filter_map(|name| headers.get(name)) {
        let value = text(value)?;
        if !value.is_empty() {
            return Ok(Some(value));
        }
    }
    Ok(None)
}

/// A key of an attribute: names of headers have no case, so capitals and what else no name may contain are written as
/// codes. What cannot be decoded stays as it is, as in the API server.
fn decoded(key: &str) -> String {
    percent_decode_str(key).decode_utf8().map_or_else(|_| key.to_owned(), Into::into)
}

#[cfg(test)]
mod tests;
