//! Users whose bcrypt hashes we hold: what htpasswd files and static users share.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

use super::{AuthError, Authenticating, Claim};
use crate::credential::{Basic, Credential};
use crate::generation;
use crate::grant::Grant;
use crate::identity::{Caller, Record, Source, Standing};
use crate::password::{COST_DEFAULT, Checked, Passwords, Question, StoredHash};
use crate::reply::Reply;

/// When to come back if too many passwords are being checked: a full queue is worked off in some seconds.
const BUSY_RETRY: Duration = Duration::from_secs(2);

/// One user.
pub(super) struct Entry {
    /// `None`: the entry is known and can never log in.
    hash: Option<StoredHash>,
    /// Made once, so that a login from memory allocates nothing.
    caller: Caller,
    record: Record,
    grants: Box<[Grant]>,
}

impl Entry {
    pub(super) fn new(
        source: Source,
        name: &str,
        hash: Option<StoredHash>,
        stored: &[u8],
        grants: Box<[Grant]>,
    ) -> Self {
        let record = Record::of(source, name, stored);
        Self { hash, caller: Caller::named(name, source).with_record(record), record, grants }
    }
}

/// All users of one source at one time; replaced as a whole.
pub(super) struct Table {
    entries: HashMap<Box<str>, Entry>,
    /// The cost of each usable hash; an unknown user gets one of them.
    costs: Box<[u32]>,
    generation: u64,
}

impl Table {
    pub(super) fn new(entries: HashMap<Box<str>, Entry>) -> Self {
        let costs = entries.values().filter_map(|entry| entry.hash.map(|hash| hash.cost())).collect();
        Self { entries, costs, generation: generation::next() }
    }

    /// The record of a user who could log in now.
    fn record(&self, name: &str) -> Option<Record> {
        self.entries.get(name).filter(|entry| entry.hash.is_some()).map(|entry| entry.record)
    }
}

/// The users of one source.
pub(super) struct LocalUsers {
    source: Source,
    passwords: Arc<Passwords>,
    table: ArcSwap<Table>,
}

impl LocalUsers {
    pub(super) fn new(source: Source, passwords: Arc<Passwords>, table: Table) -> Self {
        Self { source, passwords, table: ArcSwap::from_pointee(table) }
    }

    pub(super) fn replace(&self, table: Table) {
        self.table.store(Arc::new(table));
    }

    pub(super) fn claim(&self, credential: &Credential) -> Claim {
        match credential {
            // An entry without a usable hash claims its name too: nobody else may answer to it.
            Credential::Basic(basic) if self.table.load().entries.contains_key(basic.user()) => Claim::Mine,
            Credential::Basic(_) => Claim::Fallback,
            Credential::None | Credential::Bearer(_) => Claim::Never,
        }
    }

    pub(super) fn authenticate<'a>(&'a self, credential: &'a Credential) -> Authenticating<'a> {
        match credential {
            Credential::Basic(basic) => self.login(basic),
            Credential::None | Credential::Bearer(_) => Reply::Ready(Err(AuthError::Invalid)),
        }
    }

    fn login<'a>(&'a self, basic: &'a Basic) -> Authenticating<'a> {
        let table = self.table.load();
        let usable = table.entries.get(basic.user()).and_then(|entry| entry.hash.as_ref().map(|hash| (entry, hash)));
        let Some((entry, hash)) = usable else { return self.refuse(&table, basic) };
        let question = Question { record: Some(entry.record), user: basic.user(), hash, password: basic.password() };
        match self.passwords.check(&question) {
            Checked::Known(true) => Reply::Ready(Ok(entry.caller.clone())),
            Checked::Known(false) => Reply::Ready(Err(AuthError::Invalid)),
            Checked::Ask(check) => {
                let caller = entry.caller.clone();
                Reply::pending(async move {
                    match check.answer().await {
                        // The users may have been replaced meanwhile: what counts is the entry of now.
                        Ok(true) if self.table.load().record(basic.user()) == caller.record() => Ok(caller),
                        Ok(_) => Err(AuthError::Invalid),
                        Err(_) => Err(AuthError::Unavailable { retry_after: BUSY_RETRY }),
                    }
                })
            }
        }
    }

    /// Refuses an unknown user in the time that a wrong password takes. Users may have hashes of different
    /// costs; each unknown name gets, always the same, one of these costs, so that time tells nothing.
    fn refuse<'a>(&'a self, table: &Table, basic: &'a Basic) -> Authenticating<'a> {
        let pick = self.passwords.pick(basic.user(), table.costs.len());
        let decoy = StoredHash::decoy(table.costs.get(pick).copied().unwrap_or(COST_DEFAULT));
        let question = Question { record: None, user: basic.user(), hash: &decoy, password: basic.password() };
        match self.passwords.check(&question) {
            Checked::Known(_) => Reply::Ready(Err(AuthError::Invalid)),
            Checked::Ask(check) => Reply::pending(async move {
                match check.answer().await {
                    Ok(_) => Err(AuthError::Invalid),
                    Err(_) => Err(AuthError::Unavailable { retry_after: BUSY_RETRY }),
                }
            }),
        }
    }

    pub(super) fn standing(&self, source: Source, name: &str) -> Standing {
        if source != self.source {
            return Standing::NotTracked;
        }
        self.table.load().record(name).map_or(Standing::Gone, Standing::Current)
    }

    pub(super) fn generation(&self) -> u64 {
        self.table.load().generation
    }

    /// Runs `decide` on the grants of a user; `None` if there is no such user or it can't log in any more.
    pub(super) fn with_grants<T>(&self, name: &str, decide: impl FnOnce(&[Grant]) -> T) -> Option<T> {
        let table = self.table.load();
        table.entries.get(name).filter(|entry| entry.hash.is_some()).map(|entry| decide(&entry.grants))
    }
}

/// Whether HTTP Basic could carry this user name at all.
pub(super) fn check_name(name: &str) -> Result<(), &'static str> {
    if name.is_empty() {
        return Err("user name is empty");
    }
    if name.contains(':') || name.chars().any(char::is_control) {
        return Err("user name contains a colon or a control character and can never log in");
    }
    Ok(())
}
