//! Everything that a cluster needs to run the registry, as objects.
//!
//! [`desired`] is a function of its [`Inputs`] alone: the same inputs give the same objects in the same order, and nothing here
//! makes up a secret, asks a cluster or reads a file.
//!
//! Invariants:
//! * The registry's own ServiceAccount may not read Secrets; only the operator's may.
//! * Containers run as user 1001 without capabilities, on a root file system that cannot be written.
//! * Cluster-wide objects of our own carry the namespace in their names, so that two registries in one cluster do not share
//!   them; the roles for users have the names that people know and are the same for all.

mod api;
mod config;
mod inputs;
mod metadata;
mod network;
mod object;
mod rights;
mod roles;
mod storage;
mod workload;

#[cfg(test)]
mod tests;

pub use inputs::{Api, Authorization, InputError, Inputs, Secret, ServiceType, Storage};
pub use object::Object;

/// The port of the registry, in the pod and at the Service.
pub const PORT: i32 = 5000;
/// The port of the API of tags, in the pod.
pub const API_PORT: i32 = 6443;

/// All objects, in an order in which they can be applied.
///
/// # Errors
/// When the inputs do not fit together, or one of them is no proper name.
pub fn desired(inputs: &Inputs) -> Result<Vec<Object>, InputError> {
    inputs.check()?;
    let config = config::text(inputs);
    let mut objects = vec![metadata::namespace(inputs)];
    objects.extend(rights::objects(inputs));
    if inputs.roles {
        objects.extend(roles::objects());
    }
    objects.push(config::config_map(inputs, &config));
    objects.extend(config::secret(inputs));
    objects.extend(api::secret(inputs));
    objects.extend(storage::claim(inputs));
    objects.extend(network::objects(inputs));
    objects.push(workload::registry(inputs, &config));
    objects.push(workload::operator(inputs, &config));
    // Last: while nothing answers behind it, no namespace of the cluster can be deleted.
    objects.extend(api::registration(inputs));
    Ok(objects)
}
