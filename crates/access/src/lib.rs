//! Who are you, and may you: decisions over values.
//!
//! The way of a request through this crate:
//! `Authorization` header → [`Credential`] → [`Authenticator`] → [`Caller`] → [`Authorizer`] → [`Decision`].
//!
//! Invariants:
//! * This crate does no I/O: files and API objects are read elsewhere and handed in as bytes or values.
//! * Time comes from a [`Clock`]; nothing here sleeps or reads the system's time by itself.
//! * A token that we issue says *who*, never *what*: rights are decided anew on each request.
//! * Users, keys and grants are replaced as a whole; a replaced password or a removed user is refused by
//!   the next request, whatever the caches hold and whatever was in flight.
//! * Every cache, queue and parser that a stranger reaches has a bound.
//! * It knows no HTTP status; the HTTP side renders [`AuthError`] and [`Decision`].

mod authn;
mod authz;
mod clock;
mod credential;
mod decision;
mod generation;
mod grant;
mod identity;
mod label;
mod password;
mod reply;
mod scope;
mod secret;
mod token;

pub use authn::{
    Anonymous, AuthError, Authenticating, Authenticator, CLUSTER_TOKEN_BYTES_MAX, Chain, Claim, ClusterTokenCounts,
    ClusterTokenLimits, ClusterTokens, Flight, Flights, Htpasswd, HtpasswdError, Joined, Problem, ProjectSpec,
    ReviewError, Reviewed, Reviewing, StaticUserSpec, StaticUsers, TokenReviewer,
};
pub use authz::{
    AllowAll, AnonymousPolicy, AuthenticatedAllowAll, Binding, BindingKey, BySource, ClusterPolicy, ClusterRules,
    EveryNamespaceExists, Explanation, Grant, Miss, NamespaceState, NamespaceUid, Namespaces, NearMiss,
    PATTERN_BYTES_MAX, Pattern, PatternError, PolicyRule, Projects, Rbac, Reach, Resource, Right, Rights, RoleKey,
    RoleProblem, Rules, Subject, Verb, Verdict, WithAnonymous,
};
pub use clock::{Clock, ManualClock, SystemClock};
pub use credential::{Basic, Credential, CredentialError, HEADER_BYTES_MAX};
pub use decision::{Action, Authorizer, Deciding, Decision, Target};
pub use grant::Access;
pub use identity::{Caller, Directory, Record, Source, Standing, Users};
pub use label::is_label;
pub use password::{
    COST_DEFAULT, COST_MAX, COST_MIN, PASSWORD_BYTES_MAX, PasswordError, PasswordLimits, Passwords, hash_password,
};
pub use reply::Reply;
pub use scope::{SCOPE_BYTES_MAX, SCOPES_MAX, Scope, ScopeError};
pub use secret::Secret;
pub use token::{
    ACCESS_LIFE_DEFAULT, IssueError, Issued, Keys, LEEWAY_DEFAULT, REFRESH_LIFE_DEFAULT, SECRET_BYTES_MIN,
    TOKEN_BYTES_MAX, TokenAuthority, TokenError, TokenKind, TokenSettings, WeakSecret,
};
