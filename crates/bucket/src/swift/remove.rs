//! Many objects at once.

use super::calls::{Call, Calls, Target, failed, quoted};
use super::segments::{Form, is_session};
use futures_util::stream::StreamExt;
use http::Method;
use object_store::Result;
use serde::Deserialize;

/// Requests under way at once.
const AT_ONCE: usize = 16;
/// Longest report of a service, in bytes.
const REPORT_MAX: usize = 4 << 20;
/// Names in one list.
const NAMES_MAX: usize = 1000;

/// What a service says of many deletions: 200 in any case, and then this.
#[derive(Debug, Deserialize)]
struct Report {
    #[serde(rename = "Response Status")]
    status: String,
    #[serde(default, rename = "Response Body")]
    body: String,
    #[serde(default, rename = "Errors")]
    errors: Vec<(String, String)>,
}

/// What came of a request that deletes many.
pub(super) fn outcome(body: &[u8]) -> Result<()> {
    let report: Report = serde_json::from_slice(body.trim_ascii())
        .map_err(|error| failed(format!("the report on deletions is not understood: {error}")))?;
    let bad = report.errors.iter().find(|(_, status)| !status.starts_with("404"));
    if let Some((name, status)) = bad {
        return Err(failed(format!("{name} cannot be deleted: {status}")));
    }
    if report.status.starts_with('2') || (!report.errors.is_empty() && bad.is_none()) {
        return Ok(());
    }
    Err(failed(format!("deletions failed: {} {}", report.status, report.body)))
}

/// All of them come to their end, also when one fails: none goes on unseen. The first error, if there is one.
async fn all<T>(requests: Vec<impl Future<Output = Result<T>>>) -> Result<Vec<T>> {
    let ended: Vec<Result<T>> = futures_util::stream::iter(requests).buffer_unordered(AT_ONCE).collect().await;
    ended.into_iter().collect()
}

impl Calls {
    /// Removes these, large ones with their segments.
    pub(super) async fn delete_many(&self, paths: &[String]) -> Result<()> {
        let looks: Vec<_> = paths.iter().map(|path| self.delete_if_large(path)).collect();
        let small: Vec<String> = all(looks).await?.into_iter().flatten().collect();
        self.delete_plain_many(&small).await
    }

    /// The name of what is still there.
    async fn delete_if_large(&self, path: &str) -> Result<Option<String>> {
        // Session objects are manifests, too, but own nothing.
        let form = if is_session(path) { Some(Form::Plain) } else { self.form(path).await? };
        match form {
            Some(Form::Plain) => Ok(Some(path.to_owned())),
            Some(form) => self.delete_form(path, form).await.map(|()| None),
            None => Ok(None),
        }
    }

    async fn delete_plain_many(&self, names: &[String]) -> Result<()> {
        match self.info().deletes() {
            Some(limit) if names.len() > 1 => {
                for chunk in names.chunks(limit) {
                    self.delete_bulk(chunk).await?;
                }
                Ok(())
            }
            _ => {
                let deletes: Vec<_> = names.iter().map(|name| self.delete_plain(name)).collect();
                all(deletes).await.map(drop)
            }
        }
    }

    async fn delete_bulk(&self, names: &[String]) -> Result<()> {
        let container = quoted(&self.container);
        let lines: Vec<String> = names.iter().map(|name| format!("{container}/{}", quoted(name))).collect();
        let call = Call::new(Method::POST, Target::Account).query("bulk-delete", "");
        let call = call.header("content-type", "text/plain")?.header("accept", "application/json")?;
        let text = self.send_and_read(call.body(lines.join("\n").into()), REPORT_MAX).await?;
        outcome(&text.body)
    }

    /// Removes segments; there are no manifests below them that own anything.
    pub(super) async fn delete_below(&self, folder: &str) -> Result<()> {
        let below = format!("{}/", folder.trim_end_matches('/'));
        let mut marker = String::new();
        loop {
            let names = self.names_after(&below, &marker, NAMES_MAX).await?;
            let Some(last) = names.last() else { return Ok(()) };
            marker.clone_from(last);
            let is_last = self.info().is_last(names.len(), NAMES_MAX);
            let names: Vec<String> = names.into_iter().filter(|name| name.starts_with(&below)).collect();
            self.delete_plain_many(&names).await?;
            if is_last {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_error_waits_for_the_others() {
        let ended = std::cell::Cell::new(0);
        let one = |number: u32| {
            let ended = &ended;
            async move {
                if number == 0 {
                    return Err(failed("no".to_owned()));
                }
                tokio::task::yield_now().await;
                ended.set(ended.get() + 1);
                Ok(number)
            }
        };
        assert!(all((0..40).map(one).collect()).await.is_err());
        assert_eq!(ended.get(), 39);
    }

    #[test]
    fn reports_are_read_to_their_end() {
        let report = |status: &str, errors: &str| {
            format!(
                "   \n{{\"Number Not Found\": 1, \"Response Status\": \"{status}\", \"Response Body\": \"\", \"Number Deleted\": 1, \"Errors\": [{errors}]}}"
            )
        };
        assert!(outcome(report("200 OK", "").as_bytes()).is_ok());
        assert!(outcome(report("400 Bad Request", "").as_bytes()).is_err());
        assert!(outcome(report("400 Bad Request", "[\"c/a\", \"403 Forbidden\"]").as_bytes()).is_err());
        assert!(outcome(report("400 Bad Request", "[\"c/a\", \"404 Not Found\"]").as_bytes()).is_ok());
        assert!(outcome(b"<html>").is_err());
    }
}
