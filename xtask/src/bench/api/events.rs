//! How soon a watch tells what another process on the same storage has done.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::store::Shelf;
use super::{Api, ms, of, other, part, path};
use crate::bench::measure::Sample;
use crate::bench::store::content::MANIFEST_TYPE;
use crate::load::{Client, stopped};
use crate::server::usage::{cpu, memory};

const EVENTS: u32 = 40;
/// Processes look at each other now and then. Steps of pauses that meet every moment between two looks.
const STEP: Duration = Duration::from_millis(37);
const STEPS: u32 = 23;

/// Pushes images of one repository through the listener for clients.
struct Pusher {
    client: Client,
    repository: String,
    headers: String,
    manifest: Value,
}

impl Pusher {
    fn new(mut client: Client, namespace: &str, headers: &str) -> Result<Self> {
        let repository = format!("/v2/{namespace}/{}", Shelf::repository(0));
        let accept = format!("{headers}Accept: {MANIFEST_TYPE}\r\n");
        let reply = client.get(&format!("{repository}/manifests/{}", Shelf::tag(0)), &accept)?;
        ensure!(reply.status == 200, "{repository}: status {}", reply.status);
        let mut manifest: Value = serde_json::from_slice(&reply.body)?;
        // The store does not have them.
        manifest["layers"] = json!([]);
        let headers = format!("{headers}Content-Type: {MANIFEST_TYPE}\r\n");
        Ok(Self { client, repository, headers, manifest })
    }

    fn push(&mut self, tag: &str) -> Result<()> {
        self.manifest["annotations"] = json!({ "bench": tag });
        let path = format!("{}/manifests/{tag}", self.repository);
        let reply = self.client.send("PUT", &path, &self.headers, self.manifest.to_string().as_bytes())?;
        ensure!(reply.status == 201, "{path}: status {}: {}", reply.status, String::from_utf8_lossy(&reply.body));
        Ok(())
    }
}

impl Api {
    /// The longest time from the answer to a push at one process to the event at another.
    pub(super) fn events(&mut self) -> Result<Sample> {
        // Small as well, and no other cell looks into it.
        let namespace = other(0);
        let mut second = self.crowd.beside(&self.kubernetes)?;
        let pid = second.running()?;
        let mut watch = second.open()?;
        let from = self.version(&second, &namespace)?;
        watch.follow(&format!("{}?watch=true&resourceVersion={from}", path(&namespace)), &self.headers)?;
        let mut pusher = Pusher::new(self.crowd.client(), &namespace, &self.headers)?;
        let (before, mut times) = (cpu(pid), Vec::new());
        for _ in 0..EVENTS {
            ensure!(!stopped(), "stopped");
            thread::sleep(STEP * (self.pushed % STEPS));
            self.pushed += 1;
            let tag = format!("pushed-{}", self.pushed);
            pusher.push(&tag)?;
            let begun = Instant::now();
            watch.until(&format!("\"{tag}\""))?;
            times.push(begun.elapsed());
        }
        let used = cpu(pid).saturating_sub(before);
        eprintln!("events after {:.0} ms in the median", ms(part(&times, 0.5)));
        Ok(Sample { value: ms(part(&times, 0.99)), ..of(&times, used, memory(pid)) })
    }
}
