//! The volume with the images.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    EmptyDirVolumeSource, PersistentVolumeClaim, PersistentVolumeClaimSpec, PersistentVolumeClaimVolumeSource, Volume,
    VolumeResourceRequirements,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::metadata::{Component, namespaced};
use super::{Inputs, Object, Storage};

pub(super) const VOLUME: &str = "data";
const CLAIM: &str = "homeport-data";

pub(super) fn claim(inputs: &Inputs) -> Option<Object> {
    let Storage::Claim { size, class } = &inputs.storage else { return None };
    // Pods on several nodes need a volume that several nodes can mount.
    let mode = if inputs.replicas > 1 { "ReadWriteMany" } else { "ReadWriteOnce" };
    let requests = BTreeMap::from([("storage".to_owned(), Quantity(size.clone()))]);
    let claim = PersistentVolumeClaim {
        metadata: namespaced(inputs, Component::Registry, CLAIM),
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: Some(vec![mode.to_owned()]),
            resources: Some(VolumeResourceRequirements { requests: Some(requests), limits: None }),
            storage_class_name: class.clone(),
            ..PersistentVolumeClaimSpec::default()
        }),
        ..PersistentVolumeClaim::default()
    };
    Some(claim.into())
}

pub(super) fn volume(inputs: &Inputs) -> Volume {
    let mut volume = Volume { name: VOLUME.to_owned(), ..Volume::default() };
    match &inputs.storage {
        Storage::Claim { .. } => {
            volume.persistent_volume_claim =
                Some(PersistentVolumeClaimVolumeSource { claim_name: CLAIM.to_owned(), read_only: None });
        }
        Storage::EmptyDir { limit } => {
            volume.empty_dir = Some(EmptyDirVolumeSource {
                medium: None,
                size_limit: limit.as_ref().map(|limit| Quantity(limit.clone())),
            });
        }
    }
    volume
}
