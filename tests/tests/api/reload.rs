//! Changes of the configuration while requests run.

use crate::support::{BASE, Raw, Registry, begin, blob_path, refused, serve, until, users, with};
use anyhow::Result;
use e2e::{Image, Server, digest, random};

#[test]
fn running_transfers_do_not_notice() -> Result<()> {
    let server = serve("")?;
    let client = server.client();
    let (down, up) = (random(1, 24 << 20), random(2, 2 << 20));
    client.push_blob("a", &down)?;
    let mut download = Raw::connect(server.address())?;
    download.request(&format!("GET {}", blob_path("a", &down)), &[])?;
    assert_eq!(download.head()?.status, 200);
    let location = begin(&client, "a")?;
    let mut upload = Raw::connect(server.address())?;
    upload.request(
        &format!("PATCH {location}"),
        &[("content-length", &up.len().to_string()), ("expect", "100-continue")],
    )?;
    assert_eq!(upload.head()?.status, 100);
    upload.send(&up[..1 << 20])?;

    server.reload(&format!(
        "{BASE}homeport:\n  readOnly: true\n  limits: {{write: {{maxRunning: 1}}}}\n{}",
        users(&[("ci", &[("p", "*", "FULL")])])
    ))?;
    assert_eq!(client.get("/v2/")?.status, 401, "the new rules hold");
    upload.send(&up[1 << 20..])?;
    let taken = upload.answer()?;
    assert_eq!(taken.status, 202);
    let mut body = vec![0; down.len()];
    download.read(&mut body)?;
    assert!(body == down);

    server.reload(BASE)?;
    let put = with(taken.header("location"), &format!("digest={}", digest(&up)));
    assert_eq!(client.send("PUT", &put, &[], &[])?.status, 201);
    assert!(client.get(&blob_path("a", &up))?.body == up);
    Ok(())
}

#[test]
fn read_only_refuses_every_write_and_says_so() -> Result<()> {
    let server = serve("")?;
    let client = server.client();
    let image = Image::new(3, &[1000]);
    let name = client.push_image("a", "v1", &image)?;
    let location = begin(&client, "a")?;
    for more in ["homeport: {readOnly: true}\n", "read only by distribution's key"] {
        match more {
            "read only by distribution's key" => {
                server.reload(
                    "version: 0.1\nstorage: {delete: {enabled: true}, maintenance: {readonly: {enabled: true}}}\n",
                )?;
            }
            more => server.reload(&format!("{BASE}{more}"))?,
        }
        for (method, path) in [
            ("POST", "/v2/a/blobs/uploads/".to_owned()),
            ("POST", format!("/v2/b/blobs/uploads/?mount={}&from=a", digest(&image.blobs[1]))),
            ("PATCH", location.clone()),
            ("PUT", with(&location, &format!("digest={}", digest(b"")))),
            ("DELETE", location.clone()),
            ("PUT", "/v2/a/manifests/v2".to_owned()),
            ("DELETE", "/v2/a/manifests/v1".to_owned()),
            ("DELETE", format!("/v2/a/manifests/{name}")),
            ("DELETE", blob_path("a", &image.blobs[1])),
        ] {
            let refusal = client.send(method, &path, &[], &[])?;
            refused(&refusal, 405, "UNSUPPORTED");
            assert!(refusal.text().contains("read-only"), "{}", refusal.text());
        }
        assert_eq!(client.get("/v2/a/manifests/v1")?.status, 200);
        assert_eq!(client.get(&blob_path("a", &image.blobs[1]))?.status, 200);
        assert_eq!(client.get(&location)?.status, 204);
    }
    server.reload(BASE)?;
    assert_eq!(client.delete("/v2/a/manifests/v1")?.status, 202);
    // The flag of the command line wins.
    let server = Registry::start(Server::builder().arg("--read-only"))?;
    refused(&server.client().send("POST", "/v2/a/blobs/uploads/", &[], &[])?, 405, "UNSUPPORTED");
    Ok(())
}

#[test]
fn a_broken_configuration_changes_nothing() -> Result<()> {
    let good = format!("{BASE}homeport:\n{}", users(&[("ci", &[("p", "*", "FULL")])]));
    let server = Registry::start(Server::builder().config(&good))?;
    for (broken, word) in [
        ("version: [".to_owned(), "config.yml"),
        (String::new(), "version"),
        (format!("{BASE}homepot: {{}}\n"), "homeport"),
        (format!("{BASE}homeport: {{anonymous: some}}\n"), "homeport.anonymous"),
        (format!("{BASE}homeport: {{users: {{ci: {{}}}}}}\n"), "passwordHash"),
        (format!("{BASE}auth: {{htpasswd: {{realm: r, path: /does/not/exist}}}}\n"), "/does/not/exist"),
        (format!("{BASE}validation: {{manifests: {{urls: {{allow: ['[']}}}}}}\n"), "validation.manifests.urls.allow"),
    ] {
        let before = server.log().len();
        server.reload(&broken)?;
        let log = server.log()[before..].to_owned();
        assert!(
            log.contains("the new configuration is not usable, the old one stays") && log.contains(word),
            "{broken}: {log}"
        );
        assert_eq!(server.user("ci").get("/v2/")?.status, 200, "{broken}");
        assert_eq!(server.client().get("/v2/")?.status, 401, "{broken}");
    }
    server.reload(&good.replace("ci:", "other:"))?;
    assert_eq!((server.user("other").get("/v2/")?.status, server.user("ci").get("/v2/")?.status), (200, 401));
    Ok(())
}

#[test]
fn the_log_level_changes() -> Result<()> {
    let server = serve("")?;
    let lines = || server.log().matches("msg=request").count();
    server.client().get("/v2/")?;
    until("a request is logged", || lines() == 1)?;
    server.reload(&format!("{BASE}log: {{level: info, accesslog: {{disabled: true}}}}\n"))?;
    server.client().get("/v2/")?;
    assert_eq!(lines(), 1, "{}", server.log());
    // Lines about reading it are of level info themselves: these changes are seen by their effect.
    let change = |config: &str| -> Result<()> {
        std::fs::write(server.dir().join("config.yml"), config)?;
        server.signal("HUP")
    };
    change(&format!("{BASE}log: {{level: error}}\nhttp: {{headers: {{X-New: [yes]}}}}\n"))?;
    until("the new configuration holds", || {
        server.client().get("/healthz").is_ok()
            && server.client().get("/v2/").is_ok_and(|answer| answer.header("x-new") == "yes")
    })?;
    assert_eq!(lines(), 1, "{}", server.log());
    change(BASE)?;
    until("requests are logged again", || server.client().get("/v2/_catalog").is_ok() && lines() > 1)
}

#[test]
fn a_changed_file_is_noticed_without_a_signal() -> Result<()> {
    let file = tempfile::NamedTempFile::new()?;
    let user = |name: &str| format!("{name}: {{passwordHash: '{}'}}\n", crate::support::HASH);
    std::fs::write(file.path(), user("one"))?;
    let server = serve(&format!("homeport: {{usersFile: {}}}\n", file.path().display()))?;
    assert_eq!(server.user("one").get("/v2/")?.status, 200);
    std::fs::write(file.path(), user("two"))?;
    until("the other user is known", || server.user("two").get("/v2/").is_ok_and(|answer| answer.status == 200))?;
    assert_eq!(server.user("one").get("/v2/")?.status, 401);
    Ok(())
}

#[test]
fn headers_and_deletion_change_and_what_needs_a_restart_is_named() -> Result<()> {
    let server = serve("")?;
    server.reload("version: 0.1\nhttp: {headers: {X-New: [yes]}, addr: ':1'}\nlog: {formatter: json}\n")?;
    let answer = server.client().delete(&blob_path("a", b"x"))?;
    assert_eq!((answer.status, answer.header("x-new")), (405, "yes"));
    server.wait_for_log("changed settings that need a restart")?;
    let log = server.log();
    let line = log.lines().find(|line| line.contains("need a restart")).unwrap_or_default();
    assert!(line.contains("log.formatter"), "{line}");
    let line = log.lines().find(|line| line.contains("configuration read again")).unwrap_or_default();
    assert!(line.contains("http.headers") && line.contains("storage.delete.enabled"), "{line}");
    Ok(())
}
