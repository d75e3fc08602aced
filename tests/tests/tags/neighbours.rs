//! The controllers of the cluster go on with what they do.

use crate::world::{World, name_of, shared};
use anyhow::Result;
use e2e::kube::until;
use serde_json::json;

/// What the controller manager has logged since this value was made.
struct Log {
    path: std::path::PathBuf,
    from: u64,
}

impl Log {
    fn of(world: &World) -> Result<Self> {
        let path = world.kube.cluster()?.folder().join("logs/kube-controller-manager.log");
        let from = std::fs::metadata(&path)?.len();
        Ok(Self { path, from })
    }

    /// Lines about the tags that are more than information.
    fn complaints(&self) -> Result<Vec<String>> {
        let bytes = std::fs::read(&self.path)?;
        let new = bytes.get(usize::try_from(self.from)?..).unwrap_or_default();
        let text = String::from_utf8_lossy(new).into_owned();
        let about = |line: &&str| line.contains("payload-registry") || line.contains("payloadrepositorytag");
        let bad = |line: &&str| line.starts_with(['E', 'W', 'F']);
        Ok(text.lines().filter(about).filter(bad).map(str::to_owned).collect())
    }
}

#[test]
fn garbage_collection_and_quotas_work_beside_tags() -> Result<()> {
    let Some(world) = shared()? else { return Ok(()) };
    let project = world.project()?;
    project.push("app", "1", 1)?;
    let (kube, ns, log) = (world.kube, project.name(), Log::of(&world)?);
    kube.apply(&format!(
        "apiVersion: v1\nkind: ResourceQuota\nmetadata: {{name: quota, namespace: {ns}}}\nspec: {{hard: {{configmaps: '5', count/replicasets.apps: '3'}}}}\n"
    ))?;
    let used = || kube.field(&format!("-n {ns} resourcequota quota"), ".status.used");
    // Before it has been counted, nothing that it bounds can be made.
    until("the quota is in force", || {
        let used = used()?;
        Ok(used.contains("\"count/replicasets.apps\":") && used.contains("\"configmaps\":"))
    })?;
    // An owner, what it owns, and what that owns.
    kube.ok(&format!("-n {ns} create configmap owner"))?;
    let uid = |name: &str| kube.field(&format!("-n {ns} {name}"), ".metadata.uid");
    let owned = |kind: &str, api: &str, owner: &str, name: &str, uid: &str| {
        json!([{ "apiVersion": api, "kind": kind, "name": owner, "uid": uid, "blockOwnerDeletion": true }])
            .to_string()
            .replace("NAME", name)
    };
    let set = json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet",
        "metadata": { "name": "set", "namespace": ns, "ownerReferences": serde_json::from_str::<serde_json::Value>(&owned("ConfigMap", "v1", "owner", "set", &uid("configmap owner")?))? },
        "spec": { "replicas": 0, "selector": { "matchLabels": { "a": "b" } }, "template": {
            "metadata": { "labels": { "a": "b" } }, "spec": { "containers": [{ "name": "a", "image": "b" }] } } },
    });
    kube.apply(&set.to_string())?;
    let leaf = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "name": "leaf", "namespace": ns, "ownerReferences": serde_json::from_str::<serde_json::Value>(&owned("ReplicaSet", "apps/v1", "set", "leaf", &uid("replicaset set")?))? },
    });
    kube.apply(&leaf.to_string())?;
    until("the quota is counted", || {
        let used = used()?;
        Ok(used.contains("\"count/replicasets.apps\":\"1\"") && used.contains("\"configmaps\":\"3\""))
    })?;
    let refused = (0..4).find_map(|index| kube.refused(&format!("-n {ns} create configmap more{index}"), "").ok());
    assert!(refused.is_some_and(|said| said.contains("exceeded quota")), "the quota holds");
    kube.ok(&format!("-n {ns} delete configmap owner"))?;
    until("what it owned is gone", || {
        Ok(kube.ok(&format!("-n {ns} get replicaset,configmap leaf set --ignore-not-found -o name"))?.is_empty())
    })?;
    // The collector of garbage knows tags, and leaves them alone.
    assert_eq!(project.status("app", "1")?, 200);
    kube.ok(&format!("-n {ns} get prt {}", name_of("app", "1")))?;
    assert_eq!(log.complaints()?, Vec::<String>::new());
    Ok(())
}

/// A tag that names an owner does not exist; one that is named as an owner by something else is looked up as such.
#[test]
fn a_tag_can_own_an_object() -> Result<()> {
    let Some(world) = shared()? else { return Ok(()) };
    let project = world.project()?;
    project.push("app", "1", 1)?;
    let (kube, ns, name) = (world.kube, project.name(), name_of("app", "1"));
    let uid = kube.field(&format!("-n {ns} prt {name}"), ".metadata.uid")?;
    let owned = |object: &str, uid: &str| {
        let owner = json!([{ "apiVersion": "payload-registry.deckhouse.io/v1alpha1", "kind": "PayloadRepositoryTag", "name": name, "uid": uid }]);
        json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": object, "namespace": ns, "ownerReferences": owner } })
    };
    kube.apply(&owned("lives", &uid).to_string())?;
    kube.apply(&owned("orphan", "00000000-0000-0000-0000-000000000001").to_string())?;
    until("what names an owner that never was is gone", || {
        Ok(kube.ok(&format!("-n {ns} get configmap orphan --ignore-not-found"))?.is_empty())
    })?;
    kube.ok(&format!("-n {ns} get configmap lives"))?;
    project.delete("app", "1")?;
    until("what the tag owned goes with it", || {
        Ok(kube.ok(&format!("-n {ns} get configmap lives --ignore-not-found"))?.is_empty())
    })?;
    Ok(())
}
