//! Medians over the rounds, and whether homeport kept what it promised.

use std::collections::BTreeMap;

use serde::Serialize;

use super::cells::{Cell, Unit, Work};
use super::measure::Sample;
use super::peers::Kind;

/// The rounds of one cell on one server.
#[derive(Clone, Default, Serialize)]
pub(super) struct Series {
    pub(super) rounds: Vec<Sample>,
    pub(super) errors: Vec<String>,
}

pub(super) type Results = BTreeMap<Kind, Series>;

impl Series {
    /// Every figure's own median; none without a round that succeeded.
    pub(super) fn median(&self) -> Option<Sample> {
        if self.rounds.is_empty() || !self.errors.is_empty() {
            return None;
        }
        let of = |figure: fn(&Sample) -> f64| median(self.rounds.iter().map(figure).collect());
        let references: Vec<f64> = self.rounds.iter().filter_map(|sample| sample.reference).collect();
        Some(Sample {
            value: of(|sample| sample.value),
            p99_ms: of(|sample| sample.p99_ms),
            peak_mib: of(|sample| sample.peak_mib),
            cpu_us: of(|sample| sample.cpu_us),
            generator_us: of(|sample| sample.generator_us),
            operations: self.rounds.iter().map(|sample| sample.operations).sum(),
            reference: (!references.is_empty()).then(|| median(references)),
        })
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => 0.0,
        count if count % 2 == 1 => values[middle],
        _ => f64::midpoint(values[middle - 1], values[middle]),
    }
}

/// One part of a promise: what was asked, what was seen.
pub(super) struct Part {
    pub(super) text: String,
    pub(super) kept: bool,
}

/// What became of the promise of a cell.
#[derive(Default)]
pub(super) struct Verdict {
    pub(super) over_peer: Option<f64>,
    pub(super) over_nginx: Option<f64>,
    pub(super) parts: Vec<Part>,
    /// Parts that could not be judged, since the server to compare with was missing.
    pub(super) open: Vec<&'static str>,
}

impl Verdict {
    pub(super) fn word(&self) -> &'static str {
        if self.parts.iter().any(|part| !part.kept) {
            "**fail**"
        } else if !self.open.is_empty() {
            "open"
        } else if self.parts.is_empty() {
            "–"
        } else {
            "pass"
        }
    }

    fn at_least(&mut self, ratio: Option<f64>, target: Option<f64>, of: &'static str) {
        let Some(target) = target else { return };
        match ratio {
            Some(ratio) => {
                let text = format!("≥ {target} × {of}");
                self.parts.push(Part { text, kept: ratio >= target });
            }
            None => self.open.push(of),
        }
    }
}

pub(super) fn judge(cell: &Cell, results: &Results) -> Verdict {
    let median = |kind| results.get(&kind).and_then(Series::median);
    let mut verdict = Verdict::default();
    if results.get(&Kind::Homeport).is_some_and(|series| !series.errors.is_empty()) {
        verdict.parts.push(Part { text: "no error".into(), kept: false });
    }
    let peers: Vec<Sample> = [Kind::Distribution, Kind::Zot].into_iter().filter_map(median).collect();
    let Some(own) = median(Kind::Homeport) else { return verdict };
    let best = peers.iter().map(|peer| peer.value).reduce(f64::max);
    let nginx = median(Kind::Nginx).map(|nginx| nginx.value);
    if matches!(cell.unit(), Unit::PerSecond | Unit::Megabytes) {
        verdict.over_peer = best.map(|best| own.value / best);
        verdict.over_nginx = nginx.map(|nginx| own.value / nginx);
    }
    let target = cell.target;
    verdict.at_least(verdict.over_peer, target.peer, "best peer");
    verdict.at_least(verdict.over_nginx, target.nginx, "nginx");
    let reference = own.reference.map(|reference| own.value / reference);
    verdict.at_least(reference, target.reference, reference_name(cell));
    let least_cpu = peers.iter().map(|peer| peer.cpu_us).reduce(f64::min);
    if let Some(cpu) = least_cpu.filter(|_| target.half_cpu) {
        verdict.parts.push(Part { text: "CPU ≤ ½ best peer".into(), kept: own.cpu_us <= cpu / 2.0 });
    }
    let least_p99 = peers.iter().map(|peer| peer.p99_ms).reduce(f64::min);
    if let Some(p99) = least_p99.filter(|_| target.p99) {
        verdict.parts.push(Part { text: "p99 ≤ best peer".into(), kept: own.p99_ms <= p99 });
    }
    if let Some(most) = target.most {
        verdict.parts.push(Part { text: format!("≤ {most} {}", unit(cell.unit())), kept: own.value <= most });
    }
    verdict
}

/// What the reference of a cell is.
pub(super) fn reference_name(cell: &Cell) -> &'static str {
    if cell.work == Work::Basic { "anonymous" } else { "alone" }
}

pub(super) fn unit(unit: Unit) -> &'static str {
    match unit {
        Unit::PerSecond => "/s",
        Unit::Megabytes => "MB/s",
        Unit::Milliseconds => "ms",
        Unit::Mebibytes => "MiB",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::cells;

    fn results(values: &[(Kind, f64, f64)]) -> Results {
        values
            .iter()
            .map(|&(kind, value, cpu_us)| {
                let sample = Sample { value, cpu_us, operations: 1, ..Sample::default() };
                (kind, Series { rounds: vec![sample], errors: Vec::new() })
            })
            .collect()
    }

    fn cell(name: &str) -> Cell {
        cells::all().into_iter().find(|cell| cell.name == name).unwrap()
    }

    #[test]
    fn every_part_of_a_promise_is_judged() {
        use Kind::{Distribution, Homeport, Nginx};
        let cell = cell("blob.head.c8");
        let judge = |own, cpu| {
            let all = results(&[(Homeport, own, cpu), (Distribution, 100.0, 10.0), (Nginx, 800.0, 1.0)]);
            judge(&cell, &all).word()
        };
        assert_eq!(judge(450.0, 5.0), "pass");
        assert_eq!(judge(450.0, 5.1), "**fail**");
        assert_eq!(judge(430.0, 5.0), "**fail**");
        assert_eq!(judge(390.0, 5.0), "**fail**");
    }

    #[test]
    fn nothing_is_passed_without_the_other_server() {
        let alone = results(&[(Kind::Homeport, 1e9, 0.0)]);
        assert_eq!(judge(&cell("referrers.n1000.c1"), &alone).word(), "open");
        assert_eq!(judge(&cell("blob.range.1m.c1"), &alone).word(), "open");
        assert_eq!(judge(&cell("startup"), &alone).word(), "**fail**");
    }

    #[test]
    fn a_round_that_failed_spoils_the_series() {
        let sample = Sample { value: 1.0, ..Sample::default() };
        let series = Series { rounds: vec![sample], errors: vec!["wrong content".into()] };
        assert!(series.median().is_none());
        let results = Results::from([(Kind::Homeport, series)]);
        assert_eq!(judge(&cell("startup"), &results).word(), "**fail**");
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), 2.5);
    }
}
