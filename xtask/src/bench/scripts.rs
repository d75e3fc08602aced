//! What the clients of each cell do.

use std::cell::RefCell;
use std::rc::Rc;

use super::cells::Mode;
use crate::load::{Body, Exchange, Script, Source};

/// The same requests in turn.
pub(super) struct Rotate {
    requests: Vec<Exchange>,
    next: usize,
}

impl Rotate {
    pub(super) fn new(requests: Vec<Exchange>) -> Self {
        Self { requests, next: 0 }
    }
}

impl Script for Rotate {
    fn begin(&mut self, _client: usize) -> Exchange {
        self.next = (self.next + 1) % self.requests.len();
        self.requests[self.next].clone()
    }
}

/// The requests one after the other are one operation: a pull of an image.
pub(super) struct Sequence {
    requests: Vec<Exchange>,
}

impl Sequence {
    pub(super) fn new(requests: Vec<Exchange>) -> Self {
        Self { requests }
    }
}

impl Script for Sequence {
    fn begin(&mut self, _client: usize) -> Exchange {
        self.requests[0].clone()
    }

    fn proceed(&mut self, _client: usize, step: usize, _location: Option<&str>) -> Option<Exchange> {
        self.requests.get(step).cloned()
    }
}

/// The digests that were pushed, for whoever checks and removes them.
pub(super) type Pushed = Rc<RefCell<Vec<String>>>;

/// Blobs that nobody has seen before.
pub(super) struct Push {
    repository: String,
    size: u64,
    mode: Mode,
    source: Source,
    /// What each client is sending.
    running: Vec<Option<(Body, String)>>,
    pushed: Pushed,
    begin: Exchange,
}

const OCTETS: &str = "Content-Type: application/octet-stream\r\n";

impl Push {
    pub(super) fn new(repository: &str, size: u64, mode: Mode, clients: usize, seed: u64) -> (Self, Pushed) {
        let mut source = Source::new(seed);
        source.prepare(size);
        let pushed = Pushed::default();
        let path = format!("/v2/{repository}/blobs/uploads/");
        let push = Self {
            repository: repository.to_owned(),
            size,
            mode,
            source,
            running: vec![None; clients],
            pushed: pushed.clone(),
            begin: Exchange::send("POST", &path, "", None, 202),
        };
        (push, pushed)
    }

    fn finish(&self, location: &str, digest: &str, body: Option<Body>) -> Exchange {
        let separator = if location.contains('?') { '&' } else { '?' };
        let path = format!("{location}{separator}digest={digest}");
        Exchange::send("PUT", &path, OCTETS, body, 201)
    }
}

impl Script for Push {
    fn begin(&mut self, client: usize) -> Exchange {
        self.running[client] = Some(self.source.make(self.size));
        self.begin.clone()
    }

    fn proceed(&mut self, client: usize, step: usize, location: Option<&str>) -> Option<Exchange> {
        let (body, digest) = self.running.get(client)?.as_ref()?;
        // A server that names no place gets its own path back, and its own error for it.
        let own = format!("/v2/{}/blobs/uploads/", self.repository);
        let location = location.map_or(own.as_str(), path_of);
        match (self.mode, step) {
            (Mode::Patch, 1) => Some(Exchange::send("PATCH", location, OCTETS, Some(body.clone()), 202)),
            (Mode::Patch, 2) => Some(self.finish(location, digest, None)),
            (Mode::Put, 1) => Some(self.finish(location, digest, Some(body.clone()))),
            _ => {
                self.pushed.borrow_mut().push(digest.clone());
                None
            }
        }
    }
}

/// The path of a Location, which may be a whole URL.
pub(super) fn path_of(location: &str) -> &str {
    match location.split_once("://") {
        Some((_, rest)) => rest.find('/').map_or("/", |at| &rest[at..]),
        None => location,
    }
}

/// Manifests of different content under new tags.
pub(super) struct PutManifests {
    repositories: Vec<String>,
    /// Content up to the note that makes it unique, and from there on.
    before: Vec<u8>,
    behind: Vec<u8>,
    headers: String,
    count: usize,
}

impl PutManifests {
    /// `template` holds `mark` once.
    pub(super) fn new(repositories: Vec<String>, template: &[u8], mark: &str, media_type: &str) -> Self {
        let at = template.windows(mark.len()).position(|window| window == mark.as_bytes()).unwrap_or(0);
        Self {
            repositories,
            before: template[..at].to_vec(),
            behind: template[at + mark.len()..].to_vec(),
            headers: format!("Content-Type: {media_type}\r\n"),
            count: 0,
        }
    }
}

impl Script for PutManifests {
    fn begin(&mut self, _client: usize) -> Exchange {
        self.count += 1;
        let note = format!("{:08}", self.count);
        let bytes = [&self.before, note.as_bytes(), &self.behind].concat();
        let repository = &self.repositories[self.count % self.repositories.len()];
        let path = format!("/v2/{repository}/manifests/t{note}");
        Exchange::send("PUT", &path, &self.headers, Some(Body::small(&bytes)), 201)
    }
}

/// The first clients push beside the others, which are what is measured.
pub(super) struct Beside {
    pub(super) pushers: usize,
    pub(super) push: Push,
    pub(super) pull: Sequence,
}

impl Script for Beside {
    fn begin(&mut self, client: usize) -> Exchange {
        if client < self.pushers { self.push.begin(client) } else { self.pull.begin(client) }
    }

    fn proceed(&mut self, client: usize, step: usize, location: Option<&str>) -> Option<Exchange> {
        if client < self.pushers {
            self.push.proceed(client, step, location)
        } else {
            self.pull.proceed(client, step, location)
        }
    }

    fn class(&self, client: usize) -> usize {
        usize::from(client < self.pushers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_are_reduced_to_their_path() {
        assert_eq!(path_of("http://127.0.0.1/v2/a?b=c"), "/v2/a?b=c");
        assert_eq!(path_of("/v2/a"), "/v2/a");
        assert_eq!(path_of("http://host"), "/");
    }

    #[test]
    fn a_put_push_has_two_exchanges_and_a_patch_push_three() {
        for (mode, exchanges) in [(Mode::Put, 2), (Mode::Patch, 3)] {
            let (mut push, pushed) = Push::new("a/b", 100, mode, 1, 1);
            push.begin(0);
            let mut step = 1;
            while push.proceed(0, step, Some("/v2/a/b/blobs/uploads/1?x=y")).is_some() {
                step += 1;
            }
            assert_eq!(step, exchanges);
            assert_eq!(pushed.borrow().len(), 1);
        }
    }
}
