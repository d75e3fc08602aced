//! The table and the JSON of a run.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::cells::{Cell, Unit};
use super::measure::Sample;
use super::peers::Kind;
use super::verdict::{Results, Series, judge, reference_name, unit};

/// A cell with what was measured.
pub(super) struct Row {
    pub(super) cell: Cell,
    pub(super) results: Results,
}

/// Whether every promise that could be judged was kept.
pub(super) fn passed(rows: &[Row]) -> bool {
    rows.iter().all(|row| judge(&row.cell, &row.results).parts.iter().all(|part| part.kept))
}

pub(super) fn markdown(rows: &[Row], kinds: &[Kind], zot_known: bool) -> String {
    let mut text = String::from("| cell |");
    for kind in kinds {
        let _ = write!(text, " {} |", kind.name());
    }
    text.push_str(" rounds | over best peer | over nginx | target | verdict |\n|---|");
    text.push_str(&"---|".repeat(kinds.len() + 5));
    text.push('\n');
    for row in rows {
        text.push_str(&line(row, kinds));
    }
    text.push_str(
        "\nEach figure: rate (or the cell's own measure) · p99 latency · peak memory of the server · \
         server CPU per operation; medians over the rounds.\n",
    );
    let mut notes = Vec::new();
    for row in rows {
        for (kind, series) in &row.results {
            for error in &series.errors {
                notes.push(format!("- {} on {}: {error}\n", row.cell.name, kind.name()));
            }
        }
    }
    if !zot_known {
        notes.push(
            "- zot was not measured: no program was given (`--zot PATH`). \"Best peer\" is distribution alone. For \
             orientation only: zot-minimal 2.1.20 was seen to answer referrers.n1000.c1 42 times a second on two \
             cores.\n"
                .to_owned(),
        );
    }
    if !notes.is_empty() {
        text.push_str("\nNotes:\n");
        text.push_str(&notes.concat());
    }
    text
}

fn line(row: &Row, kinds: &[Kind]) -> String {
    let mut text = format!("| {} |", row.cell.name);
    for kind in kinds {
        let figure = row.results.get(kind).map_or("–".to_owned(), |series| figure(&row.cell, series));
        let _ = write!(text, " {figure} |");
    }
    let rounds = row.results.values().map(|series| series.rounds.len()).max().unwrap_or(0);
    let verdict = judge(&row.cell, &row.results);
    let ratio = |value: Option<f64>| value.map_or("–".to_owned(), |ratio| format!("{ratio:.2}"));
    let target: Vec<String> = verdict
        .parts
        .iter()
        .map(|part| format!("{}{}", part.text, if part.kept { "" } else { " ✗" }))
        .chain(verdict.open.iter().map(|of| format!("{of} not measured")))
        .collect();
    let target = if target.is_empty() { "–".to_owned() } else { target.join(", ") };
    let (peer, nginx) = (ratio(verdict.over_peer), ratio(verdict.over_nginx));
    let _ = writeln!(text, " {rounds} | {peer} | {nginx} | {target} | {} |", verdict.word());
    text
}

fn figure(cell: &Cell, series: &Series) -> String {
    let Some(sample) = series.median() else { return "error".to_owned() };
    brief(cell, &sample)
}

/// One cell's figures in one line.
pub(super) fn brief(cell: &Cell, sample: &Sample) -> String {
    let value = match cell.unit() {
        Unit::PerSecond if sample.value >= 100.0 => format!("{}/s", thousands(sample.value)),
        Unit::PerSecond => format!("{:.1}/s", sample.value),
        Unit::Megabytes => format!("{} MB/s", thousands(sample.value)),
        other => format!("{:.1} {}", sample.value, unit(other)),
    };
    let reference =
        sample.reference.map(|rate| format!(" of {}/s {}", thousands(rate), reference_name(cell))).unwrap_or_default();
    match cell.unit() {
        Unit::Mebibytes => value,
        Unit::Milliseconds => format!("{value} · {:.0} MiB · {} µs", sample.peak_mib, thousands(sample.cpu_us)),
        _ => format!(
            "{value}{reference} · p99 {:.1} ms · {:.0} MiB · {} µs",
            sample.p99_ms,
            sample.peak_mib,
            thousands(sample.cpu_us)
        ),
    }
}

fn thousands(value: f64) -> String {
    let digits = format!("{:.0}", value.max(0.0));
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

pub(super) fn write_json(path: &Path, rows: &[Row]) -> Result<()> {
    let rows: Vec<Value> = rows
        .iter()
        .map(|row| {
            let verdict = judge(&row.cell, &row.results);
            let peers: serde_json::Map<String, Value> = row
                .results
                .iter()
                .map(|(kind, series)| {
                    (kind.name().to_owned(), json!({ "rounds": series.rounds, "errors": series.errors }))
                })
                .collect();
            json!({
                "cell": row.cell.name,
                "unit": unit(row.cell.unit()),
                "servers": peers,
                "over_best_peer": verdict.over_peer,
                "over_nginx": verdict.over_nginx,
                "verdict": verdict.word().trim_matches('*'),
            })
        })
        .collect();
    let text = serde_json::to_string_pretty(&json!({ "cells": rows }))?;
    fs::write(path, text + "\n").with_context(|| format!("write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::thousands;

    #[test]
    fn figures_are_grouped() {
        for (value, text) in [(0.4, "0"), (999.0, "999"), (1000.0, "1,000"), (1_234_567.8, "1,234,568")] {
            assert_eq!(thousands(value), text);
        }
    }
}
