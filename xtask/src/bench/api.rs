//! Tags as objects of a cluster: lists, reads and watches on a namespace of 50,000 tags in 200 repositories.

mod events;
mod store;
mod world;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};

use super::cells::Tags;
use super::measure::{Bench, Sample};
use super::peers::Kind;
use crate::load::{Secure, stopped};
use crate::server::usage::{Watch, cpu, memory};
use store::Shelf;
use world::{API, Instance, Kubernetes};

/// The namespace that the promises are about.
const MANY: &str = "many";
/// One that is small, and what it must not be slowed down by.
const SMALL: &str = "small";
const OTHERS: usize = 100;
const WATCHES: usize = 1000;
const READERS: usize = 8;
const PAGES: usize = 40;
const LISTS: usize = 40;
const READING: Duration = Duration::from_secs(3);
/// What a server does after the last of its clients has come belongs to its idle state.
const SETTLE: Duration = Duration::from_secs(2);

/// Everything that these cells share.
pub(super) struct Api {
    kubernetes: Kubernetes,
    /// All namespaces.
    crowd: Instance,
    /// The small one alone.
    lonely: Instance,
    headers: String,
    verified: bool,
    /// Tags, so that each is a new one.
    pushed: u32,
}

pub(super) fn measure(bench: &mut Bench, part: Tags) -> Result<Sample> {
    let mut api = match bench.api.take() {
        Some(api) => api,
        // What failed once is not tried again for each cell.
        None => Api::start(bench).map_err(|error| format!("{error:#}")),
    };
    let sample = match &mut api {
        Ok(api) => api.measure(part),
        Err(error) => Err(anyhow!("{error}")),
    };
    bench.api = Some(api);
    sample
}

fn many() -> Shelf {
    Shelf { namespace: MANY.to_owned(), repositories: 200, tags: 250, distinct: true }
}

fn small() -> Shelf {
    Shelf { namespace: SMALL.to_owned(), repositories: 10, tags: 20, distinct: true }
}

/// Those beside the small one, which are as small.
fn other(index: usize) -> String {
    format!("other-{index:03}")
}

fn path(namespace: &str) -> String {
    format!("{API}/namespaces/{namespace}/payloadrepositorytags")
}

impl Api {
    fn start(bench: &Bench) -> Result<Self> {
        let begun = Instant::now();
        let folder = bench.folder.join("api");
        let (crowd, lonely) = (folder.join("crowd"), folder.join("lonely"));
        std::fs::create_dir_all(&crowd)?;
        std::fs::create_dir_all(&lonely)?;
        let names: Vec<String> = (0..OTHERS).map(other).collect();
        let namespaces: Vec<&str> = names.iter().map(String::as_str).chain([MANY, SMALL]).collect();
        let kubernetes = Kubernetes::start(&folder, &namespaces)?;
        let others =
            names.iter().map(|name| Shelf { namespace: name.clone(), repositories: 10, tags: 20, distinct: false });
        let shelves: Vec<Shelf> = [many(), small()].into_iter().chain(others).collect();
        let program = bench.program(Kind::Homeport)?;
        let crowd = Instance::prepare(&kubernetes, program, &crowd, &shelves)?;
        let lonely = Instance::prepare(&kubernetes, program, &lonely, &[small()])?;
        rustix::fs::sync();
        let headers = authorization(kubernetes.tokens.first().context("no account")?);
        eprintln!("cluster and stores of the API made in {:.0} s", begun.elapsed().as_secs_f64());
        Ok(Self { kubernetes, crowd, lonely, headers, verified: false, pushed: 0 })
    }

    fn measure(&mut self, part: Tags) -> Result<Sample> {
        self.crowd.running()?;
        if !self.verified {
            self.verify()?;
            self.verified = true;
        }
        match part {
            Tags::Page => self.page(),
            Tags::Full => self.full(""),
            Tags::FullCompressed => self.full("Accept-Encoding: gzip\r\n"),
            Tags::FullMemory => self.full_memory(),
            Tags::Get => self.get(),
            Tags::Isolated => self.isolated(),
            Tags::Watches => self.watches(true),
            Tags::DirectWatches => self.watches(false),
            Tags::Event => self.events(),
        }
    }

    /// Asks for a path; its length.
    fn ask(&self, server: &mut Secure, path: &str, more: &str) -> Result<usize> {
        let mut size = 0;
        let status = server.get(path, &format!("{}{more}", self.headers), |bytes| size += bytes.len())?;
        ensure!(status == 200, "{path}: status {status}");
        Ok(size)
    }

    /// What is measured is the truth: every tag is there, once, with its details.
    fn verify(&self) -> Result<()> {
        let mut server = self.crowd.open()?;
        for shelf in [many(), small()] {
            let mut text = Vec::new();
            let status = server.get(&path(&shelf.namespace), &self.headers, |bytes| text.extend_from_slice(bytes))?;
            ensure!(status == 200, "{}: status {status}: {}", shelf.namespace, String::from_utf8_lossy(&text));
            let list: serde_json::Value = serde_json::from_slice(&text).context("the list is no JSON")?;
            let items = list["items"].as_array().context("the list has no items")?;
            let names: std::collections::HashSet<_> =
                items.iter().map(|item| item["metadata"]["name"].as_str()).collect();
            let whole =
                items.iter().all(|item| item["status"]["layers"].as_array().is_some_and(|layers| layers.len() == 10));
            ensure!(
                items.len() == shelf.count() && names.len() == shelf.count(),
                "{} tags in {}",
                items.len(),
                shelf.namespace
            );
            ensure!(whole, "tags without their layers");
            eprintln!("{}: {} tags, {} bytes", shelf.namespace, items.len(), text.len());
        }
        let mut text = Vec::new();
        server.get(&format!("{}?limit=500", path(MANY)), &self.headers, |bytes| text.extend_from_slice(bytes))?;
        let page: serde_json::Value = serde_json::from_slice(&text)?;
        ensure!(page["items"].as_array().map(Vec::len) == Some(500), "a page of 500");
        Ok(())
    }

    fn page(&mut self) -> Result<Sample> {
        let pid = self.crowd.running()?;
        let mut server = self.crowd.open()?;
        let path = format!("{}?limit=500", path(MANY));
        self.ask(&mut server, &path, "")?;
        let (before, mut times) = (cpu(pid), Vec::new());
        for _ in 0..PAGES {
            let begun = Instant::now();
            self.ask(&mut server, &path, "")?;
            times.push(begun.elapsed());
        }
        let used = cpu(pid).saturating_sub(before);
        Ok(Sample { value: ms(part(&times, 0.5)), ..of(&times, used, memory(pid)) })
    }

    fn full(&mut self, more: &str) -> Result<Sample> {
        let pid = self.crowd.running()?;
        let mut server = self.crowd.open()?;
        let (before, watch, begun) = (cpu(pid), Watch::start(pid), Instant::now());
        self.ask(&mut server, &path(MANY), more)?;
        let (took, peak) = (begun.elapsed(), watch.finish());
        let used = cpu(pid).saturating_sub(before);
        Ok(Sample { value: ms(took), ..of(&[took], used, peak) })
    }

    /// Of a server that has just been started: nothing of it is in the figure before.
    fn full_memory(&mut self) -> Result<Sample> {
        let pid = self.crowd.restart()?;
        let mut server = self.crowd.open()?;
        self.ask(&mut server, &format!("{}?limit=1", path(MANY)), "")?;
        let (before, watch, begun) = (memory(pid), Watch::start(pid), Instant::now());
        self.ask(&mut server, &path(MANY), "")?;
        let (took, peak) = (begun.elapsed(), watch.finish());
        Ok(Sample { value: mib(peak.saturating_sub(before)), ..of(&[took], cpu(pid), peak) })
    }

    fn get(&mut self) -> Result<Sample> {
        let pid = self.crowd.running()?;
        let (before, next, shelf) = (cpu(pid), AtomicUsize::new(0), many());
        let (this, next, shelf) = (&*self, &next, &shelf);
        let begun = Instant::now();
        let read = || -> Result<Vec<Duration>> {
            let mut server = this.crowd.open()?;
            let mut times = Vec::new();
            while begun.elapsed() < READING && !stopped() {
                // A step that visits all of them in an order that nothing guesses.
                let index = next.fetch_add(1, Ordering::Relaxed) * 7919 % shelf.count();
                let (repository, tag) = (Shelf::repository(index / shelf.tags), Shelf::tag(index % shelf.tags));
                let path = format!("{}/{}", path(MANY), base32(&format!("{repository}:{tag}")));
                let begun = Instant::now();
                this.ask(&mut server, &path, "")?;
                times.push(begun.elapsed());
            }
            Ok(times)
        };
        let times = thread::scope(|scope| {
            let readers: Vec<_> = (0..READERS).map(|_| scope.spawn(read)).collect();
            let times = readers.into_iter().map(|reader| reader.join().unwrap_or_else(|_| bail!("a reader has ended")));
            times.collect::<Result<Vec<_>>>()
        })?
        .concat();
        let used = cpu(pid).saturating_sub(before);
        Ok(Sample { value: ms(part(&times, 0.99)), ..of(&times, used, memory(pid)) })
    }

    fn isolated(&mut self) -> Result<Sample> {
        let rate = |instance: &mut Instance, headers: &str| -> Result<(f64, Sample)> {
            let pid = instance.running()?;
            let mut server = instance.open()?;
            let mut list = || server.get(&path(SMALL), headers, |_| {});
            list()?;
            let (before, mut times) = (cpu(pid), Vec::new());
            for _ in 0..LISTS {
                let begun = Instant::now();
                ensure!(list()? == 200, "the list of the small namespace");
                times.push(begun.elapsed());
            }
            let used = cpu(pid).saturating_sub(before);
            // The median: one pause of the machine is no property of either store.
            Ok((1.0 / part(&times, 0.5).as_secs_f64().max(1e-9), of(&times, used, memory(pid))))
        };
        let (alone, _) = rate(&mut self.lonely, &self.headers)?;
        let (value, sample) = rate(&mut self.crowd, &self.headers)?;
        Ok(Sample { value, reference: Some(alone), ..sample })
    }

    /// What a thousand watches that see nothing add. Through the cluster they share its few connections.
    fn watches(&mut self, through: bool) -> Result<Sample> {
        let pid = self.crowd.restart()?;
        if through {
            self.kubernetes.lead_to(&self.crowd)?;
        }
        let (address, trust) = match through {
            true => (self.kubernetes.address()?, &self.kubernetes.trust),
            false => (self.crowd.address, &self.crowd.trust),
        };
        let from = self.version(&self.crowd, MANY)?;
        let path = format!("{}?watch=true&allowWatchBookmarks=true&resourceVersion={from}", path(MANY));
        let open = |index: usize| -> Result<Secure> {
            let mut server = Secure::open(address, trust)?;
            let token = &self.kubernetes.tokens[index % self.kubernetes.tokens.len()];
            server.follow(&path, &authorization(token))?;
            Ok(server)
        };
        let _first = open(0)?;
        thread::sleep(SETTLE);
        let (before, begun) = (memory(pid), Instant::now());
        let mut open_ones = Vec::new();
        for index in 0..WATCHES {
            ensure!(!stopped(), "stopped");
            open_ones.push(open(index)?);
        }
        let took = begun.elapsed();
        thread::sleep(SETTLE);
        let after = memory(pid);
        ensure!(self.crowd.watches()? > WATCHES, "{} watches are there", self.crowd.watches()?);
        eprintln!("{} MiB before {WATCHES} watches, {} MiB with them", before >> 20, after >> 20);
        drop(open_ones);
        Ok(Sample { value: mib(after.saturating_sub(before)), ..of(&[took], cpu(pid), after) })
    }

    fn version(&self, instance: &Instance, namespace: &str) -> Result<String> {
        let (mut text, path) = (Vec::new(), format!("{}?limit=1", path(namespace)));
        instance.open()?.get(&path, &self.headers, |bytes| text.extend_from_slice(bytes))?;
        let page: serde_json::Value = serde_json::from_slice(&text)?;
        Ok(page["metadata"]["resourceVersion"].as_str().context("a list without a version")?.to_owned())
    }
}

fn authorization(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}

/// The time that this part of all stays below.
fn part(times: &[Duration], part: f64) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rank")]
    let rank = (sorted.len() as f64 * part).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn of(times: &[Duration], cpu: Duration, peak: u64) -> Sample {
    Sample {
        p99_ms: ms(part(times, 0.99)),
        peak_mib: mib(peak),
        cpu_us: cpu.as_secs_f64() * 1e6 / times.len().max(1) as f64,
        operations: times.len(),
        ..Sample::default()
    }
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// The name of the object of `repository:tag`.
fn base32(text: &str) -> String {
    const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let bits: Vec<u8> = text.bytes().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1)).collect();
    let letter = |bits: &[u8]| bits.iter().fold(0u8, |word, bit| word << 1 | bit) << (5 - bits.len());
    bits.chunks(5).map(|chunk| char::from(LETTERS[usize::from(letter(chunk))])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_api() {
        assert_eq!(base32("http-echo:latest"), "nb2hi4bnmvrwq3z2nrqxizltoq");
    }

    #[test]
    fn ranks() {
        let times: Vec<Duration> = (1..=100).map(Duration::from_millis).collect();
        assert_eq!(
            [part(&times, 0.5), part(&times, 0.99), part(&times[..1], 0.99), part(&[], 0.5)].map(|t| t.as_millis()),
            [50, 99, 1, 0]
        );
    }
}
