use http::StatusCode;

use super::*;

fn list(query: &str) -> Result<ListOptions> {
    ListOptions::parse(query, Some("shop"))
}

#[test]
fn parameters_are_read() {
    let options = list("limit=5&continue=abc&labelSelector=a%3Db%2Cc&fieldSelector=tag%3Dv1&timeoutSeconds=7&watch=1&allowWatchBookmarks").unwrap();
    assert_eq!(
        (options.limit, options.proceed.as_deref(), options.timeout),
        (Some(5), Some("abc"), Some(Duration::from_secs(7)))
    );
    assert!(options.watch && options.bookmarks);
    assert_eq!(options.selectors.fields.tag(), Some("v1"));
    let bare = list("limit=0&watch=false&resourceVersion=&continue=&timeoutSeconds=-4&unknown=1").unwrap();
    assert_eq!((bare.limit, bare.proceed, bare.timeout, bare.since), (None, None, None, Since::Unset));
    assert!(!bare.watch && bare.selectors.fields == FieldSelector::default());
    assert_eq!(list("resourceVersion=0").unwrap().since, Since::Any);
    assert!(matches!(list("resourceVersion=77").unwrap().since, Since::At(_)));
}

#[test]
fn what_makes_no_sense_is_refused() {
    for bad in [
        "limit=x",
        "timeoutSeconds=1s",
        "resourceVersion=abc",
        "resourceVersion=-1",
        "resourceVersionMatch=Exact",
        "resourceVersionMatch=Near&resourceVersion=5",
        "resourceVersionMatch=Exact&resourceVersion=0",
        "resourceVersionMatch=NotOlderThan&resourceVersion=5&continue=abc",
        "resourceVersion=5&continue=abc",
        "sendInitialEvents=true",
        "watch=true&sendInitialEvents=true",
        "watch=true&sendInitialEvents=true&resourceVersionMatch=Exact",
        "watch=true&resourceVersionMatch=NotOlderThan",
        "labelSelector=a%3D%3D%3Db",
        "fieldSelector=spec.x%3Db",
        &"a=b&".repeat(200),
    ] {
        let refused = list(bad).map(|_| ()).unwrap_err();
        assert_eq!((refused.status(), refused.reason()), (StatusCode::BAD_REQUEST, "BadRequest"), "{bad}");
    }
    for good in [
        "resourceVersionMatch=NotOlderThan&resourceVersion=0",
        "resourceVersionMatch=Exact&resourceVersion=5",
        "watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true",
        "watch=true&sendInitialEvents=false&resourceVersionMatch=NotOlderThan&resourceVersion=5",
        "resourceVersion=0&continue=abc",
    ] {
        assert!(list(good).is_ok(), "{good}");
    }
}

#[test]
fn rows_carry_what_is_asked() {
    for (query, expected) in [
        ("", "Metadata"),
        ("includeObject=", "Metadata"),
        ("includeObject=None", "None"),
        ("includeObject=Object", "Object"),
    ] {
        assert_eq!(format!("{:?}", IncludeObject::parse(query).unwrap()), expected);
    }
    assert_eq!(IncludeObject::parse("includeObject=none").unwrap_err().status(), StatusCode::BAD_REQUEST);
}

#[test]
fn deletions() {
    let body = |text: &str| DeleteOptions::parse("dryRun=All", text.as_bytes());
    assert_eq!(body("").unwrap(), DeleteOptions { dry_run: true, ..DeleteOptions::default() });
    let plain = r#"{"kind":"DeleteOptions","apiVersion":"v1","propagationPolicy":"Background","gracePeriodSeconds":30,"unknown":{}}"#;
    assert_eq!(body(plain).unwrap(), DeleteOptions::default(), "the body counts, not the query");
    let all = r#"{"apiVersion":"payload-registry.deckhouse.io/v1alpha1","preconditions":{"uid":"u","resourceVersion":"5"},"dryRun":["All"]}"#;
    let expected = DeleteOptions { uid: Some("u".into()), version: Some("5".into()), dry_run: true };
    assert_eq!(body(all).unwrap(), expected);
    assert_eq!(body("null").map_err(|error| error.status()), Err(StatusCode::BAD_REQUEST));
    for (bad, status) in [
        ("{", StatusCode::BAD_REQUEST),
        ("\"x\"", StatusCode::BAD_REQUEST),
        ("[]", StatusCode::BAD_REQUEST),
        (r#"["DeleteOptions"]"#, StatusCode::BAD_REQUEST),
        (r#"{"preconditions":["u","5"]}"#, StatusCode::BAD_REQUEST),
        (r#"{"kind":"Pod"}"#, StatusCode::BAD_REQUEST),
        (r#"{"preconditions":"x"}"#, StatusCode::BAD_REQUEST),
        (r#"{"dryRun":["Some"]}"#, StatusCode::UNPROCESSABLE_ENTITY),
        (r#"{"propagationPolicy":"Orphan"}"#, StatusCode::UNPROCESSABLE_ENTITY),
        (r#"{"orphanDependents":true}"#, StatusCode::UNPROCESSABLE_ENTITY),
        (r#"{"propagationPolicy":"Later"}"#, StatusCode::UNPROCESSABLE_ENTITY),
        (r#"{"propagationPolicy":"Orphan","orphanDependents":true}"#, StatusCode::UNPROCESSABLE_ENTITY),
    ] {
        assert_eq!(body(bad).unwrap_err().status(), status, "{bad}");
    }
    assert_eq!(body(r#"{"orphanDependents":false}"#).unwrap(), DeleteOptions::default());
    assert!(DeleteOptions::parse("propagationPolicy=Orphan", b"").is_err());
    assert_eq!(DeleteOptions::parse("dryRun=x", b"").unwrap_err().status(), StatusCode::UNPROCESSABLE_ENTITY);
}
