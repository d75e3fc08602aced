//! Everything that a registry serves, to compare one with another.

use crate::material::{DOCKER_IMAGE, DOCKER_LIST, OCI_IMAGE, OCI_INDEX};
use anyhow::{Context, Result, ensure};
use e2e::{Answer, Client};
use serde_json::Value;
use sha2::{Digest, Sha512};
use std::collections::BTreeMap;
use std::fmt::Write;

/// What is served: `name:tag`, `name@digest` and `name blob digest`, each with type, digest or size.
pub(crate) type View = BTreeMap<String, String>;

/// All that the catalog leads to, every byte checked against its digest; and these manifests, `name@digest`.
pub(crate) fn view(client: &Client, untagged: &[String]) -> Result<View> {
    view_by(client, untagged, 2)
}

/// The same with so many names in a page.
pub(crate) fn view_by(client: &Client, untagged: &[String], page: usize) -> Result<View> {
    let mut view = View::new();
    for name in pages(client, &format!("/v2/_catalog?n={page}"), "repositories")? {
        for tag in tags_by(client, &name, page)? {
            let answer = manifest(client, &name, &tag)?;
            ensure!(answer.status == 200, "{name}:{tag}: {} {}", answer.status, answer.text());
            view.insert(format!("{name}:{tag}"), answer.header("docker-content-digest").to_owned());
            walk(client, &name, &e2e::digest(&answer.body), &mut view)?;
        }
    }
    for reference in untagged {
        let (name, digest) = reference.split_once('@').context("a reference by digest")?;
        walk(client, name, digest, &mut view)?;
    }
    Ok(view)
}

/// Tags of a repository, page by page. A repository whose last tag is gone has none, or is unknown to old registries.
pub(crate) fn tags(client: &Client, name: &str) -> Result<Vec<String>> {
    tags_by(client, name, 2)
}

fn tags_by(client: &Client, name: &str, page: usize) -> Result<Vec<String>> {
    let path = format!("/v2/{name}/tags/list?n={page}");
    if client.get(&path)?.code() == "NAME_UNKNOWN" {
        return Ok(Vec::new());
    }
    pages(client, &path, "tags")
}

/// Digests of the referrers.
pub(crate) fn referrers(client: &Client, name: &str, subject: &str) -> Result<Vec<String>> {
    let answer = client.get(&format!("/v2/{name}/referrers/{subject}"))?;
    ensure!(answer.status == 200, "referrers: {} {}", answer.status, answer.text());
    Ok(children(&answer.json()["manifests"]))
}

/// `sha512:<hex>` of content.
pub(crate) fn sha512(content: &[u8]) -> String {
    let mut text = String::from("sha512:");
    for byte in Sha512::digest(content) {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// A manifest, whatever its type.
pub(crate) fn manifest(client: &Client, name: &str, reference: &str) -> Result<Answer> {
    let accept = [OCI_IMAGE, OCI_INDEX, DOCKER_IMAGE, DOCKER_LIST].join(", ");
    client.send("GET", &format!("/v2/{name}/manifests/{reference}"), &[("accept", &accept)], &[])
}

fn walk(client: &Client, name: &str, digest: &str, view: &mut View) -> Result<()> {
    let key = format!("{name}@{digest}");
    if view.contains_key(&key) {
        return Ok(());
    }
    let answer = manifest(client, name, digest)?;
    ensure!(answer.status == 200, "{key}: {} {}", answer.status, answer.text());
    ensure!(e2e::digest(&answer.body) == digest, "{key}: other content");
    view.insert(key, answer.header("content-type").to_owned());
    let content = answer.json();
    for child in children(&content["manifests"]) {
        walk(client, name, &child, view)?;
    }
    for blob in children(&content["layers"]).into_iter().chain(content["config"]["digest"].as_str().map(str::to_owned))
    {
        let answer = client.get(&format!("/v2/{name}/blobs/{blob}"))?;
        ensure!(answer.status == 200, "{name}: blob {blob}: {} {}", answer.status, answer.text());
        let actual = if blob.starts_with("sha512") { sha512(&answer.body) } else { e2e::digest(&answer.body) };
        ensure!(actual == blob, "{name}: blob {blob}: other content");
        view.insert(format!("{name} blob {blob}"), answer.body.len().to_string());
    }
    Ok(())
}

fn children(list: &Value) -> Vec<String> {
    let entries = list.as_array().map(Vec::as_slice).unwrap_or_default();
    entries.iter().filter_map(|entry| entry["digest"].as_str().map(str::to_owned)).collect()
}

/// All names of a list of which the answers hold a page each.
fn pages(client: &Client, path: &str, field: &str) -> Result<Vec<String>> {
    let (mut names, mut path) = (Vec::new(), path.to_owned());
    loop {
        let answer = client.get(&path)?;
        ensure!(answer.status == 200, "{path}: {} {}", answer.status, answer.text());
        let page = answer.json();
        let page = page[field].as_array().map(Vec::as_slice).unwrap_or_default();
        names.extend(page.iter().filter_map(|name| name.as_str().map(str::to_owned)));
        let Some((_, rest)) = answer.header("link").split_once('<') else { return Ok(names) };
        path = rest.split('>').next().unwrap_or_default().to_owned();
    }
}
