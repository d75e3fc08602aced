//! What the driver is made to do while it is recorded.

use crate::check::append;
use crate::recorder::{Recorder, is_journal};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use storage::fs::{DiskEvent, FsDriver};
use storage::{Batch, Driver};

async fn apply(driver: &FsDriver, recorder: &Recorder, batch: Batch) {
    let change = recorder.start(&batch);
    driver.apply(batch).await.unwrap();
    recorder.acknowledge(change);
}

/// A batch that fails in the tree after its first change, which stays seen.
async fn fail(driver: &FsDriver, recorder: &Recorder, key: String) {
    let batch = Batch::new().put(&key, content(&key, 3000)).put(format!("file/{key}"), "impossible");
    recorder.start(&batch);
    driver.apply(batch).await.unwrap_err();
    assert_eq!(&driver.get(&key, 3000).await.unwrap()[..], content(&key, 3000));
}

/// Bytes of which every part is recognisable.
fn content(name: &str, len: usize) -> Vec<u8> {
    (0..).flat_map(|line: u32| format!("{name} {line}\n").into_bytes()).take(len).collect()
}

const SIZES: [usize; 5] = [71, 600, 4096, 5000, 20_000];

/// A push of a small image: data, link, index of the tag, tag.
fn push(repo: usize, tag: usize, blob: usize) -> Batch {
    let text = format!("sha256:{blob:064}");
    let root = format!("docker/repositories/r{repo}");
    Batch::new()
        .keep(format!("docker/blobs/{blob}/data"), content(&format!("blob {blob}"), SIZES[blob % SIZES.len()]))
        .keep(format!("{root}/revisions/{blob}/link"), text.clone())
        .keep(format!("{root}/tags/{tag}/index/{blob}/link"), text.clone())
        .put(format!("{root}/tags/{tag}/current/link"), text)
        .lock(format!("repo {repo}"))
        .lock(format!("blob {blob}"))
}

/// Several clients push to, and delete from, the same repositories.
pub(crate) async fn registry(driver: Arc<FsDriver>, recorder: Arc<Recorder>) {
    apply(&driver, &recorder, Batch::new().put("file", "a file")).await;
    let tasks: Vec<_> = (0..4)
        .map(|task| {
            let (driver, recorder) = (Arc::clone(&driver), Arc::clone(&recorder));
            tokio::spawn(async move {
                for round in 0..10 {
                    let (repo, tag, blob) = ((task + round) % 2, round % 3, (task * 7 + round * 3) % 11);
                    apply(&driver, &recorder, push(repo, tag, blob)).await;
                    if round % 4 == 1 {
                        fail(&driver, &recorder, format!("half/{task}/{round}")).await;
                    }
                    let root = format!("docker/repositories/r{repo}");
                    let batch = match round % 5 {
                        2 => Batch::new().delete_tree(format!("{root}/tags/{tag}")).lock(format!("repo {repo}")),
                        3 => Batch::new().delete(format!("{root}/revisions/{blob}/link")).lock(format!("repo {repo}")),
                        4 => Batch::new().delete_tree(format!("docker/blobs/{blob}")).lock(format!("blob {blob}")),
                        _ => continue,
                    };
                    apply(&driver, &recorder, batch).await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}

/// Until it is safe without the log.
async fn apply_to_end(driver: &FsDriver, recorder: &Recorder, batch: Batch) {
    let begin = recorder.log().events.len();
    apply(driver, recorder, batch).await;
    recorder.wait_for_checkpoint(begin);
}

/// One after the other, each on a disk where all before is safe, so that few changes are volatile.
pub(crate) async fn sequence(driver: Arc<FsDriver>, recorder: Arc<Recorder>) {
    apply_to_end(&driver, &recorder, Batch::new().put("s/a", "1").keep("s/k", content("kept", 700))).await;
    for batch in [
        Batch::new().put("s/a", "2"),
        Batch::new().put("s/b/c", "3").delete("s/a"),
        Batch::new().delete_tree("s/b").put("s/a", content("four", 1500)),
    ] {
        apply_to_end(&driver, &recorder, batch.lock("s")).await;
    }
}

/// The same keys before, during and after each exchange of the log.
pub(crate) async fn exchanges(driver: Arc<FsDriver>, recorder: Arc<Recorder>) {
    for round in 0..3 {
        let tasks: Vec<_> = (0..3)
            .map(|task| {
                let (driver, recorder) = (Arc::clone(&driver), Arc::clone(&recorder));
                tokio::spawn(async move {
                    for step in 0..4 {
                        let blob = task * 3 + step % 3;
                        apply(&driver, &recorder, push(task, 0, blob)).await;
                        let key = format!("shared/{}", step % 2);
                        let batch = match (round + step) % 3 {
                            0 => Batch::new().put(key, content(&format!("{round} {task} {step}"), 900)),
                            1 => Batch::new().put(key, format!("{round} {task} {step}")),
                            _ => Batch::new().delete(key),
                        };
                        apply(&driver, &recorder, batch.lock("shared")).await;
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        // Changes go on while the log is exchanged and emptied.
        recorder.set_steady(true);
        let (other, watcher, begin) = (Arc::clone(&driver), Arc::clone(&recorder), recorder.log().events.len());
        let waiting = tokio::task::spawn_blocking(move || watcher.wait_for_checkpoint(begin));
        let mut step = 0;
        while !waiting.is_finished() {
            tokio::time::sleep(std::time::Duration::from_millis(15)).await;
            let batch = match step % 2 {
                0 => Batch::new().put("shared/0", format!("{round} and {step}")).delete("shared/1"),
                _ => Batch::new().put("shared/1", format!("{round} and {step}")).delete("shared/0"),
            };
            apply(&other, &recorder, batch.lock("shared")).await;
            step += 1;
        }
        recorder.set_steady(false);
        waiting.await.unwrap();
        for task in 0..3 {
            let gone = format!("docker/repositories/r{task}/tags/0");
            apply(&driver, &recorder, Batch::new().delete_tree(gone).lock(format!("repo {task}"))).await;
        }
    }
}

/// Large objects in one go and in parts, among small changes; one is deleted and comes back.
pub(crate) async fn large(driver: Arc<FsDriver>, recorder: Arc<Recorder>) {
    let whole = tokio::spawn(commits(Arc::clone(&driver), Arc::clone(&recorder)));
    let parts = tokio::spawn(parts(Arc::clone(&driver), Arc::clone(&recorder)));
    for blob in 0..8 {
        apply(&driver, &recorder, push(0, 0, blob)).await;
    }
    whole.await.unwrap();
    parts.await.unwrap();
}

async fn commits(driver: Arc<FsDriver>, recorder: Arc<Recorder>) {
    for (index, len) in [1, 5000, 300_000, 1_200_000].into_iter().enumerate() {
        let key = format!("docker/blobs/large-{index}/data");
        for again in 0..3 {
            let data = content(&key, len);
            let upload = recorder.upload(data.clone(), &key);
            let mut writer = driver.writer((index == 2).then_some(len as u64)).await.unwrap();
            append(&mut writer, &data).await.unwrap();
            recorder.commit(upload);
            writer.commit(&key).await.unwrap();
            recorder.committed(upload);
            if again == 0 {
                let gone = Batch::new().delete_tree(format!("docker/blobs/large-{index}"));
                apply(&driver, &recorder, gone).await;
            }
        }
    }
}

async fn parts(driver: Arc<FsDriver>, recorder: Arc<Recorder>) {
    for (index, cuts) in [&[0, 100, 4096, 9000][..], &[5000, 70_001, 200_000], &[1 << 20, 1_100_000]].iter().enumerate()
    {
        let (data, key) =
            (content(&format!("parts {index}"), cuts[cuts.len() - 1] + 3000), format!("parts/{index}/data"));
        let upload = recorder.upload(data.clone(), &key);
        let mut handle: Option<String> = None;
        let mut from = 0;
        for to in cuts.iter().copied() {
            let mut writer = match &handle {
                Some(handle) => driver.resume(handle, from as u64).await.unwrap(),
                None => driver.writer(None).await.unwrap(),
            };
            append(&mut writer, &data[from..to]).await.unwrap();
            let suspended = writer.suspend().await.unwrap();
            recorder.suspended(upload, &suspended, to);
            append(&mut writer, b"lost, since never acknowledged").await.unwrap();
            drop(writer);
            handle = Some(suspended);
            from = to;
        }
        let mut writer = driver.resume(handle.as_deref().unwrap(), from as u64).await.unwrap();
        append(&mut writer, &data[from..]).await.unwrap();
        // The last one stays open.
        if index < 2 {
            recorder.commit(upload);
            writer.commit(&key).await.unwrap();
            recorder.committed(upload);
        } else {
            writer.suspend().await.unwrap();
        }
    }
}

/// A process that opens the folder while others work.
async fn join(root: &std::path::Path, recorder: &Arc<Recorder>) -> Arc<FsDriver> {
    let (root, recorder) = (root.to_owned(), Arc::clone(recorder));
    let open = move || Arc::new(crate::check::open(&root, Some(recorder)).unwrap());
    tokio::task::spawn_blocking(open).await.unwrap()
}

/// Puts, until the process has a log of its own again.
async fn put_until_logged(driver: &FsDriver, recorder: &Recorder) {
    let begin = recorder.log().events.len();
    let deadline = Instant::now() + Duration::from_secs(60);
    let is_new_log = |event: &DiskEvent| matches!(event, DiskEvent::MakeDir { path } if is_journal(path));
    for step in 0.. {
        apply(driver, recorder, Batch::new().put("turn/a", format!("alone {step}"))).await;
        if recorder.log().events[begin..].iter().any(is_new_log) {
            return;
        }
        assert!(Instant::now() < deadline, "no log");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// One after the other changes the same keys; besides, each works on things of its own.
async fn in_turn(drivers: [&Arc<FsDriver>; 2], recorder: &Arc<Recorder>, round: usize) {
    let others: Vec<_> = drivers
        .into_iter()
        .enumerate()
        .map(|(repo, driver)| {
            let (driver, recorder) = (Arc::clone(driver), Arc::clone(recorder));
            tokio::spawn(async move {
                for step in 0..4 {
                    apply(&driver, &recorder, push(repo, step % 2, round * 20 + repo * 10 + step)).await;
                }
                let gone = format!("docker/repositories/r{repo}/tags/0");
                apply(&driver, &recorder, Batch::new().delete_tree(gone).lock(format!("repo {repo}"))).await;
            })
        })
        .collect();
    for step in 0..6 {
        let batch = match step % 4 {
            0 => Batch::new().put("turn/a", format!("{round} {step}")).put("turn/b/c", "1"),
            1 => Batch::new().put("turn/a", format!("{round} {step}")).delete("turn/b/c"),
            2 => Batch::new().delete("turn/a").put("turn/b/c", "2"),
            _ => Batch::new().put("turn/a", format!("{round} {step}")).delete_tree("turn/b"),
        };
        apply(drivers[step % 2], recorder, batch).await;
    }
    for other in others {
        other.await.unwrap();
    }
}

/// A second process joins and leaves in order; a third one joins, and the first one dies.
pub(crate) async fn several(root: PathBuf, recorder: Arc<Recorder>) {
    let first = join(&root, &recorder).await;
    apply(&first, &recorder, Batch::new().put("turn/a", "0").put("turn/b/c", "0")).await;
    let joining = tokio::spawn({
        let (root, recorder) = (root.clone(), Arc::clone(&recorder));
        async move { join(&root, &recorder).await }
    });
    for step in 0.. {
        apply(&first, &recorder, Batch::new().put("turn/a", format!("joining {step}")).delete("turn/b/c")).await;
        if joining.is_finished() {
            break;
        }
    }
    let second = joining.await.unwrap();
    apply(&second, &recorder, Batch::new().delete("turn/a").put("turn/b/c", "joined")).await;
    in_turn([&first, &second], &recorder, 0).await;
    second.close().await.unwrap();
    put_until_logged(&first, &recorder).await;
    apply(&first, &recorder, Batch::new().put("turn/a", "logged").delete_tree("turn/b")).await;
    let third = join(&root, &recorder).await;
    in_turn([&third, &first], &recorder, 1).await;
    drop(first);
    put_until_logged(&third, &recorder).await;
    apply(&third, &recorder, Batch::new().delete("turn/a").put("turn/b/c", "last")).await;
}
