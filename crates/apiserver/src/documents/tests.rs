use serde_json::json;

use super::*;
use crate::testing::read;

fn with(name: header::HeaderName, value: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(name, value.parse().unwrap());
    headers
}

#[tokio::test]
async fn a_document_that_the_client_has_is_not_sent_again() {
    let document = Document::new(&json!({ "a": "b".repeat(2_000) }));
    let first = read(document.answer("application/json", &HeaderMap::new(), Encoding::default())).await;
    let tag = first.header(header::ETAG).to_owned();
    assert_eq!(tag, format!("\"{}\"", document.hash()));
    for (known, status) in [
        (tag.clone(), 304),
        (format!("W/{tag}"), 304),
        (format!("\"other\", {tag}"), 304),
        ("*".to_owned(), 304),
        ("\"other\"".to_owned(), 200),
        (document.hash().to_owned(), 200),
    ] {
        let headers = with(header::IF_NONE_MATCH, &known);
        let answer = read(document.answer("application/json", &headers, Encoding { gzip: true })).await;
        assert_eq!((answer.status.as_u16(), answer.header(header::ETAG)), (status, tag.as_str()), "{known}");
        assert_eq!(answer.body.is_empty(), status == 304);
    }
}

#[tokio::test]
async fn the_packed_form_is_the_same_document() {
    let document = Document::new(&json!({ "a": "b".repeat(2_000) }));
    let packed = document.answer("application/json", &HeaderMap::new(), Encoding { gzip: true });
    assert_eq!(packed.headers()[header::CONTENT_ENCODING], "gzip");
    assert_eq!(read(packed).await.body, document.bytes());
}
