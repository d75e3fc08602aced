//! Pods that run an image of a registry.

use crate::desk::Desk;
use crate::material::{pack, rootfs};
use anyhow::{Context, Result};
use e2e::kube::{Kube, until, until_within};
use std::time::Duration;

/// Between two tries to pull an image the kubelet waits, up to five minutes.
const RUN_MAX: Duration = Duration::from_secs(300);

/// Pushes an image that prints `says` and ends. `None`, with a line that says so, where a program is missing.
/// The content is new each time: containerd would not pull layers that it has.
pub(crate) fn push_image(desk: &Desk, to: &str, token: &str, says: &str) -> Result<Option<()>> {
    let (Some(crane), Some(rootfs)) = (desk.tool("crane"), rootfs(desk)?) else { return Ok(None) };
    std::fs::write(rootfs.join("says"), says)?;
    let host = to.split('/').next().unwrap_or_default();
    crane.feed(&format!("auth login --username token --password-stdin {host}"), token)?;
    let layer = pack(desk, &rootfs, "image")?;
    // It does not know the authority of a test; whether a node does is another matter.
    crane.ok(&format!("--insecure append --oci-empty-base --new_layer {} --new_tag {to}", layer.display()))?;
    crane.ok(&format!("--insecure mutate {to} --set-platform linux/amd64 --entrypoint /bin/cat,/says --tag {to}"))?;
    crane.ok(&format!("auth logout {host}"))?;
    Ok(Some(()))
}

/// What a pod has printed.
pub(crate) fn log(kube: &Kube, namespace: &str, name: &str) -> Result<String> {
    let mut said = String::new();
    // The kubelet may be too busy to answer.
    until("its log can be read", || {
        let log = kube.ok(&format!("-n {namespace} logs {name}"));
        Ok(log.map(|log| said = log).is_ok())
    })?;
    Ok(said)
}

/// What a pod is made of.
pub(crate) struct Pod<'a> {
    pub(crate) namespace: &'a str,
    pub(crate) name: &'a str,
    pub(crate) image: &'a str,
    pub(crate) account: &'a str,
    pub(crate) pull_secret: Option<&'a str>,
}

impl Pod<'_> {
    /// Creates it.
    pub(crate) fn create(&self, kube: &Kube) -> Result<()> {
        let Self { namespace, name, image, account, .. } = self;
        let secrets = self.pull_secret.map_or(String::new(), |name| format!(", imagePullSecrets: [{{name: {name}}}]"));
        kube.apply(&format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: {namespace}}}\n\
             spec: {{restartPolicy: Never, terminationGracePeriodSeconds: 1, serviceAccountName: {account}{secrets}, \
             containers: [{{name: main, image: '{image}', imagePullPolicy: Always}}]}}\n"
        ))
    }

    /// Waits until it has ended well; what it printed.
    pub(crate) fn output(&self, kube: &Kube) -> Result<String> {
        let (namespace, name) = (self.namespace, self.name);
        let waited = until_within(RUN_MAX, "the pod has ended", || {
            Ok(kube.field(&format!("-n {namespace} pod {name}"), ".status.phase")? == "Succeeded")
        });
        if let Err(error) = waited {
            let seen = kube.ok(&format!("-n {namespace} describe pod {name}")).unwrap_or_default();
            anyhow::bail!("{error}\n{seen}");
        }
        log(kube, namespace, name)
    }

    /// Waits until the kubelet says for this reason that its image cannot be pulled; it may have had others before.
    pub(crate) fn refusal(&self, kube: &Kube, reason: &str) -> Result<()> {
        let (namespace, name) = (self.namespace, self.name);
        let mut said = String::new();
        let refused = until("the image cannot be pulled", || {
            let events = format!("-n {namespace} get events --field-selector involvedObject.name={name},reason=Failed");
            said = kube.ok(&format!("{events} -o jsonpath={{.items[*].message}}"))?;
            Ok(said.contains("Failed to pull image") && said.contains(reason))
        });
        refused.map(drop).with_context(|| format!("{name}: {reason:?} is not in {said:?}"))
    }
}
