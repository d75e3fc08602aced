//! Other credentials than the account's key: tokens of a directory, and shared access signatures.

use super::{ACCOUNT, CONTAINER, KEY};
use crate::content::{pattern, whole, write};
use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use bucket::Secret;
use bucket::azure::{AzureSettings, Proof};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc;
use std::time::{Duration, SystemTime};
use storage::{Batch, Driver};

/// Gives every application a token, or none; what it was asked for. Azurite believes every token that looks like one.
fn directory(refusal: Option<&'static str>) -> (SocketAddr, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        for mut client in listener.incoming().map_while(Result::ok) {
            let mut request = Vec::new();
            let mut buffer = [0; 4096];
            while !String::from_utf8_lossy(&request).contains("grant_type=client_credentials") {
                let Ok(count @ 1..) = client.read(&mut buffer) else { break };
                request.extend_from_slice(&buffer[..count]);
            }
            drop(tell.send(String::from_utf8_lossy(&request).into_owned()));
            let granted = format!("{{\"access_token\":\"{}\",\"expires_in\":3600}}", token());
            let (status, body) = refusal.map_or(("200 OK", granted), |text| ("401 Unauthorized", text.to_owned()));
            let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            drop(client.write_all((head + &body).as_bytes()));
        }
    });
    (address, told)
}

fn token() -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let claims = format!(
        "{{\"aud\":\"https://storage.azure.com\",\"iss\":\"https://sts.windows.net/t/\",\"iat\":{now},\"nbf\":{},\"exp\":{},\
         \"oid\":\"o\",\"tid\":\"t\"}}",
        now - 60,
        now + 3600
    );
    let part = |text: &str| BASE64_URL_SAFE_NO_PAD.encode(text);
    format!("{}.{}.{}", part("{\"alg\":\"HS256\",\"typ\":\"JWT\"}"), part(&claims), part("signature"))
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_of_a_directory_are_taken() {
    let Some(mut server) = super::start() else { return };
    let dir = tempfile::tempdir().unwrap();
    let certified = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let (cert, key, federated) = (dir.path().join("c.pem"), dir.path().join("k.pem"), dir.path().join("token"));
    std::fs::write(&cert, certified.cert.pem()).unwrap();
    std::fs::write(&key, certified.signing_key.serialize_pem()).unwrap();
    std::fs::write(&federated, "of-the-service-account").unwrap();
    let path = |path: &std::path::Path| path.to_string_lossy().into_owned();
    server.start_again(&["--oauth", "basic", "--cert", &path(&cert), "--key", &path(&key)].map(str::to_owned));
    let (address, asked) = directory(None);
    let base = |settings: &mut AzureSettings, authority: SocketAddr| {
        settings.account_key = None;
        settings.service_url = Some(server.service("https"));
        settings.ca_file = Some(cert.clone());
        settings.environment.insert("AZURE_AUTHORITY_HOST".to_owned(), format!("http://{authority}/"));
    };
    let workload = |settings: &mut AzureSettings, authority: SocketAddr| {
        base(settings, authority);
        for (name, value) in [
            ("AZURE_CLIENT_ID", "app"),
            ("AZURE_TENANT_ID", "tenant"),
            ("AZURE_FEDERATED_TOKEN_FILE", &*path(&federated)),
        ] {
            settings.environment.insert(name.to_owned(), value.to_owned());
        }
    };
    let application = |settings: &mut AzureSettings, authority: SocketAddr| {
        base(settings, authority);
        settings.proof = Some(Proof::ClientSecret);
        settings.client_id = Some("app".to_owned());
        settings.tenant_id = Some("tenant".to_owned());
        settings.client_secret = Some(Secret("secret-of-app".to_owned()));
    };
    let driver = server.try_open(|settings| workload(settings, address)).await.unwrap();
    let request = asked.recv_timeout(Duration::from_secs(10)).unwrap();
    assert!(
        request.starts_with("POST /tenant/oauth2/v2.0/token ") && request.contains("of-the-service-account"),
        "{request}"
    );
    driver.apply(Batch::new().put("a/b", "content")).await.unwrap();
    // The service gives a key that signs addresses for the user.
    let url = driver.presign("a/b", Duration::from_secs(60)).await.unwrap().unwrap();
    let authority = reqwest::Certificate::from_pem(certified.cert.pem().as_bytes()).unwrap();
    let outside = reqwest::Client::builder().add_root_certificate(authority).build().unwrap();
    let fetched = outside.get(&url).send().await.unwrap();
    assert_eq!(fetched.status(), 200);
    assert_eq!(&fetched.bytes().await.unwrap()[..], b"content");
    assert_eq!(outside.delete(&url).send().await.unwrap().status(), 403);

    let driver = server.try_open(|settings| application(settings, address)).await.unwrap();
    let request = asked.recv_timeout(Duration::from_secs(10)).unwrap();
    assert!(request.contains("client_secret=secret-of-app"), "{request}");
    assert_eq!(&driver.get("a/b", 10).await.unwrap()[..], b"content");

    let (strict, _asked) =
        directory(Some("{\"error\":\"invalid_client\",\"error_description\":\"AADSTS7000215: Invalid\"}"));
    let refused = server.try_open(|settings| application(settings, strict)).await.err().unwrap();
    assert_eq!(refused.setting, "storage.azure.credentials.secret", "{refused}");
    assert!(!refused.to_string().contains("secret-of-app"), "{refused}");
    std::fs::remove_file(&federated).unwrap();
    let refused = server.try_open(|settings| workload(settings, address)).await.err().unwrap();
    assert!(refused.to_string().contains("AZURE_FEDERATED_TOKEN_FILE"), "{refused}");
}

/// A signature for the whole container, with these rights.
fn signature(rights: &str) -> String {
    let (version, expiry) = ("2020-12-06", "2099-01-01T00:00:00Z");
    let said = format!("{rights}\n\n{expiry}\n/blob/{ACCOUNT}/{CONTAINER}\n\n\n\n{version}\nc\n\n\n\n\n\n\n");
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &BASE64_STANDARD.decode(KEY).unwrap());
    let signature = BASE64_STANDARD.encode(ring::hmac::sign(&key, said.as_bytes()));
    let signature = signature.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
    format!("sv={version}&sr=c&sp={rights}&se=2099-01-01T00%3A00%3A00Z&sig={signature}")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signature_is_used_and_not_given_away() {
    let Some(server) = super::start() else { return };
    let signed = |rights: &'static str| {
        move |settings: &mut AzureSettings| {
            settings.account_key = None;
            settings.signature = Some(Secret(signature(rights)));
            settings.copy_chunk_size = 5 << 20;
        }
    };
    let driver = server.try_open(signed("racwdl")).await.unwrap();
    driver.apply(Batch::new().create("a/b", "1").put("a/c", "2")).await.unwrap();
    let data = pattern(11 << 20);
    write(&driver, "a/large", false, &data).await.unwrap();
    assert!(whole(&driver, "a/large").await == data);
    driver.apply(Batch::new().delete_tree("a")).await.unwrap();
    assert_eq!(driver.presign("a/b", Duration::from_secs(60)).await.unwrap(), None);
    let refused = server.try_open(signed("rl")).await.err().unwrap();
    assert!(refused.to_string().starts_with("storage.azure.connectionstring: these credentials may read"), "{refused}");
    assert!(!refused.to_string().contains("sig="), "{refused}");
}
