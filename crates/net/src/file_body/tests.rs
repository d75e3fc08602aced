use std::future::poll_fn;
use std::io::Write;

use super::*;

fn sample(length: usize) -> (Arc<File>, Vec<u8>) {
    let content: Vec<u8> = (0..length).map(|at| (at / 7 + at % 251) as u8).collect();
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&content).unwrap();
    (Arc::new(file), content)
}

async fn read(range: FileRange, files: Option<&Arc<FileTable>>) -> io::Result<Vec<u8>> {
    let mut reader = FileReader::new(range);
    let mut all = Vec::new();
    while let Some(piece) = poll_fn(|cx| reader.poll_next(cx, files)).await {
        let piece = piece?;
        assert!(!piece.is_empty() && piece.len() as u64 <= WINDOW);
        all.extend_from_slice(&piece);
    }
    Ok(all)
}

#[tokio::test]
async fn both_ways_yield_the_range() {
    let (file, content) = sample(3 * WINDOW as usize + 123);
    let files = Arc::new(FileTable::default());
    for (offset, length) in [
        (0, 0),
        (0, 1),
        (1, SMALL),
        (4_095, SMALL + 1),
        (4_097, WINDOW),
        (0, WINDOW + 1),
        (77, 3 * WINDOW),
        (0, content.len() as u64),
    ] {
        let range = FileRange { file: Arc::clone(&file), offset, length };
        let expected = &content[offset as usize..(offset + length) as usize];
        assert!(read(range.clone(), None).await.unwrap() == expected, "copy {offset} {length}");
        assert!(read(range, Some(&files)).await.unwrap() == expected, "token {offset} {length}");
    }
}

#[tokio::test]
async fn a_large_range_is_a_registered_token_until_its_last_slice_is_gone() {
    let (file, content) = sample(2 * WINDOW as usize);
    let files = Arc::new(FileTable::default());
    let mut reader = FileReader::new(FileRange { file, offset: 5, length: content.len() as u64 - 5 });
    let first = poll_fn(|cx| reader.poll_next(cx, Some(&files))).await.unwrap().unwrap();
    assert_eq!(files.find(&first).unwrap().offset, 5);
    let second = poll_fn(|cx| reader.poll_next(cx, Some(&files))).await.unwrap().unwrap();
    assert_eq!(files.find(&second).unwrap().offset, 5 + WINDOW);
    drop((reader, first));
    assert!(files.find(&second).is_some());
    drop(second);
    assert!(files.is_empty());
}

#[tokio::test]
async fn a_cold_range_goes_through_the_blocking_pool() {
    let (file, content) = sample(2 * WINDOW as usize);
    file.sync_all().unwrap();
    // Drops clean pages from the cache. Where it does not (tmpfs), the test still checks the bytes.
    rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
    let range = FileRange { file: Arc::clone(&file), offset: 0, length: content.len() as u64 };
    assert!(read(range.clone(), None).await.unwrap() == content);
    rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
    assert!(read(range, Some(&Arc::default())).await.unwrap() == content);
}
