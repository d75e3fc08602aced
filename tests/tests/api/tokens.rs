//! The token endpoint and what its tokens are good for.

use crate::support::{BASE, HASH, PASSWORD, Registry, basic, begin, refused, serve, until, users, with};
use anyhow::Result;
use e2e::{Answer, Client, Server, digest};
use sha2::{Digest, Sha256};

const SECRET: &str = "the secret of all replicas";
const OTHER: &str = "the secret that comes after it";
const NAME: &str = "homeport";

fn config(more: &str) -> String {
    format!(
        "homeport:\n  token: {{secrets: ['{SECRET}']}}\n{}{more}",
        users(&[("ci", &[("p", "*", "FULL")]), ("reader", &[("p", "*", "READ")])])
    )
}

fn token(client: &Client, query: &str) -> Result<String> {
    let answer = client.get(&format!("/token?service={NAME}{query}"))?;
    anyhow::ensure!(answer.status == 200, "{} {}", answer.status, answer.text());
    Ok(answer.json()["token"].as_str().unwrap_or_default().to_owned())
}

fn bearer(server: &Server, token: &str) -> Client {
    server.client().authorization(&format!("Bearer {token}"))
}

fn form(server: &Server, form: &str) -> Result<Answer> {
    let headers = [("content-type", "application/x-www-form-urlencoded")];
    server.client().send("POST", "/token", &headers, form.as_bytes())
}

#[test]
fn docker_and_podman_get_tokens_by_get() -> Result<()> {
    let server = serve(&config(""))?;
    let challenge = server.client().get("/v2/p/a/manifests/v1")?;
    let realm = format!("http://{}/token", server.address());
    assert_eq!(
        challenge.header("www-authenticate"),
        format!("Bearer realm=\"{realm}\",service=\"{NAME}\",scope=\"repository:p/a:pull\"")
    );
    let push = server.client().send("POST", "/v2/p/a/blobs/uploads/", &[], &[])?;
    assert!(push.header("www-authenticate").ends_with(",scope=\"repository:p/a:pull,push\""));
    let catalog = server.client().get("/v2/_catalog")?;
    assert!(catalog.header("www-authenticate").ends_with(",scope=\"registry:catalog:*\""));

    let query = "account=ci&client_id=docker&offline_token=true&scope=repository%3Ap%2Fa%3Apull%2Cpush&scope=repository:p/b:pull";
    let answer = server.user("ci").get(&format!("{realm}?service={NAME}&{query}"))?;
    assert_eq!((answer.status, answer.header("content-type")), (200, "application/json"));
    assert_eq!(answer.header("cache-control"), "no-store");
    let body = answer.json();
    assert_eq!(body["token"], body["access_token"]);
    assert_eq!(body["expires_in"], 300);
    let issued = body["issued_at"].as_str().unwrap_or_default();
    assert!(issued.len() == 20 && issued.ends_with('Z') && issued.starts_with("20"), "{issued}");
    assert!(!body["refresh_token"].as_str().unwrap_or_default().is_empty());
    let client = bearer(&server, body["token"].as_str().unwrap_or_default());
    client.push_blob("p/a", b"x")?;
    refused(&client.get("/v2/q/a/tags/list")?, 403, "DENIED");
    // Asked for no refresh token, none comes.
    assert!(server.user("ci").get("/token")?.json()["refresh_token"].is_null());
    Ok(())
}

#[test]
fn containerd_gets_tokens_by_post() -> Result<()> {
    let server = serve(&config(""))?;
    let password = format!(
        "grant_type=password&username=ci&password={PASSWORD}&service={NAME}&client_id=containerd-client&access_type=offline&scope=repository%3Ap%2Fa%3Apull+repository%3Ap%2Fb%3Apull%2Cpush"
    );
    let answer = form(&server, &password)?;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(bearer(&server, answer.json()["access_token"].as_str().unwrap_or_default()).get("/v2/")?.status, 200);
    let refresh = answer.json()["refresh_token"].as_str().unwrap_or_default().to_owned();
    let again = form(&server, &format!("grant_type=refresh_token&refresh_token={refresh}&service={NAME}"))?;
    assert_eq!(again.status, 200, "{}", again.text());
    assert_eq!(bearer(&server, again.json()["token"].as_str().unwrap_or_default()).get("/v2/")?.status, 200);

    // An identity token as docker login stores it.
    for user in ["<token>", ""] {
        let client = server.client().authorization(&basic(user, &refresh));
        assert_eq!(bearer(&server, &token(&client, "")?).get("/v2/")?.status, 200, "{user:?}");
    }
    // Each kind for its own purpose.
    assert_eq!(bearer(&server, &refresh).get("/v2/")?.status, 401);
    let access = token(&server.user("ci"), "")?;
    assert_eq!(form(&server, &format!("grant_type=refresh_token&refresh_token={access}"))?.status, 401);

    for (form_text, status) in [
        (String::new(), 400),
        ("grant_type=magic".to_owned(), 400),
        ("grant_type=refresh_token".to_owned(), 400),
        ("grant_type=refresh_token&refresh_token=x".to_owned(), 401),
        ("grant_type=password".to_owned(), 401),
        ("grant_type=password&username=ci&password=wrong".to_owned(), 401),
        ("\u{fc}=%ff&grant_type=%00".to_owned(), 400),
        (format!("grant_type=password&username=ci&password={PASSWORD}&scope=nonsense"), 400),
        (format!("x={}", "y".repeat(70_000)), 413),
    ] {
        let answer = form(&server, &form_text)?;
        let shown = &form_text[..form_text.len().min(60)];
        assert_eq!(answer.status, status, "{shown}: {}", answer.text());
        assert!(!answer.code().is_empty(), "{shown}");
    }
    assert_eq!(server.client().send("PUT", "/token", &[], &[])?.header("allow"), "GET, POST");
    Ok(())
}

#[test]
fn an_account_of_somebody_else_is_refused() -> Result<()> {
    let server = serve(&config(""))?;
    let answer = server.user("ci").get("/token?account=reader")?;
    assert_eq!((answer.status, answer.code()), (400, "UNAUTHORIZED".to_owned()));
    assert_eq!(server.user("ci").get("/token?account=ci")?.status, 200);
    Ok(())
}

#[test]
fn scopes_are_read_and_rights_are_not_in_tokens() -> Result<()> {
    let server = serve(&config(""))?;
    let reader = server.user("reader");
    for scope in [
        "",
        "&scope=",
        "&scope=repository:p/a:push,pull",
        "&scope=repository:p/a:*",
        "&scope=registry:catalog:*",
        "&scope=repository(plugin):p/a:pull",
    ] {
        let client = bearer(&server, &token(&reader, scope)?);
        assert_eq!(client.get("/v2/p/a/manifests/x")?.status, 404, "{scope}");
        refused(&client.send("POST", "/v2/p/a/blobs/uploads/", &[], &[])?, 403, "DENIED");
    }
    for scope in ["&scope=x", "&scope=repository:", "&scope=repository:p/a", "&scope=%00:a:b"] {
        assert_eq!(reader.get(&format!("/token?service={NAME}{scope}"))?.status, 400, "{scope}");
    }
    Ok(())
}

#[test]
fn anonymous_tokens_where_anonymous_callers_may_do_something() -> Result<()> {
    let closed = serve(&config(""))?;
    let answer = closed.client().get("/token")?;
    refused(&answer, 401, "UNAUTHORIZED");
    assert!(!answer.header("www-authenticate").is_empty());

    let server = serve(&config("  anonymous: pull\n"))?;
    let client = bearer(&server, &token(&server.client(), "&scope=repository:p/a:pull")?);
    assert_eq!(client.get("/v2/p/a/manifests/x")?.status, 404);
    assert_eq!(client.send("POST", "/v2/p/a/blobs/uploads/", &[], &[])?.status, 401, "may sign in for more");
    assert!(server.client().get("/token?offline_token=true")?.json()["refresh_token"].is_null());
    Ok(())
}

#[test]
fn tokens_of_removed_or_changed_users_die_with_the_reload() -> Result<()> {
    let server = serve(&config(""))?;
    let mut clients = Vec::new();
    for name in ["ci", "reader"] {
        clients.push(bearer(&server, &token(&server.user(name), "")?));
    }
    let refresh = server.user("ci").get("/token?offline_token=true")?.json()["refresh_token"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    for client in &clients {
        assert_eq!(client.get("/v2/")?.status, 200);
    }
    // Of the two, one is gone and the other has another hash, and less.
    let other = "$2y$10$CeP/hYvBJ05Ih2azafVyIuuMRpf60am4z6USm4jhHfUPsFDBAmn/u";
    server.reload(&format!(
        "{BASE}homeport:\n  token: {{secrets: ['{SECRET}']}}\n  users:\n    reader: {{passwordHash: '{other}'}}\n"
    ))?;
    for client in &clients {
        let answer = client.get("/v2/")?;
        refused(&answer, 401, "UNAUTHORIZED");
        assert!(answer.header("www-authenticate").contains("error=\"invalid_token\""));
    }
    assert_eq!(form(&server, &format!("grant_type=refresh_token&refresh_token={refresh}"))?.status, 401);
    assert_eq!(server.user("ci").get("/v2/")?.status, 401);
    assert_eq!(server.user("reader").get("/v2/")?.status, 200);

    // Rights are those of now, also with a token of before.
    let client = bearer(&server, &token(&server.user("reader"), "")?);
    refused(&client.get("/v2/p/a/manifests/x")?, 403, "DENIED");
    server.reload(&format!(
        "{BASE}homeport:\n  token: {{secrets: ['{SECRET}']}}\n  users:\n    reader: {{passwordHash: '{other}', projects: [{{name: p, access: READ}}]}}\n"
    ))?;
    assert_eq!(client.get("/v2/p/a/manifests/x")?.status, 404);
    Ok(())
}

#[test]
fn secrets_are_exchanged_without_breaking_tokens() -> Result<()> {
    let with_secrets = |secrets: &str| {
        format!("{BASE}homeport:\n  token: {{secrets: [{secrets}]}}\n{}", users(&[("ci", &[("p", "*", "FULL")])]))
    };
    let (both, new) = (format!("'{OTHER}', '{SECRET}'"), format!("'{OTHER}'"));
    let server = Registry::start(Server::builder().config(&with_secrets(&format!("'{SECRET}'"))))?;
    // A replica on the same data that has the new secret already.
    let replica = Registry::start(Server::builder().config(&with_secrets(&both)).data(server.data()))?;
    let old = token(&server.user("ci"), "")?;
    let location = begin(&bearer(&server, &old), "p/a")?;
    assert_eq!(bearer(&replica, &old).get("/v2/")?.status, 200);
    assert_eq!(bearer(&replica, &old).get(&location)?.status, 204, "addresses of uploads too");
    let fresh = token(&replica.user("ci"), "")?;
    assert_eq!(bearer(&server, &fresh).get("/v2/")?.status, 401, "not known there yet");

    server.reload(&with_secrets(&both))?;
    for token in [&old, &fresh] {
        assert_eq!(bearer(&server, token).get("/v2/")?.status, 200);
    }
    server.reload(&with_secrets(&new))?;
    assert_eq!(bearer(&server, &fresh).get("/v2/")?.status, 200);
    assert_eq!(bearer(&server, &old).get("/v2/")?.status, 401);
    Ok(())
}

#[test]
fn secrets_from_files_are_read_again() -> Result<()> {
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), format!("{SECRET}\n"))?;
    let server = serve(&format!(
        "homeport:\n  token: {{secretFiles: ['{}']}}\n{}",
        file.path().display(),
        users(&[("ci", &[("p", "*", "FULL")])])
    ))?;
    let client = bearer(&server, &token(&server.user("ci"), "")?);
    assert_eq!(client.get("/v2/")?.status, 200);
    std::fs::write(file.path(), OTHER)?;
    server.signal("HUP")?;
    until("the old secret is gone", || client.get("/v2/").is_ok_and(|answer| answer.status == 401))?;
    Ok(())
}

fn hmac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut block = [0; 64];
    block[..key.len()].copy_from_slice(key);
    let mut inner = Sha256::new_with_prefix(block.map(|byte| byte ^ 0x36));
    parts.iter().for_each(|part| inner.update(part));
    Sha256::new_with_prefix(block.map(|byte| byte ^ 0x5c)).chain_update(inner.finalize()).finalize().into()
}

fn base64url(bytes: &[u8]) -> String {
    crate::support::base64(bytes).trim_end_matches('=').replace('+', "-").replace('/', "_")
}

/// A token as the server signs it: of the anonymous caller, or with a change to its claims.
fn signed(secret: &str, header: &str, claims: &str) -> String {
    let root = hmac(b"homeport/v1/tokens", &[secret.as_bytes()]);
    let key = hmac(&root, &[b"sign", &[1]]);
    let text = format!("{}.{}", base64url(header.as_bytes()), base64url(claims.as_bytes()));
    let tag = hmac(&key, &[text.as_bytes()]);
    format!("{text}.{}", base64url(&tag))
}

const HEADER: &str = r#"{"alg":"HS256","typ":"homeport+jwt"}"#;

fn claims(expires: i64, more: &str) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let now = i64::try_from(now).unwrap();
    let (begin, end) = (now.min(now + expires) - 300, now + expires);
    format!(
        r#"{{"iss":"homeport","sub":"","aud":"homeport","exp":{end},"nbf":{begin},"iat":{begin},"jti":"x","kind":"access","src":"anonymous"{more}}}"#
    )
}

#[test]
fn forged_and_ended_tokens() -> Result<()> {
    let server = serve(&config("  anonymous: pull\n"))?;
    let status = |token: &str| -> Result<u16> { Ok(bearer(&server, token).get("/v2/p/a/manifests/x")?.status) };
    let good = signed(SECRET, HEADER, &claims(300, ""));
    assert_eq!(status(&good)?, 404, "the test knows how to sign");
    for (what, token) in [
        ("ended", signed(SECRET, HEADER, &claims(-40, ""))),
        ("another secret", signed(OTHER, HEADER, &claims(300, ""))),
        ("another algorithm", signed(SECRET, r#"{"alg":"none","typ":"homeport+jwt"}"#, &claims(300, ""))),
        ("another issuer", signed(SECRET, HEADER, &claims(300, "").replace("\"iss\":\"homeport\"", "\"iss\":\"x\""))),
        ("another service", signed(SECRET, HEADER, &claims(300, "").replace("\"aud\":\"homeport\"", "\"aud\":\"x\""))),
        ("a user without a record", signed(SECRET, HEADER, &claims(300, "").replace("\"sub\":\"\"", "\"sub\":\"ci\""))),
        (
            "a static user without a record",
            signed(
                SECRET,
                HEADER,
                &claims(300, "").replace("\"sub\":\"\"", "\"sub\":\"ci\"").replace("anonymous", "static"),
            ),
        ),
        ("no signature", good.rsplit_once('.').unwrap().0.to_owned() + "."),
        ("nothing signed", "..".to_owned()),
        ("cut", good[..good.len() - 2].to_owned()),
    ] {
        assert_eq!(status(&token)?, 401, "{what}");
    }
    assert_eq!(status(&signed(SECRET, HEADER, &claims(-10, "")))?, 404, "clocks differ a little");
    Ok(())
}

#[test]
fn an_upload_outlives_its_token_thanks_to_its_address() -> Result<()> {
    let everybody = users(&[("ci", &[("p", "*", "FULL")]), ("reader", &[("p", "*", "READ")])]);
    let with_users = |users: &str| {
        format!(
            "{BASE}http: {{secret: the secret of addresses}}\nhomeport:\n  token: {{secrets: ['{SECRET}'], expiry: 60s}}\n{users}"
        )
    };
    let server = Registry::start(Server::builder().config(&with_users(&everybody)))?;
    let answer = server.user("ci").get("/token")?.json();
    assert_eq!(answer["expires_in"], 60);
    let token = answer["token"].as_str().unwrap_or_default();
    let client = bearer(&server, token);
    let location = client.send("PATCH", &begin(&client, "p/a")?, &[], b"ab")?.header("location").to_owned();
    // The same token, as it is when it has ended.
    let client = bearer(&server, &ended(token));
    assert_eq!(client.get("/v2/")?.status, 401);

    // Not without any credential, not with a password that is wrong, not with an address that is made up.
    let (session, state) = location.split_once("?_state=").unwrap();
    let forged = format!("{session}?_state={}{}", if state.starts_with('A') { "B" } else { "A" }, &state[1..]);
    for (client, address) in [
        (server.client(), location.as_str()),
        (server.client().authorization(&basic("ci", "wrong")), &location),
        (client.clone(), &forged),
        (client.clone(), session),
    ] {
        for method in ["GET", "PATCH", "PUT", "DELETE"] {
            let answer = client.send(method, &with(address, &format!("digest={}", digest(b"abc"))), &[], b"c")?;
            refused(&answer, 401, "UNAUTHORIZED");
        }
    }
    // Nor by somebody else who may not push here.
    refused(&server.user("reader").send("PATCH", &location, &[], b"c")?, 403, "DENIED");
    for (what, token) in [
        ("an ended token of somebody else", signed(SECRET, HEADER, &claims(-100, ""))),
        ("a token that was never ours", signed(OTHER, HEADER, &claims(-100, ""))),
        ("no token at all", "x".to_owned()),
    ] {
        assert_eq!(bearer(&server, &token).get(&location)?.status, 401, "{what}");
    }

    let taken = client.send("PATCH", &location, &[], b"c")?;
    assert_eq!(taken.status, 202);
    let put = with(taken.header("location"), &format!("digest={}", digest(b"abc")));
    assert_eq!(client.send("PUT", &put, &[], &[])?.status, 201);
    assert_eq!(client.send("POST", "/v2/p/a/blobs/uploads/", &[], &[])?.status, 401, "a new one needs a new token");
    assert_eq!(server.user("ci").get(&format!("/v2/p/a/blobs/{}", digest(b"abc")))?.body, b"abc");

    // So does a right that is taken away, and a user who is gone takes their uploads with them.
    let again = begin(&bearer(&server, token), "p/a")?;
    assert_eq!(client.get(&again)?.status, 204);
    server.reload(&with_users(&users(&[("ci", &[("p", "*", "READ")])])))?;
    for client in [&client, &bearer(&server, token)] {
        for method in ["GET", "PATCH", "PUT", "DELETE"] {
            let answer = client.send(method, &with(&again, &format!("digest={}", digest(b"c"))), &[], b"c")?;
            refused(&answer, 403, "DENIED");
        }
    }
    server.reload(&with_users(&users(&[("reader", &[("p", "*", "READ")])])))?;
    assert_eq!(client.get(&again)?.status, 401);
    Ok(())
}

/// A token of the server with its end in the past.
fn ended(token: &str) -> String {
    let payload = token.split('.').nth(1).unwrap();
    let mut claims: serde_json::Value = serde_json::from_slice(&from_base64url(payload)).unwrap();
    let end = claims["exp"].as_i64().unwrap() - 300;
    claims["exp"] = end.into();
    claims["iat"] = (end - 60).into();
    claims["nbf"] = (end - 60).into();
    signed(SECRET, HEADER, &claims.to_string())
}

fn from_base64url(text: &str) -> Vec<u8> {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let bits = text.bytes().map(|byte| LETTERS.iter().position(|letter| *letter == byte).unwrap());
    let (mut out, mut held, mut count) = (Vec::new(), 0_usize, 0);
    for value in bits {
        held = held << 6 | value;
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push(u8::try_from(held >> count & 0xff).unwrap());
        }
    }
    out
}

#[test]
fn realm_and_service_are_configured() -> Result<()> {
    let users = format!("  users:\n    ci: {{passwordHash: '{HASH}'}}\n");
    for (config, realm, service) in [
        ("homeport:\n  token: {realm: 'https://auth.test/x', service: reg}\n", "https://auth.test/x", "reg"),
        ("http: {host: 'https://reg.test'}\nhomeport:\n", "https://reg.test/token", NAME),
        ("http: {host: 'https://reg.test', prefix: /sub/}\nhomeport:\n", "https://reg.test/sub/token", NAME),
        (
            "openshift: {version: '1.0', auth: {tokenrealm: 'https://os.test'}}\nhomeport:\n",
            "https://os.test/openshift/token",
            NAME,
        ),
    ] {
        let server = serve(&format!("{config}{users}"))?;
        let prefix = if config.contains("/sub/") { "/sub" } else { "" };
        let challenge = server.client().get(&format!("{prefix}/v2/"))?;
        assert_eq!(challenge.header("www-authenticate"), format!("Bearer realm=\"{realm}\",service=\"{service}\""));
        assert_eq!(server.user("ci").get(&format!("{prefix}/openshift/token"))?.status, 200);
    }
    Ok(())
}
