//! `homeport credential-provider`: the kubelet's plug-in by which a pod pulls as its own ServiceAccount.
//!
//! The kubelet writes a `CredentialProviderRequest` to standard input and reads the response from standard output. The pod's
//! token is handed on as it is: the registry asks the cluster about it, so there is nothing to exchange and no network to reach.

use anyhow::{Context, bail, ensure};
use data_encoding::BASE64URL_NOPAD;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::Read;

/// A token has at most 16 KiB; annotations, which come along when the kubelet is told so, at most 256 KiB.
const REQUEST_BYTES_MAX: usize = 512 * 1024;
/// The kubelet sends ServiceAccount tokens in this version only.
const API_VERSION: &str = "credentialprovider.kubelet.k8s.io/v1";
const USER: &str = "token";
/// A name and a port of a registry are never longer.
const HOST_BYTES_MAX: usize = 261;
/// A pod with ten containers asks once, not ten times; a longer memory gains nothing.
const CACHE_SECONDS_MAX: i64 = 300;
/// A pull that begins with a remembered token has this much of its life left.
const MARGIN_SECONDS: i64 = 60;

pub(crate) fn run() -> anyhow::Result<()> {
    let mut request = Vec::new();
    let limit = REQUEST_BYTES_MAX as u64 + 1;
    std::io::stdin().lock().take(limit).read_to_end(&mut request).context("cannot read the request")?;
    let response = answer(&request, jiff::Timestamp::now().as_second())?;
    super::print(&response)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    api_version: String,
    kind: String,
    image: String,
    #[serde(default)]
    service_account_token: Option<String>,
}

/// The kubelet refuses a response with any other field.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Response<'a> {
    api_version: &'a str,
    kind: &'a str,
    cache_key_type: &'a str,
    cache_duration: String,
    auth: BTreeMap<&'a str, Login<'a>>,
}

#[derive(Serialize)]
struct Login<'a> {
    username: &'a str,
    password: &'a str,
}

fn answer(request: &[u8], now: i64) -> anyhow::Result<String> {
    let request = parse(request)?;
    let registry = registry(&request.image)?;
    let token = request.service_account_token.as_deref().filter(|token| !token.is_empty());
    let login = token.map(|token| (registry, Login { username: USER, password: token }));
    let response = Response {
        api_version: API_VERSION,
        kind: "CredentialProviderResponse",
        cache_key_type: "Registry",
        cache_duration: format!("{}s", token.map_or(0, |token| cache_seconds(token, now))),
        // Without a token the pull goes on, anonymously.
        auth: login.into_iter().collect(),
    };
    Ok(serde_json::to_string(&response)? + "\n")
}

fn parse(request: &[u8]) -> anyhow::Result<Request> {
    ensure!(!request.is_empty(), "no request on standard input; the kubelet runs this command");
    ensure!(request.len() <= REQUEST_BYTES_MAX, "the request is longer than {REQUEST_BYTES_MAX} bytes");
    // The text of a JSON error may quote the token; the place tells enough.
    let request: Request = serde_json::from_slice(request).map_err(|error| {
        anyhow::anyhow!("not a CredentialProviderRequest (line {}, column {})", error.line(), error.column())
    })?;
    if request.kind != "CredentialProviderRequest" || request.api_version != API_VERSION {
        bail!("not a CredentialProviderRequest of {API_VERSION}; set apiVersion to it in the kubelet's configuration");
    }
    Ok(request)
}

/// Host and port of an image's name, which the kubelet always sends in full. A host with anything else in it could be taken
/// for a pattern that sends the token elsewhere.
fn registry(image: &str) -> anyhow::Result<&str> {
    let host = image.split_once('/').map(|(host, _)| host).filter(|host| !host.is_empty());
    let Some(host) = host else { bail!("the image does not name its registry") };
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '[' | ']');
    ensure!(host.len() <= HOST_BYTES_MAX && host.chars().all(plain), "the image does not name a proper registry");
    Ok(host)
}

/// How long the kubelet may remember the token: never to its end, not at all when it does not tell its end.
fn cache_seconds(token: &str, now: i64) -> i64 {
    let left = expiry(token).map_or(0, |expiry| expiry.saturating_sub(now).saturating_sub(MARGIN_SECONDS));
    left.clamp(0, CACHE_SECONDS_MAX)
}

fn expiry(token: &str) -> Option<i64> {
    #[derive(Deserialize)]
    struct Claims {
        exp: i64,
    }
    let claims = token.split('.').nth(1)?;
    let claims = BASE64URL_NOPAD.decode(claims.as_bytes()).ok()?;
    serde_json::from_slice::<Claims>(&claims).ok().map(|claims| claims.exp)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    const NOW: i64 = 1_800_000_000;

    fn token(expires: i64) -> String {
        let claims = json!({"aud": ["registry"], "exp": expires, "sub": "system:serviceaccount:shop:web"});
        format!("eyJhbGciOiJSUzI1NiJ9.{}.c2ln", BASE64URL_NOPAD.encode(claims.to_string().as_bytes()))
    }

    fn request(image: &str, token: Option<&str>) -> Value {
        let mut request = json!({"kind": "CredentialProviderRequest", "apiVersion": API_VERSION, "image": image});
        if let Some(token) = token {
            request["serviceAccountToken"] = token.into();
            request["serviceAccountAnnotations"] = json!({"example.com/team": "shop"});
        }
        request
    }

    fn ask(request: &Value) -> anyhow::Result<Value> {
        Ok(serde_json::from_str(&answer(request.to_string().as_bytes(), NOW)?)?)
    }

    fn refusal(request: &[u8]) -> String {
        answer(request, NOW).expect_err("a refusal").to_string()
    }

    #[test]
    fn the_token_of_the_pod_is_the_password() {
        let token = token(NOW + 3600);
        let expected = |host: &str| {
            json!({
                "kind": "CredentialProviderResponse",
                "apiVersion": "credentialprovider.kubelet.k8s.io/v1",
                "cacheKeyType": "Registry",
                "cacheDuration": "300s",
                "auth": {host: {"username": "token", "password": token}},
            })
        };
        for (image, host) in [
            ("registry.example/shop/web", "registry.example"),
            ("registry.example:5000/shop/web", "registry.example:5000"),
            ("10.96.0.7:5000/shop/a/b/c", "10.96.0.7:5000"),
            ("[fd00::7]:5000/shop/web", "[fd00::7]:5000"),
        ] {
            assert_eq!(ask(&request(image, Some(&token))).unwrap(), expected(host), "{image}");
        }
    }

    #[test]
    fn without_a_token_the_pull_goes_on_anonymously() {
        for token in [None, Some("")] {
            let response = ask(&request("registry.example/shop/web", token)).unwrap();
            assert_eq!(response["auth"], json!({}));
            assert_eq!(response["cacheDuration"], "0s");
        }
    }

    #[test]
    fn a_token_is_remembered_for_less_than_its_life() {
        for (life, seconds) in
            [(86_400, 300), (361, 300), (360, 300), (359, 299), (61, 1), (60, 0), (10, 0), (-5, 0), (i64::MIN, 0)]
        {
            assert_eq!(cache_seconds(&token(NOW.saturating_add(life)), NOW), seconds, "{life}");
        }
        for odd in ["opaque", "a.b", "a.!!.c", "..", &format!("a.{}.c", BASE64URL_NOPAD.encode(b"{\"exp\":\"soon\"}"))]
        {
            assert_eq!(cache_seconds(odd, NOW), 0, "{odd}");
        }
    }

    #[test]
    fn an_image_without_a_proper_registry_gets_no_token() {
        let token = token(NOW + 3600);
        let long = format!("{}/app", "a".repeat(HOST_BYTES_MAX + 1));
        for image in ["", "alpine", "/shop/web", "*.example/shop/web", "a b/c", "user@host/c", "reg\u{440}y/c", &long] {
            let text = ask(&request(image, Some(&token))).expect_err(image).to_string();
            assert!(text.starts_with("the image does not name"), "{image}: {text}");
        }
    }

    #[test]
    fn what_is_no_request_is_refused_in_one_line_without_the_token() {
        let mut old = request("registry.example/shop/web", Some("a.b.c"));
        old["apiVersion"] = "credentialprovider.kubelet.k8s.io/v1beta1".into();
        let mut other = request("registry.example/shop/web", Some("a.b.c"));
        other["kind"] = "CredentialProviderResponse".into();
        for (body, part) in [
            (String::new(), "no request on standard input"),
            ("{".to_owned(), "line 1, column 1"),
            ("\"a.b.c\"".to_owned(), "not a CredentialProviderRequest (line 1"),
            (json!({"serviceAccountToken": {"a.b.c": 1}}).to_string(), "not a CredentialProviderRequest (line 1"),
            (old.to_string(), "credentialprovider.kubelet.k8s.io/v1;"),
            (other.to_string(), "not a CredentialProviderRequest of"),
            (" ".repeat(REQUEST_BYTES_MAX + 1), "longer than"),
        ] {
            let text = refusal(body.as_bytes());
            assert!(text.contains(part), "{text}");
            assert!(!text.contains("a.b.c") && !text.contains('\n'), "{text}");
        }
    }

    #[test]
    fn the_largest_request_of_a_kubelet_fits() {
        let mut request = request("registry.example/shop/web", Some(&"a".repeat(16 * 1024)));
        request["serviceAccountAnnotations"] = json!({"example.com/large": "x".repeat(256 * 1024)});
        assert_eq!(ask(&request).unwrap()["cacheDuration"], "0s");
    }
}
