//! Signing in with the identities of the cluster. Cases, B-07 to B-13.

use crate::desk::Desk;
use crate::material;
use crate::tokens::{FileServer, Key, now, openssl};
use anyhow::Result;
use e2e::kube::{accesses, here, not_tested, until};
use e2e::site::{Repository, Site, basic, catalog, refused};
use serde_json::json;

/// The same at the token step of docker, podman, skopeo and crane; the name given does not matter.
#[test]
fn clients_sign_in_with_a_token_under_any_name() -> Result<()> {
    let Some(kube) = here()? else { return Ok(()) };
    let (desk, site, project) = (Desk::new()?, Site::start(&kube)?, kube.namespace()?);
    let (token, host, name) = (project.owner()?, site.address()?, &project.name);
    let (client, repo) = (site.client(&token), format!("{name}/folder/app"));
    until("may push", || Ok(Repository::new(&client, &repo).begin_push()?.status == 202))?;
    if let Some(podman) = desk.tool("podman") {
        for user in ["token", "kubeadmin", "unused", "user-1"] {
            let said = podman.feed(&format!("login --tls-verify=false -u {user} --password-stdin {host}"), &token)?;
            assert!(said.stdout.contains("Login Succeeded!"), "{}", said.stdout);
            podman.ok(&format!("logout {host}"))?;
        }
        for (user, password) in [("kubeadmin", "wrong"), ("system:serviceaccount:default:x", token.as_str())] {
            let login = format!("login --tls-verify=false -u {user} --password-stdin {host}");
            let said = podman.refused_with(&login, password)?;
            assert!(!said.contains("Succeeded") && !said.contains(&token), "{said}");
        }
        let said = podman.refused(&format!("pull --tls-verify=false {host}/{name}/app:1"))?;
        assert!(said.contains("unauthorized") || said.contains("authentication required"), "{said}");
    }
    if let Some(crane) = desk.tool("crane") {
        let image = format!("{host}/{name}/folder/app:1");
        let append = format!("append --new_layer {} --new_tag {image}", material::layer(&desk, "one")?.display());
        let said = crane.refused(&append)?;
        assert!(said.to_uppercase().contains("UNAUTHORIZED"), "{said}");
        crane.feed(&format!("auth login -u token --password-stdin {host}"), &token)?;
        crane.ok(&append)?;
        crane.ok(&format!("validate --remote {image}"))?;
        assert!(crane.ok(&format!("catalog {host}"))?.contains(&format!("{name}/folder/app")));
        crane.ok(&format!("auth logout {host}"))?;
        let said = crane.refused(&format!("pull {image} x.tar"))?;
        assert!(said.to_uppercase().contains("UNAUTHORIZED"), "{said}");
    }
    if let Some(skopeo) = desk.tool("skopeo") {
        let said = skopeo.feed(&format!("login --tls-verify=false -u any --password-stdin {host}"), &token)?;
        assert!(said.stdout.contains("Login Succeeded!"), "{}", said.stdout);
        let from = format!("docker://{host}/{name}/folder/app");
        if desk.tool("crane").is_some() {
            skopeo.ok(&format!("copy --src-tls-verify=false --dest-tls-verify=false {from}:1 {from}:2"))?;
            skopeo.ok(&format!("delete --tls-verify=false {from}:2"))?;
        }
        skopeo.ok(&format!("logout {host}"))?;
    }
    Ok(())
}

/// The token endpoint hands back what it was given, so that a revoked token is revoked everywhere.
#[test]
fn the_token_flow_answers_the_same_token() -> Result<()> {
    let Some(kube) = here()? else { return Ok(()) };
    let (site, project) = (Site::start(&kube)?, kube.namespace()?);
    let token = project.account("caller")?;
    let client = site.client(&token);
    let challenge = site.nobody().get("/v2/")?;
    refused(&challenge, 401, "UNAUTHORIZED");
    assert!(challenge.header("www-authenticate").starts_with("Bearer realm="));

    let flow = "/token?service=homeport&offline_token=true&client_id=docker&scope=repository:x/y:pull";
    for path in [flow.to_owned(), format!("{flow}&account=token")] {
        let answer = client.get(&path)?;
        let body = answer.json();
        assert_eq!((answer.status, body["token"].as_str()), (200, Some(token.as_str())), "{path}");
        assert_eq!(body["access_token"], body["token"]);
        assert!(body["refresh_token"].is_null(), "no refresh token for a token of the cluster");
        let life = body["expires_in"].as_i64().unwrap_or_default();
        assert!((1..=300).contains(&life), "{life}");
        assert!(body["issued_at"].as_str().is_some_and(|time| time.ends_with('Z')));
    }
    let user = project.user("caller");
    assert_eq!(client.get(&format!("{flow}&account={user}"))?.status, 200);
    for account in ["somebody", "system:admin", "system:serviceaccount:kube-system:default"] {
        assert_eq!(client.get(&format!("{flow}&account={account}"))?.status, 400, "{account}");
    }
    // As containerd asks, and as docker does with a stored identity token.
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let password = format!("grant_type=password&username=token&password={token}&service=homeport");
    let refresh = format!("grant_type=refresh_token&refresh_token={token}&service=homeport");
    for body in [password, refresh] {
        let answer = site.nobody().send("POST", "/token", &form, body.as_bytes())?;
        assert_eq!((answer.status, answer.json()["access_token"].as_str()), (200, Some(token.as_str())));
        assert!(answer.json()["refresh_token"].is_null());
    }
    // Without the flow: Bearer, and Basic at the API itself.
    let bearer = site.nobody().authorization(&format!("Bearer {token}"));
    assert_eq!(bearer.get("/v2/")?.status, 200);
    assert_eq!(client.get("/v2/")?.status, 200);
    Ok(())
}

#[test]
fn a_caller_without_rights_signs_in_and_reads_the_catalog() -> Result<()> {
    let Some(kube) = here()? else { return Ok(()) };
    let (site, project) = (Site::start(&kube)?, kube.namespace()?);
    let repo = format!("{}/app", project.name);
    Repository::new(&site.client(&project.owner()?), &repo).first_push(1)?;
    let client = site.client(&project.account("nothing")?);
    assert_eq!(client.get("/v2/")?.status, 200);
    assert_eq!(catalog(&client)?, [repo.as_str()]);
    for answer in [Repository::new(&client, &repo).pull()?, Repository::new(&client, &repo).begin_push()?] {
        refused(&answer, 403, "DENIED");
    }
    // A repository that is not there is refused in the same words.
    let words = |name: &str| -> Result<String> { Ok(Repository::new(&client, name).pull()?.text()) };
    let other = format!("{}/not", project.name);
    assert_eq!(words(&repo)?.replace("app", "not"), words(&other)?.replace("app", "not"));
    refused(&site.nobody().get("/v2/_catalog")?, 401, "UNAUTHORIZED");
    Ok(())
}

/// Deleted accounts and the objects that tokens are bound to: out when the memory of them ends.
#[test]
fn a_revoked_token_is_refused() -> Result<()> {
    let Some(kube) = here()? else { return Ok(()) };
    let (site, project) = (Site::start(&kube)?, kube.namespace()?);
    let name = &project.name;
    let mut clients = vec![("account", site.client(&project.account("gone")?))];
    project.account("stays")?;
    kube.ok(&format!("-n {name} create secret generic anchor"))?;
    let bound = "--bound-object-kind Secret --bound-object-name anchor";
    let token = kube.ok(&format!("-n {name} create token stays {bound}"))?;
    clients.push(("secret", site.client(token.trim())));
    let other = site.client(&project.token("stays")?);
    for (_, client) in &clients {
        assert_eq!(client.get("/v2/")?.status, 200);
    }
    kube.ok(&format!("-n {name} delete serviceaccount gone"))?;
    kube.ok(&format!("-n {name} delete secret anchor"))?;
    // The API server remembers them for ten seconds, and the registry its answer.
    for (what, client) in &clients {
        until(&format!("{what}: refused"), || Ok(client.get("/v2/")?.status == 401))?;
    }
    assert_eq!(other.get("/v2/")?.status, 200, "another token of the same account");
    Ok(())
}

/// A static user and a token at the same registry, the user even with the name `token`.
#[test]
fn tokens_and_static_users_side_by_side() -> Result<()> {
    /// The hash of `password123` that Deckhouse's documentation prints.
    const HASH: &str = "$2y$05$KbQy.oSLGCS.mm0SIkLtIOYu.G1Lcp8iyPMLfK/Id9AO7nJYmdLXa";
    let Some(kube) = here()? else { return Ok(()) };
    let project = kube.namespace()?;
    let projects = format!("[{{name: {}, subPath: '*', access: FULL}}]", project.name);
    let users = format!("  users:\n    user-1: {{passwordHash: '{HASH}', projects: {projects}}}\n");
    let site = Site::start_with(&kube, "", &users)?;
    let user = site.nobody().authorization(&basic("user-1", "password123"));
    let repo = format!("{}/app", project.name);
    Repository::new(&user, &repo).push(1)?;
    let owner = site.client(&project.owner()?);
    until("the token may pull", || Ok(Repository::new(&owner, &repo).pull()?.status == 200))?;
    refused(&site.nobody().authorization(&basic("user-1", "wrong")).get("/v2/")?, 401, "UNAUTHORIZED");

    // Without its namespace a static user may read, and no more.
    kube.delete_namespace(&project.name)?;
    refused(&Repository::new(&user, &repo).begin_push()?, 403, "DENIED");
    assert!(matches!(Repository::new(&user, &repo).pull()?.status, 200 | 404));
    Ok(())
}

#[test]
fn audiences_are_checked() -> Result<()> {
    let Some(kube) = here()? else { return Ok(()) };
    let own = Site::start(&kube)?;
    let named = Site::start_with(&kube, "    audiences: [registry.test, second.test]\n", "")?;
    let project = kube.namespace()?;
    let plain = project.account("caller")?;
    let token = |audience: &str| kube.ok(&format!("-n {} create token caller --audience {audience}", project.name));
    let status = |site: &Site<'_>, token: &str| -> Result<u16> { Ok(site.client(token.trim()).get("/v2/")?.status) };
    for (audience, by_own, by_named) in
        [("registry.test", 401, 200), ("second.test", 401, 200), ("third.test", 401, 401)]
    {
        let token = token(audience)?;
        assert_eq!((status(&own, &token)?, status(&named, &token)?), (by_own, by_named), "{audience}");
    }
    assert_eq!((status(&own, &plain)?, status(&named, &plain)?), (200, 401));
    Ok(())
}

/// An ID token of an identity provider that the API server trusts; its groups count.
#[test]
fn an_id_token_of_the_identity_provider() -> Result<()> {
    let Some(kube) = here()? else { return Ok(()) };
    let Ok(cluster) = kube.cluster() else {
        not_tested("the identity providers of this cluster cannot be changed");
        return Ok(());
    };
    let folder = tempfile::tempdir()?;
    let key = Key::other()?;
    let at = |name: &str| folder.path().join(name);
    let host = kube.host_address();
    let port = e2e::free_address(host.parse()?)?.port();
    let issuer = format!("https://{host}:{port}");
    let (key_path, certificate) = (key.path().display().to_string(), at("tls.crt").display().to_string());
    openssl(
        &[
            "req",
            "-x509",
            "-new",
            "-key",
            &key_path,
            "-subj",
            "/CN=issuer",
            "-days",
            "2",
            "-out",
            &certificate,
            "-addext",
            &format!("subjectAltName=IP:{host}"),
        ],
        b"",
    )?;
    std::fs::create_dir(at(".well-known"))?;
    let discovery = json!({ "issuer": issuer, "jwks_uri": format!("{issuer}/keys"), "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"], "id_token_signing_alg_values_supported": ["RS256"] });
    std::fs::write(at(".well-known/openid-configuration"), discovery.to_string())?;
    std::fs::write(at("keys"), json!({ "keys": [public_key(&key_path)?] }).to_string())?;
    let _server = FileServer::start(folder.path(), &format!("{host}:{port}"), &at("tls.crt"), &key.path())?;

    let pem: String = std::fs::read_to_string(at("tls.crt"))?.lines().map(|line| format!("      {line}\n")).collect();
    let configuration = format!(
        "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\njwt:\n- issuer:\n    url: {issuer}\n    \
         audiences: [homeport]\n    certificateAuthority: |\n{pem}  claimMappings:\n    username: {{claim: sub, prefix: 'idp:'}}\n    \
         groups: {{claim: groups, prefix: 'idp:'}}\n"
    );
    let path = cluster.folder().join("conf/authentication.yaml");
    let before = std::fs::read_to_string(&path)?;
    // Renamed in place: the API server heeds every state of the file.
    let replace = |text: &str| -> Result<()> {
        std::fs::write(path.with_extension("new"), text)?;
        Ok(std::fs::rename(path.with_extension("new"), &path)?)
    };
    replace(&configuration)?;

    let claims = json!({ "iss": issuer, "aud": "homeport", "sub": "alice", "groups": ["builders"], "iat": now()?, "exp": now()? + 600 });
    let token = key.sign("test", &claims)?;
    let result = (|| -> Result<()> {
        let (site, project) = (Site::start(&kube)?, kube.namespace()?);
        let repo = format!("{}/app", project.name);
        let client = site.client(&token);
        until("the API server heeds the identity provider", || Ok(client.get("/v2/")?.status == 200))?;
        refused(&Repository::new(&client, &repo).begin_push()?, 403, "DENIED");
        let subject = "subjects: [{apiGroup: rbac.authorization.k8s.io, kind: Group, name: 'idp:builders'}]";
        let role = project.role("builders", &accesses("get, create", "app"));
        let at = role.find("subjects:").unwrap_or_default();
        kube.apply(&format!("{}{subject}\n", &role[..at]))?;
        until("the group may push", || Ok(Repository::new(&client, &repo).begin_push()?.status == 202))?;
        Repository::new(&client, &repo).push(1)?;
        Ok(())
    })();
    replace(&before)?;
    result
}

/// The public half of an RSA key as a JSON web key.
fn public_key(key: &str) -> Result<serde_json::Value> {
    let modulus = String::from_utf8(openssl(&["rsa", "-in", key, "-noout", "-modulus"], b"")?)?;
    let hex = modulus.trim().trim_start_matches("Modulus=").as_bytes().to_vec();
    let digit = |letter: u8| u8::try_from(char::from(letter).to_digit(16).unwrap_or_default()).unwrap_or_default();
    let bytes: Vec<u8> = hex.chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect();
    let modulus = e2e::site::base64(&bytes, e2e::site::URL, false);
    Ok(json!({ "kty": "RSA", "alg": "RS256", "use": "sig", "kid": "test", "n": modulus, "e": "AQAB" }))
}
