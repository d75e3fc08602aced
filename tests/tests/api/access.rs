//! Who may do what: users, passwords, rights, refusals.

use crate::support::{BASE, HASH, PASSWORD, Registry, basic, begin, blob_path, refused, serve, users, with};
use anyhow::Result;
use e2e::{Client, Image, Server, digest};

/// The hash of 001, said to be of the same password (case A-13), made with cost 10.
const HASH_10: &str = "$2y$10$CeP/hYvBJ05Ih2azafVyIuuMRpf60am4z6USm4jhHfUPsFDBAmn/u";

fn may_pull(client: &Client, repo: &str) -> Result<u16> {
    Ok(client.get(&format!("/v2/{repo}/manifests/none"))?.status)
}

fn may_push(client: &Client, repo: &str) -> Result<u16> {
    Ok(client.send("POST", &format!("/v2/{repo}/blobs/uploads/"), &[], &[])?.status)
}

fn may_delete(client: &Client, repo: &str) -> Result<u16> {
    Ok(client.delete(&format!("/v2/{repo}/manifests/none"))?.status)
}

#[test]
fn a_13_hashes_of_the_documents_and_of_other_tools() -> Result<()> {
    let mut text = String::from("homeport:\n  users:\n");
    for (name, hash) in [
        ("five", HASH.to_owned()),
        ("ten", HASH_10.to_owned()),
        ("variant-a", HASH.replace("$2y$", "$2a$")),
        ("variant-b", HASH.replace("$2y$", "$2b$")),
    ] {
        text += &format!("    {name}: {{passwordHash: '{hash}'}}\n");
    }
    let server = serve(&text)?;
    for name in ["five", "ten", "variant-a", "variant-b"] {
        assert_eq!(server.user(name).get("/v2/")?.status, 200, "{name}");
        let wrong = server.client().authorization(&basic(name, "wrong"));
        refused(&wrong.get("/v2/")?, 401, "UNAUTHORIZED");
    }
    Ok(())
}

#[test]
fn a_14_a_user_without_projects_sees_the_catalog_only() -> Result<()> {
    let server = serve(&format!(
        "homeport:\n  users:\n    none: {{passwordHash: '{HASH}', projects: []}}\n    left-out: {{passwordHash: '{HASH}'}}\n"
    ))?;
    for name in ["none", "left-out"] {
        let client = server.user(name);
        assert_eq!(client.get("/v2/")?.status, 200);
        assert_eq!(client.get("/v2/_catalog")?.status, 200);
        refused(&client.get("/v2/project-1/app/manifests/v1")?, 403, "DENIED");
        refused(&client.get("/v2/project-1/app/tags/list")?, 403, "DENIED");
        refused(&client.send("POST", "/v2/project-1/app/blobs/uploads/", &[], &[])?, 403, "DENIED");
    }
    Ok(())
}

#[test]
fn a_16_wrong_password_and_unknown_user_look_the_same() -> Result<()> {
    let server = serve(&format!("homeport:\n{}", users(&[("user-1", &[])])))?;
    let wrong = server.client().authorization(&basic("user-1", "wrong")).get("/v2/")?;
    for (user, password) in
        [("nobody", PASSWORD), ("", PASSWORD), ("user-1", ""), ("user-1:x", PASSWORD), ("USER-1", PASSWORD)]
    {
        let answer = server.client().authorization(&basic(user, password)).get("/v2/")?;
        refused(&answer, 401, "UNAUTHORIZED");
        assert_eq!(answer.body, wrong.body, "{user}");
        let token = server.client().authorization(&basic(user, password)).get("/token?service=homeport")?;
        assert_eq!(token.status, 401, "{user}");
    }
    Ok(())
}

#[test]
fn a_18_entries_without_a_usable_hash_never_authenticate() -> Result<()> {
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(
        file.path(),
        format!(
            "plain:{PASSWORD}\nempty:\nmd5:$apr1$x$y\nsha:{{SHA}}W6ph5Mm5Pz8GgiULbPgzG37mj9g=\ngood:{HASH}\n# a comment\n\n"
        ),
    )?;
    let server = serve(&format!("auth: {{htpasswd: {{realm: r, path: {}}}}}\n", file.path().display()))?;
    for name in ["plain", "empty", "md5", "sha"] {
        for password in [PASSWORD, "", "plain", HASH] {
            let client = server.client().authorization(&basic(name, password));
            assert_eq!(client.get("/v2/")?.status, 401, "{name} with {password:?}");
        }
        assert!(server.log().contains(&format!("user \\\"{name}\\\"")), "{name} is reported:\n{}", server.log());
    }
    assert_eq!(server.user("good").get("/v2/")?.status, 200);
    assert!(!server.log().contains(PASSWORD), "what may be a password is not logged");

    // In the configuration such an entry is a mistake, and is named.
    for hash in ["", "passwordHash: ''", "passwordHash: password123"] {
        let config = format!("{BASE}homeport: {{users: {{bad-one: {{{hash}}}}}}}\n");
        let error = Server::builder().config(&config).start().err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.contains("bad-one") && !error.contains("password123"), "{hash:?}: {error}");
    }
    Ok(())
}

#[test]
fn a_26_to_a_34_projects_and_paths() -> Result<()> {
    let server = serve(&format!(
        "homeport:\n{}",
        users(&[
            ("full", &[("project-1", "*", "FULL")]),
            ("read", &[("project-1", "*", "READ")]),
            ("folder", &[("project-1", "frontend/*", "FULL")]),
            ("several", &[("project-1", "*", "READ"), ("project-2", "*", "FULL"), ("project-1", "mine/*", "FULL")]),
        ])
    ))?;
    // (user, repository, pull, push and delete)
    for (user, repo, pull, push) in [
        ("full", "project-1/app", true, true),
        ("full", "project-1/x/y/b", true, true),
        ("full", "project-2/app", false, false),
        ("full", "project-1", false, false),
        ("full", "project-10/app", false, false),
        ("read", "project-1/app", true, false),
        ("read", "project-2/app", false, false),
        ("folder", "project-1/frontend/image", true, true),
        ("folder", "project-1/frontend/a/b/c/image", true, true),
        ("folder", "project-1/frontend", false, false),
        ("folder", "project-1/backend/image", false, false),
        ("several", "project-1/app", true, false),
        ("several", "project-1/mine/app", true, true),
        ("several", "project-2/app", true, true),
        ("several", "project-3/app", false, false),
    ] {
        let client = server.user(user);
        assert_eq!(may_pull(&client, repo)?, if pull { 404 } else { 403 }, "{user} pulls {repo}");
        assert_eq!(may_push(&client, repo)?, if push { 202 } else { 403 }, "{user} pushes {repo}");
        assert_eq!(may_delete(&client, repo)?, if push { 404 } else { 403 }, "{user} deletes {repo}");
    }
    // The message says which right on what is missing; docker prints nothing else.
    let pull = server.user("read").get("/v2/project-2/app/manifests/v1")?;
    assert!(pull.text().contains("project-2") && pull.text().contains("READ"), "{}", pull.text());
    let push = server.user("read").send("POST", "/v2/project-1/app/blobs/uploads/", &[], &[])?;
    assert!(push.text().contains("FULL") && push.text().contains("the user has READ"), "{}", push.text());
    // A repository that is there and one that is not look the same to strangers.
    server.user("full").push_image("project-1/app", "v1", &Image::new(1, &[10]))?;
    let refusal = |repo: &str| -> Result<String> {
        Ok(server.user("several").get(&format!("/v2/project-9/{repo}/manifests/v1"))?.text().replace(repo, "*"))
    };
    assert_eq!(refusal("app")?, refusal("other")?);
    for name in ["full", "read", "folder", "several"] {
        assert_eq!(server.user(name).get("/v2/_catalog")?.status, 200);
    }
    refused(&server.client().get("/v2/_catalog")?, 401, "UNAUTHORIZED");
    Ok(())
}

#[test]
fn anonymous_policies() -> Result<()> {
    // (policy, pull, push, catalog) with 401 for whoever could sign in.
    for (policy, pull, push, catalog) in [("none", 401, 401, 401), ("pull", 404, 401, 401), ("all", 404, 202, 200)] {
        let text = format!("homeport:\n  anonymous: {policy}\n{}", users(&[("ci", &[("p", "*", "FULL")])]));
        let server = serve(&text)?;
        let client = server.client();
        assert_eq!(may_pull(&client, "p/a")?, pull, "{policy}");
        assert_eq!(may_push(&client, "p/a")?, push, "{policy}");
        assert_eq!(may_delete(&client, "p/a")?, if push == 202 { 404 } else { 401 }, "{policy}");
        assert_eq!(client.get("/v2/_catalog")?.status, catalog, "{policy}");
        // Signing in never takes a right away, and gives those of the user.
        assert_eq!(may_push(&server.user("ci"), "p/a")?, 202);
        assert_eq!(may_pull(&server.user("ci"), "q/a")?, if pull == 404 { 404 } else { 403 }, "{policy}");
        // Wrong credentials are never good for anonymous rights.
        assert_eq!(may_pull(&client.authorization(&basic("ci", "wrong")), "p/a")?, 401);
    }
    // Nobody has a name: reading is open, the rest is not to be had.
    let server = serve("homeport: {anonymous: pull}\n")?;
    assert_eq!(may_pull(&server.client(), "a")?, 404);
    assert_eq!(may_push(&server.client(), "a")?, 403);
    assert_eq!(server.client().get("/v2/")?.status, 200, "nobody is asked for credentials that nobody can have");
    let error = Server::builder().config(&format!("{BASE}homeport: {{anonymous: none}}\n")).start().err();
    assert!(error.is_some_and(|error| error.to_string().contains("nobody could use this registry")));
    Ok(())
}

#[test]
fn htpasswd_and_static_users_side_by_side() -> Result<()> {
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), format!("admin:{HASH}\n"))?;
    let server = serve(&format!(
        "auth: {{htpasswd: {{realm: r, path: {}}}}}\nhomeport:\n{}",
        file.path().display(),
        users(&[("ci", &[("p", "*", "FULL")]), ("token", &[("t", "*", "READ")])])
    ))?;
    for repo in ["a", "p/a", "x/y/z"] {
        assert_eq!(may_push(&server.user("admin"), repo)?, 202, "distribution's users may do everything");
    }
    assert_eq!((may_push(&server.user("ci"), "p/a")?, may_push(&server.user("ci"), "a/b")?), (202, 403));
    assert_eq!(may_pull(&server.user("token"), "t/a")?, 404, "a user of that name is that user");

    // Another password is in force without a restart.
    std::fs::write(file.path(), format!("other:{HASH}\n"))?;
    server.signal("HUP")?;
    crate::support::until("the other user can sign in", || {
        server.user("other").get("/v2/").is_ok_and(|answer| answer.status == 200)
    })?;
    assert_eq!(server.user("admin").get("/v2/")?.status, 401);
    Ok(())
}

#[test]
fn basic_credentials_work_on_every_endpoint() -> Result<()> {
    let server = serve(&format!("homeport:\n{}", users(&[("ci", &[("p", "*", "FULL")])])))?;
    let client = server.user("ci");
    let image = Image::new(2, &[1000]);
    let name = client.push_image("p/a", "v1", &image)?;
    let location = begin(&client, "p/a")?;
    let requests = [
        ("GET", "/v2/".to_owned(), 200),
        ("GET", "/v2/_catalog".to_owned(), 200),
        ("GET", "/v2/p/a/tags/list".to_owned(), 200),
        ("GET", "/v2/p/a/manifests/v1".to_owned(), 200),
        ("HEAD", "/v2/p/a/manifests/v1".to_owned(), 200),
        ("GET", blob_path("p/a", &image.blobs[1]), 200),
        ("HEAD", blob_path("p/a", &image.blobs[1]), 200),
        ("GET", format!("/v2/p/a/referrers/{name}"), 200),
        ("GET", location.clone(), 204),
        ("PATCH", location.clone(), 202),
        ("DELETE", location.clone(), 204),
        ("GET", "/token?service=homeport".to_owned(), 200),
        ("DELETE", "/v2/p/a/manifests/v1".to_owned(), 202),
        ("DELETE", blob_path("p/a", &image.blobs[1]), 202),
    ];
    for (method, path, _) in &requests {
        let answer = server.client().send(method, path, &[], &[])?;
        assert_eq!(answer.status, 401, "{method} {path}");
        assert!(answer.header("www-authenticate").starts_with("Bearer realm=\""), "{method} {path}");
    }
    for (method, path, status) in &requests {
        assert_eq!(client.send(method, path, &[], &[])?.status, *status, "{method} {path}");
    }
    Ok(())
}

#[test]
fn mounts_from_repositories_that_the_caller_may_not_read_become_uploads() -> Result<()> {
    let server = serve(&format!(
        "homeport:\n{}",
        users(&[("owner", &[("secret", "*", "FULL")]), ("ci", &[("p", "*", "FULL"), ("shared", "*", "READ")])])
    ))?;
    let secret = b"only for the owner";
    server.user("owner").push_blob("secret/a", secret)?;
    let ci = server.user("ci");
    for query in [
        format!("mount={}&from=secret/a", digest(secret)),
        format!("mount={}", digest(secret)),
        format!("mount={}&from=", digest(secret)),
    ] {
        let begun = ci.send("POST", &format!("/v2/p/a/blobs/uploads/?{query}"), &[], &[])?;
        assert_eq!(begun.status, 202, "{query}");
        assert_eq!(ci.head(&blob_path("p/a", secret))?.status, 404, "{query}");
        let other = b"content of its own";
        let put = with(begun.header("location"), &format!("digest={}", digest(other)));
        assert_eq!(ci.send("PUT", &put, &[], other)?.status, 201);
    }
    // Nor can a manifest bring it over.
    let bytes = crate::support::manifest(b"content of its own", &[secret], serde_json::json!({}));
    refused(
        &crate::support::put(&ci, "p/a", "v1", crate::support::OCI_MANIFEST, &bytes)?,
        400,
        "MANIFEST_BLOB_UNKNOWN",
    );
    let own =
        ci.send("POST", &format!("/v2/p/b/blobs/uploads/?mount={}&from=p/a", digest(b"content of its own")), &[], &[])?;
    assert_eq!(own.status, 201);
    Ok(())
}

#[test]
fn without_users_credentials_are_ignored_as_distribution_does() -> Result<()> {
    let server = Registry::start(Server::builder())?;
    for value in [basic("anybody", "anything"), "Bearer x.y.z".to_owned(), "nonsense".to_owned()] {
        assert_eq!(server.client().authorization(&value).get("/v2/")?.status, 200, "{value}");
    }
    assert_eq!(server.client().get("/token")?.status, 404);
    Ok(())
}
