//! The clean-up against a store and a cluster that do what they like.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use access::{Clock, ManualClock, NamespaceState, NamespaceUid};
use proptest::prelude::*;
use tokio::sync::watch;

use super::content::{Cluster, ContentError, NamespaceContent, Owned, Standing};
use super::decide::{Removal, Settings};
use super::metrics::{Counts, Metrics};
use super::pass::Cleaner;

const DRAIN: Duration = Duration::from_secs(10);
const KUBE_SYSTEM: &str = "kube-system";

#[derive(Clone, Copy, Debug, PartialEq)]
enum Api {
    Right,
    Away,
    Foreign,
}

/// A cluster, what is remembered of it, and a store.
struct World {
    clock: Arc<ManualClock>,
    api: Api,
    /// After so many more questions another API server answers.
    flip: Option<(u8, Api)>,
    namespaces: BTreeMap<String, (String, bool)>,
    remembered: Option<BTreeMap<String, (String, bool)>>,
    ended: BTreeMap<String, Duration>,
    uids: u32,
    records: BTreeMap<String, String>,
    content: BTreeSet<String>,
    cluster: Option<String>,
    store_fails: bool,
    /// Another process is always faster.
    overtaken: bool,
    removed: Vec<String>,
}

#[derive(Clone)]
struct Shared(Arc<Mutex<World>>);

fn state(of: Option<&(String, bool)>) -> NamespaceState {
    match of {
        None => NamespaceState::Absent,
        Some((uid, true)) => NamespaceState::Terminating(NamespaceUid(uid.as_str().into())),
        Some((uid, false)) => NamespaceState::Exists(NamespaceUid(uid.as_str().into())),
    }
}

impl Cluster for Shared {
    fn state(&self, namespace: &str) -> NamespaceState {
        let world = self.0.lock().unwrap();
        world.remembered.as_ref().map_or(NamespaceState::Unknown, |all| state(all.get(namespace)))
    }

    async fn standing(&self, namespace: &str, uid: &str) -> Standing {
        let mut world = self.0.lock().unwrap();
        match world.flip.take() {
            Some((0, api)) => world.api = api,
            other => world.flip = other.map(|(questions, api)| (questions - 1, api)),
        }
        let found = match world.api {
            Api::Away => return Standing::Unknown("away".into()),
            Api::Right => world.namespaces.get(namespace).map(|(uid, _)| uid.clone()),
            Api::Foreign => (namespace == KUBE_SYSTEM).then(|| "foreign".to_owned()),
        };
        if found.as_deref() == Some(uid) { Standing::Present } else { Standing::Gone { successor: found } }
    }

    fn changes(&self) -> watch::Receiver<u64> {
        watch::channel(0).1
    }
}

impl World {
    fn check(&self) -> Result<(), ContentError> {
        if self.store_fails { Err("the disk is full".into()) } else { Ok(()) }
    }
}

impl NamespaceContent for Shared {
    async fn owned(&self) -> Result<Vec<Owned>, ContentError> {
        let world = self.0.lock().unwrap();
        world.check()?;
        let owned = world.records.iter();
        Ok(owned.map(|(name, uid)| Owned { namespace: name.clone(), uid: uid.clone() }).collect())
    }

    async fn with_content(&self) -> Result<Vec<String>, ContentError> {
        let world = self.0.lock().unwrap();
        world.check()?;
        Ok(world.content.iter().cloned().collect())
    }

    async fn claim(&self, namespace: &str, uid: &str) -> Result<String, ContentError> {
        let mut world = self.0.lock().unwrap();
        world.check()?;
        let living = world.namespaces.get(namespace).map(|(uid, _)| uid.as_str());
        assert_eq!((world.api, living), (Api::Right, Some(uid)), "{namespace} adopted by nobody");
        Ok(world.records.entry(namespace.to_owned()).or_insert_with(|| uid.to_owned()).clone())
    }

    /// The promise of the clean-up is checked here.
    async fn remove(&self, removal: &Removal) -> Result<bool, ContentError> {
        let mut world = self.0.lock().unwrap();
        let (namespace, gone) = (removal.namespace().to_owned(), removal.gone().to_owned());
        assert_eq!(world.api, Api::Right, "{namespace} removed without the right API server");
        let living = world.namespaces.get(&namespace).map(|(uid, _)| uid.as_str());
        assert_ne!(living, Some(gone.as_str()), "{namespace} removed while it is there");
        assert_eq!(living, removal.successor(), "{namespace} given to nobody");
        let ended = world.ended.get(&gone).copied();
        let ended = ended.unwrap_or_else(|| panic!("{namespace} {gone} never ended"));
        assert!(world.clock.elapsed() - ended >= DRAIN, "{namespace} removed too early");
        assert_eq!(world.records.get(&namespace), Some(&gone));
        world.check()?;
        if world.overtaken {
            world.records.insert(namespace, removal.successor().unwrap_or("overtaker").to_owned());
            return Ok(false);
        }
        world.content.remove(&namespace);
        match removal.successor() {
            Some(uid) => world.records.insert(namespace.clone(), uid.to_owned()),
            None => world.records.remove(&namespace),
        };
        world.removed.push(format!("{namespace} {gone}"));
        Ok(true)
    }

    async fn cluster(&self) -> Result<Option<String>, ContentError> {
        let world = self.0.lock().unwrap();
        world.check()?;
        Ok(world.cluster.clone())
    }

    async fn claim_cluster(&self, uid: &str) -> Result<String, ContentError> {
        Ok(self.0.lock().unwrap().cluster.get_or_insert_with(|| uid.to_owned()).clone())
    }
}

impl World {
    fn create(&mut self, name: &str) {
        self.uids += 1;
        let uid = format!("uid-{}", self.uids);
        self.namespaces.entry(name.to_owned()).or_insert((uid, false));
    }

    /// With content.
    fn fill(&mut self, name: &str) {
        self.create(name);
        self.push(name);
    }

    fn delete(&mut self, name: &str) {
        if let Some((uid, _)) = self.namespaces.remove(name) {
            self.ended.insert(uid, self.clock.elapsed());
        }
    }

    fn remember(&mut self) {
        self.remembered = Some(match self.api {
            Api::Right => self.namespaces.clone(),
            Api::Foreign => BTreeMap::from([(KUBE_SYSTEM.to_owned(), ("foreign".to_owned(), false))]),
            Api::Away => return,
        });
    }

    /// As the registry does it: content comes with a record, when the cluster can be asked.
    fn push(&mut self, name: &str) {
        let Some((uid, false)) = self.namespaces.get(name) else { return };
        if self.api == Api::Right && self.records.entry(name.to_owned()).or_insert_with(|| uid.clone()) == uid {
            self.content.insert(name.to_owned());
        }
    }
}

/// The clean-up in such a world.
struct Stage {
    shared: Shared,
    cleaner: Cleaner<Shared, Shared>,
    clock: Arc<ManualClock>,
    metrics: Arc<Metrics>,
}

impl Stage {
    fn new() -> Self {
        let clock = Arc::new(ManualClock::new(0));
        let mut world = World {
            clock: Arc::clone(&clock),
            api: Api::Right,
            flip: None,
            namespaces: BTreeMap::new(),
            remembered: None,
            ended: BTreeMap::new(),
            uids: 0,
            records: BTreeMap::new(),
            content: BTreeSet::new(),
            cluster: None,
            store_fails: false,
            overtaken: false,
            removed: Vec::new(),
        };
        world.create(KUBE_SYSTEM);
        let shared = Shared(Arc::new(Mutex::new(world)));
        let metrics = Arc::new(Metrics::default());
        let settings = Settings { drain: DRAIN, ..Settings::default() };
        let (cluster, content) = (Arc::new(shared.clone()), Arc::new(shared.clone()));
        let time = Arc::clone(&clock) as Arc<dyn Clock>;
        let cleaner = Cleaner::new(cluster, content, settings, time, Arc::clone(&metrics));
        Self { shared, cleaner, clock, metrics }
    }

    /// Something happens, and is seen.
    fn seen(&self, change: impl FnOnce(&mut World)) {
        self.change(|world| {
            change(world);
            world.remember();
        });
    }

    fn change<T>(&self, change: impl FnOnce(&mut World) -> T) -> T {
        change(&mut self.shared.0.lock().unwrap())
    }

    async fn pass(&mut self) -> Duration {
        self.cleaner.pass().await
    }

    /// A pass, and another one when all is drained that the first one found.
    async fn drain(&mut self) -> Duration {
        self.pass().await;
        self.clock.advance(DRAIN);
        self.pass().await
    }

    fn counts(&self) -> Counts {
        self.metrics.counts()
    }
}

#[tokio::test]
async fn content_goes_a_drain_time_after_its_namespace() {
    let mut stage = Stage::new();
    stage.seen(|world| world.fill("shop"));
    assert_eq!(stage.pass().await, Settings::default().interval);
    stage.seen(|world| world.delete("shop"));
    assert_eq!(stage.pass().await, DRAIN);
    stage.clock.advance(Duration::from_secs(9));
    assert_eq!(stage.pass().await, Duration::from_secs(1));
    assert_eq!(stage.counts().missed, 1);
    stage.clock.advance(Duration::from_secs(1));
    stage.pass().await;
    stage.change(|world| {
        assert_eq!(world.removed, ["shop uid-2"]);
        assert!(world.content.is_empty());
    });
    assert_eq!(stage.counts().removed, 1);
}

#[tokio::test]
async fn a_namespace_made_again_becomes_the_owner_of_nothing_old() {
    let mut stage = Stage::new();
    stage.seen(|world| {
        world.fill("shop");
        world.delete("shop");
        world.create("shop");
    });
    stage.drain().await;
    stage.change(|world| {
        assert_eq!(world.removed, ["shop uid-2"]);
        assert_eq!(world.records["shop"], "uid-3");
        assert!(world.content.is_empty());
    });
}

#[tokio::test]
async fn content_without_an_owner_is_adopted_or_left_alone() {
    let mut stage = Stage::new();
    stage.seen(|world| {
        world.create("shop");
        world.create("going");
        world.namespaces.get_mut("going").unwrap().1 = true;
        world.content.extend(["shop", "going", "nobody"].map(str::to_owned));
    });
    stage.drain().await;
    stage.change(|world| {
        assert_eq!(world.records.keys().collect::<Vec<_>>(), ["going", "shop"]);
        assert_eq!(world.content.len(), 3);
    });
    assert_eq!(stage.counts().adopted, 2);
}

#[tokio::test]
async fn another_cluster_removes_nothing() {
    let mut stage = Stage::new();
    stage.seen(|world| world.fill("shop"));
    stage.pass().await;
    stage.seen(|world| world.api = Api::Foreign);
    for _ in 0..5 {
        stage.pass().await;
        stage.clock.advance(Duration::from_secs(3600));
    }
    assert_eq!((stage.counts().held, stage.counts().removed), (1, 0));
    stage.seen(|world| world.api = Api::Right);
    stage.pass().await;
    assert_eq!((stage.counts().held, stage.counts().owned), (0, 1));
}

#[tokio::test]
async fn most_at_once_wait_for_somebody_to_object() {
    let mut stage = Stage::new();
    stage.seen(|world| {
        (0..20).for_each(|number| world.fill(&name(number)));
        (0..12).for_each(|number| world.delete(&name(number)));
    });
    stage.pass().await;
    stage.clock.advance(Duration::from_secs(3599));
    stage.pass().await;
    assert_eq!((stage.counts().held, stage.counts().removed), (12, 0));
    stage.clock.advance(Duration::from_secs(1));
    stage.pass().await;
    assert_eq!((stage.counts().held, stage.counts().removed), (0, 12));
}

#[tokio::test]
async fn many_that_only_seem_gone_hold_those_that_are() {
    let mut stage = Stage::new();
    stage.seen(|world| {
        (0..20).for_each(|number| world.fill(&name(number)));
        (0..2).for_each(|number| world.delete(&name(number)));
    });
    // The list lacks ten more.
    stage.change(|world| world.remembered.as_mut().unwrap().retain(|found, _| (2..12).all(|n| *found != name(n))));
    stage.drain().await;
    stage.drain().await;
    assert_eq!((stage.counts().missed, stage.counts().held, stage.counts().removed), (12, 12, 0));
    stage.seen(|_| ());
    stage.pass().await;
    assert_eq!((stage.counts().held, stage.counts().removed), (0, 2));
}

#[tokio::test]
async fn what_somebody_else_did_is_not_counted() {
    let mut stage = Stage::new();
    stage.seen(|world| {
        world.fill("shop");
        world.delete("shop");
        world.create("shop");
        world.overtaken = true;
    });
    assert_eq!(stage.drain().await, Settings::default().interval);
    assert_eq!((stage.counts().removed, stage.counts().errors), (0, 0));
}

fn name(number: u8) -> String {
    format!("n{number}")
}

#[derive(Clone, Debug)]
enum Step {
    Create(u8),
    Terminate(u8),
    Delete(u8),
    Push(u8),
    Orphan(u8),
    Remember,
    RememberNothing,
    Forget,
    Api(Api),
    Flip(u8, Api),
    Store(bool),
    Advance(u64),
    Pass,
}

fn api() -> impl Strategy<Value = Api> {
    prop_oneof![2 => Just(Api::Right), 1 => Just(Api::Away), 1 => Just(Api::Foreign)]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let name = 0u8..3;
    let step = prop_oneof![
        3 => name.clone().prop_map(Step::Create),
        1 => name.clone().prop_map(Step::Terminate),
        3 => name.clone().prop_map(Step::Delete),
        4 => name.clone().prop_map(Step::Push),
        1 => name.prop_map(Step::Orphan),
        4 => Just(Step::Remember),
        1 => Just(Step::RememberNothing),
        1 => Just(Step::Forget),
        2 => api().prop_map(Step::Api),
        2 => (0u8..6, api()).prop_map(|(questions, api)| Step::Flip(questions, api)),
        1 => any::<bool>().prop_map(Step::Store),
        4 => (0u64..15).prop_map(Step::Advance),
        8 => Just(Step::Pass),
    ];
    proptest::collection::vec(step, 1..80)
}

async fn take(stage: &mut Stage, step: Step) {
    match step {
        Step::Pass => {
            stage.pass().await;
        }
        Step::Advance(seconds) => stage.clock.advance(Duration::from_secs(seconds)),
        step => stage.change(|world| match step {
            Step::Create(number) => world.create(&name(number)),
            Step::Terminate(number) => {
                if let Some(namespace) = world.namespaces.get_mut(&name(number)) {
                    namespace.1 = true;
                }
            }
            Step::Delete(number) => world.delete(&name(number)),
            Step::Push(number) => world.push(&name(number)),
            Step::Orphan(number) if !world.records.contains_key(&name(number)) => {
                world.content.insert(name(number));
            }
            Step::Remember => world.remember(),
            // A list that lacks all but what the cluster is known by.
            Step::RememberNothing => {
                let known = world.namespaces.get(KUBE_SYSTEM).cloned().unwrap();
                world.remembered = Some(BTreeMap::from([(KUBE_SYSTEM.to_owned(), known)]));
            }
            Step::Forget => world.remembered = None,
            Step::Api(api) => world.api = api,
            Step::Flip(questions, api) => world.flip = Some((questions, api)),
            Step::Store(fails) => world.store_fails = fails,
            Step::Orphan(_) | Step::Pass | Step::Advance(_) => {}
        }),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever happens, nothing is removed without proof (`Shared::remove` checks it); and when everything is well again,
    /// nothing of a namespace that is gone is left.
    #[test]
    fn nothing_is_removed_without_proof_and_nothing_is_left_behind(steps in steps()) {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
            let mut stage = Stage::new();
            stage.seen(|_| ());
            stage.pass().await;
            for step in steps {
                take(&mut stage, step).await;
            }
            stage.seen(|world| {
                (world.api, world.flip) = (Api::Right, None);
                world.store_fails = false;
            });
            stage.drain().await;
            stage.drain().await;
            stage.change(|world| {
                for (name, uid) in &world.records {
                    prop_assert_eq!(world.namespaces.get(name).map(|(uid, _)| uid), Some(uid));
                }
                for name in &world.content {
                    prop_assert_eq!(world.records.contains_key(name), world.namespaces.contains_key(name));
                }
                Ok(())
            })
        })?;
    }
}
