//! What Swift's requests and answers look like from outside.

use super::segments;
use crate::http::Dialect;
use crate::requests::Request;
use object_store::client::HttpRequest;

pub(super) const SWIFT: Dialect = Dialect { mark: "x-trans-id", classify };

fn classify(request: &HttpRequest) -> Request {
    let (path, query) = (request.uri().path(), request.uri().query().unwrap_or_default());
    let has = |name: &str| query.split('&').any(|pair| pair.split('=').next() == Some(name));
    match request.method().as_str() {
        "HEAD" => Request::Head,
        "PUT" if request.headers().contains_key(super::calls::COPY_FROM) => Request::Copy,
        "PUT" if has("multipart-manifest") => Request::Complete,
        "PUT" if path.contains(segments::NOTES) => Request::Create,
        "PUT" if path.contains(segments::OURS) => Request::Part,
        "PUT" => Request::Put,
        "POST" if has("bulk-delete") => Request::DeleteMany,
        "POST" => Request::Put,
        "DELETE" => Request::Delete,
        _ if has("format") && query.contains(segments::NOTES) => Request::Unfinished,
        _ if has("format") => Request::List,
        _ => Request::Get,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::told_apart;
    use object_store::client::HttpRequestBody;

    #[test]
    fn requests_are_told_apart() {
        told_apart(
            classify,
            &[
                ("HEAD", "/v1/A/c/k", Request::Head),
                ("GET", "/v1/A/c/k", Request::Get),
                ("GET", "/v1/A/c?format=json&prefix=files/", Request::List),
                ("GET", "/v1/A/c?format=json&prefix=segments/homeport-unfinished/x", Request::Unfinished),
                ("PUT", "/v1/A/c/files/k", Request::Put),
                ("PUT", "/v1/A/c/segments/homeport/1/2", Request::Part),
                ("PUT", "/v1/A/c/segments/homeport-unfinished/files/k/1", Request::Create),
                ("PUT", "/v1/A/c/files/k?multipart-manifest=put", Request::Complete),
                ("POST", "/v1/A?bulk-delete=", Request::DeleteMany),
                ("DELETE", "/v1/A/c/k", Request::Delete),
            ],
        );
        let copy = http::Request::builder().method("PUT").uri("http://host/v1/A/c/k").header("x-copy-from", "/c/j");
        assert_eq!(classify(&copy.body(HttpRequestBody::empty()).unwrap()), Request::Copy);
    }
}
