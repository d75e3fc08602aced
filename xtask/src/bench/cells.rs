//! The cells: what is measured, with how many clients, and what homeport has promised there.

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
    /// All of a small namespace, compared with a store that holds nothing else.
    Isolated,
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
        match self.work {
            Work::BlobGet(Size::Large | Size::Huge)
            | Work::Push(Size::Large | Size::Huge, _)
            | Work::ImagePull
            | Work::Mixed(_) => Unit::Megabytes,
            Work::Startup | Work::Api(Tags::Page | Tags::Full | Tags::FullCompressed | Tags::Get) => Unit::Milliseconds,
            Work::Api(Tags::FullMemory | Tags::Watches | Tags::DirectWatches) => Unit::Mebibytes,
            Work::MemoryIdle | Work::MemoryStore | Work::MemoryUpload | Work::MemoryDownload | Work::Soak => {
                Unit::Mebibytes
            }
            _ => Unit::PerSecond,
        }
    }

    /// Too long or too large for `--quick`.
    pub(super) fn only_full(&self) -> bool {
        matches!(self.work, Work::MemoryUpload | Work::MemoryDownload | Work::Api(_))
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
    single("soak.mixed", Soak, 8, most(2.0));
    cells
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

/// The cells whose name contains one of the patterns; `*` stands for anything.
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

/// The parts between the stars occur in this order.
fn matches(name: &str, pattern: &str) -> bool {
    let mut rest = name;
    pattern.split('*').all(|part| match rest.find(part) {
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
        assert!(!matches("push.10k.put.c8", "c8*push"));
        assert!(select(&[], true).iter().all(|cell| !cell.only_full()));
        assert_eq!(select(&["memory.upload64".into()], true).len(), 1);
    }
}
