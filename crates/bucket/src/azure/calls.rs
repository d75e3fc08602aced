//! Requests that the client library does not know.

use super::place::{Place, QUERY};
use super::sas::{self, Delegation, Signer};
use crate::answers::whole;
use crate::attempts::{Failed, attempts};
use crate::error::{Said, all_of, one_line};
use crate::xml;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use futures_util::stream::{StreamExt, TryStreamExt};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request};
use object_store::azure::{AzureCredential, AzureCredentialProvider};
use object_store::client::{HttpClient, HttpRequestBody};
use object_store::{Error, Result};
use percent_encoding::utf8_percent_encode;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use uuid::Uuid;

/// The name of the store in errors.
pub(super) const STORE: &str = "Azure";

/// How long the service itself may read the source of a copy.
const SOURCE_TIME: Duration = Duration::from_secs(3600);
/// How long a key that signs for a user is asked for, and how much of it must be left to be used again.
const DELEGATION_TIME: Duration = Duration::from_secs(12 * 3600);
const DELEGATION_LEFT: Duration = Duration::from_secs(2 * 3600);
/// How long nothing is signed after the service gave no key to sign with.
const UNSIGNED_TIME: Duration = Duration::from_secs(300);
/// Longest answer that is read, in bytes.
const ANSWER_MAX: usize = 1 << 20;
/// Clocks may differ by so much.
const CLOCKS: Duration = Duration::from_secs(60);
/// Parts of a copy under way at once.
const COPIES_MAX: usize = 16;
/// Parts of a copy at most.
const COPY_PARTS_MAX: u64 = 10_000;
/// How often and how long a copy in one piece is waited for.
const COPY_LOOKS_MAX: u32 = 50;
const COPY_PAUSE: Duration = Duration::from_millis(100);

/// What sends them.
#[derive(Debug)]
pub(super) struct Calls {
    /// Signs by itself.
    pub(super) client: HttpClient,
    pub(super) credentials: AzureCredentialProvider,
    /// The account's key, if we have it.
    pub(super) key: Option<crate::secret::Secret>,
    pub(super) place: Arc<Place>,
    pub(super) part: u64,
    /// Signs for a user. One request at a time asks for it.
    pub(super) delegation: tokio::sync::Mutex<Delegated>,
}

/// Whether addresses can be signed for a user.
#[derive(Debug, Default)]
pub(super) enum Delegated {
    #[default]
    Unknown,
    /// By this key.
    Key(String, Delegation),
    /// The service gave none; it is not asked before then.
    None(Instant),
}

/// A request about one blob.
struct Call<'a> {
    method: Method,
    url: String,
    headers: HeaderMap,
    body: Bytes,
    /// What the headers have of secrets is not told.
    is_secret: bool,
    key: &'a str,
}

/// What came back.
struct Answer {
    headers: HeaderMap,
    text: String,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

fn failed(text: impl Into<String>) -> Error {
    Error::Generic { store: STORE, source: text.into().into() }
}

fn put(headers: &mut HeaderMap, name: &'static str, value: &str) -> Result<()> {
    let value = HeaderValue::from_str(value).map_err(|error| failed(error.to_string()))?;
    headers.insert(HeaderName::from_static(name), value);
    Ok(())
}

impl<'a> Call<'a> {
    fn new(method: Method, url: String, key: &'a str) -> Self {
        Self { method, url, headers: HeaderMap::new(), body: Bytes::new(), is_secret: false, key }
    }
}

impl Calls {
    fn call<'a>(&self, method: Method, key: &'a str, query: &[(&str, &str)]) -> Call<'a> {
        let pairs: Vec<String> =
            query.iter().map(|(name, value)| format!("{name}={}", utf8_percent_encode(value, QUERY))).collect();
        let question = if pairs.is_empty() { "" } else { "?" };
        Call::new(method, format!("{}{question}{}", self.place.blob(key), pairs.join("&")), key)
    }

    async fn attempt(&self, call: &Call<'_>) -> Result<Answer, Failed> {
        let mut request = Request::builder().method(call.method.clone()).uri(&call.url);
        if let Some(headers) = request.headers_mut() {
            headers.extend(call.headers.clone());
            headers.insert(http::header::CONTENT_LENGTH, HeaderValue::from(call.body.len()));
        }
        let request = request.body(HttpRequestBody::from(call.body.clone()));
        let request = request.map_err(|error| Failed::last(failed(error.to_string())))?;
        let again = |error: object_store::client::HttpError| Failed::of(&error, failed(all_of(&error)));
        let answer = self.client.execute(request).await.map_err(again)?;
        let (status, headers) = (answer.status(), answer.headers().clone());
        let body = whole(STORE, answer.into_body(), ANSWER_MAX).await.map_err(Failed::again)?;
        let text = String::from_utf8_lossy(&body).into_owned();
        if status.is_success() {
            return Ok(Answer { headers, text });
        }
        let code = xml::texts(&text, "Code").next().unwrap_or_default();
        // What it says of a wrong request may repeat the request.
        let text = if call.is_secret { format!("<Code>{code}</Code>") } else { one_line(&text) };
        let error = Said { status: status.as_u16(), code: "", text }.into_error(STORE);
        Err(Failed { error, may_help: status.is_server_error() || matches!(status.as_u16(), 408 | 429) })
    }

    async fn send(&self, call: Call<'_>) -> Result<Answer> {
        attempts(|| self.attempt(&call)).await.inspect_err(|error| {
            tracing::debug!(%error, key = call.key, method = %call.method, "refused");
        })
    }

    /// Removes the blob that was looked at, and no other that has taken its place.
    pub(super) async fn delete_same(&self, key: &str, mark: &str) -> Result<()> {
        let mut call = self.call(Method::DELETE, key, &[]);
        put(&mut call.headers, "x-ms-delete-snapshots", "include")?;
        put(&mut call.headers, "if-match", mark)?;
        self.send(call).await.map(drop)
    }

    /// Removes one blob; with snapshots that somebody made of it, since it would stay otherwise.
    pub(super) async fn delete(&self, key: &str) -> Result<()> {
        let mut call = self.call(Method::DELETE, key, &[]);
        put(&mut call.headers, "x-ms-delete-snapshots", "include")?;
        self.send(call).await.map(drop)
    }

    /// Length of a blob.
    pub(super) async fn length(&self, key: &str) -> Result<u64> {
        self.look(key).await.map(|(length, _)| length)
    }

    /// Length of a blob, and what tells it from any other in its place.
    pub(super) async fn look(&self, key: &str) -> Result<(u64, String)> {
        let answer = self.send(self.call(Method::HEAD, key, &[])).await?;
        let length = answer.header("content-length").parse().map_err(|_| failed("a blob without length"))?;
        Ok((length, answer.header("etag").to_owned()))
    }

    /// The headers by which the service itself can read a blob.
    async fn source(&self, key: &str) -> Result<HeaderMap> {
        let credential = self.credentials.get_credential().await?;
        let mut headers = HeaderMap::new();
        let account = &self.place.service;
        let address = match &*credential {
            AzureCredential::AccessKey(_) => self.signer(None)?.sign(&self.place, account, key, SOURCE_TIME),
            AzureCredential::BearerToken(token) => {
                put(&mut headers, "x-ms-copy-source-authorization", &format!("Bearer {token}"))?;
                self.place.real_blob(account, key)
            }
            AzureCredential::SASToken(pairs) => {
                let pairs = pairs.iter().map(|(name, value)| format!("{name}={}", utf8_percent_encode(value, QUERY)));
                format!("{}?{}", self.place.real_blob(account, key), pairs.collect::<Vec<_>>().join("&"))
            }
        };
        put(&mut headers, "x-ms-copy-source", &address)?;
        Ok(headers)
    }

    /// Copies by parts, so that nothing is seen before the end.
    pub(super) async fn copy(&self, from: &str, to: &str, size: u64) -> Result<()> {
        let source = self.source(from).await?;
        let source = &source;
        let copies = copy_ranges(size, self.part).into_iter().map(|(first, last)| async move {
            let id = block_id();
            let mut call = self.call(Method::PUT, to, &[("comp", "block"), ("blockid", &id)]);
            call.headers = source.clone();
            call.is_secret = true;
            put(&mut call.headers, "x-ms-source-range", &format!("bytes={first}-{last}"))?;
            self.send(call).await.map(|_| id)
        });
        let blocks: Vec<String> = futures_util::stream::iter(copies).buffered(COPIES_MAX).try_collect().await?;
        let blocks: String = blocks.iter().map(|id| format!("<Uncommitted>{id}</Uncommitted>")).collect();
        let list = format!("<?xml version=\"1.0\" encoding=\"utf-8\"?><BlockList>{blocks}</BlockList>");
        let mut call = self.call(Method::PUT, to, &[("comp", "blocklist")]);
        call.body = list.into();
        match self.send(call).await {
            // An attempt before has done it, or another copy of the same.
            Err(error) if is_code(&error, "InvalidBlockList") && self.length(to).await? == size => Ok(()),
            other => other.map(drop),
        }
    }

    /// Replaces a blob that old registries appended to by one of its own kind, since no other may take its place.
    pub(super) async fn replace_appended(
        &self,
        key: &str,
        beside: &str,
        data: Bytes,
        headers: HeaderMap,
    ) -> Result<()> {
        let mut call = self.call(Method::PUT, beside, &[]);
        call.headers = headers;
        put(&mut call.headers, "x-ms-blob-type", "AppendBlob")?;
        self.send(call).await?;
        if !data.is_empty() {
            let mut call = self.call(Method::PUT, beside, &[("comp", "appendblock")]);
            // A second attempt appends nothing twice.
            put(&mut call.headers, "x-ms-blob-condition-appendpos", "0")?;
            call.body = data.clone();
            match self.send(call).await {
                Err(error) if is_code(&error, "AppendPositionConditionNotMet") => {
                    if self.length(beside).await? != data.len() as u64 {
                        return Err(error);
                    }
                }
                other => drop(other?),
            }
        }
        self.copy_whole(beside, key).await?;
        self.delete(beside).await
    }

    /// Copies in one piece, and waits until that is done.
    async fn copy_whole(&self, from: &str, to: &str) -> Result<()> {
        let mut call = self.call(Method::PUT, to, &[]);
        call.headers = self.source(from).await?;
        // Within one account whoever may ask may read.
        call.headers.remove("x-ms-copy-source-authorization");
        call.is_secret = true;
        let mut answer = self.send(call).await?;
        for _ in 0..COPY_LOOKS_MAX {
            match answer.header("x-ms-copy-status") {
                "success" => return Ok(()),
                "pending" => tokio::time::sleep(COPY_PAUSE).await,
                other => return Err(failed(format!("a copy has ended as {other}"))),
            }
            answer = self.send(self.call(Method::HEAD, to, &[])).await?;
        }
        Err(failed("a copy does not end"))
    }

    fn signer(&self, delegation: Option<(String, Delegation)>) -> Result<Signer> {
        let unusable = || failed("the key that signs addresses is not in base64");
        match (delegation, &self.key) {
            (Some((key, delegation)), _) => Signer::new(&key, Some(delegation)).ok_or_else(unusable),
            (None, Some(key)) => Signer::new(&key.0, None).ok_or_else(unusable),
            (None, None) => Err(failed("there is no key to sign addresses with")),
        }
    }

    /// An address by which somebody without credentials can read a blob.
    pub(super) async fn signed(&self, key: &str, ttl: Duration) -> Result<Option<String>> {
        let credential = self.credentials.get_credential().await?;
        let delegation = match &*credential {
            AzureCredential::AccessKey(_) => None,
            AzureCredential::BearerToken(_) => match self.delegation(ttl).await {
                Some(delegation) => Some(delegation),
                None => return Ok(None),
            },
            // It may write, so it is not given away.
            AzureCredential::SASToken(_) => return Ok(None),
        };
        Ok(Some(self.signer(delegation)?.sign(&self.place, &self.place.clients, key, ttl)))
    }

    /// A key that signs for a user; `None`: there is none now, so that bytes pass through.
    async fn delegation(&self, ttl: Duration) -> Option<(String, Delegation)> {
        let mut held = self.delegation.lock().await;
        match &*held {
            Delegated::Key(key, delegation) if sas::until(&delegation.expiry) > ttl.max(DELEGATION_LEFT) => {
                return Some((key.clone(), delegation.clone()));
            }
            Delegated::None(until) if Instant::now() < *until => return None,
            _ => {}
        }
        match self.fetch_delegation(ttl).await {
            Ok((key, delegation)) => {
                *held = Delegated::Key(key.clone(), delegation.clone());
                Some((key, delegation))
            }
            Err(error) => {
                tracing::warn!(%error, "nothing can be signed: blobs pass through for a while instead of redirects");
                *held = Delegated::None(Instant::now() + UNSIGNED_TIME);
                None
            }
        }
    }

    async fn fetch_delegation(&self, ttl: Duration) -> Result<(String, Delegation)> {
        let (start, expiry) = (SystemTime::now() - CLOCKS, SystemTime::now() + DELEGATION_TIME.max(ttl));
        let url = format!("{}/?restype=service&comp=userdelegationkey", self.place.service);
        let mut call = Call::new(Method::POST, url, "userdelegationkey");
        call.body = format!(
            "<?xml version=\"1.0\" encoding=\"utf-8\"?><KeyInfo><Start>{}</Start><Expiry>{}</Expiry></KeyInfo>",
            sas::time(start),
            sas::time(expiry)
        )
        .into();
        let answer = self.send(call).await?;
        let text = |name| xml::texts(&answer.text, name).next();
        let read = || {
            let delegation = Delegation {
                object: text("SignedOid")?,
                tenant: text("SignedTid")?,
                start: text("SignedStart")?,
                expiry: text("SignedExpiry")?,
                service: text("SignedService")?,
                version: text("SignedVersion")?,
            };
            Some((text("Value")?, delegation))
        };
        read().ok_or_else(|| failed("a key for signatures that cannot be read"))
    }
}

/// The service has said this.
pub(super) fn is_code(error: &Error, code: &str) -> bool {
    crate::error::code(&error.to_string()) == Some(code)
}

/// Of the same length as the client library's: all of one blob must be.
fn block_id() -> String {
    BASE64_STANDARD.encode(Uuid::new_v4().simple().to_string())
}

/// First and last byte of each part; parts grow so that they are not too many.
fn copy_ranges(size: u64, part: u64) -> Vec<(u64, u64)> {
    let part = part.max(size.div_ceil(COPY_PARTS_MAX)).max(1);
    (0..size.div_ceil(part)).map(|index| (index * part, ((index + 1) * part).min(size) - 1)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::azure::AzureSettings;
    use crate::testing;
    use object_store::StaticCredentialProvider;
    use proptest::prelude::*;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    /// What an application has that a directory has given a token, and that may sign when `may` says so.
    fn of_an_application(may: &Arc<AtomicBool>, asked: &Arc<AtomicUsize>) -> Calls {
        let (may, asked) = (Arc::clone(may), Arc::clone(asked));
        let client = testing::service(move |request| {
            assert_eq!(request.uri().query(), Some("restype=service&comp=userdelegationkey"));
            asked.fetch_add(1, Ordering::SeqCst);
            if !may.load(Ordering::SeqCst) {
                return (403, "<Error><Code>AuthorizationPermissionMismatch</Code></Error>".to_owned());
            }
            let end = sas::time(SystemTime::now() + DELEGATION_TIME);
            let key = format!(
                "<UserDelegationKey><SignedOid>o</SignedOid><SignedTid>t</SignedTid><SignedStart>{end}</SignedStart>\
                 <SignedExpiry>{end}</SignedExpiry><SignedService>b</SignedService>\
                 <SignedVersion>2020-12-06</SignedVersion><Value>a2V5</Value></UserDelegationKey>"
            );
            (200, key)
        });
        Calls {
            client,
            credentials: Arc::new(StaticCredentialProvider::new(AzureCredential::BearerToken("token".to_owned()))),
            key: None,
            place: Arc::new(Place::new(&AzureSettings::new("acc", "images")).unwrap()),
            part: 1 << 20,
            delegation: tokio::sync::Mutex::default(),
        }
    }

    #[tokio::test]
    async fn who_gets_no_key_to_sign_with_signs_nothing_for_a_while() {
        let (may, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let calls = of_an_application(&may, &asked);
        let sign = async || {
            let signed = (0..8).map(|_| calls.signed("a/b", Duration::from_secs(60)));
            futures_util::future::try_join_all(signed).await.unwrap()
        };
        for _ in 0..2 {
            assert!(sign().await.iter().all(Option::is_none), "bytes pass through");
        }
        assert_eq!(asked.load(Ordering::SeqCst), 1, "and nobody asks for each blob");
        may.store(true, Ordering::SeqCst);
        assert!(sign().await.iter().all(Option::is_none));
        match &mut *calls.delegation.lock().await {
            Delegated::None(until) => {
                assert!(*until > Instant::now() + UNSIGNED_TIME / 2);
                *until = Instant::now();
            }
            other => panic!("{other:?}"),
        }
        let signed = sign().await;
        assert!(signed.iter().flatten().all(|url| url.contains("&skoid=o&") && url.contains("&sig=")), "{signed:?}");
        assert_eq!((signed.iter().flatten().count(), asked.load(Ordering::SeqCst)), (8, 2));
    }

    proptest! {
        #[test]
        fn ranges_cover_all_bytes_once(size in 0..(1_u64 << 42), part in 0..(1_u64 << 31)) {
            let ranges = copy_ranges(size, part.max(1 << 20));
            prop_assert!(ranges.len() as u64 <= COPY_PARTS_MAX);
            prop_assert_eq!(ranges.first().map_or(0, |range| range.0), 0);
            prop_assert_eq!(ranges.last().map_or(0, |range| range.1 + 1), size);
            prop_assert!(ranges.windows(2).all(|pair| pair[0].1 + 1 == pair[1].0));
        }
    }

    #[test]
    fn blocks_have_names_as_long_as_the_librarys() {
        let theirs = BASE64_STANDARD.encode(format!("{:032x}", 7));
        assert_eq!(block_id().len(), theirs.len());
    }
}
