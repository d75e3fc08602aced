//! Containers of Swift: files and variables that people have for them.

use super::*;

const USER: &str = "authurl: 'https://k:5000/v3', container: images, username: me, password: 0123456789abcdef";

/// A file with these keys in the section of the driver.
fn with_swift(keys: &str) -> String {
    with(&format!("storage: {{swift: {{{keys}}}}}\n"))
}

fn swift(settings: Settings) -> Swift {
    match settings.storage.driver {
        Driver::Swift(swift) => *swift,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_documented_block() {
    let text = "\
version: 0.1
storage:
  swift:
    username: username
    password: a password of many letters
    authurl: https://storage.myprovider.com/auth/v1.0 or https://storage.myprovider.com/v2.0
    tenant: tenantname
    tenantid: 0123
    domain: domain name for Openstack Identity v3 API
    domainid: domain id for Openstack Identity v3 API
    insecureskipverify: true
    region: fr
    container: containername
    rootdirectory: /swift/object/name/prefix
";
    assert_eq!(
        errors(text),
        ["c.yml:6: storage.swift.authurl: must be a URL, such as https://keystone.example.com:5000/v3"]
    );
    let text = text.replace(" or https://storage.myprovider.com/v2.0", "");
    let (settings, warnings) = load_all(Some(&text), &[]).unwrap();
    let expected = Swift {
        auth_url: "https://storage.myprovider.com/auth/v1.0".to_owned(),
        auth_version: None,
        container: "containername".to_owned(),
        username: Some("username".to_owned()),
        password: Some(Secret::new("a password of many letters")),
        domain: Some("domain name for Openstack Identity v3 API".to_owned()),
        domain_id: Some("domain id for Openstack Identity v3 API".to_owned()),
        tenant: Some("tenantname".to_owned()),
        tenant_id: Some("0123".to_owned()),
        tenant_domain: None,
        tenant_domain_id: None,
        trust_id: None,
        credential_id: None,
        credential_name: None,
        credential_secret: None,
        token_id: None,
        region: Some("fr".to_owned()),
        endpoint_type: "public".to_owned(),
        redirect_endpoint: None,
        skip_verify: true,
        ca_file: None,
        chunk_bytes: 8 << 20,
        prefix: String::new(),
        secret_key: None,
        access_key: None,
        container_key: false,
        address_methods: Vec::new(),
    };
    assert_eq!(swift(settings), expected);
    let keys: Vec<_> = warnings.iter().map(Warning::key).collect();
    assert_eq!(keys, ["storage.swift.rootdirectory", "homeport.anonymous"]);
}

#[test]
fn what_openshift_passes() {
    let text = with("storage: {filesystem: {}, delete: {enabled: true}}\n");
    let operator = [
        ("REGISTRY_STORAGE", "swift"),
        ("REGISTRY_STORAGE_SWIFT_CONTAINER", "cluster-image-registry"),
        ("REGISTRY_STORAGE_SWIFT_AUTHURL", "https://keystone:5000/v3"),
        ("REGISTRY_STORAGE_SWIFT_AUTHVERSION", "3"),
        ("REGISTRY_STORAGE_SWIFT_USERNAME", ""),
        ("REGISTRY_STORAGE_SWIFT_PASSWORD", ""),
        ("REGISTRY_STORAGE_SWIFT_TOKENID", ""),
        ("REGISTRY_STORAGE_SWIFT_APPLICATIONCREDENTIALID", "21dced0fd20347869b93710d2b98aae0"),
        ("REGISTRY_STORAGE_SWIFT_APPLICATIONCREDENTIALNAME", "registry"),
        ("REGISTRY_STORAGE_SWIFT_APPLICATIONCREDENTIALSECRET", "rEdPTGS9ddBREPjMPvUKYvYFgjbGbGb3NvJIDhm"),
        ("REGISTRY_STORAGE_SWIFT_DOMAIN", "Default"),
        ("REGISTRY_STORAGE_SWIFT_TENANTID", "42"),
        ("REGISTRY_STORAGE_SWIFT_REGION", "RegionOne"),
    ];
    let (settings, warnings) = load_all(Some(&text), &operator).unwrap();
    assert_eq!(warnings.iter().map(Warning::key).collect::<Vec<_>>(), ["homeport.anonymous"]);
    let swift = swift(settings);
    assert_eq!((swift.auth_version, swift.tenant_id.as_deref()), (Some(3), Some("42")));
    assert_eq!((swift.username, swift.password, swift.token_id), (None, None, None));
    assert_eq!(swift.credential_id.as_deref(), Some("21dced0fd20347869b93710d2b98aae0"));
}

#[test]
fn mistakes() {
    let who = "authurl: 'https://k/v3', container: c";
    for (keys, error) in [
        (format!("{USER}, authversion: 4"), "storage.swift.authversion: must be 1, 2 or 3"),
        (format!("{USER}, endpointtype: publicURL"), "storage.swift.endpointtype: must be one of public"),
        (format!("{USER}, redirectendpoint: 'ftp://a'"), "storage.swift.redirectendpoint: must be a host or a URL"),
        (format!("{USER}, chunksize: 1000"), "storage.swift.chunksize: must be from 1048576 to 5368709120"),
        (format!("{USER}, conatiner: c"), "storage.swift.conatiner: unknown key; did you mean \"container\"?"),
        (USER.replace("container: images, ", ""), "storage.swift.container: is missing"),
        (USER.replace("'https://k:5000/v3'", "''"), "storage.swift.authurl: is missing"),
        (USER.replace("username: me, ", ""), "storage.swift.username: is missing; name a user"),
        (USER.replace(", password: 0123456789abcdef", ""), "storage.swift.password: is missing; the user needs one"),
        (format!("{who}, applicationcredentialid: a"), "storage.swift.applicationcredentialsecret: is missing"),
        (
            format!("{who}, applicationcredentialname: a, applicationcredentialsecret: 0123456789abcdef"),
            "storage.swift.username: is missing: the name of an application credential belongs to a user",
        ),
    ] {
        let text =
            with_swift(&keys).replace("storage:", "http: {addr: 'localhost:5000', secret: 0123456789abcdef}\nstorage:");
        let found = errors(&text);
        assert_eq!(found.len(), 1, "{keys}: {found:#?}");
        assert!(found[0].contains(error), "{keys}: {found:#?}");
    }
}

#[test]
fn what_has_no_effect() {
    let credential = "applicationcredentialid: a, applicationcredentialsecret: 0123456789abcdef";
    for (keys, warning) in [
        (format!("{USER}, chunksize: 1048576"), "storage.swift.chunksize: counts as 5242880"),
        (format!("{USER}, chunksize: 104857600"), "storage.swift.chunksize: counts as 25165824"),
        (format!("{USER}, rootdirectory: /a"), "storage.swift.rootdirectory: has no effect"),
        (format!("{USER}, {credential}"), "storage.swift.password: has no effect"),
        (format!("{USER}, tokenid: a"), "storage.swift.password: has no effect"),
    ] {
        let found = warnings(&with_swift(&keys).replace("storage:", "http: {secret: 0123456789abcdef}\nstorage:"));
        assert!(found.iter().any(|line| line.contains(warning)), "{keys}: {found:#?}");
    }
}

#[test]
fn replicas_need_a_common_secret() {
    let credential = "applicationcredentialid: a, applicationcredentialsecret: 0123456789abcdef";
    let who = "authurl: 'https://k/v3', container: c";
    for keys in [USER.to_owned(), format!("{who}, {credential}")] {
        assert!(load_all(Some(&with_swift(&keys)), &[]).is_ok(), "{keys}");
    }
    for keys in [USER.replace("0123456789abcdef", "short"), format!("{who}, tokenid: 0123456789abcdef")] {
        let found = errors(&with_swift(&keys));
        assert!(found[0].contains("http.secret: is missing: with a bucket"), "{keys}: {found:?}");
    }
}

#[test]
fn a_shown_container_reads_back() {
    let text = with_swift(&format!(
        "{USER}, authversion: 3, domain: a, domainid: b, tenant: c, tenantid: d, tenantdomain: e, tenantdomainid: f, \
         trustid: g, applicationcredentialid: h, applicationcredentialname: i, \
         applicationcredentialsecret: 0123456789abcdef, tokenid: 0123456789abcdef, region: j, endpointtype: Internal, \
         redirectendpoint: 'https://b', insecureskipverify: true, cafile: /ca.pem, chunksize: 6291456, prefix: /k/l, \
         secretkey: 0123456789abcdef, accesskey: 0123456789abcdef, tempurlcontainerkey: true, tempurlmethods: [GET, HEAD]"
    ));
    let first = settings(&text);
    let shown = yaml(&first);
    assert!(!shown.contains("0123456789abcdef"), "{shown}");
    assert_eq!(settings(&shown.replace("\"***\"", "0123456789abcdef")), first, "{shown}");
    let shown: Vec<_> = show::lines(&first).into_iter().map(|(path, _)| path.join(".")).collect();
    for key in schema::keys().filter(|key| key.path.starts_with("storage.swift.")) {
        assert_eq!(shown.contains(&key.path.to_owned()), key.state != schema::State::Warned, "{}", key.path);
    }
    let other = settings(&text.replace("container: images", "container: others"));
    assert_eq!(reload_diff(&first, &other), (vec![], vec!["storage.swift.container".to_owned()]));
}
