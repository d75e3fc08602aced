use std::future::{pending, poll_fn};
use std::pin::pin;

use futures_util::stream;
use http_body_util::BodyExt;

use super::*;
use crate::Body;

const SECOND: Duration = Duration::from_secs(1);

/// Reads so many frames of the body in a task with a clock, and then nothing more, as hyper does while the peer takes
/// nothing. How long that was let be; `None` when it ended by itself.
async fn taken(body: Body, frames: usize) -> Option<Duration> {
    let begun = Instant::now();
    let mut reader = pin!(async move {
        let mut body = body;
        for _ in 0..frames {
            body.frame().await.unwrap().unwrap();
        }
        pending::<()>().await;
    });
    let mut clock = Clock::default();
    let ended = poll_fn(|cx| clock.poll(cx, |cx| reader.as_mut().poll(cx))).await;
    ended.is_none().then(|| begun.elapsed())
}

#[tokio::test(start_paused = true)]
async fn an_answer_ends_although_nobody_polls_it() {
    let about = |expected: Duration, got: Option<Duration>| {
        let got = got.unwrap();
        assert!(got >= expected && got < expected + SECOND, "{got:?} instead of {expected:?}");
    };
    let until = || Some(Instant::now() + 5 * SECOND);
    let large = || Body::full(vec![7; 200_000]);
    about(5 * SECOND, taken(large().within(until(), 60 * SECOND), 1).await);
    about(3 * SECOND, taken(large().within(until(), 3 * SECOND), 1).await);
    about(3 * SECOND, taken(large().within(None, 3 * SECOND), 2).await);
    about(5 * SECOND, taken(Body::full("x").within(until(), 60 * SECOND), 1).await);
    let endless = || stream::iter([Ok(Bytes::from_static(b"["))]);
    let silent = Body::stream(futures_util::StreamExt::chain(endless(), stream::pending()), None);
    about(5 * SECOND, taken(silent.within(until(), SECOND), 2).await);
}

/// Its end may be in the socket's buffer, and the connection wants to be used again.
#[tokio::test(start_paused = true)]
async fn what_follows_an_answer_has_its_own_time() {
    let begun = Instant::now();
    let mut body = Some(Body::full("x").within(Some(begun + SECOND), 9 * SECOND));
    assert!(body.as_mut().unwrap().frame().await.unwrap().is_ok());
    let mut clock = Clock::default();
    let ended = poll_fn(|cx| {
        clock.poll(cx, |_| {
            drop(body.take());
            Poll::<()>::Pending
        })
    });
    assert!(ended.await.is_none());
    assert!(begun.elapsed() >= 9 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_source_that_has_nothing_is_not_a_peer_that_takes_nothing() {
    let begun = Instant::now();
    let slow = stream::once(async {
        tokio::time::sleep(90 * SECOND).await;
        Ok(Bytes::from_static(b"late"))
    });
    let mut reader = pin!(Body::stream(slow, None).within(None, SECOND).collect());
    let mut clock = Clock::default();
    let read = poll_fn(|cx| clock.poll(cx, |cx| reader.as_mut().poll(cx))).await.unwrap();
    assert_eq!(read.unwrap().to_bytes(), "late");
    assert!(begun.elapsed() >= 90 * SECOND);
}

#[tokio::test]
async fn pieces_are_small_and_the_last_is_a_copy() {
    for length in [0, 1, TAIL, TAIL + 1, PIECE, PIECE + 1, PIECE + TAIL, PIECE + TAIL + 1, 10 * PIECE + 5] {
        let content: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
        let whole = Bytes::from(content.clone());
        let range = whole.as_ptr_range();
        let streamed = Body::stream(stream::iter([Ok(whole.clone())]), None);
        for body in [Body::full(whole.clone()), streamed] {
            let mut body = body.within(None, SECOND);
            let (mut read, mut last) = (Vec::new(), Bytes::new());
            while let Some(frame) = body.frame().await {
                last = frame.unwrap().into_data().unwrap();
                assert!(last.len() <= PIECE);
                read.extend_from_slice(&last);
            }
            assert_eq!(read, content);
            assert!(last.len() <= TAIL && !range.contains(&last.as_ptr()), "{length}");
        }
    }
}
