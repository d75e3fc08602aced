//! Pods that pull with their own identity: the kubelet's credential provider, no Secret anywhere.

use crate::desk::Desk;
use crate::kube::{Kube, accesses, until, with_pods};
use crate::pods::{Pod, push_image};
use crate::site::{Repository, Site};
use anyhow::Result;

const AUDIENCE: &str = "registry.test";

/// The kubelet's configuration, as the documentation has it.
fn provider_config(host: &str) -> String {
    format!(
        "apiVersion: kubelet.config.k8s.io/v1\nkind: CredentialProviderConfig\nproviders:\n- name: homeport\n  \
         apiVersion: credentialprovider.kubelet.k8s.io/v1\n  matchImages: ['{host}']\n  defaultCacheDuration: 1m\n  args: [credential-provider]\n  \
         tokenAttributes:\n    serviceAccountTokenAudience: {AUDIENCE}\n    cacheType: Token\n    requireServiceAccount: true\n"
    )
}

/// Lets kubelets ask for tokens of the registry's audience.
fn allow_kubelets(kube: &Kube) -> Result<()> {
    kube.apply(&format!(
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {{name: test-registry-audience}}\n\
         rules: [{{apiGroups: [''], resources: ['{AUDIENCE}'], verbs: [request-serviceaccounts-token-audience]}}]\n---\n\
         apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRoleBinding\nmetadata: {{name: test-registry-audience}}\n\
         roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: test-registry-audience}}\n\
         subjects: [{{apiGroup: rbac.authorization.k8s.io, kind: Group, name: 'system:nodes'}}]\n"
    ))
}

#[test]
fn a_pod_pulls_with_its_own_account() -> Result<()> {
    let Some(kube) = with_pods()? else { return Ok(()) };
    let (desk, project) = (Desk::new()?, kube.namespace()?);
    let site = Site::start_with(&kube, &format!("    audiences: [{AUDIENCE}, '{}']\n", api_audience(&kube)?), "")?;
    site.make_known()?;
    let config = desk.write("provider.yaml", &provider_config(site.name()))?;
    // The kubelet looks for a file of the provider's name.
    std::fs::copy(e2e::binary()?, desk.path("homeport"))?;
    kube.script("provider", &[&desk.text("homeport"), &config.display().to_string()])?;
    allow_kubelets(&kube)?;
    let (owner, repo) = (project.owner()?, format!("{}/app", project.name));
    until("may push", || Ok(Repository::new(&site.client(&owner), &repo).begin_push()?.status == 202))?;
    let says = format!("no secret in {}", project.name);
    if push_image(&desk, &format!("{}/{repo}:1", site.address()?), &owner, &says)?.is_none() {
        return Ok(());
    }
    project.account("may")?;
    project.account("may-not")?;
    project.grant("may", &accesses("get", "app"))?;
    let image = format!("{}/{repo}:1", site.name());
    let pod =
        |name: &'static str| Pod { namespace: &project.name, name, image: &image, account: name, pull_secret: None };
    let (may, may_not) = (pod("may"), pod("may-not"));
    may_not.create(&kube)?;
    let said = may_not.refusal(&kube)?;
    assert!(said.contains("403 Forbidden"), "known, but not allowed: {said}");
    may.create(&kube)?;
    assert_eq!(may.output(&kube)?, says);
    // The image is on the node now, which is no right to it.
    let again = Pod { name: "again", ..pod("may-not") };
    again.create(&kube)?;
    assert!(again.refusal(&kube)?.contains("403 Forbidden"));
    assert_eq!(kube.ok(&format!("-n {} get secrets -o name", project.name))?, "", "no Secret anywhere");
    Ok(())
}

/// The audience of the tokens that `kubectl create token` gives.
fn api_audience(kube: &Kube) -> Result<String> {
    let token = kube.ok("create token default")?;
    Ok(crate::tokens::claims(token.trim())?["aud"][0].as_str().unwrap_or_default().to_owned())
}
