//! Documents that are made once, when the process starts, and served from memory.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use net::Body;
use ring::digest::{SHA256, digest};
use serde_json::Value;

use crate::respond::{self, Encoding};
use crate::{discovery, openapi};

/// A document, its hash, and the packed form for clients that take it.
pub(crate) struct Document {
    bytes: Bytes,
    packed: Option<Bytes>,
    /// In upper-case hexadecimal, as Kubernetes writes it.
    hash: String,
}

impl Document {
    pub(crate) fn new(value: &Value) -> Self {
        let text = value.to_string();
        let hash = data_encoding::HEXUPPER.encode(digest(&SHA256, text.as_bytes()).as_ref());
        let packed = respond::packed(text.as_bytes());
        Self { bytes: text.into(), packed, hash }
    }

    pub(crate) fn hash(&self) -> &str {
        &self.hash
    }

    #[cfg(test)]
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The document, or 304 when the client has it.
    pub(crate) fn answer(&self, media_type: &'static str, headers: &HeaderMap, encoding: Encoding) -> Response<Body> {
        let tag = format!("\"{}\"", self.hash);
        let mut response = if is_known(headers, &tag) {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            response.headers_mut().insert(header::VARY, HeaderValue::from_static(respond::VARY));
            response
        } else {
            let packed = self.packed.clone().filter(|_| encoding.gzip);
            let is_packed = packed.is_some();
            respond::head(
                StatusCode::OK,
                media_type,
                Body::full(packed.unwrap_or_else(|| self.bytes.clone())),
                is_packed,
            )
        };
        // Hexadecimal in quotes is a header value.
        if let Ok(tag) = HeaderValue::from_str(&tag) {
            response.headers_mut().insert(header::ETAG, tag);
        }
        response
    }
}

/// Whether `If-None-Match` names the tag. A tag that was weakened on the way is the same document.
fn is_known(headers: &HeaderMap, tag: &str) -> bool {
    let lines = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    lines
        .flat_map(|line| line.split(','))
        .map(str::trim)
        .any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag)
}

/// All documents of the API.
pub(crate) struct Documents {
    pub(crate) root: Document,
    pub(crate) version: Document,
    pub(crate) core: Document,
    pub(crate) groups: Document,
    pub(crate) group: Document,
    pub(crate) resources: Document,
    pub(crate) aggregated_v2: Document,
    pub(crate) aggregated_v2beta1: Document,
    pub(crate) openapi_v2: Document,
    pub(crate) openapi_v3: Document,
    pub(crate) openapi_v3_group: Document,
}

impl Documents {
    /// `version` is that of the program.
    pub(crate) fn new(version: &str) -> Self {
        let openapi_v3_group = Document::new(&openapi::v3(version));
        Self {
            root: Document::new(&discovery::paths()),
            version: Document::new(&discovery::version(version)),
            core: Document::new(&discovery::core()),
            groups: Document::new(&discovery::groups()),
            group: Document::new(&discovery::group()),
            resources: Document::new(&discovery::resources()),
            aggregated_v2: Document::new(&discovery::aggregated("v2")),
            aggregated_v2beta1: Document::new(&discovery::aggregated("v2beta1")),
            openapi_v2: Document::new(&openapi::v2(version)),
            openapi_v3: Document::new(&openapi::v3_root(openapi_v3_group.hash())),
            openapi_v3_group,
        }
    }
}

#[cfg(test)]
mod tests;
