use std::sync::Mutex;

use http_body::Body as _;
use http_body_util::BodyExt;

use super::*;

fn file(content: &[u8]) -> Arc<std::fs::File> {
    let mut file = tempfile::tempfile().unwrap();
    std::io::Write::write_all(&mut file, content).unwrap();
    Arc::new(file)
}

async fn read(body: Body) -> io::Result<Vec<u8>> {
    Ok(body.collect().await?.to_bytes().to_vec())
}

fn chunks(texts: &[&'static str]) -> impl Stream<Item = io::Result<Bytes>> + use<> {
    futures_util::stream::iter(texts.iter().map(|text| Ok(Bytes::from_static(text.as_bytes()))).collect::<Vec<_>>())
}

#[tokio::test]
async fn every_kind_knows_its_length_and_yields_it() {
    let range = FileRange { file: file(b"0123456789"), offset: 2, length: 5 };
    let parts = vec![
        Part::Bytes("a".into()),
        Part::File(range.clone()),
        Part::Bytes(Bytes::new()),
        Part::File(FileRange { length: 0, ..range.clone() }),
        Part::Bytes("z".into()),
    ];
    for (body, expected) in [
        (Body::empty(), ""),
        (Body::full(""), ""),
        (Body::full("text"), "text"),
        (Body::file(range), "23456"),
        (Body::parts(Vec::new()), ""),
        (Body::parts(parts), "a23456z"),
        (Body::stream(chunks(&["ab", "", "c"]), Some(3)), "abc"),
    ] {
        assert_eq!(body.size_hint().exact(), Some(expected.len() as u64));
        assert_eq!(body.is_end_stream(), expected.is_empty());
        assert_eq!(read(body).await.unwrap(), expected.as_bytes());
    }
    let unknown = Body::stream(chunks(&["ab", "c"]), None);
    assert_eq!(unknown.size_hint().exact(), None);
    assert_eq!(read(unknown).await.unwrap(), b"abc");
}

#[tokio::test]
async fn a_source_that_breaks_its_promise_is_an_error() {
    for (body, kind) in [
        (Body::stream(chunks(&["ab"]), Some(3)), io::ErrorKind::UnexpectedEof),
        (Body::stream(chunks(&["ab", "cd"]), Some(3)), io::ErrorKind::InvalidData),
        (Body::file(FileRange { file: file(b"01"), offset: 1, length: 2 }), io::ErrorKind::UnexpectedEof),
        (Body::file(FileRange { file: file(b"01"), offset: 5, length: 2 }), io::ErrorKind::UnexpectedEof),
        (Body::file(FileRange { file: file(b"01"), offset: u64::MAX, length: 9 }), io::ErrorKind::UnexpectedEof),
    ] {
        assert_eq!(read(body).await.unwrap_err().kind(), kind);
    }
}

#[tokio::test]
async fn hooks_run_once_and_in_order() {
    let seen: Arc<Mutex<Vec<(u8, Sent)>>> = Arc::default();
    let hook = |id: u8| {
        let seen = Arc::clone(&seen);
        move |sent| seen.lock().unwrap().push((id, sent))
    };
    let complete = |bytes| Sent { bytes, complete: true };

    read(Body::full("abc").on_end(hook(1)).on_end(hook(2))).await.unwrap();
    drop(Body::empty().on_end(hook(3)));
    drop(Body::full("abc").on_end(hook(4)));
    read(Body::stream(chunks(&["ab"]), None).on_end(hook(5))).await.unwrap();
    let mut partly = Body::stream(chunks(&["ab", "c"]), None).on_end(hook(6));
    partly.frame().await.unwrap().unwrap();
    drop(partly);
    read(Body::stream(chunks(&["ab"]), Some(9)).on_end(hook(7))).await.unwrap_err();

    let expected = vec![
        (1, complete(3)),
        (2, complete(3)),
        (3, complete(0)),
        (4, Sent { bytes: 0, complete: false }),
        (5, complete(2)),
        (6, Sent { bytes: 2, complete: false }),
        (7, Sent { bytes: 2, complete: false }),
    ];
    assert_eq!(*seen.lock().unwrap(), expected);
}
