//! Tags that stay what they are, whoever pushes at the same time.

use crate::support::{BASE, EMPTY, OCI_MANIFEST, Registry, manifest, put, refused, serve};
use anyhow::{Context, Result, ensure};
use e2e::s3::S3;
use e2e::{Client, Image, Server, digest};
use std::collections::BTreeMap;
use std::process::Command;
use std::sync::{Arc, Barrier};

const RULES: &str = "homeport: {tags: {immutable: ['v*', 'team/*:release-*', '!v0-*']}}\n";

fn numbered(number: usize) -> Vec<u8> {
    manifest(EMPTY, &[], serde_json::json!({"annotations": {"number": number.to_string()}}))
}

#[test]
fn refused_in_words_that_clients_show() -> Result<()> {
    let server = serve(RULES)?;
    let client = server.client();
    let (one, two) = (Image::new(1, &[1000]), Image::new(2, &[1000]));
    let stays = client.push_image("team/app", "v1", &one)?;
    for tag in ["v0-1", "latest", "v1"] {
        client.push_image("team/app", tag, &one)?;
    }
    client.push_image("team/app", "dev", &two)?;
    let moved = put(&client, "team/app", "v1", OCI_MANIFEST, &two.manifest)?;
    refused(&moved, 403, "DENIED");
    let text = format!("tag v1 of team/app is immutable (homeport.tags.immutable) and stays {stays}");
    assert_eq!(moved.json()["errors"][0]["message"], text);
    let several = put(&client, "team/app", "latest?tag=release-1&tag=v1", OCI_MANIFEST, &two.manifest)?;
    refused(&several, 403, "DENIED");
    assert_eq!(client.head("/v2/team/app/manifests/latest")?.header("docker-content-digest"), stays);
    assert_eq!(client.head("/v2/team/app/manifests/release-1")?.status, 404);
    client.push_image("team/app", "v0-1", &two)?;

    refused(&client.delete("/v2/team/app/manifests/v1")?, 403, "DENIED");
    refused(&client.delete(&format!("/v2/team/app/manifests/{stays}"))?, 403, "DENIED");
    refused(&client.delete("/v2/team/app/manifests/v9")?, 404, "MANIFEST_UNKNOWN");
    assert_eq!(client.delete("/v2/team/app/manifests/latest")?.status, 202);
    assert_eq!(client.delete(&format!("/v2/team/app/manifests/{}", digest(&two.manifest)))?.status, 202);

    server.reload(&format!("{BASE}homeport: {{tags: {{immutable: ['!v1', 'v*']}}}}\n"))?;
    assert!(server.log().contains("homeport.tags.immutable"), "{}", server.log());
    assert_eq!(put(&client, "team/app", "v1", OCI_MANIFEST, &one.manifest)?.status, 201);
    refused(&client.delete("/v2/team/app/manifests/v1")?, 403, "DENIED");
    server.reload(BASE)?;
    assert_eq!(client.delete("/v2/team/app/manifests/v1")?.status, 202);
    Ok(())
}

/// Many clients at several replicas, each with a manifest of its own.
fn race(servers: &[Registry], rounds: usize) -> Result<()> {
    const CLIENTS: usize = 9;
    let clients: Vec<Client> = servers.iter().map(|server| server.client()).collect();
    clients[0].push_blob("team/app", EMPTY)?;
    let mut wins = BTreeMap::new();
    for round in 0..rounds {
        let tag = Arc::new(format!("v{round}"));
        let barrier = Arc::new(Barrier::new(CLIENTS));
        let pushes: Vec<_> = (0..CLIENTS)
            .map(|number| {
                let (client, barrier) = (clients[number % clients.len()].clone(), Arc::clone(&barrier));
                let tag = Arc::clone(&tag);
                std::thread::spawn(move || {
                    let manifest = numbered(number);
                    barrier.wait();
                    put(&client, "team/app", &tag, OCI_MANIFEST, &manifest).map(|answer| (number, answer))
                })
            })
            .collect();
        let mut winners = Vec::new();
        for push in pushes {
            let (number, answer) = push.join().ok().context("a client")??;
            match answer.status {
                201 => winners.push(number),
                _ => refused(&answer, 403, "DENIED"),
            }
        }
        ensure!(winners.len() == 1, "round {round}: {winners:?} have won");
        *wins.entry(winners[0] % clients.len()).or_insert(0) += 1;
        let expected = digest(&numbered(winners[0]));
        for client in &clients {
            let path = format!("/v2/team/app/manifests/{tag}");
            let now = client.get(&path)?;
            assert_eq!((now.status, now.header("docker-content-digest")), (200, expected.as_str()), "round {round}");
            // As a client does that has not heard the answer.
            assert_eq!(put(client, "team/app", &tag, OCI_MANIFEST, &numbered(winners[0]))?.status, 201);
            refused(&put(client, "team/app", &tag, OCI_MANIFEST, &numbered(99))?, 403, "DENIED");
            refused(&client.delete(&path)?, 403, "DENIED");
        }
    }
    println!("wins by replica: {wins:?}");
    let tags = clients[0].get("/v2/team/app/tags/list")?.json();
    assert_eq!(tags["tags"].as_array().context("tags")?.len(), rounds);
    Ok(())
}

#[test]
fn one_of_many_wins_in_a_bucket() -> Result<()> {
    let Some(s3) = S3::start()? else { return Ok(()) };
    let config = s3.config("").replace("homeport: {", "homeport: {tags: {immutable: ['v*']}, ");
    let start = || Registry::start(Server::builder().config(&config).no_folder());
    race(&[start()?, start()?, start()?], 40)
}

#[test]
fn one_of_many_wins_in_a_folder() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let secret = "http: {secret: 'the secret that all replicas share'}\n";
    let config = format!("{BASE}{secret}{RULES}");
    let start = || Registry::start(Server::builder().config(&config).data(folder.path()));
    race(&[start()?, start()?, start()?], 40)
}

#[test]
fn clients_tell_why() -> Result<()> {
    let server = serve(RULES)?;
    let client = server.client();
    let repository = format!("{}/team/app", server.address());
    client.push_image("team/app", "v1", &Image::new(1, &[1000]))?;
    client.push_image("team/app", "dev", &Image::new(2, &[1000]))?;
    let lines = [
        ("crane", vec!["tag".to_owned(), format!("{repository}:dev"), "v1".to_owned()]),
        (
            "skopeo",
            ["copy", "--src-tls-verify=false", "--dest-tls-verify=false"]
                .map(str::to_owned)
                .into_iter()
                .chain([format!("docker://{repository}:dev"), format!("docker://{repository}:v1")])
                .collect(),
        ),
    ];
    let home = tempfile::tempdir()?;
    for (name, arguments) in lines {
        let Some(program) = e2e::tool(name) else { continue };
        let output = Command::new(program).args(arguments).env("HOME", home.path()).output()?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains("tag v1 of team/app is immutable"), "{name}: {said}");
        println!("{name}: {said}");
    }
    let log = server.log();
    assert_eq!(log.matches("code=DENIED").count(), log.matches("status=403").count());
    Ok(())
}
