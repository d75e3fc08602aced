//! What the service's requests look like from outside.

use crate::http::Dialect;
use crate::requests::Request;
use object_store::client::HttpRequest;

pub(super) const GCS: Dialect = Dialect { mark: "x-guploader-uploadid", classify };

fn classify(request: &HttpRequest) -> Request {
    let (path, query) = (request.uri().path(), request.uri().query().unwrap_or_default());
    let has = |pair: &str| query.split('&').any(|one| one == pair);
    match request.method().as_str() {
        "POST" if has("uploadType=media") => Request::Part,
        "POST" if has("uploadType=multipart") => Request::Put,
        "POST" if path.ends_with("/compose") => Request::Complete,
        "POST" => Request::Copy,
        "DELETE" => Request::Delete,
        // An object's name is one segment, so that no name looks like this.
        _ if path.starts_with("/storage/v1/b/") && path.ends_with("/o") => Request::List,
        _ if path.starts_with("/storage/v1/b/") => Request::Head,
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
                ("GET", "/storage/v1/b/images/o?prefix=x%2F", Request::List),
                ("GET", "/storage/v1/b/images/o/a%2Fo?fields=size", Request::Head),
                ("GET", "/images/a/o", Request::Get),
                ("POST", "/upload/storage/v1/b/images/o?uploadType=multipart&ifGenerationMatch=0", Request::Put),
                ("POST", "/upload/storage/v1/b/images/o?uploadType=media&name=x", Request::Part),
                ("POST", "/storage/v1/b/images/o/a/compose", Request::Complete),
                ("POST", "/storage/v1/b/images/o/a/rewriteTo/b/images/o/b", Request::Copy),
                ("DELETE", "/storage/v1/b/images/o/a", Request::Delete),
            ],
        );
    }
}
