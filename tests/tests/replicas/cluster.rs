//! Several registries on one storage, of which any serves any request.

use anyhow::{Context, Result, anyhow, ensure};
use e2e::place::Place;
use e2e::{Answer, Client, Server};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use crate::random::Random;

pub(crate) const REPLICAS: usize = 3;
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// versitygw keeps objects as files: one that removes the last object of a folder refuses who writes into it just now. The
/// registry cannot know better than to say 503.
const FOLDER_RACE: &str = "ExistingObjectIsDirectory";
const LOG_PATIENCE: Duration = Duration::from_secs(10);

/// One process.
pub(crate) struct Replica {
    server: Server,
    client: Client,
    /// Set before the kill: an error that comes earlier is the registry's fault.
    killed: AtomicBool,
}

/// Why there is no answer.
pub(crate) enum Fault {
    /// The process was killed, or the service has failed: nobody knows what became of the request.
    Lost,
    Wrong(anyhow::Error),
}

impl From<anyhow::Error> for Fault {
    fn from(error: anyhow::Error) -> Self {
        Self::Wrong(error)
    }
}

pub(crate) type Outcome<T = ()> = Result<T, Fault>;

impl Replica {
    pub(crate) fn start(place: &Place) -> Result<Self> {
        let builder = Server::builder()
            .config("version: 0.1\nstorage: {delete: {enabled: true}}\n")
            // A line for each request would hide the ones that matter.
            .env("REGISTRY_LOG_ACCESSLOG_DISABLED", "true");
        let server = place.hold(builder).start()?;
        let client = server.client();
        Ok(Self { server, client, killed: AtomicBool::new(false) })
    }

    pub(crate) fn address(&self) -> &str {
        self.server.address()
    }

    pub(crate) fn kill(&self) -> Result<()> {
        self.killed.store(true, Ordering::SeqCst);
        self.server.signal("KILL")
    }

    pub(crate) fn log(&self) -> String {
        self.server.log()
    }

    /// SIGTERM, and success.
    pub(crate) fn stop(self) -> Result<()> {
        check_log(&self.server.log())?;
        self.server.stop().map(drop)
    }

    /// A request, and no failure of the registry in its answer.
    pub(crate) fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Outcome<Answer> {
        let answer = match self.client.send(method, path, headers, body) {
            Ok(answer) => answer,
            Err(_) if self.killed.load(Ordering::SeqCst) => return Err(Fault::Lost),
            Err(error) => return Err(error.context(self.log()).into()),
        };
        if answer.status == 503 && self.met_a_folder_race() {
            return Err(Fault::Lost);
        }
        if answer.status >= 500 {
            let error = anyhow!("{method} {path}: {} {}\n{}", answer.status, answer.text(), self.log());
            return Err(error.into());
        }
        Ok(answer)
    }

    /// The last request that has failed did so for that reason.
    fn met_a_folder_race(&self) -> bool {
        let until = Instant::now() + LOG_PATIENCE;
        while Instant::now() < until {
            let log = self.log();
            let failed = log.lines().rev().find(|line| line.contains("request failed"));
            if failed.is_some_and(|line| line.contains(FOLDER_RACE)) {
                return true;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        false
    }
}

fn check_log(log: &str) -> Result<()> {
    ensure!(!log.contains("panicked"), "{log}");
    Ok(())
}

/// All of them. A slot is empty while its registry starts.
pub(crate) struct Cluster<'a> {
    place: &'a Place,
    slots: Vec<RwLock<Option<Arc<Replica>>>>,
    logs: Mutex<Vec<String>>,
}

impl<'a> Cluster<'a> {
    pub(crate) fn start(place: &'a Place) -> Result<Self> {
        let slots: Result<Vec<_>> =
            (0..REPLICAS).map(|_| Ok(RwLock::new(Some(Arc::new(Replica::start(place)?))))).collect();
        Ok(Self { place, slots: slots?, logs: Mutex::default() })
    }

    /// Any that runs.
    pub(crate) fn any(&self, random: &mut Random) -> Result<Arc<Replica>> {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(replica) = self.slot(random.below(REPLICAS))
                && !replica.killed.load(Ordering::SeqCst)
            {
                return Ok(replica);
            }
            ensure!(Instant::now() < until, "no replica runs");
            std::thread::yield_now();
        }
    }

    fn slot(&self, index: usize) -> Option<Arc<Replica>> {
        self.slots.get(index)?.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, index: usize, replica: Option<Arc<Replica>>) -> Option<Arc<Replica>> {
        let mut slot = self.slots[index].write().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *slot, replica)
    }

    pub(crate) fn all(&self) -> Result<Vec<Arc<Replica>>> {
        (0..REPLICAS).map(|index| self.slot(index).context("a replica is missing")).collect()
    }

    /// SIGKILL, and a new one in its place.
    pub(crate) fn kill(&self, index: usize) -> Result<()> {
        if let Some(replica) = self.slot(index) {
            replica.kill()?;
            self.set(index, None);
            check_log(&replica.log())?;
            self.logs.lock().unwrap_or_else(PoisonError::into_inner).push(replica.log());
        }
        self.set(index, Some(Arc::new(Replica::start(self.place)?)));
        Ok(())
    }

    /// Ends all of them cleanly.
    pub(crate) fn stop(&self) -> Result<()> {
        for index in 0..REPLICAS {
            let replica = self.set(index, None).context("a replica is missing")?;
            Arc::into_inner(replica).context("a replica is still used")?.stop()?;
        }
        Ok(())
    }
}
