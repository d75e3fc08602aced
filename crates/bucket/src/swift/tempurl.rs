//! Addresses by which somebody without credentials can read an object for a while.

use super::SwiftSettings;
use super::calls::{Call, Calls, Target, failed, quoted};
use super::info::TempUrl;
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
        Self { key: hmac::Key::new(algorithm(allowed), key.as_bytes()), access_key }
    }

    /// An address below that of the account.
    pub(super) fn sign(
        &self,
        account: &str,
        project: Option<&str>,
        container: &str,
        name: &str,
        until: SystemTime,
    ) -> String {
        let expires = until.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let after_scheme = account.find("://").map_or(0, |at| at + 3);
        let path = account[after_scheme..].find('/').map_or("", |at| &account[after_scheme + at..]);
        let path = percent_decode_str(path).decode_utf8_lossy();
        let text = format!("GET\n{expires}\n{path}/{container}/{name}");
        let mut signature = HEXLOWER.encode(hmac::sign(&self.key, text.as_bytes()).as_ref());
        if let Some(access_key) = &self.access_key {
            signature = format!("{}%3A{}%3A{signature}", quoted(project.unwrap_or_default()), quoted(access_key));
        }
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
        (Some(key), _) => {
            set(calls, target, &key.0).await?;
            Ok(signer(&key.0))
        }
        (None, None) => {
            set(calls, target, &made_up()?).await?;
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

async fn set(calls: &Calls, target: Target<'_>, key: &str) -> Result<()> {
    let call = Call::new(Method::POST, target).header(&header(target, ""), key)?;
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
    fn each_key_is_another_one() {
        let (one, two) = (made_up().unwrap(), made_up().unwrap());
        assert_eq!((one.len(), one == two), (2 * KEY_BYTES, false));
    }
}
