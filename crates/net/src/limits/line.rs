//! Lines of waiters, one per client, served in turn.

use std::collections::{HashMap, VecDeque};

/// Invariant: a client is in `turns` exactly once if its line has somebody in it, and not at all otherwise.
#[derive(Debug)]
pub(super) struct Lines<T> {
    lines: HashMap<Box<str>, VecDeque<(u64, T)>>,
    turns: VecDeque<Box<str>>,
    len: usize,
    next_id: u64,
}

/// Names a place in a line.
#[derive(Debug)]
pub(super) struct Ticket {
    client: Box<str>,
    id: u64,
}

impl<T> Default for Lines<T> {
    fn default() -> Lines<T> {
        Lines { lines: HashMap::new(), turns: VecDeque::new(), len: 0, next_id: 0 }
    }
}

impl<T> Lines<T> {
    /// Waiters over all clients.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds a waiter at the end of its client's line.
    pub(super) fn push(&mut self, client: &str, waiter: T) -> Ticket {
        let id = self.next_id;
        self.next_id += 1;
        self.len += 1;
        match self.lines.get_mut(client) {
            Some(line) => line.push_back((id, waiter)),
            None => {
                self.lines.insert(client.into(), VecDeque::from([(id, waiter)]));
                self.turns.push_back(client.into());
            }
        }
        Ticket { client: client.into(), id }
    }

    /// Takes the first waiter of the client whose turn it is; that client goes to the back.
    pub(super) fn pop(&mut self) -> Option<T> {
        let client = self.turns.pop_front()?;
        let line = self.lines.get_mut(&client)?;
        let (_, waiter) = line.pop_front()?;
        self.len -= 1;
        if line.is_empty() {
            self.lines.remove(&client);
        } else {
            self.turns.push_back(client);
        }
        Some(waiter)
    }

    /// Removes a waiter, if it still waits.
    pub(super) fn remove(&mut self, ticket: &Ticket) {
        let Some(line) = self.lines.get_mut(&ticket.client) else { return };
        // Identifiers ascend within a line.
        let Ok(at) = line.binary_search_by_key(&ticket.id, |(id, _)| *id) else { return };
        line.remove(at);
        self.len -= 1;
        if line.is_empty() {
            self.lines.remove(&ticket.client);
            self.turns.retain(|client| *client != ticket.client);
        }
    }
}
