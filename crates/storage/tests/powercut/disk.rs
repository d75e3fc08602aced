//! A disk that keeps only what it has to: a state after a power cut is what was synced and any part of the rest.
//!
//! Files and directories are inodes. Data of a file is safe after a sync of that file, an entry after a sync of its
//! directory. Every other write, cut into blocks, every change of a length, of a time stamp and of an entry may be there
//! or not, each by itself; a rename is one entry more and one entry less.

use crate::random::Random;
use crate::recorder::Log;
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use storage::fs::DiskEvent;

type Inode = usize;
const ROOT: Inode = 0;

/// Time stamp of everything whose own time stamp got lost.
const LONG_AGO: Duration = Duration::from_secs(1_000_000_000);

/// Up to this many volatile changes, all their subsets are tried.
const ENUMERATE_MAX: usize = 7;

/// A tree of which everything is safe.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    nodes: Vec<Node>,
}

#[derive(Clone, Debug)]
enum Node {
    Dir(BTreeMap<String, Inode>),
    File(Vec<u8>, SystemTime),
}

impl Snapshot {
    pub(crate) fn empty() -> Self {
        Self { nodes: vec![Node::Dir(BTreeMap::new())] }
    }

    pub(crate) fn read(root: &Path) -> Self {
        let mut out = Self { nodes: Vec::new() };
        out.add(root);
        out
    }

    fn add(&mut self, path: &Path) -> Inode {
        let inode = self.nodes.len();
        if path.is_dir() {
            self.nodes.push(Node::Dir(BTreeMap::new()));
            let mut entries = BTreeMap::new();
            for entry in std::fs::read_dir(path).unwrap() {
                let entry = entry.unwrap();
                entries.insert(entry.file_name().into_string().unwrap(), self.add(&entry.path()));
            }
            self.nodes[inode] = Node::Dir(entries);
        } else {
            let modified = path.metadata().unwrap().modified().unwrap();
            self.nodes.push(Node::File(std::fs::read(path).unwrap(), modified));
        }
        inode
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.nodes.len() == 1
    }
}

/// Names as a running system sees them.
#[derive(Clone)]
struct Names {
    dirs: HashMap<Inode, BTreeMap<String, Inode>>,
    next: Inode,
}

impl Names {
    fn new(base: &Snapshot) -> Self {
        let dirs = base.nodes.iter().enumerate();
        let dirs = dirs
            .filter_map(|(inode, node)| if let Node::Dir(names) = node { Some((inode, names.clone())) } else { None });
        Self { dirs: dirs.collect(), next: base.nodes.len() }
    }

    fn find(&self, path: &str) -> Option<Inode> {
        path.split('/')
            .filter(|part| !part.is_empty())
            .try_fold(ROOT, |dir, name| self.dirs.get(&dir)?.get(name).copied())
    }

    /// The directory and the name in it.
    fn place<'a>(&self, path: &'a str) -> Option<(Inode, &'a str)> {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        let dir = self.find(parent).filter(|dir| self.dirs.contains_key(dir))?;
        Some((dir, name))
    }

    /// The changes of one event; `None` when what it needs is not there.
    fn step<'a>(&mut self, event: &'a DiskEvent) -> Option<Vec<Change<'a>>> {
        let changes = match event {
            DiskEvent::MakeDir { path } => {
                let (dir, name) = self.place(path).filter(|(dir, name)| !self.dirs[dir].contains_key(*name))?;
                let inode = self.allocate();
                self.dirs.insert(inode, BTreeMap::new());
                vec![Change::entry(dir, name, Some(inode))]
            }
            DiskEvent::Write { path, offset, data } => match self.find(path) {
                Some(inode) => vec![Change::Data { inode, offset: usize::try_from(*offset).ok()?, data }],
                None if data.is_empty() => {
                    let (dir, name) = self.place(path)?;
                    vec![Change::entry(dir, name, Some(self.allocate()))]
                }
                None => return None,
            },
            DiskEvent::Truncate { path, len } => {
                vec![Change::Length { inode: self.find(path)?, len: usize::try_from(*len).ok()? }]
            }
            DiskEvent::SetModified { path, time } => vec![Change::Time { inode: self.find(path)?, time: *time }],
            DiskEvent::Rename { from, to } => {
                let inode = self.find(from)?;
                let ((old, old_name), (new, new_name)) = (self.place(from)?, self.place(to)?);
                vec![Change::entry(new, new_name, Some(inode)), Change::entry(old, old_name, None)]
            }
            DiskEvent::Remove { path } | DiskEvent::RemoveDir { path } => {
                self.find(path)?;
                let (dir, name) = self.place(path)?;
                vec![Change::entry(dir, name, None)]
            }
            DiskEvent::SyncFile { .. } | DiskEvent::SyncDir { .. } | DiskEvent::SyncAll { .. } => Vec::new(),
        };
        for change in &changes {
            if let Change::Entry { dir, name, to } = change {
                let names = self.dirs.entry(*dir).or_default();
                match to {
                    Some(inode) => names.insert((*name).to_owned(), *inode),
                    None => names.remove(*name),
                };
            }
        }
        Some(changes)
    }

    fn allocate(&mut self) -> Inode {
        self.next += 1;
        self.next - 1
    }
}

/// An operation is recorded after it was done, so of two threads the second may be recorded first. Where an event needs
/// one that comes later, that one is moved before it; it had been done by then.
pub(crate) fn put_in_order(base: &Snapshot, log: &mut Log) {
    let mut names = Names::new(base);
    let mut at = 0;
    while at < log.events.len() {
        if names.step(&log.events[at]).is_some() {
            at += 1;
            continue;
        }
        let needed = |later: &&DiskEvent| {
            let made = match later {
                DiskEvent::MakeDir { path } => path,
                DiskEvent::Rename { to, .. } => to,
                _ => return false,
            };
            let below = |path: &str| path.strip_prefix(made.as_str()).is_some_and(|rest| rest.starts_with('/'));
            match &log.events[at] {
                DiskEvent::MakeDir { path } | DiskEvent::Write { path, .. } => below(path),
                DiskEvent::Remove { path } => below(path) || path == made,
                DiskEvent::Rename { from, to } => below(from) || below(to) || from == made,
                _ => false,
            }
        };
        let found = log.events[at + 1..].iter().position(|later| needed(&later) && names.clone().step(later).is_some());
        let found = found.unwrap_or_else(|| panic!("event {at} is impossible: {}", describe(&log.events[at])));
        log.pull(at + 1 + found, at);
    }
}

#[derive(Debug)]
enum Change<'a> {
    Entry { dir: Inode, name: &'a str, to: Option<Inode> },
    Data { inode: Inode, offset: usize, data: &'a [u8] },
    Length { inode: Inode, len: usize },
    Time { inode: Inode, time: SystemTime },
}

impl<'a> Change<'a> {
    fn entry(dir: Inode, name: &'a str, to: Option<Inode>) -> Self {
        Self::Entry { dir, name, to }
    }

    /// Whose sync makes it safe.
    fn owner(&self) -> Inode {
        match self {
            Self::Entry { dir, .. } => *dir,
            Self::Data { inode, .. } | Self::Length { inode, .. } | Self::Time { inode, .. } => *inode,
        }
    }
}

/// The disk at one moment.
pub(crate) struct Disk<'a> {
    base: &'a Snapshot,
    /// With the event that made it, and whether it is safe.
    changes: Vec<(usize, bool, Change<'a>)>,
    dirs: Vec<Inode>,
}

/// What becomes of one volatile change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Lost,
    Kept,
    /// The file has its new length, the data is lost.
    LengthOnly,
    /// Some blocks of 512 or 4096 bytes.
    Torn {
        block: usize,
        seed: u64,
    },
}

impl<'a> Disk<'a> {
    pub(crate) fn new(base: &'a Snapshot, events: &'a [DiskEvent]) -> Self {
        let mut names = Names::new(base);
        let mut changes: Vec<(usize, bool, Change<'a>)> = Vec::new();
        for (at, event) in events.iter().enumerate() {
            let (inode, before) = match event {
                DiskEvent::SyncAll { before } => (None, *before),
                DiskEvent::SyncFile { path, before } | DiskEvent::SyncDir { path, before } => match names.find(path) {
                    Some(inode) => (Some(inode), *before),
                    None => continue,
                },
                other => {
                    let new = names.step(other).unwrap_or_else(|| panic!("event {at}: {}", describe(other)));
                    changes.extend(new.into_iter().map(|change| (at, false, change)));
                    continue;
                }
            };
            for (made, safe, change) in &mut changes {
                *safe |= *made < before && inode.is_none_or(|inode| inode == change.owner());
            }
        }
        Self { base, changes, dirs: names.dirs.into_keys().collect() }
    }

    fn volatile(&self) -> impl Iterator<Item = &Change<'a>> {
        self.changes.iter().filter(|(_, safe, _)| !safe).map(|(_, _, change)| change)
    }

    /// States to try: all when they are few, else the extremes and `count` others.
    pub(crate) fn states(&self, random: &mut Random, count: usize) -> Vec<Vec<Fate>> {
        let kept = |keep: bool| if keep { Fate::Kept } else { Fate::Lost };
        let is_entry = |change: &Change<'_>| matches!(change, Change::Entry { .. });
        let size = self.volatile().count();
        if size <= ENUMERATE_MAX {
            let mut all: Vec<Vec<Fate>> =
                (0..1_usize << size).map(|bits| (0..size).map(|bit| kept(bits >> bit & 1 == 1)).collect()).collect();
            all.extend((0..count).map(|_| self.random_state(random)));
            return all;
        }
        let mut states = vec![
            vec![Fate::Lost; size],
            vec![Fate::Kept; size],
            self.volatile().map(|change| kept(is_entry(change))).collect(),
            self.volatile().map(|change| kept(!is_entry(change))).collect(),
            self.volatile().map(|change| if is_entry(change) { Fate::Kept } else { Fate::LengthOnly }).collect(),
        ];
        states.extend((0..count).map(|_| self.random_state(random)));
        states
    }

    fn random_state(&self, random: &mut Random) -> Vec<Fate> {
        let entries = random.below(101);
        let data = random.below(101);
        let whole = random.below(101);
        let fate = |change: &Change<'_>, random: &mut Random| match change {
            Change::Entry { .. } => {
                if random.below(100) < entries {
                    Fate::Kept
                } else {
                    Fate::Lost
                }
            }
            _ if random.below(100) >= data => Fate::Lost,
            Change::Data { .. } if random.below(100) >= whole => match random.below(3) {
                0 => Fate::LengthOnly,
                1 => Fate::Torn { block: 512, seed: random.next() },
                _ => Fate::Torn { block: 4096, seed: random.next() },
            },
            _ => Fate::Kept,
        };
        self.volatile().map(|change| fate(change, random)).collect()
    }

    /// Builds the state in an empty folder.
    pub(crate) fn build(&self, fates: &[Fate], root: &Path) {
        let mut dirs: HashMap<Inode, BTreeMap<&str, Inode>> =
            self.dirs.iter().map(|dir| (*dir, BTreeMap::new())).collect();
        for (inode, node) in self.base.nodes.iter().enumerate() {
            if let Node::Dir(names) = node {
                dirs.insert(inode, names.iter().map(|(name, to)| (name.as_str(), *to)).collect());
            }
        }
        let mut contents: HashMap<Inode, Vec<(&Change<'_>, Fate)>> = HashMap::new();
        let mut fates = fates.iter();
        for (_, safe, change) in &self.changes {
            let fate = if *safe { Fate::Kept } else { *fates.next().unwrap() };
            match change {
                _ if fate == Fate::Lost => {}
                Change::Entry { dir, name, to: Some(inode) } => {
                    dirs.entry(*dir).or_default().insert(name, *inode);
                }
                Change::Entry { dir, name, to: None } => {
                    dirs.entry(*dir).or_default().remove(name);
                }
                other => contents.entry(other.owner()).or_default().push((other, fate)),
            }
        }
        let mut builder = Builder { base: self.base, dirs, contents, built: HashMap::new() };
        builder.dir(ROOT, root, 0);
    }
}

struct Builder<'a> {
    base: &'a Snapshot,
    dirs: HashMap<Inode, BTreeMap<&'a str, Inode>>,
    contents: HashMap<Inode, Vec<(&'a Change<'a>, Fate)>>,
    built: HashMap<Inode, PathBuf>,
}

impl Builder<'_> {
    fn dir(&mut self, inode: Inode, path: &Path, depth: usize) {
        // Of two renames that were half lost a directory may hold itself; no file system lets that happen.
        assert!(depth < 64, "a loop of directories");
        for (name, inode) in self.dirs[&inode].clone() {
            let child = path.join(name);
            if self.dirs.contains_key(&inode) {
                std::fs::create_dir(&child).unwrap();
                self.dir(inode, &child, depth + 1);
            } else if let Some(other) = self.built.get(&inode) {
                std::fs::hard_link(other, &child).unwrap();
            } else {
                self.file(inode, &child);
                self.built.insert(inode, child);
            }
        }
        let time = rustix::fs::Timespec { tv_sec: LONG_AGO.as_secs().try_into().unwrap(), tv_nsec: 0 };
        let times = rustix::fs::Timestamps { last_access: time, last_modification: time };
        rustix::fs::utimensat(rustix::fs::CWD, path, &times, rustix::fs::AtFlags::empty()).unwrap();
    }

    fn file(&self, inode: Inode, path: &Path) {
        let (mut data, mut modified) = match self.base.nodes.get(inode) {
            Some(Node::File(data, modified)) => (data.clone(), *modified),
            _ => (Vec::new(), SystemTime::UNIX_EPOCH + LONG_AGO),
        };
        for (change, fate) in self.contents.get(&inode).into_iter().flatten() {
            match change {
                Change::Data { offset, data: new, .. } => write(&mut data, *offset, new, *fate),
                Change::Length { len, .. } => data.resize(*len, 0),
                Change::Time { time, .. } => modified = *time,
                Change::Entry { .. } => {}
            }
        }
        let file = File::create_new(path).unwrap();
        file.set_len(data.len() as u64).unwrap();
        for (index, block) in data.chunks(4096).enumerate() {
            if *block != [0; 4096][..block.len()] {
                file.write_all_at(block, index as u64 * 4096).unwrap();
            }
        }
        file.set_modified(modified).unwrap();
    }
}

fn write(data: &mut Vec<u8>, offset: usize, new: &[u8], fate: Fate) {
    let end = offset + new.len();
    if data.len() < end {
        data.resize(end, 0);
    }
    match fate {
        Fate::Kept => data[offset..end].copy_from_slice(new),
        Fate::Torn { block, seed } => {
            let mut random = Random::new(seed);
            let mut at = offset;
            while at < end {
                let next = ((at / block + 1) * block).min(end);
                if random.below(2) == 1 {
                    data[at..next].copy_from_slice(&new[at - offset..next - offset]);
                }
                at = next;
            }
        }
        Fate::Lost | Fate::LengthOnly => {}
    }
}

pub(crate) fn describe(event: &DiskEvent) -> String {
    match event {
        DiskEvent::Write { path, offset, data } => format!("Write {path} at {offset}, {} bytes", data.len()),
        other => format!("{other:?}"),
    }
}
