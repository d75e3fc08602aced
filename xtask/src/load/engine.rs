//! The loop that drives all connections of a run and keeps the books.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};

use super::connection::{Connection, DISCARD};
use super::{Script, stopped};

/// How much is asked for. New operations begin until both `time` has passed and `least` have begun.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    pub time: Duration,
    pub least: usize,
    /// What is not done by then is given up.
    pub limit: Duration,
}

#[derive(Default)]
pub struct Outcome {
    pub operations: usize,
    pub bytes: u64,
    pub elapsed: Duration,
    /// Microseconds per operation, by class.
    pub latencies: [Vec<u32>; 2],
}

impl Outcome {
    /// The latency that 99 of 100 operations of class 0 stay below.
    pub fn p99(&self) -> Duration {
        let mut sorted = self.latencies[0].clone();
        sorted.sort_unstable();
        let rank = (sorted.len() * 99).div_ceil(100).saturating_sub(1);
        Duration::from_micros(sorted.get(rank).copied().unwrap_or_default().into())
    }
}

struct Lane {
    connection: Connection,
    began: Instant,
    /// Exchanges of the operation so far.
    step: usize,
    busy: bool,
}

/// Runs `script` with `clients` connections to a server on this machine.
pub fn run(port: u16, clients: usize, budget: Budget, script: &mut dyn Script) -> Result<Outcome> {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).context("make an epoll")?;
    let mut lanes = Vec::with_capacity(clients);
    for _ in 0..clients {
        let connection = Connection::open(address)?;
        lanes.push(Lane { connection, began: Instant::now(), step: 0, busy: false });
    }
    let mut run = Run {
        address,
        epoll,
        lanes,
        script,
        budget,
        begun: 0,
        start: Instant::now(),
        scratch: vec![0; DISCARD],
        outcome: Outcome::default(),
    };
    for client in 0..clients {
        run.watch(client)?;
    }
    run.start = Instant::now();
    for client in 0..clients {
        run.next_operation(client)?;
    }
    run.wait_for_all()?;
    run.outcome.elapsed = run.start.elapsed();
    Ok(run.outcome)
}

struct Run<'a> {
    address: SocketAddr,
    epoll: rustix::fd::OwnedFd,
    lanes: Vec<Lane>,
    script: &'a mut dyn Script,
    budget: Budget,
    begun: usize,
    start: Instant,
    scratch: Vec<u8>,
    outcome: Outcome,
}

impl Run<'_> {
    fn watch(&self, client: usize) -> Result<()> {
        // Registered once for both directions: edges make changing the interest needless.
        let flags = epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::ET;
        let data = epoll::EventData::new_u64(client as u64);
        epoll::add(&self.epoll, &self.lanes[client].connection.stream, data, flags).context("watch a socket")
    }

    fn wait_for_all(&mut self) -> Result<()> {
        let mut events = Vec::with_capacity(self.lanes.len().max(1));
        // Wakes up now and then to look at the clock.
        let pause = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
        while self.lanes.iter().any(|lane| lane.busy) {
            events.clear();
            match epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&pause)) {
                Ok(_) => {}
                Err(rustix::io::Errno::INTR) => continue,
                Err(error) => return Err(error).context("wait for sockets"),
            }
            for event in &events {
                let client = usize::try_from(event.data.u64()).unwrap_or(usize::MAX);
                if self.lanes.get(client).is_some_and(|lane| lane.busy) {
                    self.advance(client)?;
                }
            }
            if stopped() {
                bail!("stopped");
            }
            if self.start.elapsed() > self.budget.limit {
                // What has been done by now is the measurement.
                return Ok(());
            }
        }
        Ok(())
    }

    fn next_operation(&mut self, client: usize) -> Result<()> {
        if self.begun >= self.budget.least && self.start.elapsed() >= self.budget.time {
            self.lanes[client].busy = false;
            return Ok(());
        }
        self.begun += 1;
        let exchange = self.script.begin(client);
        let lane = &mut self.lanes[client];
        lane.busy = true;
        lane.step = 0;
        lane.began = Instant::now();
        lane.connection.begin(exchange);
        self.advance(client)
    }

    fn advance(&mut self, client: usize) -> Result<()> {
        loop {
            let lane = &mut self.lanes[client];
            let Some(done) = lane.connection.drive(&mut self.scratch)? else { return Ok(()) };
            lane.step += 1;
            let step = lane.step;
            self.outcome.bytes += done.moved;
            if done.close {
                self.lanes[client].connection = Connection::open(self.address)?;
                self.watch(client)?;
            }
            let Some(exchange) = self.script.proceed(client, step, done.location.as_deref()) else {
                let took = self.lanes[client].began.elapsed().as_micros();
                self.outcome.latencies[self.script.class(client)].push(u32::try_from(took).unwrap_or(u32::MAX));
                self.outcome.operations += 1;
                return self.next_operation(client);
            };
            self.lanes[client].connection.begin(exchange);
        }
    }
}
