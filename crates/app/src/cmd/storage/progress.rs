//! How far a copy is: a line that is drawn again on a terminal, otherwise one every ten seconds.

use super::outcome::{bytes, count};
use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use transfer::{Progress, Report};

const REDRAW: Duration = Duration::from_millis(200);
const LINE: Duration = Duration::from_secs(10);
/// Characters of the bar.
const BAR: u64 = 24;

/// What is being shown.
pub(super) struct Shown {
    ended: Sender<()>,
    thread: JoinHandle<()>,
}

impl Shown {
    pub(super) fn start(progress: &Arc<Progress>) -> anyhow::Result<Self> {
        let (ended, end) = channel();
        let progress = Arc::clone(progress);
        let terminal = std::io::stderr().is_terminal();
        let pause = if terminal { REDRAW } else { LINE };
        let thread = std::thread::Builder::new().name("progress".into()).spawn(move || {
            let started = Instant::now();
            while let Err(RecvTimeoutError::Timeout) = end.recv_timeout(pause) {
                let line = line(&progress.report(), started.elapsed());
                show(&if terminal { format!("\r\x1b[2K{line}") } else { format!("{line}\n") });
            }
            if terminal {
                show("\r\x1b[2K");
            }
        })?;
        Ok(Self { ended, thread })
    }

    /// Clears the line.
    pub(super) fn end(self) {
        drop(self.ended);
        // It has nothing to say.
        drop(self.thread.join());
    }
}

/// Nobody is told when standard error is closed.
fn show(text: &str) {
    let mut out = std::io::stderr().lock();
    drop(out.write_all(text.as_bytes()).and_then(|()| out.flush()));
}

fn line(report: &Report, elapsed: Duration) -> String {
    let (what, done, all) = if report.repositories == 0 {
        ("blobs", report.shards_done, report.shards)
    } else {
        ("repositories", report.repositories_done, report.repositories)
    };
    let all = all.max(1);
    let filled = usize::try_from(done.min(all) * BAR / all).unwrap_or(0);
    let rest = usize::try_from(BAR).unwrap_or(0) - filled;
    let millis = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX).max(1);
    let rate = report.bytes_copied.saturating_mul(1000) / millis;
    format!(
        "{what} [{}{}] {:3} %  {} blobs, {} copied ({}/s), {} there, {} tags",
        "#".repeat(filled),
        "-".repeat(rest),
        done.min(all) * 100 / all,
        count(report.blobs_copied),
        bytes(report.bytes_copied),
        bytes(rate),
        count(report.blobs_there),
        count(report.tags_copied + report.tags_there),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_how_far_it_is() {
        let half =
            Report { shards: 256, shards_done: 128, bytes_copied: 3 << 30, blobs_copied: 1234, ..Report::default() };
        let text = line(&half, Duration::from_secs(3));
        assert_eq!(
            text,
            "blobs [############------------]  50 %  1,234 blobs, 3.0 GiB copied (1.0 GiB/s), 0 there, 0 tags"
        );
        let links = Report { repositories: 4, repositories_done: 4, ..half };
        assert!(line(&links, Duration::ZERO).starts_with("repositories [########################] 100 %"));
        assert!(line(&Report::default(), Duration::ZERO).contains("  0 %"));
    }
}
