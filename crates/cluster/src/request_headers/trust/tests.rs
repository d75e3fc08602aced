use access::Source;
use net::ClientCertificate;

use super::*;
use crate::request_headers::tests::Authority;

const NAME: &str = "front-proxy-client";

/// As kube-apiserver writes it.
fn data(authority: &Authority) -> Data {
    Data {
        authorities: authority.pem(),
        allowed_names: format!(r#"["{NAME}"]"#),
        users: r#"["X-Remote-User"]"#.into(),
        uids: r#"["X-Remote-Uid"]"#.into(),
        groups: r#"["X-Remote-Group"]"#.into(),
        extra_prefixes: r#"["X-Remote-Extra-"]"#.into(),
    }
}

/// The front proxy, and who trusts it.
fn world() -> (Authority, ClientCertificate, Trust) {
    let authority = Authority::new();
    let proxy = authority.issue(Some(NAME), 2100);
    let trust = Trust::read(&data(&authority)).unwrap().unwrap();
    (authority, proxy, trust)
}

fn headers<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    headers
}

fn groups(caller: &Caller) -> Vec<&str> {
    caller.groups().iter().map(|group| &**group).collect()
}

#[test]
fn the_proxy_names_a_whole_caller() {
    let (_, proxy, trust) = world();
    let headers = headers([
        ("X-Remote-User", "b\u{f6}b"),
        ("x-remote-uid", "7"),
        ("X-Remote-Group", "devs"),
        ("X-Remote-Group", ""),
        ("X-REMOTE-GROUP", "ops"),
        ("X-Remote-Extra-Scopes", "a"),
        ("X-Remote-Extra-Scopes", ""),
        ("X-Remote-Extra-Example.com%2f%41Cme%2FT%C3%96n", "b"),
        ("X-Remote-Extra-100%-sure", "c"),
        ("X-Remote-Extra-%ff", "d"),
        ("X-Remote-Extraordinary", "e"),
        ("Authorization", "Bearer x"),
    ]);
    let caller = trust.caller(Some(&proxy), &headers).unwrap().unwrap();
    assert_eq!((caller.name(), caller.uid(), caller.source()), (Some("b\u{f6}b"), Some("7"), Source::Cluster));
    assert_eq!(groups(&caller), ["devs", "ops", "system:authenticated"]);
    let extra =
        [("scopes", &["a", ""][..]), ("example.com/Acme/t\u{d6}n", &["b"]), ("100%-sure", &["c"]), ("%ff", &["d"])];
    let of = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect();
    assert_eq!(*caller.extra(), extra.map(|(key, values)| (key.to_owned(), of(values))).into());
}

#[test]
fn headers_of_anybody_else_are_refused() {
    let (authority, proxy, trust) = world();
    let named = headers([("X-Remote-User", "root"), ("X-Remote-Group", "system:masters")]);
    let stranger = Authority::new();
    assert!(trust.caller(Some(&proxy), &named).is_ok());
    for (certificate, expected) in [
        (None, Forged::NoCertificate),
        (Some(stranger.issue(Some(NAME), 2100)), Forged::Unknown),
        (Some(authority.issue(Some(NAME), 2020)), Forged::Unknown),
        (Some(authority.issue(Some("kubelet"), 2100)), Forged::Name),
        (Some(authority.issue(Some("Front-Proxy-Client"), 2100)), Forged::Name),
        (Some(authority.issue(None, 2100)), Forged::Name),
        // What the names seem to say counts for nothing.
        (Some(ClientCertificate { verified: true, ..stranger.issue(Some(NAME), 2100) }), Forged::Unknown),
        (Some(ClientCertificate { der: Vec::new(), ..proxy.clone() }), Forged::Unknown),
    ] {
        assert_eq!(trust.caller(certificate.as_ref(), &named), Err(expected));
        // Any one of them is the proxy's alone, also with no value.
        for header in ["X-Remote-User", "X-Remote-Uid", "X-Remote-Group", "X-Remote-Extra-Scopes"] {
            assert_eq!(trust.caller(certificate.as_ref(), &headers([(header, "")])), Err(expected), "{header}");
        }
        let others = headers([("Authorization", "Bearer x"), ("X-Remote-Address", "::1"), ("X-User", "root")]);
        assert_eq!(trust.caller(certificate.as_ref(), &others), Ok(None));
    }
}

#[test]
fn groups_are_completed_and_nobody_is_nobody() {
    let (_, proxy, trust) = world();
    let caller = |user: &str, groups: &[&str]| {
        let groups = groups.iter().map(|group| ("X-Remote-Group", *group));
        trust.caller(Some(&proxy), &headers([("X-Remote-User", user)].into_iter().chain(groups))).unwrap()
    };
    for (given, expected) in [
        (&[][..], &["system:authenticated"][..]),
        (&["system:masters"], &["system:masters", "system:authenticated"]),
        (&["system:authenticated", "a"], &["system:authenticated", "a"]),
        (&["system:unauthenticated"], &["system:unauthenticated"]),
    ] {
        assert_eq!(groups(&caller("bob", given).unwrap()), expected);
    }
    assert_eq!(caller("system:anonymous", &["system:unauthenticated"]), Some(Caller::anonymous()));
    assert_eq!(caller("system:anonymous", &["system:masters"]), Some(Caller::anonymous()));
    assert_eq!(caller("", &["system:masters"]), None, "groups of nobody");
}

#[test]
fn headers_are_the_ones_of_the_config_map() {
    let authority = Authority::new();
    let (proxy, named) = (authority.issue(None, 2100), authority.issue(Some("b"), 2100));
    let trust = |change: fn(&mut Data)| {
        let mut data = data(&authority);
        change(&mut data);
        Trust::read(&data).unwrap().unwrap()
    };
    let renamed = trust(|data| {
        data.allowed_names = String::new();
        data.users = r#"[" X-Who ", "x who", "X-Login"]"#.into();
        data.uids = "null".into();
        data.groups = r#"["X-Role", "X-Team"]"#.into();
        data.extra_prefixes = r#"["", " X-More-", "X-Also-"]"#.into();
    });
    let pairs =
        [("x-login", "bob"), ("x-who", ""), ("x-team", "t"), ("x-role", "r"), ("x-also-k", "2"), ("x-more-k", "1")];
    let caller = renamed.caller(Some(&proxy), &headers(pairs)).unwrap().unwrap();
    assert_eq!((caller.name(), caller.uid()), (Some("bob"), None));
    assert_eq!(groups(&caller), ["r", "t", "system:authenticated"]);
    assert_eq!(caller.extra()["k"], ["1", "2"]);
    let first = renamed.caller(Some(&proxy), &headers([("x-login", "bob"), ("x-who", "eve")])).unwrap().unwrap();
    assert_eq!(first.name(), Some("eve"));
    assert_eq!(renamed.caller(None, &headers([("x-remote-user", "root")])), Ok(None));
    assert_eq!(renamed.caller(None, &headers([("x-more-", "")])), Err(Forged::NoCertificate));

    let several = trust(|data| data.allowed_names = r#"["a", "b"]"#.into());
    let bob = headers([("x-remote-user", "bob")]);
    assert!(several.caller(Some(&named), &bob).is_ok());
    assert_eq!(several.caller(Some(&proxy), &bob), Err(Forged::Name));
    let nobody = trust(|data| data.users = String::new());
    assert_eq!(nobody.caller(Some(&authority.issue(Some(NAME), 2100)), &headers([("x-remote-group", "g")])), Ok(None));
}

#[test]
fn what_a_caller_may_bring_along_is_bounded() {
    let (_, proxy, trust) = world();
    let with = |count: usize, name: &'static str| {
        let many = (0..count).map(|_| (name, "v"));
        trust.caller(Some(&proxy), &headers([("X-Remote-User", "bob")].into_iter().chain(many)))
    };
    for name in ["X-Remote-Group", "X-Remote-Extra-K"] {
        assert!(with(VALUES_MAX, name).is_ok());
        assert_eq!(with(VALUES_MAX + 1, name), Err(Forged::TooMany));
    }
    for name in ["X-Remote-User", "X-Remote-Uid", "X-Remote-Group", "X-Remote-Extra-K"] {
        let mut headers = headers([("X-Remote-User", "bob")]);
        headers.insert(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_bytes(b"\xff").unwrap());
        assert_eq!(trust.caller(Some(&proxy), &headers), Err(Forged::Text), "{name}");
    }
}

#[test]
fn a_config_map_that_cannot_be_used_is_told_from_one_that_names_nobody() {
    let authority = Authority::new();
    let read = |change: fn(&mut Data)| {
        let mut data = data(&authority);
        change(&mut data);
        Trust::read(&data)
    };
    assert_eq!(read(|data| data.authorities = " \n".into()).unwrap(), None);
    assert!(matches!(read(|data| data.authorities = "x".into()), Err(Unusable::Authorities(_))));
    let odd: [fn(&mut Data); 5] = [
        |data| data.allowed_names = "x".into(),
        |data| data.users = "{}".into(),
        |data| data.uids = r#""X-Remote-Uid""#.into(),
        |data| data.groups = "[1]".into(),
        |data| data.extra_prefixes = "[".into(),
    ];
    for change in odd {
        let error = read(change).unwrap_err();
        assert!(error.to_string().starts_with("requestheader-"), "{error}");
        assert!(matches!(error, Unusable::List { .. }));
    }
}
