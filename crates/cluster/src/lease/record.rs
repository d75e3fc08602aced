//! What a Lease says, and what to do about it.

use std::time::Duration;

use serde_json::{Value, json};

/// What stands in a lease.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Record {
    /// Empty if nobody holds it.
    pub(super) holder: String,
    pub(super) duration: Duration,
    /// Changes with every write.
    pub(super) version: String,
}

impl Record {
    pub(super) fn of(lease: &Value) -> Self {
        let text = |path: &str| lease.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
        let seconds = lease.pointer("/spec/leaseDurationSeconds").and_then(Value::as_u64).unwrap_or(0);
        Self {
            holder: text("/spec/holderIdentity"),
            duration: Duration::from_secs(seconds),
            version: text("/metadata/resourceVersion"),
        }
    }
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Plan {
    /// There is none: make it.
    Make,
    /// Ours, nobody's, or abandoned: write ourselves into it.
    Take,
    /// Somebody else's.
    Wait,
}

/// Watches whether somebody else's lease is still renewed. Clocks of others are not looked at: what counts is for how long,
/// by our own clock, nothing was written.
#[derive(Default)]
pub(super) struct Observer {
    seen: Option<(String, Duration)>,
}

impl Observer {
    pub(super) fn plan(&mut self, record: Option<&Record>, me: &str, now: Duration) -> Plan {
        let Some(record) = record else {
            self.seen = None;
            return Plan::Make;
        };
        if record.holder == me || record.holder.is_empty() {
            self.seen = None;
            return Plan::Take;
        }
        match &self.seen {
            Some((version, since)) if *version == record.version => {
                if now.saturating_sub(*since) >= record.duration {
                    Plan::Take
                } else {
                    Plan::Wait
                }
            }
            _ => {
                self.seen = Some((record.version.clone(), now));
                Plan::Wait
            }
        }
    }
}

/// The spec after `holder` has taken or renewed a lease. What others wrote beside stays.
pub(super) fn spec(before: &Value, holder: &str, duration: Duration, now: &str) -> Value {
    let mut spec = before.as_object().cloned().unwrap_or_default();
    let changes_hands = spec.get("holderIdentity").and_then(Value::as_str).unwrap_or_default() != holder;
    if changes_hands {
        let transitions = spec.get("leaseTransitions").and_then(Value::as_u64).unwrap_or(0);
        spec.insert("leaseTransitions".into(), json!(if before.is_null() { 0 } else { transitions + 1 }));
        spec.insert("acquireTime".into(), json!(now));
    }
    // Nobody is left out rather than named "".
    spec.remove("holderIdentity");
    if !holder.is_empty() {
        spec.insert("holderIdentity".into(), json!(holder));
    }
    spec.insert("leaseDurationSeconds".into(), json!(duration.as_secs().max(1)));
    spec.insert("renewTime".into(), json!(now));
    Value::Object(spec)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(holder: &str, version: &str) -> Record {
        Record { holder: holder.into(), duration: Duration::from_secs(15), version: version.into() }
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn ours_nobodys_and_none() {
        let mut observer = Observer::default();
        assert_eq!(observer.plan(None, "me", at(0)), Plan::Make);
        assert_eq!(observer.plan(Some(&record("me", "1")), "me", at(0)), Plan::Take);
        assert_eq!(observer.plan(Some(&record("", "1")), "me", at(0)), Plan::Take);
    }

    #[test]
    fn abandoned_is_what_nobody_writes_for_its_whole_time() {
        let mut observer = Observer::default();
        assert_eq!(observer.plan(Some(&record("other", "1")), "me", at(100)), Plan::Wait);
        assert_eq!(observer.plan(Some(&record("other", "1")), "me", at(114)), Plan::Wait);
        assert_eq!(observer.plan(Some(&record("other", "2")), "me", at(115)), Plan::Wait, "renewed");
        assert_eq!(observer.plan(Some(&record("other", "2")), "me", at(129)), Plan::Wait);
        assert_eq!(observer.plan(Some(&record("third", "3")), "me", at(130)), Plan::Wait, "taken by a third");
        assert_eq!(observer.plan(Some(&record("third", "3")), "me", at(145)), Plan::Take);
    }

    #[test]
    fn time_seen_before_a_gap_does_not_count() {
        let mut observer = Observer::default();
        assert_eq!(observer.plan(Some(&record("other", "1")), "me", at(0)), Plan::Wait);
        assert_eq!(observer.plan(Some(&record("me", "2")), "me", at(5)), Plan::Take);
        assert_eq!(observer.plan(Some(&record("other", "1")), "me", at(20)), Plan::Wait);
    }

    #[test]
    fn the_spec_keeps_what_others_wrote() {
        let first = spec(&Value::Null, "a", at(15), "t1");
        assert_eq!(
            first,
            json!({"holderIdentity": "a", "leaseDurationSeconds": 15, "leaseTransitions": 0, "acquireTime": "t1",
                   "renewTime": "t1"})
        );
        let mut other = spec(&first, "a", at(15), "t2");
        assert_eq!((&other["acquireTime"], &other["renewTime"]), (&json!("t1"), &json!("t2")));
        other["strategy"] = json!("x");
        let taken = spec(&other, "b", at(15), "t3");
        assert_eq!(
            (&taken["leaseTransitions"], &taken["acquireTime"], &taken["strategy"]),
            (&json!(1), &json!("t3"), &json!("x"))
        );
        let read = Record::of(&json!({"metadata": {"resourceVersion": "7"}, "spec": taken}));
        assert_eq!(read, record("b", "7"));
    }
}
