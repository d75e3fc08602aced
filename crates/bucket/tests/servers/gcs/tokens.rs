//! Credentials on the way to a service with TLS. Google's services for tokens run nowhere else, so that what stands in for
//! them here looks at what it is asked, and no more.

use super::{BUCKET, Server, start_with};
use bucket::gcs::GcsSettings;
use bucket::{BucketDriver, OpenError};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use storage::{Batch, Driver};

const KEY: &str = include_str!("../../data/gcs-key.json");

type Asked = Arc<Mutex<Vec<String>>>;

/// Answers each request by what its target begins with, until the process ends.
fn tokens(answers: Vec<(String, u16, String)>) -> (SocketAddr, Asked) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let asked = Asked::default();
    let seen = Arc::clone(&asked);
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            drop(answer(stream, &answers, &seen));
        }
    });
    (address, asked)
}

fn answer(mut stream: TcpStream, answers: &[(String, u16, String)], asked: &Asked) -> std::io::Result<()> {
    let (mut text, mut buffer) = (String::new(), [0; 4096]);
    loop {
        let count = stream.read(&mut buffer)?;
        text.push_str(&String::from_utf8_lossy(&buffer[..count]));
        if count == 0 {
            break;
        }
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
            break;
        }
    }
    let target = text.split(' ').nth(1).unwrap_or_default();
    let found = answers.iter().find(|(prefix, ..)| target.starts_with(&**prefix));
    let (status, body) = found.map_or((404, String::new()), |(_, status, body)| (*status, body.clone()));
    asked.lock().unwrap().push(text);
    write!(stream, "HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

fn granted() -> String {
    "{\"access_token\": \"sesame\", \"expires_in\": 3600, \"token_type\": \"Bearer\"}".to_owned()
}

/// The emulator behind TLS with one bucket.
struct Secure {
    server: Server,
    dir: tempfile::TempDir,
    authority: PathBuf,
}

impl Secure {
    fn start() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let certified = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let (cert, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
        std::fs::write(&cert, certified.cert.pem()).unwrap();
        std::fs::write(&key, certified.signing_key.serialize_pem()).unwrap();
        let path = |path: &Path| path.to_string_lossy().into_owned();
        // A bucket is there from the start when its folder is.
        let seed = dir.path().join("seed");
        std::fs::create_dir_all(seed.join(BUCKET)).unwrap();
        let [cert_path, key_path, seed] = [&cert, &key, &seed].map(|file| path(file));
        let arguments = ["-cert-location", &cert_path, "-private-key-location", &key_path, "-data", &seed];
        let server = start_with("https", &arguments)?;
        Some(Self { server, dir, authority: cert })
    }

    async fn open(&self, change: impl FnOnce(&mut GcsSettings)) -> Result<BucketDriver, OpenError> {
        let settings = |settings: &mut GcsSettings| {
            settings.endpoint = Some(self.server.address.to_string());
            settings.ca_file = Some(self.authority.clone());
            change(settings);
        };
        self.server.try_open(settings).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_exchanged_for_one_token() {
    let Some(secure) = Secure::start() else { return };
    let (address, asked) = tokens(vec![("/token".to_owned(), 200, granted())]);
    let key = KEY.replace("https://oauth2.googleapis.com/token", &format!("http://{address}/token"));
    let driver = secure.open(|settings| settings.credentials = Some(key.clone())).await.unwrap();
    driver.apply(Batch::new().put("a/b", "1")).await.unwrap();
    assert_eq!(&driver.get("a/b", 10).await.unwrap()[..], b"1");
    {
        let asked = asked.lock().unwrap();
        assert_eq!(asked.len(), 1, "a token is good for many requests");
        assert!(asked[0].contains("grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=ey"));
    }
    let untrusted = secure.open(|settings| {
        settings.credentials = Some(key.clone());
        settings.ca_file = None;
    });
    assert_eq!(untrusted.await.err().unwrap().setting, "storage.gcs.cafile");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_google_says_of_a_key_names_the_setting() {
    let Some(secure) = Secure::start() else { return };
    let says = |text: &str| format!("{{\"error\": \"invalid_grant\", \"error_description\": \"{text}\"}}");
    let late = "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe.";
    for (text, setting) in [(says("Invalid JWT Signature."), "storage.gcs.keyfile"), (says(late), "clock")] {
        let (address, asked) = tokens(vec![("/token".to_owned(), 400, text)]);
        let key = KEY.replace("https://oauth2.googleapis.com/token", &format!("http://{address}/token"));
        let error = secure.open(|settings| settings.credentials = Some(key)).await.err().unwrap();
        assert_eq!(error.setting, setting, "{error}");
        assert_eq!(asked.lock().unwrap().len(), 1, "there is no use in asking again");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_token_is_exchanged_and_signs() {
    let Some(secure) = Secure::start() else { return };
    let lent = "{\"accessToken\": \"lent\", \"expireTime\": \"2099-01-01T00:00:00Z\"}".to_owned();
    let account = "/v1/projects/-/serviceAccounts/r@p.iam.gserviceaccount.com";
    let (lend, sign) = (format!("{account}:generateAccessToken"), format!("{account}:signBlob"));
    let signed = "{\"keyId\": \"1\", \"signedBlob\": \"AQL/\"}".to_owned();
    let answers = [("/sts".to_owned(), granted()), (lend.clone(), lent), (sign.clone(), signed)];
    let (address, asked) = tokens(answers.map(|(prefix, body)| (prefix, 200, body)).into());
    let token = secure.dir.path().join("token");
    std::fs::write(&token, "the cluster's\n").unwrap();
    let account = serde_json::json!({
        "type": "external_account", "audience": "//iam.googleapis.com/pool", "token_url": format!("http://{address}/sts"),
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "credential_source": {"file": token, "format": {"type": "text"}},
        "service_account_impersonation_url": format!("http://{address}{lend}"),
    });
    let file = secure.dir.path().join("keyfile");
    std::fs::write(&file, account.to_string()).unwrap();
    let driver = secure.open(|settings| settings.key_file = Some(file)).await.unwrap();
    driver.apply(Batch::new().put("a/b", "1")).await.unwrap();
    let url = driver.presign("a/b", Duration::from_secs(60)).await.unwrap().unwrap();
    assert!(url.contains("&X-Goog-Credential=r%40p.iam.gserviceaccount.com%2F"), "{url}");
    assert!(url.ends_with("&X-Goog-Signature=0102ff"), "{url}");
    let asked = asked.lock().unwrap();
    assert_eq!(asked.len(), 3, "{asked:#?}");
    assert!(asked[2].contains(&sign) && asked[2].contains("authorization: Bearer lent"), "{asked:#?}");
    assert!(
        asked[0].contains("subject_token=the%20cluster%27s") && asked[0].contains("audience=%2F%2Fiam"),
        "{asked:#?}"
    );
    assert!(
        asked[1].contains("authorization: Bearer sesame") && asked[1].contains("\"lifetime\":\"3600s\""),
        "{asked:#?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_has_an_account() {
    let Some(secure) = Secure::start() else { return };
    let account = "/computeMetadata/v1/instance/service-accounts/default";
    let token = "/computeMetadata/v1/instance/service-accounts/default/token";
    let (address, asked) = tokens(vec![(token.to_owned(), 200, granted())]);
    let of_machine = |settings: &mut GcsSettings| {
        settings.environment.insert("GCE_METADATA_HOST".to_owned(), address.to_string());
    };
    let driver = secure.open(of_machine).await.unwrap();
    driver.apply(Batch::new().put("a/b", "1")).await.unwrap();
    assert!(asked.lock().unwrap()[0].contains("metadata-flavor: Google"));
    // Nobody knows who it is, so that nothing can be signed; and it is not asked again for each blob.
    for _ in 0..3 {
        assert_eq!(driver.presign("a/b", Duration::from_secs(60)).await.unwrap(), None);
    }
    let asked = asked.lock().unwrap();
    let names: Vec<&str> = asked.iter().filter_map(|text| text.split(' ').nth(1)).collect();
    assert_eq!(names, [token.to_owned(), format!("{account}/email")]);
}
