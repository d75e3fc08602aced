//! What S3's requests and answers look like from outside.

use crate::http::Dialect;
use crate::requests::Request;
use object_store::client::HttpRequest;

pub(super) const S3: Dialect = Dialect { mark: "x-amz-request-id", classify };

fn classify(request: &HttpRequest) -> Request {
    let query = request.uri().query().unwrap_or_default();
    let has = |name: &str| query.split('&').any(|pair| pair.split('=').next() == Some(name));
    let is_copy = request.headers().contains_key("x-amz-copy-source");
    match request.method().as_str() {
        "HEAD" => Request::Head,
        "PUT" if is_copy => Request::Copy,
        "PUT" if has("uploadId") => Request::Part,
        "PUT" => Request::Put,
        "POST" if has("uploads") => Request::Create,
        "POST" if has("uploadId") => Request::Complete,
        "POST" => Request::DeleteMany,
        "DELETE" if has("uploadId") => Request::Abort,
        "DELETE" => Request::Delete,
        _ if has("list-type") => Request::List,
        _ if has("uploads") || has("uploadId") => Request::Unfinished,
        _ => Request::Get,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::told_apart;

    #[test]
    fn requests_are_told_apart() {
        told_apart(
            classify,
            &[
                ("HEAD", "/b/k", Request::Head),
                ("GET", "/b/k", Request::Get),
                ("GET", "/b?delimiter=/&list-type=2", Request::List),
                ("GET", "/b?uploads=&prefix=x", Request::Unfinished),
                ("PUT", "/b/k", Request::Put),
                ("PUT", "/b/k?partNumber=1&uploadId=x", Request::Part),
                ("POST", "/b/k?uploads=", Request::Create),
                ("POST", "/b/k?uploadId=x", Request::Complete),
                ("POST", "/b?delete", Request::DeleteMany),
                ("DELETE", "/b/k?uploadId=x", Request::Abort),
                ("DELETE", "/b/k", Request::Delete),
            ],
        );
    }
}
