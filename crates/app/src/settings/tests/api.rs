//! `homeport.kubernetes.api`.

use super::*;

const FILES: &str = "certificate: /tls/tls.crt, key: /tls/tls.key";

fn api(section: &str, rest: &str) -> String {
    with(&format!("{rest}\nhomeport: {{kubernetes: {{api: {{{section}}}}}}}"))
}

fn resolved(section: &str, rest: &str) -> Option<Api> {
    settings(&api(section, rest)).kubernetes.and_then(|kubernetes| kubernetes.api)
}

#[test]
fn an_address_is_enough_to_be_part_of_the_cluster() {
    let found = resolved(&format!("addr: ':6443', {FILES}, host: 'registry.example.com:5000'"), "").unwrap();
    let expected = Api {
        listen: Listen::Tcp { host: String::new(), port: 6443 },
        certificate: "/tls/tls.crt".into(),
        key: "/tls/tls.key".into(),
        host: "registry.example.com:5000".to_owned(),
    };
    assert_eq!(found, expected);
    assert_eq!(resolved("addr: ''", "auth: openshift"), None);
    assert_eq!(settings(&with("auth: openshift")).kubernetes.unwrap().api, None);
}

#[test]
fn the_host_follows_from_the_rest() {
    let section = format!("addr: ':6443', {FILES}");
    for (rest, hosts, expected) in [
        ("http: {host: 'https://public.example.com:5000/registry'}", "[inner:5000]", "public.example.com:5000"),
        ("", "[inner:5000, outer]", "inner:5000"),
        ("", "[]", ""),
    ] {
        let text = with(&format!("{rest}\nhomeport: {{kubernetes: {{hosts: {hosts}, api: {{{section}}}}}}}"));
        assert_eq!(settings(&text).kubernetes.unwrap().api.unwrap().host, expected, "{text}");
        let warned = warnings(&text).iter().any(|line| line.contains("homeport.kubernetes.api.host: is not known"));
        assert_eq!(warned, expected.is_empty(), "{text}");
    }
}

#[test]
fn what_is_missing_or_has_no_effect_is_named() {
    for (section, error) in [
        (
            "addr: ':6443', key: k",
            "homeport.kubernetes.api.certificate: is missing, since homeport.kubernetes.api.addr",
        ),
        ("addr: ':6443', certificate: c", "homeport.kubernetes.api.key: is missing"),
        ("addr: 6443, certificate: c, key: k", "homeport.kubernetes.api.addr: must be HOST:PORT or :PORT"),
        ("addr: ':1', certificate: c, key: k, host: 'https://a'", "homeport.kubernetes.api.host: must be a host name"),
    ] {
        let found = errors(&api(section, ""));
        assert!(found.len() == 1 && found[0].contains(error), "{section}: {found:#?}");
    }
    let found = warnings(&api("certificate: c, host: a", "http: {addr: 'localhost:5000'}"));
    let expected = ["certificate", "host"].map(|key| {
        format!("c.yml:3: homeport.kubernetes.api.{key}: has no effect without homeport.kubernetes.api.addr")
    });
    assert_eq!(found, expected);
}

#[test]
fn only_the_host_changes_while_running() {
    let before = settings(&api(&format!("addr: ':6443', {FILES}, host: a"), ""));
    let after = settings(&api("addr: ':6444', certificate: c, key: k, host: b", ""));
    let (applied, restart) = reload_diff(&before, &after);
    assert_eq!(applied, ["homeport.kubernetes.api.host"]);
    assert_eq!(restart, ["addr", "certificate", "key"].map(|key| format!("homeport.kubernetes.api.{key}")));
    assert_eq!(settings(&yaml(&before)), before, "{}", yaml(&before));
}
