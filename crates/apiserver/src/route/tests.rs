use proptest::prelude::*;

use super::*;

fn tags(namespace: Option<&'static str>, name: Option<&'static str>) -> Route<'static> {
    Route::Tags { namespace: namespace.map(Cow::Borrowed), name: name.map(Cow::Borrowed) }
}

#[test]
fn paths_and_what_they_mean() {
    const V: &str = "/apis/payload-registry.deckhouse.io/v1alpha1";
    let at = |rest: &str| format!("{V}{rest}");
    for (path, expected) in [
        ("/".to_owned(), Some(Route::Root)),
        ("/livez".to_owned(), Some(Route::Alive)),
        ("/healthz/".to_owned(), Some(Route::Alive)),
        ("/readyz".to_owned(), Some(Route::Ready)),
        ("/version".to_owned(), Some(Route::Version)),
        ("/api".to_owned(), Some(Route::Core)),
        ("/api/v1".to_owned(), None),
        ("/apis".to_owned(), Some(Route::Groups)),
        ("/apis/".to_owned(), Some(Route::Groups)),
        ("/apis/payload-registry.deckhouse.io".to_owned(), Some(Route::Group)),
        ("/apis/apps".to_owned(), None),
        (at(""), Some(Route::Resources)),
        (at("/"), Some(Route::Resources)),
        ("/apis/payload-registry.deckhouse.io/v1".to_owned(), None),
        ("/openapi/v2".to_owned(), Some(Route::OpenApiV2)),
        ("/openapi/v3".to_owned(), Some(Route::OpenApiV3)),
        (format!("/openapi/v3{V}"), Some(Route::OpenApiV3Group)),
        ("/openapi/v3/apis/apps/v1".to_owned(), None),
        (at("/payloadrepositorytags"), Some(tags(None, None))),
        (at("/payloadrepositorytags/x"), None),
        (at("/pods"), None),
        (at("/namespaces/project-1/payloadrepositorytags"), Some(tags(Some("project-1"), None))),
        (at("/namespaces/project-1/payloadrepositorytags/"), Some(tags(Some("project-1"), None))),
        (at("/namespaces//payloadrepositorytags"), None),
        (at("/namespaces/project-1"), None),
        (at("/namespaces/project-1/payloadrepositorytags/nb2hi4a"), Some(tags(Some("project-1"), Some("nb2hi4a")))),
        (at("/namespaces/a/payloadrepositorytags/%6eb2hi4a"), Some(tags(Some("a"), Some("nb2hi4a")))),
        (at("/namespaces/a/payloadrepositorytags/a%2Fb"), Some(tags(Some("a"), Some("a/b")))),
        (at("/namespaces/a/payloadrepositorytags/%ff"), None),
        (at("/namespaces/a/payloadrepositorytags/x/status"), None),
        (at("/watch/payloadrepositorytags"), None),
        ("//apis".to_owned(), None),
        ("apis".to_owned(), None),
        (String::new(), None),
    ] {
        assert_eq!(Route::parse(&path), expected, "{path}");
    }
}

#[test]
fn a_route_has_one_path() {
    const V: &str = "/apis/payload-registry.deckhouse.io/v1alpha1";
    for path in ["/", "/livez", "/readyz", "/version", "/api", "/apis", V, "/openapi/v2", "/openapi/v3"] {
        assert_eq!(Route::parse(path).unwrap().path().unwrap(), path);
    }
    for path in [format!("/openapi/v3{V}"), "/apis/payload-registry.deckhouse.io".to_owned()] {
        assert_eq!(Route::parse(&path).unwrap().path().unwrap(), path);
        assert_eq!(Route::parse(&format!("{path}/").replace('p', "%70")).unwrap().path().unwrap(), path);
    }
    assert_eq!(tags(None, None).path(), None);
}

#[test]
fn verbs_are_those_of_kubernetes() {
    let (all, one) = (false, true);
    for (method, is_named, query, expected) in [
        (Method::GET, all, "", Some(Verb::List)),
        (Method::HEAD, all, "", Some(Verb::List)),
        (Method::GET, all, "watch", Some(Verb::Watch)),
        (Method::GET, all, "watch=1&limit=5", Some(Verb::Watch)),
        (Method::GET, all, "limit=5&watch=true", Some(Verb::Watch)),
        (Method::GET, all, "watch=", Some(Verb::Watch)),
        (Method::GET, all, "watch=false", Some(Verb::List)),
        (Method::GET, all, "watch=FALSE", Some(Verb::List)),
        (Method::GET, all, "watch=0", Some(Verb::List)),
        (Method::GET, all, "watch=0&watch=1", Some(Verb::List)),
        (Method::GET, all, "watcher=1", Some(Verb::List)),
        (Method::GET, one, "watch=1", Some(Verb::Get)),
        (Method::GET, one, "watch=0", Some(Verb::Get)),
        (Method::GET, all, "%77atch=tru%65", Some(Verb::Watch)),
        (Method::DELETE, one, "", Some(Verb::Delete)),
        (Method::DELETE, all, "", Some(Verb::DeleteCollection)),
        (Method::POST, all, "", Some(Verb::Create)),
        (Method::PUT, one, "", Some(Verb::Update)),
        (Method::PATCH, one, "", Some(Verb::Patch)),
        (Method::OPTIONS, one, "", None),
    ] {
        assert_eq!(Verb::of(&method, is_named, query), expected, "{method} {is_named} {query}");
    }
}

#[test]
fn verbs_are_counted_by_their_place() {
    for (index, verb) in Verb::ALL.into_iter().enumerate() {
        assert_eq!(verb as usize, index);
    }
}

proptest! {
    #[test]
    fn any_path_has_an_answer(path in "(/|/apis|/apis/payload-registry.deckhouse.io/v1alpha1)?[ -~]{0,40}") {
        let _ = Route::parse(&path);
    }
}
