//! The cells: what is measured, with how many clients, and what homeport has promised there.

use super::s3::{Pages, Part};
use super::store::Needs;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Size {
    Small,
    Large,
    Huge,
}

/// How a blob is pushed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Mode {
    /// POST, one streamed PATCH, PUT: docker and podman.
    Patch,
    /// POST, PUT with the whole body: containerd and `BuildKit`.
    Put,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Work {
    BlobHead,
    ManifestHeadTag,
    ManifestGetTag,
    ManifestGetDigest,
    BlobGet(Size),
    Range,
    Push(Size, Mode),
    /// Manifests into this many repositories.
    ManifestPut(usize),
    TagsPage,
    TagsFull,
    CatalogPage,
    Referrers,
    ImagePull,
    /// So many pushes beside the pulls.
    Mixed(usize),
    /// Every request with a password, against the same without.
    Basic,
    Startup,
    MemoryIdle,
    MemoryStore,
    MemoryUpload,
    MemoryDownload,
    /// An hour of everything.
    Soak,
    /// Tags as objects of a cluster.
    Api(Tags),
    /// With the content in a bucket; `true`: every request to the service is later by 20 ms.
    S3(Part, bool),
}

/// What is asked of the Kubernetes API.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Tags {
    /// The first 500 of a namespace with 50,000.
    Page,
    /// All of them at once: how long it takes, compressed or not, and what it adds to the memory.
    Full,
    FullCompressed,
    FullMemory,
    /// One by its name.
    Get,
    /// What idle watches add to the memory, through the cluster or on a connection each.
    Watches,
    DirectWatches,
    /// How soon one tells of a push at another process.
    Event,
    /// All of a small namespace, compared with a store that holds nothing else.
    Isolated,
}

impl Work {
    pub(super) fn lists_a_bucket(self) -> bool {
        matches!(self, Self::S3(Part::Tags(_) | Part::Catalog(_), _))
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Unit {
    PerSecond,
    Megabytes,
    Milliseconds,
    Mebibytes,
}

/// What homeport must reach; every part that is set.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Target {
    /// Times the best peer's rate, and not a longer p99 where asked for.
    pub(super) peer: Option<f64>,
    pub(super) p99: bool,
    /// Part of nginx's rate.
    pub(super) nginx: Option<f64>,
    /// At most half of the processor time per operation of the best peer.
    pub(super) half_cpu: bool,
    /// Part of the same without a password, or with nothing beside it.
    pub(super) reference: Option<f64>,
    /// At most this, in the cell's unit.
    pub(super) most: Option<f64>,
}

#[derive(Clone, Debug)]
pub(super) struct Cell {
    pub(super) name: String,
    pub(super) work: Work,
    pub(super) clients: usize,
    pub(super) target: Target,
}

impl Cell {
    pub(super) fn unit(&self) -> Unit {
        let work = match self.work {
            Work::S3(part, _) => part.work(),
            other => other,
        };
        match work {
            Work::BlobGet(Size::Large | Size::Huge)
            | Work::Push(Size::Large | Size::Huge, _)
            | Work::ImagePull
            | Work::Mixed(_) => Unit::Megabytes,
            Work::Startup | Work::Api(Tags::Page | Tags::Full | Tags::FullCompressed | Tags::Get | Tags::Event) => {
                Unit::Milliseconds
            }
            Work::Api(Tags::FullMemory | Tags::Watches | Tags::DirectWatches) => Unit::Mebibytes,
            Work::MemoryIdle | Work::MemoryStore | Work::MemoryUpload | Work::MemoryDownload | Work::Soak => {
                Unit::Mebibytes
            }
            _ => Unit::PerSecond,
        }
    }

    /// Too long or too large for `--quick`.
    pub(super) fn only_full(&self) -> bool {
        matches!(self.work, Work::MemoryUpload | Work::MemoryDownload | Work::Api(_) | Work::S3(..))
    }

    /// So long that it only runs when it is named.
    fn only_named(&self) -> bool {
        self.work == Work::Soak
    }

    pub(super) fn needs(&self) -> Needs {
        let mut needs = Needs::default();
        match self.work {
            Work::BlobGet(Size::Large) => needs.large = true,
            Work::BlobGet(Size::Huge) | Work::Range | Work::MemoryDownload => needs.huge = true,
            Work::ImagePull | Work::Mixed(_) => needs.image = true,
            Work::Soak => needs = Needs { large: true, image: true, many: true, ..needs },
            Work::Referrers => needs.referrers = true,
            Work::TagsPage | Work::TagsFull | Work::CatalogPage | Work::Startup | Work::MemoryStore => {
                needs.many = true;
            }
            _ => {}
        }
        needs
    }
}

const NONE: Target = Target { peer: None, p99: false, nginx: None, half_cpu: false, reference: None, most: None };

const fn times(peer: f64) -> Target {
    Target { peer: Some(peer), ..NONE }
}

const fn read(peer: f64, nginx: f64) -> Target {
    Target { nginx: Some(nginx), ..times(peer) }
}

const fn cheap(target: Target) -> Target {
    Target { half_cpu: true, ..target }
}

const fn most(value: f64) -> Target {
    Target { most: Some(value), ..NONE }
}

/// Every cell, in the order of measuring: what writes comes after what reads.
pub(super) fn all() -> Vec<Cell> {
    use Work::*;
    let mut cells = Vec::new();
    let mut add = |name: &str, work: Work, clients: &[usize], target: fn(usize) -> Target| {
        for &count in clients {
            let name = format!("{name}.c{count}");
            cells.push(Cell { name, work, clients: count, target: target(count) });
        }
    };
    reads(&mut add);
    pushes(&mut add);
    let mut single = |name: &str, work: Work, clients: usize, target: Target| {
        cells.push(Cell { name: name.to_owned(), work, clients, target });
    };
    single("tags.n50000.page100.c1", TagsPage, 1, times(100.0));
    single("tags.n50000.page100.c8", TagsPage, 8, times(100.0));
    single("tags.n50000.full.c1", TagsFull, 1, times(5.0));
    single("catalog.page100.c1", CatalogPage, 1, times(10.0));
    single("referrers.n1000.c1", Referrers, 1, times(10.0));
    single("referrers.n1000.c8", Referrers, 8, times(10.0));
    single("image.pull.c1", ImagePull, 1, times(1.3));
    single("mixed.pull64.push8", Mixed(8), 72, Target { p99: true, ..times(1.25) });
    single("basic.bcrypt", Basic, 8, Target { reference: Some(0.9), ..NONE });
    single("startup", Startup, 1, most(50.0));
    single("memory.idle", MemoryIdle, 1, most(30.0));
    single("memory.store", MemoryStore, 1, most(60.0));
    single("memory.upload64", MemoryUpload, 64, most(8.0));
    single("memory.download64", MemoryDownload, 64, most(8.0));
    single("api.list.page500", Api(Tags::Page), 1, most(50.0));
    single("api.list.full", Api(Tags::Full), 1, most(3000.0));
    single("api.list.full.gzip", Api(Tags::FullCompressed), 1, most(3000.0));
    single("api.list.full.memory", Api(Tags::FullMemory), 1, most(50.0));
    single("api.get", Api(Tags::Get), 8, most(5.0));
    single("api.list.isolated", Api(Tags::Isolated), 1, Target { reference: Some(0.9), ..NONE });
    single("api.watch.idle1000", Api(Tags::Watches), 1000, most(20.0));
    single("api.watch.direct1000", Api(Tags::DirectWatches), 1000, NONE);
    single("api.watch.event", Api(Tags::Event), 1, most(1000.0));
    buckets(&mut single);
    single("soak.mixed", Soak, 8, most(2.0));
    cells
}

/// The ratios hold however far the service is.
fn buckets(single: &mut dyn FnMut(&str, Work, usize, Target)) {
    let mut both = |name: &str, part: Part, clients: usize, target: Target| {
        for (far, delayed) in [("", false), (".20ms", true)] {
            single(&format!("s3.{name}{far}"), Work::S3(part, delayed), clients, target);
        }
    };
    // Before the pushes: after one the lists of its namespace are not kept for a while.
    both("tags.page100", Part::Tags(Pages::Again), 1, times(10.0));
    both("catalog.page100", Part::Catalog(Pages::Again), 1, times(10.0));
    both("tags.first100", Part::Tags(Pages::First), 1, NONE);
    both("catalog.first100", Part::Catalog(Pages::First), 1, NONE);
    for (mode, name) in [(Mode::Patch, "patch"), (Mode::Put, "put")] {
        both(&format!("push.100m.{name}"), Part::Push(Size::Large, mode), 1, times(1.5));
        both(&format!("push.1g.{name}"), Part::Push(Size::Huge, mode), 1, times(1.5));
        both(&format!("push.10k.{name}.c8"), Part::Push(Size::Small, mode), 8, times(2.0));
    }
    both("manifest.put.c8", Part::Manifests, 8, times(2.0));
    both("memory.upload1g", Part::Upload, 1, most(32.0));
    both("memory.upload64", Part::Uploads, 64, most(400.0));
}

type Add<'a> = &'a mut dyn FnMut(&str, Work, &[usize], fn(usize) -> Target);

fn reads(add: Add) {
    use Work::{BlobGet, BlobHead, ManifestGetDigest, ManifestGetTag, ManifestHeadTag, Range};
    // Promises about many clients; with one, the round trip of the machine dominates.
    let small = |clients| if clients == 1 { NONE } else { cheap(read(4.0, 0.55)) };
    add("blob.head", BlobHead, &[1, 8, 64], small);
    add("manifest.head.tag", ManifestHeadTag, &[1, 8, 64], small);
    add("manifest.get.tag", ManifestGetTag, &[1, 8, 64], small);
    add("manifest.get.digest", ManifestGetDigest, &[1, 8, 64], small);
    add("blob.get.10k", BlobGet(Size::Small), &[8, 64], |_| cheap(read(6.0, 0.55)));
    add("blob.get.100m", BlobGet(Size::Large), &[1, 8], |_| read(1.2, 0.9));
    add("blob.get.1g", BlobGet(Size::Huge), &[1, 8], |_| read(1.2, 0.9));
    add("blob.range.1m", Range, &[1, 8], |_| Target { nginx: Some(0.9), ..NONE });
}

fn pushes(add: Add) {
    use Work::{ManifestPut, Push};
    for (mode, name) in [(Mode::Patch, "patch"), (Mode::Put, "put")] {
        let large = |clients| if clients == 1 { times(1.6) } else { times(1.3) };
        add(&format!("push.100m.{name}"), Push(Size::Large, mode), &[1, 8, 64], large);
        add(&format!("push.1g.{name}"), Push(Size::Huge, mode), &[1], |_| times(1.6));
        add(&format!("push.10k.{name}"), Push(Size::Small, mode), &[8, 64], |_| cheap(times(3.0)));
    }
    add("manifest.put.one", ManifestPut(1), &[8, 64], |_| cheap(times(5.0)));
    add("manifest.put.many", ManifestPut(64), &[8, 64], |_| cheap(times(5.0)));
}

/// The cells whose name begins with one of the patterns; `*` stands for anything.
pub(super) fn select(patterns: &[String], quick: bool) -> Vec<Cell> {
    let mut cells = all();
    if patterns.is_empty() {
        let left_out = |cell: &Cell| cell.only_named() || (quick && cell.only_full());
        cells.retain(|cell| !left_out(cell));
    } else {
        cells.retain(|cell| patterns.iter().any(|pattern| matches(&cell.name, pattern)));
    }
    cells
}

/// The parts between the stars occur in this order, the first one at the beginning.
fn matches(name: &str, pattern: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| name.strip_prefix(first)) else { return false };
    parts.all(|part| match rest.find(part) {
        Some(at) => {
            rest = &rest[at + part.len()..];
            true
        }
        None => false,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_are_unique() {
        let cells = all();
        let names: HashSet<_> = cells.iter().map(|cell| cell.name.as_str()).collect();
        assert_eq!(names.len(), cells.len());
        assert!(names.contains("push.100m.patch.c64") && names.contains("blob.get.1g.c8"));
    }

    #[test]
    fn patterns_select() {
        assert!(matches("push.10k.put.c8", "push.10k"));
        assert!(matches("push.10k.put.c8", "push*c8"));
        assert!(matches("push.10k.put.c8", "*put"));
        assert!(!matches("push.10k.put.c8", "c8*push"));
        assert!(!matches("s3.push.10k", "push.10k"));
        assert!(select(&[], true).iter().all(|cell| !cell.only_full()));
        assert_eq!(select(&["memory.upload64".into()], true).len(), 1);
    }
}
