//! Callers who want more than they may.

use crate::tokens::{Key, claims, header, now};
use anyhow::{Context, Result};
use e2e::Client;
use e2e::kube::{accesses, here, not_tested, until};
use e2e::site::{Repository, Site, catalog, refused};
use serde_json::json;

/// Tokens that prove nothing. The first one is made in the same way and good, so that the others fail for their own reason.
#[test]
fn tokens_that_prove_nothing() -> Result<()> {
    let Some(kube) = here()? else { return Ok(()) };
    let Ok(own) = Key::of_cluster(&kube) else {
        not_tested("the key of this cluster is not here");
        return Ok(());
    };
    let (site, project, foreign) = (Site::start(&kube)?, kube.namespace()?, Key::other()?);
    let real = project.account("caller")?;
    let (key_id, good) = (header(&real)?["kid"].as_str().context("a key id")?.to_owned(), claims(&real)?);
    let changed = |name: &str, value: serde_json::Value| {
        let mut claims = good.clone();
        claims[name] = value;
        claims
    };
    assert_eq!(site.client(&own.sign(&key_id, &good)?).get("/v2/")?.status, 200);

    let mut parts: Vec<String> = real.split('.').map(str::to_owned).collect();
    let mut other_user = parts.clone();
    other_user[1] =
        e2e::site::base64(changed("sub", json!("system:admin")).to_string().as_bytes(), e2e::site::URL, false);
    let none = e2e::site::base64(json!({"alg": "none", "typ": "JWT"}).to_string().as_bytes(), e2e::site::URL, false);
    parts[2] = "AAAA".to_owned();
    let audience = kube.ok(&format!("-n {} create token caller --audience elsewhere.test", project.name))?;
    let long = 20 * 1024;
    for (what, token) in [
        ("expired", own.sign(&key_id, &changed("exp", json!(now()? - 1)))?),
        ("expired long ago", own.sign(&key_id, &changed("exp", json!(1)))?),
        ("of tomorrow", own.sign(&key_id, &changed("nbf", json!(now()? + 86400)))?),
        ("of a foreign key", foreign.sign(&key_id, &good)?),
        ("of a foreign issuer", foreign.sign("x", &changed("iss", json!("https://issuer.test")))?),
        ("for somebody else", audience.trim().to_owned()),
        ("another user, old signature", other_user.join(".")),
        ("another signature", parts.join(".")),
        ("without signature", format!("{none}.{}.", real.split('.').nth(1).unwrap_or_default())),
        ("cut", real[..real.len() - 5].to_owned()),
        ("two parts", real.split('.').take(2).collect::<Vec<_>>().join(".")),
        ("four parts", format!("{real}.x")),
        ("random", "correct-horse-battery-staple".to_owned()),
        ("empty", String::new()),
        ("dots", "..".to_owned()),
        ("20 KiB", "x".repeat(long)),
        ("20 KiB in three parts", format!("{}.{}", "x".repeat(long - 200), &real[real.len() - 150..])),
        ("not ASCII", "\u{fc}.\u{fc}.\u{fc}".to_owned()),
    ] {
        let bearer = site.nobody().authorization(&format!("Bearer {token}"));
        for (how, client) in [("Basic", site.client(&token)), ("Bearer", bearer)] {
            for path in ["/v2/", "/token?service=homeport"] {
                // A client may refuse to send a header that is not ASCII; a server may refuse a head so long.
                let Ok(answer) = client.get(path) else { continue };
                let fine = matches!(answer.status, 400 | 401 | 431);
                assert!(fine, "{what}, {how}, {path}: {} {}", answer.status, answer.text());
                assert!(token.len() < 8 || !answer.text().contains(&token), "{what}: the answer holds the token");
            }
        }
    }
    assert!(!site.log().contains(&real), "a token is in the log");
    assert_eq!(site.client(&real).get("/v2/")?.status, 200, "the good one still works");
    Ok(())
}

/// Names that mean another place to somebody between the client and the storage.
#[test]
fn name_tricks() -> Result<()> {
    let Some(kube) = here()? else { return Ok(()) };
    let (site, mine, theirs) = (Site::start(&kube)?, kube.namespace()?, kube.namespace()?);
    let repo = format!("{}/secret", theirs.name);
    let victim = site.client(&theirs.owner()?);
    Repository::new(&victim, &repo).first_push(1)?;
    let caller = site.client(&mine.owner()?);
    let before = catalog(&victim)?;
    let (a, b) = (&mine.name, &theirs.name);
    for name in [
        format!("{a}/../{b}/secret"),
        format!("{a}/..%2f{b}/secret"),
        format!("{a}%2f..%2f{b}/secret"),
        format!("{a}/%2e%2e/{b}/secret"),
        format!("{a}/./x"),
        format!("./{b}/secret"),
        format!("{a}//{b}/secret"),
        format!("/{b}/secret"),
        b.to_uppercase() + "/secret",
        format!("{b}%00/secret"),
        format!("{b}%20/secret"),
        format!("{b}./secret"),
        format!("{b}%2e/secret"),
        format!("_/{b}/secret"),
        format!("{a}/_manifests/x"),
        format!("{a}/_layers"),
        format!("_uploads/{b}"),
        // Cyrillic and full-width letters that look alike.
        b.replacen('t', "%d1%82", 1) + "/secret",
        b.replacen('t', "%ef%bd%94", 1) + "/secret",
        format!("{b}\\..\\{a}/secret"),
        format!("{}/x", "a".repeat(64)),
        "system:serviceaccounts/x".to_owned(),
        "..".to_owned(),
        ".".to_owned(),
    ] {
        let repository = Repository::new(&caller, &name);
        for answer in [repository.pull(), repository.begin_push(), caller.get(&format!("/v2/{name}/tags/list"))] {
            // The client itself refuses what is no address.
            let Ok(answer) = answer else { continue };
            let fine = matches!(answer.status, 301 | 307 | 308 | 400 | 403 | 404 | 405);
            assert!(fine, "{name}: {} {}", answer.status, answer.text());
        }
    }
    // Case folding is for paths, not for namespaces; and a name with a prefix is another name.
    for name in [format!("{b}x/secret"), format!("x{b}/secret")] {
        assert_eq!(Repository::new(&caller, &name).begin_push()?.status, 403, "{name}");
    }
    assert_eq!(catalog(&victim)?, before);
    Ok(())
}

/// Mounting from a repository that the caller may not read is an upload, with or without the blob there.
#[test]
fn a_mount_tells_nothing() -> Result<()> {
    let Some(kube) = here()? else { return Ok(()) };
    let (site, mine, theirs) = (Site::start(&kube)?, kube.namespace()?, kube.namespace()?);
    let (caller, victim) = (site.client(&mine.owner()?), site.client(&theirs.owner()?));
    let source = format!("{}/secret", theirs.name);
    until("may push", || Ok(Repository::new(&victim, &source).begin_push()?.status == 202))?;
    let secret = victim.push_blob(&source, b"the secret of somebody else")?;
    let target = format!("{}/app", mine.name);
    until("may push", || Ok(Repository::new(&caller, &target).begin_push()?.status == 202))?;
    let mount = |client: &Client, into: &str, digest: &str, from: &str| {
        client.send("POST", &format!("/v2/{into}/blobs/uploads/?mount={digest}&from={from}"), &[], &[])
    };
    let absent = e2e::digest(b"nobody has this");
    let from_other = format!("{}/not-there", theirs.name);
    let names = |answer: &e2e::Answer| answer.headers.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    let reference = mount(&caller, &target, &absent, &source)?;
    assert_eq!(reference.status, 202);
    for (digest, from) in [(&secret, &source), (&secret, &from_other), (&absent, &from_other)] {
        let answer = mount(&caller, &target, digest, from)?;
        assert_eq!((answer.status, names(&answer)), (202, names(&reference)), "{digest} {from}");
        assert!(answer.body.is_empty());
    }
    assert_eq!(caller.head(&format!("/v2/{target}/blobs/{secret}"))?.status, 404);
    // The same request works for who may read the source: with a right to exactly that.
    mine.account("both")?;
    let role = theirs.role("reader", &accesses("get", "secret"));
    kube.apply(&role.replace(
        &format!("name: reader, namespace: {}}}]", theirs.name),
        &format!("name: both, namespace: {}}}]", mine.name),
    ))?;
    mine.grant("both", &accesses("'*'", ""))?;
    let both = site.client(&mine.token("both")?);
    until("may mount", || Ok(mount(&both, &target, &secret, &source)?.status == 201))?;
    refused(&Repository::new(&caller, &source).pull()?, 403, "DENIED");
    Ok(())
}

/// What an upload address is good for ends at the repository it was given for.
#[test]
fn an_upload_address_of_another_namespace() -> Result<()> {
    let Some(kube) = here()? else { return Ok(()) };
    let (site, mine, theirs) = (Site::start(&kube)?, kube.namespace()?, kube.namespace()?);
    let (caller, target) = (site.client(&mine.owner()?), format!("{}/app", mine.name));
    theirs.owner()?;
    until("may push", || Ok(Repository::new(&caller, &target).begin_push()?.status == 202))?;
    let begun = Repository::new(&caller, &target).begin_push()?;
    let elsewhere = begun.header("location").replace(&mine.name, &theirs.name);
    let separator = if elsewhere.contains('?') { '&' } else { '?' };
    let digest = e2e::digest(b"smuggled");
    let answer = caller.send("PUT", &format!("{elsewhere}{separator}digest={digest}"), &[], b"smuggled")?;
    assert!(matches!(answer.status, 403 | 404), "{} {}", answer.status, answer.text());
    Ok(())
}
