//! A caller as headers that ask in its name.

use std::fmt::Write as _;

use access::Caller;
use http::header::{HeaderName, HeaderValue};
use http::{HeaderMap, Request};

use crate::call::ApiError;
use crate::subject::Attributes;

/// The same request in the name of the caller.
pub(super) fn impersonate(mut request: Request<Vec<u8>>, caller: &Caller) -> Result<Request<Vec<u8>>, ApiError> {
    let Attributes { user, groups, uid, extra } = Attributes::of(caller);
    let headers = request.headers_mut();
    add(headers, HeaderName::from_static("impersonate-user"), user)?;
    for group in groups {
        add(headers, HeaderName::from_static("impersonate-group"), group)?;
    }
    if !uid.is_empty() {
        add(headers, HeaderName::from_static("impersonate-uid"), uid)?;
    }
    for (key, values) in extra {
        let name = HeaderName::try_from(format!("impersonate-extra-{}", escape(key))).map_err(|_| unusable())?;
        for value in values {
            add(headers, name.clone(), value)?;
        }
    }
    Ok(request)
}

fn add(headers: &mut HeaderMap, name: HeaderName, value: &str) -> Result<(), ApiError> {
    let value = HeaderValue::from_bytes(value.as_bytes()).map_err(|_| unusable())?;
    headers.try_append(name, value).map(|_| ()).map_err(|_| unusable())
}

fn unusable() -> ApiError {
    ApiError::unavailable("the caller's name, groups or attributes cannot be put into headers")
}

/// A key as part of a header's name. Header names have no case, so capitals are written as codes, too.
fn escape(key: &str) -> String {
    let mut text = String::with_capacity(key.len());
    for byte in key.bytes() {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' => text.push(char::from(byte)),
            _ => {
                let _ = write!(text, "%{byte:02x}");
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use access::Source;

    use super::*;

    fn headers(caller: &Caller) -> Vec<(String, String)> {
        let request = impersonate(Request::new(Vec::new()), caller).unwrap();
        let pair = |(name, value): (&HeaderName, &HeaderValue)| {
            (name.to_string(), String::from_utf8(value.as_bytes().to_vec()).unwrap())
        };
        let mut headers: Vec<_> = request.headers().iter().map(pair).collect();
        headers.sort();
        headers
    }

    #[test]
    fn headers_name_the_whole_caller() {
        let extra = [("Example.com/scopes".to_owned(), vec!["JTI=1".to_owned()])];
        let caller = Caller::named("system:serviceaccount:shop:ci", Source::Cluster)
            .with_groups(["system:authenticated", "b\u{fc}ro"])
            .with_uid("7")
            .with_extra(extra.into());
        let expected = [
            ("impersonate-user", "system:serviceaccount:shop:ci"),
            ("impersonate-group", "system:authenticated"),
            ("impersonate-group", "b\u{fc}ro"),
            ("impersonate-uid", "7"),
            ("impersonate-extra-%45xample.com%2fscopes", "JTI=1"),
        ];
        let mut expected: Vec<_> = expected.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        expected.sort();
        assert_eq!(headers(&caller), expected);
    }

    #[test]
    fn a_name_cannot_add_headers() {
        let caller = Caller::named("a\r\nimpersonate-group: system:masters", Source::Cluster);
        assert!(impersonate(Request::new(Vec::new()), &caller).is_err());
        let group = Caller::named("a", Source::Cluster).with_groups(["x\ny"]);
        assert!(impersonate(Request::new(Vec::new()), &group).is_err());
    }
}
