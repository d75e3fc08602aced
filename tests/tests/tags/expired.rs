//! What comes too late is told so with 410, and clients begin anew. Through the cluster, with its real clients.

use crate::direct::Stream;
use crate::informer::{agree, listed, program, start};
use crate::world::{API, Project, shared};
use anyhow::{Context, Result, ensure};
use e2e::Client;
use e2e::kube::{Kube, until};
use e2e::site::{URL, base64};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;

/// Tokens are good for five minutes (docs/kubernetes/tags.md).
const TOO_LONG: u64 = 6 * 60 * 1_000_000;
/// So many changes are kept (docs/kubernetes/tags.md).
const KEPT: usize = 16_384;

/// Stands between a client and the cluster; each list that goes on takes its client six minutes, without the waiting: the
/// token that it gets is one of that time.
struct Slow {
    address: String,
    _proxy: Stream,
}

impl Slow {
    fn start(kube: &Kube) -> Result<Self> {
        let proxy = Stream::start(&mut kube.command("proxy --port=0"))?;
        until("kubectl proxy listens", || Ok(proxy.text().contains('\n')))?;
        let server =
            Arc::new(Client::new(&format!("http://{}", proxy.text().trim().rsplit(' ').next().context("an address")?)));
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = format!("http://{}", listener.local_addr()?);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(std::io::Result::ok) {
                let server = Arc::clone(&server);
                std::thread::spawn(move || drop(pass(&client, &server)));
            }
        });
        Ok(Self { address, _proxy: proxy })
    }
}

/// One request and its answer.
fn pass(mut client: &TcpStream, server: &Client) -> Result<()> {
    let mut lines = BufReader::new(client).lines();
    let request = lines.next().context("a request")??;
    let mut accept = String::new();
    for line in lines {
        let line = line?;
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("Accept: ") {
            value.clone_into(&mut accept);
        }
    }
    let path = request.split(' ').nth(1).context("a path")?;
    let answer = server.send("GET", path, &[("accept", &accept)], &[])?;
    let mut body = answer.body.clone();
    let mut list = answer.json();
    if let Some(token) = list["metadata"]["continue"].as_str().filter(|_| answer.status == 200) {
        list["metadata"]["continue"] = json!(aged(token)?);
        body = list.to_string().into_bytes();
    }
    write!(
        client,
        "HTTP/1.1 {} -\r\nContent-Type: {}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        answer.status,
        answer.header("content-type"),
        body.len()
    )?;
    Ok(client.write_all(&body)?)
}

/// The token as it would be had its list begun six minutes ago.
fn aged(token: &str) -> Result<String> {
    let (mut bytes, mut word, mut bits) = (Vec::new(), 0u32, 0);
    for letter in token.bytes() {
        let value = URL.iter().position(|known| *known == letter).context("base64")?;
        word = (word << 6) | u32::try_from(value)?;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push(u8::try_from(word >> bits & 0xff)?);
        }
    }
    let mut token: Value = serde_json::from_slice(&bytes)?;
    let version = token["rv"].as_u64().context("a version")?;
    token["rv"] = json!(version - (TOO_LONG << 11));
    Ok(base64(token.to_string().as_bytes(), URL, false))
}

#[test]
fn a_list_that_takes_too_long() -> Result<()> {
    let Some(world) = shared()? else { return Ok(()) };
    let (kube, project) = (world.kube, world.project()?);
    (0..7).try_for_each(|tag| project.push("app", &format!("t{tag}"), 1).map(drop))?;
    let (ns, slow) = (project.name(), Slow::start(kube)?);
    let path = format!("{API}/namespaces/{ns}/payloadrepositorytags");
    // The server says that it is too late, and gives a token for who wants the rest all the same.
    let first: Value = serde_json::from_str(&kube.ok(&format!("get --raw {path}?limit=3"))?)?;
    let late = aged(first["metadata"]["continue"].as_str().context("a token")?)?;
    let said = kube.refused(&format!("get --raw {path}?limit=3&continue={late}"), "")?;
    assert!(said.contains("Expired") && said.contains("continue parameter is too old"), "{said}");
    let reply = world.direct().token(&project.token).get(&format!("{path}?limit=3&continue={late}"))?;
    reply.is_failure(410, "Expired");
    let fresh = reply.json()["metadata"]["continue"].as_str().context("a fresh token")?.to_owned();
    let rest = world.direct().token(&project.token).get(&format!("{path}?continue={fresh}"))?.json();
    assert_eq!(rest["items"].as_array().map(Vec::len), Some(4), "{rest}");
    // kubectl gives up and says why, or begins anew; it never shows a part as if it were all.
    let shown = kube.run(&format!("--server={} -n {ns} get prt -o name --chunk-size=2", slow.address), "")?;
    let (out, errors) = (String::from_utf8_lossy(&shown.stdout), String::from_utf8_lossy(&shown.stderr));
    println!("kubectl: {} {out}{errors}", shown.status);
    assert!(if shown.status.success() {
        out.lines().count() == 7
    } else {
        errors.contains("too old") || errors.contains("expired")
    });
    assert_eq!(
        kube.ok(&format!("--server={} -n {ns} get prt -o name --chunk-size=500", slow.address))?.lines().count(),
        7
    );
    // client-go's pager lists all at once then.
    let Some(program) = program()? else { return Ok(()) };
    let mut command = Command::new(program);
    let output =
        command.args([ns, "pages"]).env("KUBECONFIG", kube.kubeconfig()).env("SERVER", &slow.address).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let listed: Value = serde_json::from_slice(&output.stdout)?;
    assert_eq!((listed["names"].as_array().map(Vec::len), &listed["expired"]), (Some(7), &json!(1)), "{listed}");
    Ok(())
}

/// So many changes that none of those before them is known any more.
fn bury(project: &Project) -> Result<()> {
    let mut image = e2e::Image::new(1, &[1000]);
    for index in 0..4 {
        project.push(&format!("r{index}"), "t", 1)?;
    }
    // Large, so that nobody holds many of them between server and client.
    let mut manifest: Value = serde_json::from_slice(&image.manifest)?;
    for index in 0..16 {
        manifest["annotations"][format!("test.example/{index}")] = json!("x".repeat(1000));
    }
    image.manifest = manifest.to_string().into_bytes();
    let tags: Vec<String> = (0..100).map(|tag| format!("tag=t{tag}")).collect();
    let path = format!("/v2/{}/manifests/{}?{}", project.path("r0"), e2e::digest(&image.manifest), tags.join("&"));
    for _ in 0..=KEPT / tags.len() + 10 {
        let put = project.client.send("PUT", &path, &[("content-type", e2e::Image::MEDIA_TYPE)], &image.manifest)?;
        ensure!(put.status == 201, "{} {}", put.status, put.text());
    }
    Ok(())
}

#[test]
fn who_falls_behind_lists_again() -> Result<()> {
    let Some(world) = shared()? else { return Ok(()) };
    let (kube, project) = (world.kube, world.project()?);
    project.push("r0", "first", 1)?;
    let path = format!("{API}/namespaces/{}/payloadrepositorytags", project.name());
    let Some(mut informers) = start(kube, &project)? else { return Ok(()) };
    agree(&listed(&project)?, &mut informers)?;
    let list: Value = serde_json::from_str(&kube.ok(&format!("get --raw {path}"))?)?;
    let before = list["metadata"]["resourceVersion"].as_str().context("a version")?.to_owned();
    for informer in &informers {
        informer.signal("STOP")?;
    }
    bury(&project)?;
    project.delete("r0", "first")?;
    let watch = format!("get --raw {path}?watch=1&resourceVersion={before}");
    let said = kube.refused(&watch, "")?;
    assert!(said.contains("Expired") && said.contains("too old"), "{said}");
    for informer in &informers {
        informer.signal("CONT")?;
    }
    let expected: BTreeMap<String, String> = listed(&project)?;
    assert_eq!(expected.len(), 104);
    agree(&expected, &mut informers)?;
    // And they go on from there.
    project.delete("r0", "t7")?;
    project.push("r1", "last", 5)?;
    agree(&listed(&project)?, &mut informers)
}
