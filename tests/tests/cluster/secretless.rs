//! Pods that pull with their own identity: the kubelet's credential provider, no Secret anywhere.

use crate::desk::Desk;
use crate::pods::{Pod, push_image};
use anyhow::Result;
use e2e::kube::{Kube, accesses, unique, until, with_pods};
use e2e::site::{Repository, Site};

const AUDIENCE: &str = "registry.test";

/// The kubelet's configuration, as the documentation has it.
fn provider_config(host: &str) -> String {
    format!(
        "apiVersion: kubelet.config.k8s.io/v1\nkind: CredentialProviderConfig\nproviders:\n- name: homeport\n  \
         apiVersion: credentialprovider.kubelet.k8s.io/v1\n  matchImages: ['{host}']\n  defaultCacheDuration: 1m\n  args: [credential-provider]\n  \
         tokenAttributes:\n    serviceAccountTokenAudience: {AUDIENCE}\n    cacheType: Token\n    requireServiceAccount: true\n"
    )
}

/// Lets kubelets ask for tokens of the registry's audience, as long as this value is there.
struct Allowance<'a> {
    kube: &'a Kube,
    name: String,
}

impl<'a> Allowance<'a> {
    fn new(kube: &'a Kube) -> Result<Self> {
        let allowance = Self { kube, name: unique("test-registry-audience") };
        let name = &allowance.name;
        kube.apply(&format!(
            "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {{name: {name}}}\n\
             rules: [{{apiGroups: [''], resources: ['{AUDIENCE}'], verbs: [request-serviceaccounts-token-audience]}}]\n---\n\
             apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRoleBinding\nmetadata: {{name: {name}}}\n\
             roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: {name}}}\n\
             subjects: [{{apiGroup: rbac.authorization.k8s.io, kind: Group, name: 'system:nodes'}}]\n"
        ))?;
        Ok(allowance)
    }
}

impl Drop for Allowance<'_> {
    fn drop(&mut self) {
        for kind in ["clusterrolebinding", "clusterrole"] {
            drop(self.kube.ok(&format!("delete {kind} {} --ignore-not-found --wait=false", self.name)));
        }
    }
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
    let _allowance = Allowance::new(&kube)?;
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
    // Known, but not allowed.
    may_not.refusal(&kube, "403 Forbidden")?;
    may.create(&kube)?;
    assert_eq!(may.output(&kube)?, says);
    // The image is on the node now, which is no right to it.
    let again = Pod { name: "again", ..pod("may-not") };
    again.create(&kube)?;
    again.refusal(&kube, "403 Forbidden")?;
    assert_eq!(kube.ok(&format!("-n {} get secrets -o name", project.name))?, "", "no Secret anywhere");
    Ok(())
}

/// The audience of the tokens that `kubectl create token` gives.
fn api_audience(kube: &Kube) -> Result<String> {
    let token = kube.ok("create token default")?;
    Ok(crate::tokens::claims(token.trim())?["aud"][0].as_str().unwrap_or_default().to_owned())
}
