//! The namespace that a push needs.

use cluster::{ApiError, Call, Connection, Meta, get};
use serde::Deserialize;

/// How a namespace stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Exists,
    Terminating,
    Absent,
    /// Whoever asks may not read it.
    Hidden,
}

#[derive(Deserialize)]
struct Namespace {
    metadata: Meta,
}

pub(super) async fn read(connection: &Connection, namespace: &str) -> anyhow::Result<Place> {
    // The name is a label: `Question` has seen to it.
    let answer = connection.call::<Namespace>(Call::Namespace, get(&format!("/api/v1/namespaces/{namespace}"))?).await;
    Ok(match answer {
        Ok(Namespace { metadata }) if metadata.deleting => Place::Terminating,
        Ok(_) => Place::Exists,
        Err(error) => refused(&error).ok_or(error)?,
    })
}

fn refused(error: &ApiError) -> Option<Place> {
    match error.code()? {
        403 => Some(Place::Hidden),
        404 => Some(Place::Absent),
        _ => None,
    }
}

impl Place {
    /// Whether a push with the right for it is taken. Of what cannot be seen the best is assumed, and said.
    pub(super) const fn takes_images(self) -> bool {
        matches!(self, Self::Exists | Self::Hidden)
    }

    pub(super) fn remark(self, namespace: &str) -> Option<String> {
        match self {
            Self::Exists => None,
            Self::Terminating => Some(format!("namespace {namespace:?} is being deleted: it takes no images any more")),
            Self::Absent => Some(format!("namespace {namespace:?} does not exist: a push does not make it")),
            Self::Hidden => {
                Some(format!("your credentials may not `get` namespace {namespace:?}: a push also needs it to exist"))
            }
        }
    }
}
