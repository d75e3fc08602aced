//! Containers of Swift.

pub(crate) mod cloud;
mod faults;
mod kept;
mod keystone;
mod large;
mod late;
mod mistakes;
mod old;
mod small;

use crate::ceph::Ceph;
use bucket::swift::{SwiftSettings, open};
use bucket::{BucketDriver, Budget, OpenError, Secret};
use cloud::{Account, Cloud, Options};
use std::ops::Deref;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

const PREFIX: &str = "some/place";

/// An empty container's name in a cloud that tests share while they run at once: it takes long to start.
struct Place {
    host: Host,
    container: String,
}

enum Host {
    Swift(Arc<Cloud>),
    Ceph(Arc<Ceph>),
}

impl Host {
    fn forget_tokens(&self) {
        if let Self::Swift(cloud) = self {
            cloud.forget_tokens().unwrap();
        }
    }
}

impl Deref for Place {
    type Target = Account;

    fn deref(&self) -> &Account {
        match &self.host {
            Host::Swift(cloud) => cloud,
            Host::Ceph(ceph) => &ceph.account,
        }
    }
}

impl Place {
    fn of(host: Host) -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        Self { host, container: format!("images-{}", NUMBER.fetch_add(1, Ordering::Relaxed)) }
    }

    /// As an address has it, below the account.
    fn path(&self, name: &str) -> String {
        format!("/{}/{name}", self.container)
    }

    /// `If-None-Match: *` of a write.
    fn keeps_conditions(&self) -> bool {
        matches!(self.host, Host::Swift(_))
    }

    fn contained(&self) -> Vec<String> {
        self.names(&self.container).unwrap()
    }
}

/// Three segments in a manifest: large objects need manifests of manifests.
fn start() -> Option<Place> {
    static SHARED: Mutex<Weak<Cloud>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    let cloud = match shared.upgrade() {
        Some(cloud) => cloud,
        None => Arc::new(Cloud::start(&Options { manifest_segments: Some(3), ..Options::default() }).unwrap()?),
    };
    *shared = Arc::downgrade(&cloud);
    Some(Place::of(Host::Swift(cloud)))
}

/// Debian's Swift and Ceph's gateway, as far as they are installed.
fn all() -> Vec<Place> {
    start().into_iter().chain(Ceph::shared().map(|ceph| Place::of(Host::Ceph(ceph)))).collect()
}

fn start_with(options: &Options) -> Option<Place> {
    Some(Place::of(Host::Swift(Arc::new(Cloud::start(options).unwrap()?))))
}

fn settings(place: &Place) -> SwiftSettings {
    let mut settings = SwiftSettings::new(place.auth_url(), &place.container);
    settings.username = Some(place.user.to_owned());
    settings.password = Some(Secret(place.password.to_owned()));
    settings.prefix = format!("/{PREFIX}");
    settings
}

async fn try_open(place: &Place, change: impl FnOnce(&mut SwiftSettings)) -> Result<BucketDriver, OpenError> {
    let mut settings = settings(place);
    change(&mut settings);
    open(settings, false, Budget::new(64 << 20)).await
}

async fn opened(place: &Place) -> BucketDriver {
    try_open(place, |_| {}).await.unwrap()
}

/// With parts as small as they can be.
async fn lowered(place: &Place) -> BucketDriver {
    try_open(place, |settings| settings.chunk_size = 5 << 20).await.unwrap()
}

/// Names of segments and of notes on them.
fn segments(place: &Place) -> Vec<String> {
    place.contained().into_iter().filter(|name| name.starts_with(&format!("{PREFIX}/segments/"))).collect()
}
