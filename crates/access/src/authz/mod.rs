//! Authorisation: from a caller and a wish to a decision.

mod anonymous;
mod open;
mod projects;
mod source;

pub use anonymous::{AnonymousPolicy, WithAnonymous};
pub use open::{AllowAll, AuthenticatedAllowAll};
pub use projects::{EveryNamespaceExists, NamespaceState, Namespaces, Projects};
pub use source::BySource;
