//! What to look at and when. Values only: the time is passed in, nobody sleeps here.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;
use std::time::Duration;

use tokio::time::Instant;

/// After a failure.
const DELAY_MIN: Duration = Duration::from_secs(1);
/// After many.
const DELAY_MAX: Duration = Duration::from_secs(300);

/// Keys with the time of their next turn; each has one turn at a time, and one that is asked for while it has its turn gets
/// another one after it.
#[derive(Debug)]
pub(crate) struct Schedule<K> {
    due: BTreeSet<(Instant, K)>,
    entries: HashMap<K, Entry>,
}

#[derive(Debug, Default)]
struct Entry {
    at: Option<Instant>,
    running: bool,
    /// Forgotten while it had its turn: the turn's outcome does not count.
    forgotten: bool,
    failures: u32,
}

impl<K: Clone + Eq + Hash + Ord> Schedule<K> {
    pub(crate) fn new() -> Self {
        Self { due: BTreeSet::new(), entries: HashMap::new() }
    }

    /// A turn at this time, or earlier if one was already asked for.
    pub(crate) fn wake(&mut self, key: &K, at: Instant) {
        let entry = self.entries.entry(key.clone()).or_default();
        let at = match entry.at {
            Some(earlier) if earlier <= at => return,
            Some(later) => {
                self.due.remove(&(later, key.clone()));
                at
            }
            None => at,
        };
        entry.at = Some(at);
        if !entry.running {
            self.due.insert((at, key.clone()));
        }
    }

    /// Whose turn it is; [`Self::done`] has to follow.
    pub(crate) fn take(&mut self, now: Instant) -> Option<K> {
        if self.due.first()?.0 > now {
            return None;
        }
        let (_, key) = self.due.pop_first()?;
        let entry = self.entries.entry(key.clone()).or_default();
        entry.at = None;
        entry.running = true;
        Some(key)
    }

    /// When there is something to take.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// The turn is over and did what it should; the next one comes then, or when somebody asks.
    pub(crate) fn done(&mut self, key: &K, next: Option<Instant>) {
        self.end(key, next, 0);
    }

    /// The turn is over and failed; another one comes after a delay that grows with each failure, or soon if somebody asked
    /// meanwhile. Not at once: what the turn itself wrote is such a wish.
    pub(crate) fn failed(&mut self, key: &K, now: Instant) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        let failures = entry.failures.saturating_add(1);
        entry.at = entry.at.map(|at| at.max(now + DELAY_MIN));
        self.end(key, Some(now + delay(failures)), failures);
    }

    fn end(&mut self, key: &K, next: Option<Instant>, failures: u32) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        let (next, failures) = if entry.forgotten { (None, 0) } else { (next, failures) };
        entry.running = false;
        entry.forgotten = false;
        entry.failures = failures;
        entry.at = [entry.at, next].into_iter().flatten().min();
        match entry.at {
            Some(at) => {
                self.due.insert((at, key.clone()));
            }
            None if failures == 0 => {
                self.entries.remove(key);
            }
            None => {}
        }
    }

    /// No more turns, unless somebody asks again.
    pub(crate) fn forget(&mut self, key: &K) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        let at = entry.at.take();
        if entry.running {
            entry.forgotten = true;
        } else {
            self.entries.remove(key);
        }
        if let Some(at) = at {
            self.due.remove(&(at, key.clone()));
        }
    }
}

fn delay(failures: u32) -> Duration {
    DELAY_MIN.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(DELAY_MAX)
}

/// Turns at a fixed rate, for calls that cost the other side.
#[derive(Debug)]
pub(crate) struct Pace {
    interval: Duration,
    next: Option<Instant>,
}

impl Pace {
    pub(crate) fn per_second(turns: u32) -> Self {
        Self { interval: Duration::from_secs(1).checked_div(turns).unwrap_or_default(), next: None }
    }

    /// The time of the next free turn, which is taken by that.
    pub(crate) fn turn(&mut self, now: Instant) -> Instant {
        let turn = self.next.filter(|next| *next > now).unwrap_or(now);
        self.next = Some(turn + self.interval);
        turn
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn turns_come_in_the_order_of_their_times_and_the_earliest_wish_wins() {
        let start = Instant::now();
        let mut schedule = Schedule::new();
        schedule.wake(&"late", start + seconds(9));
        schedule.wake(&"early", start + seconds(5));
        schedule.wake(&"late", start + seconds(3));
        schedule.wake(&"late", start + seconds(7));
        assert_eq!(schedule.next(), Some(start + seconds(3)));
        assert_eq!(schedule.take(start + seconds(2)), None);
        assert_eq!(schedule.take(start + seconds(6)), Some("late"));
        assert_eq!(schedule.take(start + seconds(6)), Some("early"));
        assert_eq!(schedule.take(start + seconds(60)), None);
    }

    #[test]
    fn one_turn_at_a_time_and_none_is_lost() {
        let start = Instant::now();
        let mut schedule = Schedule::new();
        schedule.wake(&1, start);
        assert_eq!(schedule.take(start), Some(1));
        schedule.wake(&1, start);
        assert_eq!((schedule.take(start), schedule.next()), (None, None));
        schedule.done(&1, Some(start + seconds(100)));
        assert_eq!(schedule.take(start), Some(1));
        schedule.done(&1, Some(start + seconds(100)));
        assert_eq!(schedule.next(), Some(start + seconds(100)));
        schedule.forget(&1);
        assert_eq!((schedule.next(), schedule.entries.len()), (None, 0));
    }

    #[test]
    fn failures_wait_longer_and_longer_but_not_for_one_who_asks() {
        let start = Instant::now();
        let mut schedule = Schedule::new();
        for expected in [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300] {
            schedule.wake(&1, start);
            assert_eq!(schedule.take(start), Some(1));
            schedule.failed(&1, start);
            assert_eq!(schedule.next(), Some(start + seconds(expected)));
        }
        schedule.wake(&1, start);
        assert_eq!(schedule.take(start), Some(1));
        schedule.wake(&1, start);
        schedule.failed(&1, start);
        assert_eq!(schedule.next(), Some(start + seconds(1)));
        schedule.take(start + seconds(1));
        schedule.done(&1, Some(start));
        schedule.take(start);
        schedule.failed(&1, start);
        assert_eq!(schedule.next(), Some(start + seconds(1)), "a success ends the row of failures");
    }

    #[test]
    fn what_has_no_next_turn_costs_nothing() {
        let start = Instant::now();
        let mut schedule = Schedule::new();
        schedule.wake(&1, start);
        schedule.take(start);
        schedule.done(&1, None);
        assert!(schedule.entries.is_empty() && schedule.due.is_empty());
    }

    #[test]
    fn one_that_is_forgotten_during_its_turn_comes_back_only_if_asked_for() {
        let start = Instant::now();
        let mut schedule = Schedule::new();
        for asked in [false, true] {
            schedule.wake(&1, start);
            schedule.take(start);
            schedule.forget(&1);
            if asked {
                schedule.wake(&1, start);
                assert_eq!(schedule.take(start), None, "its turn is not over");
            }
            schedule.failed(&1, start);
            assert_eq!((schedule.next().is_some(), schedule.entries.len()), (asked, usize::from(asked)));
        }
    }

    #[test]
    fn a_pace_spreads_a_burst_and_saves_nothing_up() {
        let start = Instant::now();
        let mut pace = Pace::per_second(20);
        let turns: Vec<Duration> = (0..3).map(|_| pace.turn(start) - start).collect();
        assert_eq!(turns, [0, 50, 100].map(Duration::from_millis));
        let later = start + seconds(60);
        assert_eq!(pace.turn(later), later);
        assert_eq!(pace.turn(later), later + Duration::from_millis(50));
    }

    proptest! {
        /// Against a plain list: the same keys are due, none runs twice at a time.
        #[test]
        fn behaves_like_a_list(steps in proptest::collection::vec((0u8..5, 0u8..4, 0u64..20), 1..60)) {
            let start = Instant::now();
            let mut schedule = Schedule::new();
            let mut running = BTreeSet::new();
            let mut now = start;
            for (step, key, time) in steps {
                match step {
                    0 => schedule.wake(&key, start + seconds(time)),
                    1 => {
                        now = now.max(start + seconds(time));
                        if let Some(key) = schedule.take(now) {
                            prop_assert!(running.insert(key));
                        }
                    }
                    2 if running.remove(&key) => schedule.done(&key, Some(now + seconds(time))),
                    3 if running.remove(&key) => schedule.failed(&key, now),
                    4 => schedule.forget(&key),
                    _ => {}
                }
                let waiting = schedule.entries.values().filter(|entry| !entry.running && entry.at.is_some()).count();
                prop_assert_eq!(schedule.due.len(), waiting);
                for (at, key) in &schedule.due {
                    prop_assert!(!running.contains(key));
                    prop_assert_eq!(schedule.entries[key].at, Some(*at));
                }
            }
        }
    }
}
