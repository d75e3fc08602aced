use std::pin::pin;

use futures_util::FutureExt;
use proptest::prelude::*;

use super::*;

fn limits(max_running: i64, max_in_queue: i64, wait_ms: u64) -> GateLimits {
    GateLimits { max_running, max_in_queue, max_wait_in_queue: Duration::from_millis(wait_ms) }
}

#[tokio::test]
async fn runs_up_to_the_limit_and_then_queues_and_then_refuses() {
    let gate = Gate::new(limits(2, 1, 0));
    let first = gate.enter("a").await.unwrap();
    let _second = gate.enter("a").await.unwrap();
    let mut third = pin!(gate.enter("a"));
    assert!(third.as_mut().now_or_never().is_none());
    assert_eq!((gate.running(), gate.queued()), (2, 1));
    assert_eq!(gate.enter("b").await.unwrap_err().reason, RefusalReason::QueueFull);
    drop(first);
    assert!(third.now_or_never().unwrap().is_ok());
}

#[tokio::test]
async fn zero_means_no_limit_on_running_and_no_queue() {
    let gate = Gate::new(limits(0, 0, 0));
    let mut permits = Vec::new();
    for _ in 0..1_000 {
        permits.push(gate.enter("a").await.unwrap());
    }
    gate.reconfigure(limits(1, 0, 0));
    assert!(gate.enter("a").await.is_err());
    drop(permits);
    assert_eq!(gate.running(), 0);
    assert!(gate.enter("a").await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn waits_no_longer_than_allowed() {
    let gate = Gate::new(limits(1, 10, 500));
    let running = gate.enter("a").await.unwrap();
    let begun = tokio::time::Instant::now();
    assert_eq!(gate.enter("b").await.unwrap_err().reason, RefusalReason::WaitedTooLong);
    assert_eq!(begun.elapsed().as_millis(), 500);
    assert_eq!(gate.queued(), 0);
    drop(running);
    assert!(gate.enter("b").await.is_ok());
}

#[tokio::test]
async fn a_thousand_waiters_of_one_client_do_not_delay_another() {
    let gate = Gate::new(limits(1, 2_000, 0));
    let running = gate.enter("greedy").await.unwrap();
    let mut greedy: Vec<_> = (0..1_000).map(|_| Box::pin(gate.enter("greedy"))).collect();
    for waiter in &mut greedy {
        assert!(waiter.now_or_never().is_none());
    }
    let mut modest = pin!(gate.enter("modest"));
    assert!(modest.as_mut().now_or_never().is_none());

    drop(running);
    // One turn of the greedy client at most comes first.
    drop((&mut greedy[0]).now_or_never().unwrap().unwrap());
    assert!(modest.now_or_never().unwrap().is_ok());
}

#[tokio::test]
async fn a_dropped_waiter_passes_its_permit_on() {
    let gate = Gate::new(limits(1, 10, 0));
    let running = gate.enter("a").await.unwrap();
    let mut granted = Box::pin(gate.enter("a"));
    let mut next = pin!(gate.enter("a"));
    assert!((&mut granted).now_or_never().is_none());
    assert!(next.as_mut().now_or_never().is_none());
    drop(running);
    // Granted, but never polled again.
    drop(granted);
    let permit = next.now_or_never().unwrap().unwrap();
    assert_eq!((gate.running(), gate.queued()), (1, 0));
    drop(permit);
    assert_eq!(gate.running(), 0);
}

#[tokio::test]
async fn raising_the_limit_lets_waiters_in() {
    let gate = Gate::new(limits(1, 10, 0));
    let _running = gate.enter("a").await.unwrap();
    let mut waiters: Vec<_> = (0..3).map(|_| Box::pin(gate.enter("a"))).collect();
    for waiter in &mut waiters {
        assert!(waiter.now_or_never().is_none());
    }
    gate.reconfigure(limits(3, 0, 0));
    assert_eq!((gate.running(), gate.queued()), (3, 1), "nobody is thrown out of the queue");
    gate.reconfigure(limits(-1, 0, 0));
    assert_eq!((gate.running(), gate.queued()), (4, 0));
}

type Waiting = Pin<Box<dyn Future<Output = Result<Permit, Refused>>>>;

#[derive(Clone, Debug)]
enum Step {
    Enter(u8),
    Poll(usize),
    Cancel(usize),
    Release(usize),
    Limit(i64, i64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0u8..4).prop_map(Step::Enter),
        3 => any::<usize>().prop_map(Step::Poll),
        2 => any::<usize>().prop_map(Step::Cancel),
        3 => any::<usize>().prop_map(Step::Release),
        1 => (1i64..5, 0i64..6).prop_map(|(running, queue)| Step::Limit(running, queue)),
    ]
}

proptest! {
    /// Whatever happens: no slot is lost, none is given out twice, and nobody waits while a slot is free.
    #[test]
    fn keeps_count(steps in prop::collection::vec(step(), 0..200)) {
        let gate = Gate::new(limits(2, 4, 0));
        let mut most_running = 2;
        let mut waiting: Vec<Waiting> = Vec::new();
        let mut held: Vec<Permit> = Vec::new();
        for step in steps {
            match step {
                Step::Enter(client) => {
                    let gate = gate.clone();
                    let mut future: Waiting = Box::pin(async move { gate.enter(&client.to_string()).await });
                    match (&mut future).now_or_never() {
                        Some(result) => held.extend(result.ok()),
                        None => waiting.push(future),
                    }
                }
                Step::Poll(at) if !waiting.is_empty() => {
                    let at = at % waiting.len();
                    if let Some(result) = (&mut waiting[at]).now_or_never() {
                        held.extend(result.ok());
                        drop(waiting.swap_remove(at));
                    }
                }
                Step::Cancel(at) if !waiting.is_empty() => drop(waiting.swap_remove(at % waiting.len())),
                Step::Release(at) if !held.is_empty() => drop(held.swap_remove(at % held.len())),
                Step::Limit(running, queue) => {
                    most_running = usize::try_from(running).unwrap();
                    gate.reconfigure(limits(running, queue, 0));
                }
                _ => {}
            }
            // Every waiting future is either in the queue or was granted a permit that it has not picked up.
            prop_assert_eq!(gate.running() + gate.queued(), held.len() + waiting.len());
            prop_assert!(gate.queued() == 0 || gate.running() >= most_running);
        }
        drop((waiting, held));
        prop_assert_eq!((gate.running(), gate.queued()), (0, 0));
    }
}
