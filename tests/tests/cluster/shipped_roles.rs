//! The roles that `homeport manifests` ships, under the names that OpenShift's manuals use. Cases B-15 to B-21.

use anyhow::Result;
use e2e::kube::{Kube, here, until};
use e2e::manifests::{is, manifests};
use e2e::site::{Repository, Site};

/// Applies the roles of people, which belong to the cluster.
fn apply_roles(kube: &Kube) -> Result<()> {
    let roles: Vec<String> = manifests(&[])?.into_iter().filter(|document| is(document, "ClusterRole")).collect();
    kube.install(&roles)
}

/// `(role, pull, push)`, bound in one namespace; `view` and `edit` have theirs by aggregation.
#[test]
fn roles_in_a_namespace() -> Result<()> {
    let Some(kube) = here()? else { return Ok(()) };
    apply_roles(&kube)?;
    let (site, project, other) = (Site::start(&kube)?, kube.namespace()?, kube.namespace()?);
    let table = [
        ("registry-viewer", true, false),
        ("registry-editor", true, true),
        ("registry-admin", true, true),
        ("system:image-puller", true, false),
        ("system:image-pusher", true, true),
        ("system:image-builder", true, true),
        ("view", true, false),
        ("edit", true, true),
        ("admin", true, true),
    ];
    let name = &project.name;
    for (index, (role, pull, push)) in table.into_iter().enumerate() {
        let account = format!("r{index}");
        let client = site.client(&project.account(&account)?);
        let (here, there) = (format!("{name}/app"), format!("{}/app", other.name));
        assert_eq!(Repository::new(&client, &here).pull()?.status, 403, "{role}: before it is bound");
        kube.ok(&format!(
            "-n {name} create rolebinding {account} --clusterrole={role} --serviceaccount={name}:{account}"
        ))?;
        let mut answers = (false, false);
        let settled = until(role, || {
            let repository = Repository::new(&client, &here);
            answers = (repository.pull()?.status == 404, repository.begin_push()?.status == 202);
            Ok(answers == (pull, push))
        });
        assert!(settled.is_ok(), "{role}: pull, push are {answers:?}");
        assert_eq!(Repository::new(&client, &there).pull()?.status, 403, "{role}: in another namespace");
    }
    Ok(())
}

/// `system:registry` bound in the whole cluster: pulls everything, pushes where it may besides.
#[test]
fn the_role_of_the_registry_itself() -> Result<()> {
    let Some(kube) = here()? else { return Ok(()) };
    apply_roles(&kube)?;
    let (site, own, foreign) = (Site::start(&kube)?, kube.namespace()?, kube.namespace()?);
    let client = site.client(&own.account("caller")?);
    let (name, user) = (&own.name, own.user("caller"));
    kube.ok(&format!("create clusterrolebinding {name} --clusterrole=system:registry --user={user}"))?;
    kube.ok(&format!("-n {name} create rolebinding editor --clusterrole=registry-editor --user={user}"))?;
    let status = |namespace: &str| -> Result<(u16, u16)> {
        let repository = Repository::new(&client, format!("{namespace}/app"));
        Ok((repository.pull()?.status, repository.begin_push()?.status))
    };
    let mut is = ((0, 0), (0, 0));
    let settled = until("the roles count", || {
        is = (status(name)?, status(&foreign.name)?);
        Ok(is == ((404, 202), (404, 403)))
    });
    kube.ok(&format!("delete clusterrolebinding {name}"))?;
    assert!(settled.is_ok(), "{is:?}");
    Ok(())
}
