//! A replica is killed at each step of an upload, and others go on.

use crate::cluster::{Fault, PATIENCE, Replica};
use crate::upload::{path, session};
use anyhow::{Result, anyhow, ensure};
use e2e::place::Place;
use e2e::{Answer, digest, random};
use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// Parts of a bucket are 5 MiB here: each chunk ends in the middle of one.
const SIZE: usize = 20_000_001;
const CUTS: [usize; 2] = [7_000_003, 13_500_000];

/// When the replica dies that has the upload just now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Begun,
    InChunk(usize),
    AfterChunk(usize),
    InPut,
    /// Everything was sent, and the answer was not waited for.
    PutSent,
}

const STEPS: [Step; 7] = [
    Step::Begun,
    Step::InChunk(0),
    Step::AfterChunk(0),
    Step::InChunk(1),
    Step::AfterChunk(1),
    Step::InPut,
    Step::PutSent,
];

fn send(replica: &Replica, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<Answer> {
    replica.send(method, path, headers, body).map_err(|fault| match fault {
        Fault::Lost => anyhow!("it was killed"),
        Fault::Wrong(error) => error,
    })
}

/// Sends the head of a request and so much of its body, then kills the replica.
fn die_within(replica: &Replica, line: &str, body: &[u8], sent: usize) -> Result<()> {
    let mut stream = TcpStream::connect(replica.address())?;
    stream.set_write_timeout(Some(Duration::from_secs(20)))?;
    write!(stream, "{line} HTTP/1.1\r\nhost: registry.test\r\ncontent-length: {}\r\n\r\n", body.len())?;
    stream.write_all(&body[..sent])?;
    replica.kill()
}

/// Where the upload stands, as another one says once it knows: what the dead one had begun may still come through.
fn stands(replica: &Replica, location: &str, possible: &[usize]) -> Result<Option<(String, usize)>> {
    let answer = send(replica, "GET", location, &[], &[])?;
    if answer.status == 404 {
        return Ok(None);
    }
    ensure!(answer.status == 204, "{location}: {} {}", answer.status, answer.text());
    let end: usize = answer.header("range").trim_start_matches("0-").parse()?;
    let offset = if end == 0 { 0 } else { end + 1 };
    ensure!(possible.contains(&offset), "stands at {offset}, possible is {possible:?}");
    Ok(Some((path(answer.header("location")).to_owned(), offset)))
}

/// Returns the session that may be left: of an upload that was killed in the middle of its end.
fn survives(place: &Place, step: Step) -> Result<Option<String>> {
    let content = random(step_number(step), SIZE);
    let name = digest(&content);
    let repo = "team/app";
    let mut replica = Replica::start(place)?;
    let begun = send(&replica, "POST", &format!("/v2/{repo}/blobs/uploads/"), &[], &[])?;
    let mut location = path(begun.header("location")).to_owned();
    if step == Step::Begun {
        replica.kill()?;
        replica = Replica::start(place)?;
    }
    let mut offset = 0;
    for (index, cut) in CUTS.into_iter().enumerate() {
        if step == Step::InChunk(index) {
            die_within(&replica, &format!("PATCH {location}"), &content[offset..cut], (cut - offset) - 1000)?;
            replica = Replica::start(place)?;
            let stand = stands(&replica, &location, &[offset])?;
            location = stand.ok_or_else(|| anyhow!("the upload is gone"))?.0;
        }
        let range = format!("{offset}-{}", cut - 1);
        let answer = send(&replica, "PATCH", &location, &[("content-range", &range)], &content[offset..cut])?;
        ensure!(answer.status == 202, "PATCH: {} {}", answer.status, answer.text());
        path(answer.header("location")).clone_into(&mut location);
        offset = cut;
        if step == Step::AfterChunk(index) {
            replica.kill()?;
            replica = Replica::start(place)?;
        }
    }
    let rest = &content[offset..];
    let sent = match step {
        Step::InPut => Some(rest.len() - 1000),
        Step::PutSent => Some(rest.len()),
        _ => None,
    };
    if let Some(sent) = sent {
        die_within(&replica, &format!("PUT {location}&digest={name}"), rest, sent)?;
        replica = Replica::start(place)?;
    }
    let is_over = finish(&replica, &location, offset, &content, sent == Some(rest.len()))?;
    if is_over {
        push_if_missing(&replica, repo, &content)?;
    }
    let served = send(&replica, "GET", &format!("/v2/{repo}/blobs/{name}"), &[], &[])?;
    ensure!(served.body == content, "{} {}", served.status, served.body.len());
    replica.stop()?;
    Ok(is_over.then(|| session(&location)))
}

/// The PUT, once more where it was lost. True: there is nothing any more that could be finished.
fn finish(replica: &Replica, location: &str, offset: usize, content: &[u8], may_be_over: bool) -> Result<bool> {
    let put = format!("{location}&digest={}", digest(content));
    let until = Instant::now() + PATIENCE;
    loop {
        let answer = send(replica, "PUT", &put, &[], &content[offset..])?;
        match answer.status {
            201 => return Ok(false),
            404 if may_be_over => return Ok(true),
            status => ensure!(Instant::now() < until, "PUT: {status} {}", answer.text()),
        }
    }
}

/// As a client does that has not heard the answer. The bytes may be there, and the repository does not have them yet.
fn push_if_missing(replica: &Replica, repo: &str, content: &[u8]) -> Result<()> {
    let name = digest(content);
    if send(replica, "HEAD", &format!("/v2/{repo}/blobs/{name}"), &[], &[])?.status == 404 {
        let post = send(replica, "POST", &format!("/v2/{repo}/blobs/uploads/?digest={name}"), &[], content)?;
        ensure!(post.status == 201, "POST: {} {}", post.status, post.text());
    }
    Ok(())
}

fn step_number(step: Step) -> u64 {
    STEPS.iter().position(|known| *known == step).unwrap_or_default() as u64 + 1
}

/// Nothing else is left of uploads that have ended.
fn nothing_left_but(place: &Place, expected: &[String]) {
    let Some(tree) = place.tree() else { return };
    let sessions = std::fs::read_dir(tree.join("homeport/v1/sessions")).into_iter().flatten().flatten();
    let mut left: Vec<String> = sessions.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    left.retain(|session| !expected.contains(session));
    assert!(left.is_empty(), "sessions are left: {left:?}");
}

fn every_step(place: &Place) -> Result<()> {
    let mut may_be_left = Vec::new();
    for step in STEPS {
        may_be_left.extend(survives(place, step).map_err(|error| error.context(format!("{step:?}")))?);
    }
    nothing_left_but(place, &may_be_left);
    Ok(())
}

#[test]
fn an_upload_survives_a_kill_at_each_step_on_s3() -> Result<()> {
    let Some(place) = Place::s3()? else { return Ok(()) };
    every_step(&place)
}

#[test]
fn an_upload_survives_a_kill_at_each_step_on_files() -> Result<()> {
    every_step(&Place::files()?)
}

#[test]
fn an_upload_survives_a_kill_at_each_step_on_a_named_storage() -> Result<()> {
    let Some(place) = Place::named()? else { return Ok(()) };
    every_step(&place)
}
