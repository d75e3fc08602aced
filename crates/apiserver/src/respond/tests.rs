use std::io::Read;
use std::task::Poll;

use flate2::read::GzDecoder;
use futures_util::{StreamExt, poll, stream as streams};
use http_body_util::BodyExt;

use super::*;
use crate::testing::{read, unpack};

const GZIP: Encoding = Encoding { gzip: true };

#[test]
fn gzip_is_used_when_the_client_takes_it() {
    for (value, expected) in [
        ("gzip", true),
        ("deflate, gzip;q=1.0, *;q=0.5", true),
        ("GZIP", true),
        ("gzip;q=0", false),
        ("gzip; q=0.0", false),
        ("br, gzipped", false),
        ("identity", false),
        ("", false),
    ] {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT_ENCODING, value.parse().unwrap());
        assert_eq!(Encoding::of(&headers), Encoding { gzip: expected }, "{value}");
    }
    assert_eq!(Encoding::of(&HeaderMap::new()), Encoding { gzip: false });
}

#[tokio::test]
async fn documents_are_packed_when_they_are_worth_it() {
    let (small, large) = (vec![0u8; 300], vec![b'7'; 4_000]);
    let plain = json(StatusCode::OK, &small, GZIP);
    assert!(!plain.headers().contains_key(header::CONTENT_ENCODING));
    assert_eq!(plain.body().length(), Some(602));
    let packed = json(StatusCode::OK, &large, GZIP);
    assert_eq!(packed.headers()[header::CONTENT_ENCODING], "gzip");
    assert!(packed.body().length().unwrap() < 200);
    let expected = serde_json::to_string(&large).unwrap() + "\n";
    assert_eq!(read(packed).await.text(), expected);
    assert_eq!(read(json(StatusCode::OK, &large, Encoding::default())).await.text(), expected);
}

/// Everything that has arrived so far can be read, although the stream goes on.
#[tokio::test]
async fn each_piece_of_a_packed_stream_can_be_read_when_it_comes() {
    let (sender, receiver) = tokio::sync::mpsc::unbounded_channel::<io::Result<Bytes>>();
    let chunks = streams::unfold(receiver, |mut receiver| async { receiver.recv().await.map(|item| (item, receiver)) });
    let response = stream(chunks, GZIP);
    assert_eq!(response.headers()[header::CONTENT_ENCODING], "gzip");
    let mut body = response.into_body().into_data_stream();
    let mut arrived = Vec::new();
    for text in ["{\"type\":\"ADDED\"}\n", "{\"type\":\"BOOKMARK\"}\n"] {
        sender.send(Ok(Bytes::from_static(text.as_bytes()))).unwrap();
        arrived.extend_from_slice(&body.next().await.unwrap().unwrap());
        let mut decoder = GzDecoder::new(arrived.as_slice());
        let mut line = vec![0; 4096];
        let mut so_far = String::new();
        while let Ok(read @ 1..) = decoder.read(&mut line) {
            so_far.push_str(std::str::from_utf8(&line[..read]).unwrap());
        }
        assert!(so_far.ends_with(text), "{so_far}");
        assert!(matches!(poll!(body.next()), Poll::Pending), "nothing comes before it is sent");
    }
    drop(sender);
    while let Some(chunk) = body.next().await {
        arrived.extend_from_slice(&chunk.unwrap());
    }
    assert_eq!(unpack(&arrived), "{\"type\":\"ADDED\"}\n{\"type\":\"BOOKMARK\"}\n");
}

#[tokio::test]
async fn a_stream_that_fails_does_not_look_complete() {
    let broken = || io::Error::other("storage went away");
    for encoding in [GZIP, Encoding::default()] {
        let chunks = streams::iter([Ok(Bytes::from_static(b"{\"items\":[")), Err(broken())]);
        let mut body = stream(chunks, encoding).into_body().into_data_stream();
        assert!(body.next().await.unwrap().is_ok());
        assert!(body.next().await.unwrap().is_err());
        assert!(body.next().await.is_none());
    }
}
