//! Containers of Azure: files and variables that people have for them.

use super::*;

const SECRET: &str = "http: {addr: 'localhost:5000', secret: 0123456789abcdef}\n";

/// A file with these keys in the section of the driver.
fn with_azure(keys: &str) -> String {
    with(&format!("{SECRET}storage: {{azure: {{accountname: acc, container: images, {keys}}}}}\n"))
}

fn azure(settings: Settings) -> Azure {
    match settings.storage.driver {
        Driver::Azure(azure) => *azure,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_openshift_passes() {
    let text = with("storage: {filesystem: {}, delete: {enabled: true}}\n");
    let operator = [
        ("REGISTRY_STORAGE", "azure"),
        ("REGISTRY_STORAGE_AZURE_CONTAINER", "cluster-image-registry"),
        ("REGISTRY_STORAGE_AZURE_ACCOUNTNAME", "imageregistry"),
        ("REGISTRY_STORAGE_AZURE_ACCOUNTKEY", "a2V5LW9mLXRoZS1hY2NvdW50"),
        ("REGISTRY_STORAGE_AZURE_REALM", "core.usgovcloudapi.net"),
    ];
    let (settings, warnings) = load_all(Some(&text), &operator).unwrap();
    assert_eq!(warnings.iter().map(Warning::key).collect::<Vec<_>>(), ["homeport.anonymous"]);
    let expected = Azure {
        account_name: "imageregistry".to_owned(),
        account_key: Some(Secret::new("a2V5LW9mLXRoZS1hY2NvdW50")),
        container: "cluster-image-registry".to_owned(),
        realm: "core.usgovcloudapi.net".to_owned(),
        service_url: None,
        redirect_endpoint: None,
        signature: None,
        connection_string: None,
        proof: None,
        client_id: None,
        tenant_id: None,
        client_secret: None,
        root_directory: String::new(),
        leading_slash: None,
        skip_verify: false,
        ca_file: None,
    };
    assert_eq!(azure(settings), expected);
}

#[test]
fn what_distribution_has() {
    let keys = "accountkey: a2V5, realm: core.chinacloudapi.cn, rootdirectory: /a/b/, max_retries: 3, retry_delay: 1s, \
                credentials: {type: shared_key}";
    assert_eq!(azure(settings(&with_azure(keys))).proof, Some(AzureProof::SharedKey));
    let found = warnings(&with_azure(keys));
    assert_eq!(found.len(), 2, "{found:#?}");
    assert!(found[0].contains("storage.azure.max_retries: has no effect"), "{found:#?}");
    let keys =
        "serviceurl: 'https://acc.blob.local', credentials: {type: client_secret, clientid: c, tenantid: t, secret: s}";
    let azure = azure(settings(&with_azure(keys)));
    assert_eq!((azure.proof, azure.client_id.as_deref()), (Some(AzureProof::ClientSecret), Some("c")));
    assert_eq!(azure.client_secret, Some(Secret::new("s")));
}

#[test]
fn a_connection_string_has_it_all() {
    let from =
        |keys: &str| azure(settings(&with(&format!("{SECRET}storage: {{azure: {{container: images, {keys}}}}}\n"))));
    let key =
        "DefaultEndpointsProtocol=https;AccountName=acc;AccountKey=a2V5LQ==;EndpointSuffix=core.usgovcloudapi.net";
    let first = from(&format!("connectionstring: '{key}'"));
    assert_eq!((first.account_name.as_str(), first.realm.as_str()), ("acc", "core.usgovcloudapi.net"));
    assert_eq!((first.account_key, first.service_url), (Some(Secret::new("a2V5LQ==")), None));
    let plain = from("connectionstring: 'DefaultEndpointsProtocol=http;AccountName=acc;AccountKey=a2V5;'");
    assert_eq!(plain.service_url.as_deref(), Some("http://acc.blob.core.windows.net"));
    let signed = from(
        "accountname: acc, connectionstring: 'BlobEndpoint=https://acc.blob.local/;SharedAccessSignature=sv=2020&sig=a%3D'",
    );
    assert_eq!(signed.service_url.as_deref(), Some("https://acc.blob.local/"));
    assert_eq!(signed.signature, Some(Secret::new("sv=2020&sig=a%3D")));
    let other = from(&format!("accountname: other, accountkey: b3RoZXI=, connectionstring: '{key}'"));
    assert_eq!((other.account_name.as_str(), other.account_key), ("other", Some(Secret::new("b3RoZXI="))));
}

#[test]
fn the_slash_at_the_start_of_names() {
    for (keys, expected) in [
        ("", None),
        ("legacyrootprefix: true", Some(true)),
        ("trimlegacyrootprefix: true", Some(false)),
        ("trimlegacyrootprefix: false", Some(true)),
        ("legacyrootprefix: false, trimlegacyrootprefix: true", Some(false)),
    ] {
        assert_eq!(azure(settings(&with_azure(keys))).leading_slash, expected, "{keys}");
    }
}

#[test]
fn mistakes() {
    for (keys, error) in [
        ("accountname: ''", "storage.azure.accountname: is missing; name the account"),
        ("container: ''", "storage.azure.container: is missing; name the container"),
        ("serviceurl: 'ftp://a'", "storage.azure.serviceurl: must be a host or a URL"),
        ("redirectendpoint: 'a b'", "storage.azure.redirectendpoint: must be a host or a URL"),
        ("connectionstring: TopSecret", "storage.azure.connectionstring: must be pairs"),
        ("legacyrootprefix: true, trimlegacyrootprefix: true", "storage.azure.trimlegacyrootprefix: contradicts"),
        ("credentials: {type: password}", "storage.azure.credentials.type: must be one of shared_key"),
        (
            "credentials: {type: client_secret, clientid: a, tenantid: b}",
            "storage.azure.credentials.secret: is missing",
        ),
        ("acountkey: a", "storage.azure.acountkey: unknown key; did you mean \"accountkey\"?"),
    ] {
        let given = |name: &str| if keys.starts_with(name) { String::new() } else { format!("{name}: given, ") };
        let (account, container) = (given("accountname"), given("container"));
        let found = errors(&with(&format!("{SECRET}storage: {{azure: {{{account}{container}{keys}}}}}\n")));
        assert_eq!(found.len(), 1, "{keys}: {found:#?}");
        assert!(found[0].contains(error) && !found[0].contains("TopSecret"), "{keys}: {found:#?}");
    }
}

#[test]
fn replicas_need_a_common_secret() {
    let container = |rest: &str, keys: &str| {
        with(&format!("storage: {{azure: {{accountname: acc, container: images, {keys}}}}}\n{rest}"))
    };
    for text in [
        container("http: {secret: 0123456789abcdef}", ""),
        container("", "accountkey: a2V5LW9mLXRoZS1hY2NvdW50"),
        container("", "connectionstring: 'AccountKey=a2V5LW9mLXRoZS1hY2NvdW50'"),
    ] {
        assert!(load_all(Some(&text), &[]).is_ok(), "{text}");
    }
    for text in [container("", ""), container("", "accountkey: c2hvcnQ=")] {
        assert!(errors(&text)[0].contains("http.secret: is missing: with a bucket"), "{text}: {:?}", errors(&text));
    }
}

#[test]
fn a_shown_container_reads_back() {
    let text = with_azure(
        "accountkey: MDEyMzQ1Njc4OWFiY2RlZg==, realm: core.usgovcloudapi.net, serviceurl: 'https://a.b', \
         redirectendpoint: 'c.d', rootdirectory: /a/b/, \
         connectionstring: 'TopSecret=MDEyMzQ1Njc4OWFiY2RlZg==', credentials: {type: shared_key, clientid: c, tenantid: t, \
         secret: TopSecret0}, legacyrootprefix: true, skipverify: true, cafile: /ca.pem",
    );
    let first = settings(&text);
    let shown = yaml(&first);
    assert!(!format!("{shown}{first:?}").contains("TopSecret") && shown.contains("accountkey: \"***\""), "{shown}");
    let azure_of = |text: &str| azure(settings(text));
    let hidden =
        shown.replace("connectionstring: \"***\"", "connectionstring: a=b").replace("\"***\"", "0123456789abcdef");
    let read = azure_of(&hidden);
    let expected = Azure {
        account_key: Some(Secret::new("0123456789abcdef")),
        connection_string: Some(Secret::new("a=b")),
        client_secret: Some(Secret::new("0123456789abcdef")),
        ..azure_of(&text)
    };
    assert_eq!(read, expected, "{shown}");
    let shown: Vec<_> = show::lines(&first).into_iter().map(|(path, _)| path.join(".")).collect();
    for key in schema::keys().filter(|key| key.path.starts_with("storage.azure.")) {
        let silent = ["trimlegacyrootprefix", "max_retries", "retry_delay"].iter().any(|name| key.path.ends_with(name));
        let silent = silent && !key.path.ends_with(".legacyrootprefix");
        assert_eq!(shown.contains(&key.path.to_owned()), !silent, "{}", key.path);
    }
    let other = settings(&text.replace("container: images", "container: others"));
    assert_eq!(reload_diff(&first, &other), (vec![], vec!["storage.azure.container".to_owned()]));
}
