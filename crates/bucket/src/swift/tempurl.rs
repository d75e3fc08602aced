//! Addresses by which somebody without credentials can read an object for a while.

use super::SwiftSettings;
use super::calls::{Call, Calls, Target, failed, quoted};
use super::info::TempUrl;
use crate::addresses::host_and_path;
use data_encoding::HEXLOWER;
use http::Method;
use object_store::Result;
use percent_encoding::percent_decode_str;
use ring::hmac::{self, Algorithm, HMAC_SHA1_FOR_LEGACY_USE_ONLY, HMAC_SHA256, HMAC_SHA512};
use ring::rand::{SecureRandom, SystemRandom};
use std::time::{Duration, SystemTime};

/// Bytes of a key that we make.
const KEY_BYTES: usize = 32;
/// When several replicas make one at once, the last one counts; after this time all of them see it.
const SETTLED: Duration = Duration::from_secs(1);

/// What signs them.
#[derive(Clone)]
pub(super) struct Signer {
    key: hmac::Key,
    /// Some clouds want an access key of the project in the signature.
    access_key: Option<String>,
    /// Address by which clients reach the service, where it is not the account's.
    pub(super) clients: Option<String>,
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signer").finish_non_exhaustive()
    }
}

/// The best digest that the service takes; one that says nothing is old.
fn algorithm(allowed: &[String]) -> Algorithm {
    let allows = |name: &str| allowed.iter().any(|digest| digest.eq_ignore_ascii_case(name));
    if allows("sha256") {
        HMAC_SHA256
    } else if allows("sha512") {
        HMAC_SHA512
    } else {
        HMAC_SHA1_FOR_LEGACY_USE_ONLY
    }
}

impl Signer {
    pub(super) fn new(key: &str, allowed: &[String], access_key: Option<String>) -> Self {
        Self { key: hmac::Key::new(algorithm(allowed), key.as_bytes()), access_key, clients: None }
    }

    /// An address below that of the account, or below that which clients know. What is signed has the path that the service
    /// sees, and no host.
    pub(super) fn sign(
        &self,
        account: &str,
        project: Option<&str>,
        container: &str,
        name: &str,
        until: SystemTime,
    ) -> String {
        let expires = until.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let (_, path) = host_and_path(account);
        let plain = percent_decode_str(path).decode_utf8_lossy();
        let text = format!("GET\n{expires}\n{plain}/{container}/{name}");
        let mut signature = HEXLOWER.encode(hmac::sign(&self.key, text.as_bytes()).as_ref());
        if let Some(access_key) = &self.access_key {
            signature = format!("{}%3A{}%3A{signature}", quoted(project.unwrap_or_default()), quoted(access_key));
        }
        let account = match &self.clients {
            Some(clients)
                if percent_decode_str(host_and_path(clients).1).decode_utf8_lossy().ends_with(plain.as_ref()) =>
            {
                clients.clone()
            }
            Some(clients) => format!("{clients}{path}"),
            None => account.to_owned(),
        };
        let place = format!("{}/{}", quoted(container), quoted(name));
        format!("{account}/{place}?temp_url_sig={signature}&temp_url_expires={expires}")
    }
}

/// What the service's temporary addresses are like; `None`: it has none, or not for reading.
fn ability(calls: &Calls, settings: &SwiftSettings) -> Option<TempUrl> {
    let told = if calls.info().is_known() {
        calls.info().tempurl.clone()?
    } else {
        TempUrl { methods: settings.temp_url_methods.clone(), allowed_digests: Vec::new() }
    };
    told.methods.iter().any(|method| method.eq_ignore_ascii_case("GET")).then_some(told)
}

/// Finds the key, or makes one. The one that is there serves all replicas.
pub(super) async fn prepare(calls: &Calls, settings: &SwiftSettings, read_only: bool) -> Result<Option<Signer>> {
    let Some(told) = ability(calls, settings) else { return Ok(None) };
    let by_container = calls.info().has_container_keys().unwrap_or(settings.temp_url_container_key);
    let target = if by_container { Target::Container } else { Target::Account };
    let there = keys(calls, target).await?;
    let signer = |key: &str| Some(Signer::new(key, &told.allowed_digests, settings.access_key.clone()));
    match (&settings.secret_key, there.first()) {
        (Some(key), _) if there.contains(&key.0) => Ok(signer(&key.0)),
        (None, Some(key)) => Ok(signer(key)),
        _ if read_only => Ok(None),
        (Some(key), old) => {
            set(calls, target, &key.0, old.map(String::as_str)).await?;
            Ok(signer(&key.0))
        }
        (None, None) => {
            set(calls, target, &made_up()?, None).await?;
            tokio::time::sleep(SETTLED).await;
            Ok(keys(calls, target).await?.first().and_then(|key| signer(key)))
        }
    }
}

fn header(target: Target<'_>, number: &str) -> String {
    let kind = if matches!(target, Target::Container) { "container" } else { "account" };
    format!("x-{kind}-meta-temp-url-key{number}")
}

/// The keys that are there.
async fn keys(calls: &Calls, target: Target<'_>) -> Result<Vec<String>> {
    let call = Call::new(Method::HEAD, target).latest()?;
    let found = calls.send_and_read(call, 0).await?;
    let keys = ["", "-2"].iter().filter_map(|number| found.header(&header(target, number)));
    Ok(keys.filter(|key| !key.is_empty()).map(str::to_owned).collect())
}

/// Sets the key. The `old` one becomes the second: addresses that are out, and replicas that still have it, stay good.
async fn set(calls: &Calls, target: Target<'_>, key: &str, old: Option<&str>) -> Result<()> {
    let mut call = Call::new(Method::POST, target).header(&header(target, ""), key)?;
    if let Some(old) = old {
        call = call.header(&header(target, "-2"), old)?;
    }
    calls.send_and_read(call, 64 * 1024).await.map(drop)
}

/// Nothing that is a secret elsewhere can be told from it: whoever may look at the container sees it.
fn made_up() -> Result<String> {
    let mut key = [0; KEY_BYTES];
    SystemRandom::new().fill(&mut key).map_err(|_| failed("there are no random numbers".to_owned()))?;
    Ok(HEXLOWER.encode(&key))
}

/// Until when an address is good.
pub(super) fn end(ttl: Duration) -> SystemTime {
    SystemTime::now() + ttl
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Line;
    use crate::secret::Secret;
    use crate::swift::identity::Version;
    use crate::swift::session::Session;
    use async_trait::async_trait;
    use bytes::Bytes;
    use http::HeaderMap;
    use object_store::client::{HttpClient, HttpError, HttpRequest, HttpResponse, HttpService};
    use std::sync::{Arc, Mutex, OnceLock};

    #[test]
    fn signatures_are_over_the_plain_path() {
        let until = SystemTime::UNIX_EPOCH + Duration::from_secs(1_323_479_485);
        let account = "https://host:8080/v1/AUTH%5Fa";
        let sign = |digests: &[&str], access_key: Option<&str>| {
            let digests: Vec<String> = digests.iter().map(|name| (*name).to_owned()).collect();
            let signer = Signer::new("mykey", &digests, access_key.map(str::to_owned));
            signer.sign(account, Some("project"), "con tainer", "a/b c", until)
        };
        // `printf 'GET\n1323479485\n/v1/AUTH_a/con tainer/a/b c' | openssl dgst -sha256 -hmac mykey`
        let start = "https://host:8080/v1/AUTH%5Fa/con%20tainer/a/b%20c?temp_url_sig=";
        assert_eq!(
            sign(&["sha1", "sha256"], None),
            format!(
                "{start}67c549c24ba18e3407939c8b80686774c78b125257db3f5626d21fc04251e76f&temp_url_expires=1323479485"
            )
        );
        assert_eq!(
            sign(&[], None),
            format!("{start}f7378a82e0058c009b36300871c3df236f9f16b6&temp_url_expires=1323479485")
        );
        let with_access = sign(&[], Some("access"));
        assert_eq!(
            with_access,
            format!("{start}project%3Aaccess%3Af7378a82e0058c009b36300871c3df236f9f16b6&temp_url_expires=1323479485")
        );
    }

    #[test]
    fn clients_may_know_another_address() {
        let until = SystemTime::UNIX_EPOCH + Duration::from_secs(1_323_479_485);
        let sign = |clients: Option<&str>| {
            let clients = clients.map(str::to_owned);
            let signer = Signer { clients, ..Signer::new("mykey", &[], None) };
            signer.sign("http://swift.internal:8080/v1/AUTH%5Fa", None, "con tainer", "a/b c", until)
        };
        let inside = sign(None);
        let path = inside.strip_prefix("http://swift.internal:8080").unwrap();
        for (clients, expected) in [
            ("https://swift.example.com", "https://swift.example.com"),
            ("https://swift.example.com/v1/AUTH%5Fa", "https://swift.example.com"),
            ("https://example.com/swift", "https://example.com/swift"),
            ("https://example.com/swift/v1/AUTH%5Fa", "https://example.com/swift"),
        ] {
            assert_eq!(sign(Some(clients)), format!("{expected}{path}"), "{clients}");
        }
    }

    /// Headers of a container or an account, and how often they were written.
    #[derive(Debug, Default)]
    struct Held {
        headers: HeaderMap,
        written: usize,
    }

    /// Signs everybody in, and holds what is written to this path.
    #[derive(Debug)]
    struct Holds(&'static str, Arc<Mutex<Held>>);

    #[async_trait]
    impl HttpService for Holds {
        async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
            let answer = http::Response::builder().header("x-auth-token", "t");
            let mut answer = answer.header("x-storage-url", "http://s/v1/A");
            if request.uri().path() == self.0 {
                let mut held = self.1.lock().unwrap();
                if request.method() == Method::POST {
                    held.headers.extend(request.headers().clone());
                    held.written += 1;
                }
                answer.headers_mut().unwrap().extend(held.headers.clone());
            }
            Ok(answer.body(Bytes::new().into()).unwrap())
        }
    }

    #[tokio::test]
    async fn a_new_key_leaves_the_old_one_good() {
        for (by_container, path, name) in [(true, "/v1/A/c", "container"), (false, "/v1/A", "account")] {
            let held = Arc::new(Mutex::new(Held::default()));
            let client = HttpClient::new(Holds(path, Arc::clone(&held)));
            let settings = SwiftSettings {
                temp_url_container_key: by_container,
                temp_url_methods: vec!["GET".to_owned()],
                ..SwiftSettings::new("http://s/auth", "c")
            };
            let line = Line::new(client.clone(), crate::swift::dialect::SWIFT);
            let calls = Calls {
                client: line.client().clone(),
                seen: Arc::clone(line.seen()),
                session: Session::new(client, settings.clone(), Version::V1),
                container: "c".to_owned(),
                segments: String::new(),
                info: OnceLock::new(),
            };
            let signs = |signer: &Signer| signer.sign("http://s/v1/A", None, "c", "a", SystemTime::UNIX_EPOCH);
            // Keys that are there after somebody came with one, and how often any were written.
            let come = async |key: &str, read_only: bool| {
                let settings = SwiftSettings { secret_key: Some(Secret(key.to_owned())), ..settings.clone() };
                let signer = prepare(&calls, &settings, read_only).await.unwrap();
                let expected = signs(&Signer::new(key, &[], None));
                assert!(signer.as_ref().is_none_or(|signer| signs(signer) == expected), "{key}");
                let held = held.lock().unwrap();
                let key = |number: &str| held.headers.get(format!("x-{name}-meta-temp-url-key{number}")).cloned();
                let text = [key(""), key("-2")].map(|key| key.map(|key| key.to_str().unwrap().to_owned()));
                (signer.is_some(), text.into_iter().flatten().collect::<Vec<_>>().join(" "), held.written)
            };
            assert_eq!(come("first", false).await, (true, "first".to_owned(), 1));
            assert_eq!(come("second", true).await, (false, "first".to_owned(), 1));
            assert_eq!(come("second", false).await, (true, "second first".to_owned(), 2));
            assert_eq!(come("first", false).await, (true, "second first".to_owned(), 2), "the second one signs, too");
            assert_eq!(come("third", false).await, (true, "third second".to_owned(), 3));
        }
    }

    #[test]
    fn each_key_is_another_one() {
        let (one, two) = (made_up().unwrap(), made_up().unwrap());
        assert_eq!((one.len(), one == two), (2 * KEY_BYTES, false));
    }
}
