//! A blob is pushed, every request to another replica.

use crate::actor::Actor;
use crate::cluster::{Fault, Outcome};
use anyhow::anyhow;
use e2e::{Answer, digest};

/// So often a push is begun anew that kills have met.
const ATTEMPTS_MAX: usize = 20;
const CHUNKS: usize = 3;

/// What became of an attempt.
enum End {
    Done,
    /// A kill has met it.
    Again,
}

impl Actor<'_> {
    /// Pushes until it is acknowledged; returns the digest.
    pub(crate) fn push(&mut self, repo: &str, content: &[u8]) -> anyhow::Result<String> {
        let digest = digest(content);
        for _ in 0..ATTEMPTS_MAX {
            let end = match self.random.below(3) {
                0 => self.at_once(repo, content, &digest),
                1 => self.post_and_put(repo, content, &digest),
                _ => self.in_chunks(repo, content, &digest),
            };
            match end {
                Ok(End::Done) => {
                    self.known.blob(repo, &digest, content.len());
                    return Ok(digest);
                }
                Ok(End::Again) | Err(Fault::Lost) => {}
                Err(Fault::Wrong(error)) => return Err(error),
            }
        }
        Err(anyhow!("{digest} was not taken {ATTEMPTS_MAX} times"))
    }

    fn at_once(&mut self, repo: &str, content: &[u8], digest: &str) -> Outcome<End> {
        let post = self.ask("POST", &format!("/v2/{repo}/blobs/uploads/?digest={digest}"), &[], content, 201);
        self.note(None, post)?;
        Ok(End::Done)
    }

    fn post_and_put(&mut self, repo: &str, content: &[u8], digest: &str) -> Outcome<End> {
        let location = self.begin(repo)?;
        let session = session(&location);
        let put = self.ask("PUT", &format!("{location}&digest={digest}"), &[], content, 201);
        self.note(Some(&session), put)?;
        Ok(End::Done)
    }

    fn begin(&mut self, repo: &str) -> Outcome<String> {
        let begun = self.ask("POST", &format!("/v2/{repo}/blobs/uploads/"), &[], &[], 202)?;
        Ok(path(begun.header("location")).to_owned())
    }

    /// Remembers an upload that a kill has met.
    fn note(&self, session: Option<&str>, answer: Outcome<Answer>) -> Outcome<Answer> {
        if matches!(answer, Err(Fault::Lost)) {
            self.known.broken(session);
        }
        answer
    }

    fn in_chunks(&mut self, repo: &str, content: &[u8], digest: &str) -> Outcome<End> {
        let mut location = self.begin(repo)?;
        let session = session(&location);
        let mut offset = 0;
        let chunk = content.len().div_ceil(CHUNKS).max(2);
        // The last one goes with the PUT.
        while offset + chunk < content.len() {
            let range = format!("{offset}-{}", offset + chunk - 1);
            let part = &content[offset..offset + chunk];
            let replica = self.cluster.any(&mut self.random)?;
            let answer = replica.send("PATCH", &location, &[("content-range", &range)], part);
            match self.note(Some(&session), answer) {
                Ok(answer) if answer.status == 202 => {
                    offset += chunk;
                    path(answer.header("location")).clone_into(&mut location);
                }
                // What a dead replica had begun came through after we had asked.
                Ok(answer) if answer.status == 416 && self.known.broken_sessions().contains(&session) => {
                    match self.stand(&location)? {
                        Some(stand) => (location, offset) = stand,
                        None => return Ok(End::Again),
                    }
                }
                Ok(answer) => return Err(anyhow!("PATCH {location}: {} {}", answer.status, answer.text()).into()),
                Err(Fault::Lost) => match self.stand(&location)? {
                    Some(stand) => (location, offset) = stand,
                    None => return Ok(End::Again),
                },
                Err(error) => return Err(error),
            }
        }
        let put = self.any("PUT", &format!("{location}&digest={digest}"), &[], &content[offset..]);
        let put = self.note(Some(&session), put)?;
        match put.status {
            201 => Ok(End::Done),
            404 | 416 if self.known.broken_sessions().contains(&session) => Ok(End::Again),
            status => Err(anyhow!("PUT {location} from {offset}: {status} {}", put.text()).into()),
        }
    }

    /// Where an upload stands after a kill, as another replica says; `None`: it is over.
    fn stand(&mut self, location: &str) -> Outcome<Option<(String, usize)>> {
        let answer = loop {
            match self.any("GET", location, &[], &[]) {
                Err(Fault::Lost) => {}
                other => break other?,
            }
        };
        if answer.status == 404 {
            return Ok(None);
        }
        let end = answer.header("range").strip_prefix("0-").and_then(|end| end.parse::<usize>().ok());
        let (204, Some(end)) = (answer.status, end) else {
            return Err(anyhow!("GET {location}: {} {}", answer.status, answer.text()).into());
        };
        let offset = if end == 0 { 0 } else { end + 1 };
        Ok(Some((path(answer.header("location")).to_owned(), offset)))
    }
}

/// The address without the replica.
pub(crate) fn path(location: &str) -> &str {
    let rest = location.split_once("://").map_or(location, |(_, rest)| rest);
    &rest[rest.find('/').unwrap_or(0)..]
}

/// The upload that an address is of.
pub(crate) fn session(location: &str) -> String {
    let path = location.split('?').next().unwrap_or_default();
    path.rsplit('/').next().unwrap_or_default().to_owned()
}
