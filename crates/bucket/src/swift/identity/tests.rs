use super::*;

fn settings(change: impl FnOnce(&mut SwiftSettings)) -> SwiftSettings {
    let mut settings = SwiftSettings::new("https://keystone:5000/v3", "images");
    settings.username = Some("me".to_owned());
    settings.password = Some(Secret("secret".to_owned()));
    change(&mut settings);
    settings
}

fn asked(version: Version, change: impl FnOnce(&mut SwiftSettings)) -> Value {
    question(version, &settings(change)).body.unwrap()["auth"].take()
}

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

#[test]
fn the_address_tells_the_version() {
    for (url, number, expected) in [
        ("https://a/v3", None, Some(Version::V3)),
        ("https://a/v2.0", None, Some(Version::V2)),
        ("https://a/auth/v1.0", None, Some(Version::V1)),
        ("https://v3.example.com/identity", None, None),
        ("https://a", Some(3), Some(Version::V3)),
        ("https://a/v3", Some(2), Some(Version::V2)),
        ("https://a/v1.0", Some(0), Some(Version::V1)),
        ("https://a", Some(4), None),
    ] {
        let mut settings = SwiftSettings::new(url, "c");
        settings.auth_version = number;
        assert_eq!(Version::of(&settings).ok(), expected, "{url} {number:?}");
    }
    let url = |url: &str| question(Version::V3, &SwiftSettings::new(url, "c")).url;
    assert_eq!(url("https://a:5000"), "https://a:5000/v3/auth/tokens");
    assert_eq!(url("https://a/identity/v3/"), "https://a/identity/v3/auth/tokens");
    assert_eq!(question(Version::V2, &SwiftSettings::new("https://a/v2.0/", "c")).url, "https://a/v2.0/tokens");
}

#[test]
fn users_say_who_they_are() {
    let user = json!({ "name": "me", "domain": { "name": "Default" }, "password": "secret" });
    let identity = json!({ "methods": ["password"], "password": { "user": user } });
    assert_eq!(asked(Version::V3, |_| {}), json!({ "identity": identity }));
    let scope = |change: fn(&mut SwiftSettings)| asked(Version::V3, change)["scope"].take();
    assert_eq!(scope(|settings| settings.tenant_id = some("1")), json!({ "project": { "id": "1" } }));
    let by_name = |settings: &mut SwiftSettings| {
        settings.tenant = some("p");
        settings.domain_id = some("d");
    };
    assert_eq!(scope(by_name), json!({ "project": { "name": "p", "domain": { "id": "d" } } }));
    let elsewhere = |settings: &mut SwiftSettings| {
        settings.tenant = some("p");
        settings.tenant_domain = some("other");
    };
    assert_eq!(scope(elsewhere), json!({ "project": { "name": "p", "domain": { "name": "other" } } }));
    let trusted = |settings: &mut SwiftSettings| {
        settings.tenant = some("p");
        settings.trust_id = some("t");
    };
    assert_eq!(scope(trusted), json!({ "OS-TRUST:trust": { "id": "t" } }));
    let old = asked(Version::V2, |settings| settings.tenant = some("p"));
    let credentials = json!({ "username": "me", "password": "secret" });
    assert_eq!(old, json!({ "passwordCredentials": credentials, "tenantName": "p" }));
}

#[test]
fn credentials_of_applications_have_their_project() {
    let by_id = asked(Version::V3, |settings| {
        settings.credential_id = some("id");
        settings.credential_name = some("name");
        settings.credential_secret = Some(Secret("hidden".to_owned()));
        settings.tenant = some("p");
    });
    let credential = json!({ "id": "id", "secret": "hidden" });
    let identity = json!({ "methods": ["application_credential"], "application_credential": credential });
    assert_eq!(by_id, json!({ "identity": identity }));
    let by_name = asked(Version::V3, |settings| {
        settings.credential_name = some("name");
        settings.credential_secret = Some(Secret("hidden".to_owned()));
        settings.domain = some("d");
    });
    let user = json!({ "name": "me", "domain": { "name": "d" } });
    let credential = json!({ "name": "name", "secret": "hidden", "user": user });
    assert_eq!(by_name["identity"]["application_credential"], credential);
    let token = asked(Version::V3, |settings| settings.token_id = Some(Secret("t".to_owned())));
    assert_eq!(token["identity"], json!({ "methods": ["token"], "token": { "id": "t" } }));
}

#[test]
fn the_catalogue_is_read() {
    let endpoint = |region: &str, interface: &str| json!({ "interface": interface, "region": region, "region_id": region, "url": format!("https://{region}/{interface}/v1/AUTH_p/") });
    let endpoints = [endpoint("one", "public"), endpoint("two", "internal"), endpoint("two", "public")];
    let until = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(600);
    let document = json!({ "token": { "expires_at": until.to_string(), "project": { "id": "p" }, "catalog": [
        { "type": "identity", "endpoints": [endpoint("zero", "public")] }, { "type": "object-store", "endpoints": endpoints },
    ] } });
    let mut headers = HeaderMap::new();
    headers.insert("x-subject-token", "token".parse().unwrap());
    let read = |document: &Value, change: fn(&mut SwiftSettings)| {
        answer(Version::V3, &settings(change), &headers, document.to_string().as_bytes())
    };
    let first = read(&document, |_| {}).unwrap();
    assert_eq!((first.token.as_str(), first.url.as_str()), ("token", "https://one/public/v1/AUTH_p"));
    assert_eq!(first.project.as_deref(), Some("p"));
    assert!(first.life > Duration::from_secs(590) && first.life <= Duration::from_secs(600));
    let internal = |settings: &mut SwiftSettings| settings.endpoint_type = super::super::EndpointType::Internal;
    assert_eq!(read(&document, internal).unwrap().url, "https://two/internal/v1/AUTH_p");
    let second = |settings: &mut SwiftSettings| settings.region = some("two");
    assert_eq!(read(&document, second).unwrap().url, "https://two/public/v1/AUTH_p");
    let third = |settings: &mut SwiftSettings| settings.region = some("three");
    assert_eq!(read(&document, third).unwrap_err(), Unusable::NoRegion("one, two".to_owned()));
    let both = |settings: &mut SwiftSettings| {
        settings.region = some("one");
        settings.endpoint_type = super::super::EndpointType::Internal;
    };
    assert_eq!(read(&document, both).unwrap_err(), Unusable::NoEndpoint("internal"));
    assert_eq!(read(&json!({ "token": {} }), |_| {}).unwrap_err(), Unusable::NoCatalogue);
    assert_eq!(read(&json!({ "token": { "catalog": [] } }), |_| {}).unwrap_err(), Unusable::NoService);
    assert!(matches!(read(&json!([]), |_| {}), Err(Unusable::Unclear(_))));
}

#[test]
fn older_answers_are_read() {
    let endpoint = json!({ "region": "one", "publicURL": "https://p/v1/A", "internalURL": "https://i/v1/A" });
    let access = json!({ "token": { "id": "t", "expires": "2000-01-01T00:00:00Z", "tenant": { "id": "p", "name": "n" } },
        "serviceCatalog": [{ "type": "object-store", "endpoints": [endpoint] }] });
    let document = json!({ "access": access }).to_string();
    let found = answer(Version::V2, &settings(|_| {}), &HeaderMap::new(), document.as_bytes()).unwrap();
    let expected =
        Answer { token: "t".to_owned(), url: "https://p/v1/A".to_owned(), life: Duration::ZERO, project: some("p") };
    assert_eq!(found, expected);
    let admin = settings(|settings| settings.endpoint_type = super::super::EndpointType::Admin);
    let none = answer(Version::V2, &admin, &HeaderMap::new(), document.as_bytes());
    assert_eq!(none.unwrap_err(), Unusable::NoEndpoint("admin"));
    let mut headers = HeaderMap::new();
    headers.insert("x-auth-token", "t".parse().unwrap());
    headers.insert("x-storage-url", "http://s/v1/A".parse().unwrap());
    headers.insert("x-auth-token-expires", "86399".parse().unwrap());
    let found = answer(Version::V1, &settings(|_| {}), &headers, b"").unwrap();
    assert_eq!((found.url.as_str(), found.life), ("http://s/v1/A", Duration::from_secs(86_399)));
}
