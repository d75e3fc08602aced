//! The real clients against the built binary, and the two-way exchange of data with older registries.
//!
//! A test needs the programs of `cargo xtask tools`; it says which one is missing and passes when one is.

mod desk;
mod material;
mod peer;
mod view;

mod access;
mod buildah;
mod containerd;
mod copy;
mod cosign;
mod crane;
mod damage;
mod helm;
mod migration;
mod migration_s3;
mod oras;
mod podman;
mod regctl;
mod skopeo;
