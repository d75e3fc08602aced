//! Content belongs to a namespace and goes with it. Cases.

use anyhow::Result;
use e2e::kube::{here, until};
use e2e::site::{Repository, Site, catalog, refused};

#[test]
fn a_push_needs_the_namespace() -> Result<()> {
    let Some(kube) = here()? else { return Ok(()) };
    let (site, elsewhere) = (Site::start(&kube)?, kube.namespace()?);
    // Somebody who may do everything everywhere.
    let token = elsewhere.account("admin")?;
    let admin = ClusterAdmin::new(&kube, &elsewhere.name)?;
    let client = site.client(&token);
    let name = e2e::kube::unique("late");
    let repository = Repository::new(&client, format!("{name}/app"));
    until("the administrator is known as such", || {
        Ok(Repository::new(&client, format!("{}/app", elsewhere.name)).pull()?.status == 404)
    })?;
    let answer = repository.begin_push()?;
    refused(&answer, 403, "DENIED");
    assert!(answer.text().contains(&name), "{}", answer.text());
    // One segment is no address here, not even for an administrator.
    for answer in [Repository::new(&client, "ubuntu").begin_push()?, Repository::new(&client, "ubuntu").pull()?] {
        assert!(matches!(answer.status, 400 | 403 | 404), "{} {}", answer.status, answer.text());
    }
    assert_eq!(catalog(&client)?, Vec::<String>::new());

    // Soon after the namespace is made a push works; the memory of its absence is in the way for a moment at most.
    kube.ok(&format!("create namespace {name}"))?;
    let pushed = repository.first_push(1);
    let path = format!("{name}/app");
    let listed = catalog(&client)?;
    // An upload that nobody finishes makes no repository.
    let begun = Repository::new(&client, format!("{name}/begun")).begin_push()?.status;
    let listed_again = catalog(&client)?;
    kube.ok(&format!("delete namespace {name} --wait=false"))?;
    pushed?;
    assert_eq!((listed, begun, listed_again), (vec![path.clone()], 202, vec![path]));
    drop(admin);
    Ok(())
}

#[test]
fn content_goes_with_its_namespace_and_stays_away() -> Result<()> {
    let Some(kube) = here()? else { return Ok(()) };
    let (site, project, other) = (Site::start(&kube)?, kube.namespace()?, kube.namespace()?);
    let client = site.client(&project.owner()?);
    let (near, deep) = (format!("{}/a", project.name), format!("{}/x/y/b", project.name));
    Repository::new(&client, &near).first_push(1)?;
    Repository::new(&client, &deep).push(2)?;
    // The same layers in a namespace that stays.
    let stays = site.client(&other.owner()?);
    let kept = format!("{}/a", other.name);
    Repository::new(&stays, &kept).first_push(1)?;

    let uid = project.uid()?;
    kube.delete_namespace(&project.name)?;
    kube.ok(&format!("create namespace {}", project.name))?;
    assert_ne!(project.uid()?, uid);
    let again = site.client(&project.owner()?);
    // At no moment does the new owner of the name see what was the old one's.
    let (mut seen, begun) = (Vec::new(), std::time::Instant::now());
    until("the new namespace takes images", || {
        for repo in [&near, &deep] {
            let answer = Repository::new(&again, repo).pull()?;
            if !matches!(answer.status, 403 | 404) {
                seen.push(format!("{repo}: {} {}", answer.status, answer.text()));
            }
        }
        if catalog(&again)?.iter().any(|name| name.starts_with(&format!("{}/", project.name))) {
            seen.push("in the catalog".to_owned());
        }
        let push = Repository::new(&again, &near).begin_push()?;
        if push.status == 503 {
            assert!(!push.header("retry-after").is_empty());
        }
        Ok(push.status == 202)
    })?;
    println!("took images again after {:?}", begun.elapsed());
    assert!(seen.is_empty(), "{}", seen.join("\n"));
    Repository::new(&again, &near).push(3)?;
    assert_eq!(Repository::new(&again, &deep).pull()?.status, 404);
    // Nothing of anybody else was touched.
    assert_eq!(Repository::new(&stays, &kept).pull()?.status, 200);
    for blob in &e2e::Image::new(1, &[2000]).blobs {
        assert_eq!(stays.get(&format!("/v2/{kept}/blobs/{}", e2e::digest(blob)))?.status, 200);
    }
    Ok(())
}

/// Nobody was there to see the namespace go.
#[test]
fn a_namespace_deleted_while_no_registry_runs() -> Result<()> {
    let Some(kube) = here()? else { return Ok(()) };
    let (mut site, gone, replaced) = (Site::start(&kube)?, kube.namespace()?, kube.namespace()?);
    let observer = kube.namespace()?;
    let watcher = site.client(&observer.account("watcher")?);
    for namespace in [&gone, &replaced] {
        let client = site.client(&namespace.owner()?);
        let repo = format!("{}/app", namespace.name);
        Repository::new(&client, &repo).first_push(1)?;
    }
    assert_eq!(catalog(&watcher)?.len(), 2);
    site.kill()?;
    kube.delete_namespace(&gone.name)?;
    kube.delete_namespace(&replaced.name)?;
    kube.ok(&format!("create namespace {}", replaced.name))?;
    site.begin()?;
    let again = site.client(&replaced.owner()?);
    let repo = format!("{}/app", replaced.name);
    until("the catalog is empty", || {
        assert!(matches!(Repository::new(&again, &repo).pull()?.status, 403 | 404));
        Ok(catalog(&watcher)?.is_empty())
    })?;
    until("the new namespace takes images", || Ok(Repository::new(&again, &repo).begin_push()?.status == 202))?;
    assert_eq!(Repository::new(&again, &repo).pull()?.status, 404);
    Ok(())
}

#[test]
fn a_namespace_on_its_way_out_takes_nothing() -> Result<()> {
    let Some(kube) = here()? else { return Ok(()) };
    let (site, project, other) = (Site::start(&kube)?, kube.namespace()?, kube.namespace()?);
    // An account and rights that outlive what is in the namespace.
    let (name, token) = (&project.name, other.account("pusher")?);
    let _admin = ClusterAdmin::for_account(&kube, &other.name, "pusher")?;
    let client = site.client(&token);
    let repository = Repository::new(&client, format!("{name}/app"));
    until("may push", || Ok(repository.begin_push()?.status == 202))?;
    repository.push(1)?;
    // Something in it that does not go.
    kube.apply(&format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: stays, namespace: {name}, finalizers: [test.test/hold]}}\n"
    ))?;
    let begun = repository.begin_push()?;
    kube.ok(&format!("delete namespace {name} --wait=false"))?;
    let result = (|| -> Result<()> {
        until("a push is refused", || Ok(repository.begin_push()?.status == 403))?;
        // The upload that had begun is not finished either.
        let location = begun.header("location");
        let separator = if location.contains('?') { '&' } else { '?' };
        let late =
            client.send("PUT", &format!("{location}{separator}digest={}", e2e::digest(b"late")), &[], b"late")?;
        assert!(matches!(late.status, 403 | 404), "{} {}", late.status, late.text());
        Ok(())
    })();
    kube.ok(&format!("-n {name} patch configmap stays --type=merge -p '{{\"metadata\":{{\"finalizers\":null}}}}'"))?;
    result
}

/// An upload that began in one namespace does not end in another one of the same name.
#[test]
fn a_namespace_replaced_during_a_push() -> Result<()> {
    let Some(kube) = here()? else { return Ok(()) };
    let (site, project, other) = (Site::start(&kube)?, kube.namespace()?, kube.namespace()?);
    let token = other.account("pusher")?;
    let _admin = ClusterAdmin::for_account(&kube, &other.name, "pusher")?;
    let client = site.client(&token);
    let repo = format!("{}/app", project.name);
    until("may push", || Ok(Repository::new(&client, &repo).begin_push()?.status == 202))?;
    let begun = Repository::new(&client, &repo).begin_push()?;
    let half = client.send(
        "PATCH",
        begun.header("location"),
        &[("content-type", "application/octet-stream")],
        b"first half ",
    )?;
    assert_eq!(half.status, 202, "{}", half.text());
    kube.delete_namespace(&project.name)?;
    kube.ok(&format!("create namespace {}", project.name))?;
    let location = half.header("location");
    let separator = if location.contains('?') { '&' } else { '?' };
    let digest = e2e::digest(b"first half second half");
    let path = format!("{location}{separator}digest={digest}");
    until("the new namespace takes images", || Ok(Repository::new(&client, &repo).begin_push()?.status == 202))?;
    let end = client.send("PUT", &path, &[], b"second half")?;
    refused(&end, 404, "BLOB_UPLOAD_UNKNOWN");
    assert_eq!(client.head(&format!("/v2/{repo}/blobs/{digest}"))?.status, 404);
    Ok(())
}

/// `cluster-admin` for a ServiceAccount, taken away with this value.
struct ClusterAdmin<'a> {
    kube: &'a e2e::kube::Kube,
    name: String,
}

impl<'a> ClusterAdmin<'a> {
    fn new(kube: &'a e2e::kube::Kube, namespace: &str) -> Result<Self> {
        Self::for_account(kube, namespace, "admin")
    }

    fn for_account(kube: &'a e2e::kube::Kube, namespace: &str, account: &str) -> Result<Self> {
        let name = format!("{namespace}-{account}");
        kube.ok(&format!(
            "create clusterrolebinding {name} --clusterrole=cluster-admin --serviceaccount={namespace}:{account}"
        ))?;
        Ok(Self { kube, name })
    }
}

impl Drop for ClusterAdmin<'_> {
    fn drop(&mut self) {
        drop(self.kube.ok(&format!("delete clusterrolebinding {} --ignore-not-found --wait=false", self.name)));
    }
}
