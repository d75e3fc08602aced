//! What a server uses: processor time and memory, its child processes included.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Often enough to catch the peak of a cell, rarely enough to cost nothing.
const SAMPLE: Duration = Duration::from_millis(20);

/// User and system time of the process and its children.
pub fn cpu(pid: u32) -> Duration {
    time(family(pid).iter().map(|pid| ticks(*pid)).sum())
}

/// The same of this process, whose children are the servers, alone.
pub fn own_cpu() -> Duration {
    time(ticks(std::process::id()))
}

fn time(ticks: u64) -> Duration {
    let per_second = rustix::param::clock_ticks_per_second().max(1);
    Duration::from_micros(ticks * 1_000_000 / per_second)
}

/// Resident memory in bytes. Pages that workers share are counted once per worker.
pub fn memory(pid: u32) -> u64 {
    family(pid).iter().map(|pid| resident(*pid)).sum()
}

fn family(pid: u32) -> Vec<u32> {
    let mut all = vec![pid];
    let mut next = 0;
    while let Some(&pid) = all.get(next) {
        next += 1;
        // Servers fork from their first thread.
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        all.extend(children.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
    }
    all
}

fn ticks(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    parse_ticks(&stat)
}

/// Fields 14 and 15. The name in field 2 may hold anything, so counting starts behind it.
fn parse_ticks(stat: &str) -> u64 {
    let behind = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    behind.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum()
}

fn resident(pid: u32) -> u64 {
    let statm = fs::read_to_string(format!("/proc/{pid}/statm")).unwrap_or_default();
    let pages = statm.split_whitespace().nth(1).and_then(|field| field.parse::<u64>().ok());
    pages.unwrap_or(0) * rustix::param::page_size() as u64
}

/// Watches the memory of a process from its own thread.
pub struct Watch {
    ended: Arc<AtomicBool>,
    peak: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    pub fn start(pid: u32) -> Self {
        let (ended, peak) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stop, highest) = (ended.clone(), peak.clone());
        let thread = thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                highest.fetch_max(memory(pid), Ordering::Relaxed);
                thread::sleep(SAMPLE);
            }
            highest.fetch_max(memory(pid), Ordering::Relaxed);
        });
        Self { ended, peak, thread: Some(thread) }
    }

    /// The most that was seen, in bytes.
    pub fn finish(mut self) -> u64 {
        self.join();
        self.peak.load(Ordering::Relaxed)
    }

    fn join(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic there would only lose the figure.
            let _ = thread.join();
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.join();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_does_not_shift_the_fields() {
        let stat = "42 (a) b (c) S 1 42 42 0 -1 4194304 100 0 0 0 7 5 0 0 20 0 1 0 100";
        assert_eq!(parse_ticks(stat), 12);
    }

    #[test]
    fn this_process_uses_memory() {
        let watch = Watch::start(std::process::id());
        assert!(watch.finish() > 1 << 20);
    }
}
