//! The same work for many things at once.

use crate::{Error, Result};
use std::future::Future;
use tokio::task::JoinSet;

/// Does the work for each item, at most `limit` at once, and ends at the first error. Results come in any order.
pub(crate) async fn each<I, O, F>(
    limit: usize,
    items: impl IntoIterator<Item = I>,
    mut work: impl FnMut(I) -> F,
) -> Result<Vec<O>>
where
    O: Send + 'static,
    F: Future<Output = Result<O>> + Send + 'static,
{
    let (mut running, mut done) = (JoinSet::new(), Vec::new());
    let ended = async {
        for item in items {
            if running.len() >= limit.max(1)
                && let Some(result) = running.join_next().await
            {
                done.push(result.map_err(Error::Task)??);
            }
            running.spawn(work(item));
        }
        while let Some(result) = running.join_next().await {
            done.push(result.map_err(Error::Task)??);
        }
        Ok(())
    };
    let ended = ended.await;
    // After an error nothing that was begun here goes on behind the caller's back.
    running.shutdown().await;
    ended.map(|()| done)
}
