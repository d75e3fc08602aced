//! What Azure's requests and answers look like from outside.

use super::place::has;
use crate::http::Dialect;
use crate::requests::Request;
use object_store::client::HttpRequest;

pub(super) const AZURE: Dialect = Dialect { mark: "x-ms-request-id", classify };

fn classify(request: &HttpRequest) -> Request {
    let query = request.uri().query().unwrap_or_default();
    let comp = |value: &str| has(query, "comp", value);
    let is_copy = request.headers().contains_key("x-ms-copy-source");
    match request.method().as_str() {
        "HEAD" => Request::Head,
        "PUT" if is_copy => Request::Copy,
        "PUT" if comp("block") || comp("appendblock") => Request::Part,
        "PUT" if comp("blocklist") => Request::Complete,
        "PUT" => Request::Put,
        "DELETE" => Request::Delete,
        _ if comp("list") => Request::List,
        _ => Request::Get,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use object_store::client::HttpRequestBody;

    #[test]
    fn requests_are_told_apart() {
        for (method, target, copy, expected) in [
            ("HEAD", "/c/k", false, Request::Head),
            ("GET", "/c/k", false, Request::Get),
            ("GET", "/c?restype=container&comp=list&prefix=x", false, Request::List),
            ("PUT", "/c/k", false, Request::Put),
            ("PUT", "/c/k?comp=block&blockid=x", false, Request::Part),
            ("PUT", "/c/k?comp=block&blockid=x", true, Request::Copy),
            ("PUT", "/c/k", true, Request::Copy),
            ("PUT", "/c/k?comp=blocklist", false, Request::Complete),
            ("DELETE", "/c/k", false, Request::Delete),
            ("POST", "/?restype=service&comp=userdelegationkey", false, Request::Get),
        ] {
            let mut request = http::Request::builder().method(method).uri(format!("http://host{target}"));
            if copy {
                request = request.header("x-ms-copy-source", "x");
            }
            let request = request.body(HttpRequestBody::empty()).unwrap();
            assert_eq!(classify(&request), expected, "{method} {target}");
        }
    }
}
