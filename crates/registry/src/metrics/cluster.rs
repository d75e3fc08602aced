//! What callers of the cluster cost, and what they were told.

use super::{Histogram, head};
use access::{Caller, ClusterTokenCounts, Deciding, Decision, Source};
use std::fmt::Write;
use std::time::Instant;

/// As Deckhouse's token server counts: by the status that the caller is told.
const CODES: [&str; 3] = ["200", "403", "503"];

/// Decisions about callers of the cluster.
#[derive(Default)]
pub(super) struct Decisions([Histogram; CODES.len()]);

impl Decisions {
    pub(super) async fn decided<'a>(&self, caller: &Caller, decide: impl FnOnce() -> Deciding<'a>) -> Decision {
        if caller.source() != Source::Cluster {
            return decide().await;
        }
        let started = Instant::now();
        let decision = decide().await;
        let code = match decision {
            Decision::Allow => 0,
            Decision::Deny { .. } => 1,
            Decision::Unavailable { .. } => 2,
        };
        self.0[code].observe(started.elapsed().as_secs_f64());
        decision
    }

    pub(super) fn render(&self, out: &mut String) -> std::fmt::Result {
        let name = "registry_auth_k8s_authz_requests_total";
        head(out, name, "counter", "Decisions about callers of the cluster.")?;
        for (code, histogram) in CODES.iter().zip(&self.0) {
            writeln!(out, "{name}{{code=\"{code}\"}} {}", histogram.counts().iter().sum::<u64>())?;
        }
        let name = "registry_auth_k8s_authz_request_latency_seconds";
        head(out, name, "histogram", "Time that decisions about callers of the cluster took.")?;
        for (code, histogram) in CODES.iter().zip(&self.0) {
            histogram.render(out, name, &format!("code=\"{code}\""))?;
        }
        Ok(())
    }
}

pub(super) fn render_tokens(out: &mut String, counts: ClusterTokenCounts) -> std::fmt::Result {
    let name = "homeport_token_reviews_total";
    head(out, name, "counter", "Questions to the cluster about tokens.")?;
    writeln!(out, "{name}{{result=\"answered\"}} {}", counts.reviews.saturating_sub(counts.errors))?;
    writeln!(out, "{name}{{result=\"error\"}} {}", counts.errors)?;
    let name = "homeport_token_answers_total";
    head(out, name, "counter", "Answers about the cluster's tokens without a question to the cluster.")?;
    for (answer, count) in [("accepted", counts.hits), ("refused", counts.negative_hits), ("stale", counts.stale)] {
        writeln!(out, "{name}{{answer=\"{answer}\"}} {count}")?;
    }
    Ok(())
}
