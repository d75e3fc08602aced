//! Variables and flags over files.

use super::*;

fn shown(text: Option<&str>, env: &[(&str, &str)], line: &str) -> bool {
    let (settings, _) = load_all(text, env).unwrap_or_else(|errors| panic!("{errors}\n{env:?}"));
    yaml(&settings).lines().any(|shown| shown.trim() == line)
}

#[test]
fn each_variable_replaces_its_key() {
    let text = with(
        "http:\n  addr: :5000\n  headers: {X-A: [a]}\n  tls: {certificate: c, key: k, clientcas: [one]}\nstorage: filesystem\n",
    );
    for (name, value, line) in [
        ("REGISTRY_HTTP_ADDR", ":6000", "addr: \":6000\""),
        ("REGISTRY_HTTP_ADDR", "\":6001\"", "addr: \":6001\""),
        ("REGISTRY_http_addr", ":6002", "addr: \":6002\""),
        ("REGISTRY_HTTP", "{addr: ':6003', tls: {certificate: x, key: y}}", "addr: \":6003\""),
        ("REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY", "/somewhere", "rootdirectory: /somewhere"),
        ("REGISTRY_STORAGE", "filesystem", "rootdirectory: /var/lib/registry"),
        ("REGISTRY_STORAGE", "{filesystem: {rootdirectory: /x}}", "rootdirectory: /x"),
        ("REGISTRY_STORAGE_MAINTENANCE_READONLY", "{enabled: true}", "enabled: true"),
        ("REGISTRY_STORAGE_DELETE_ENABLED", "true", "enabled: true"),
        ("REGISTRY_HTTP_TLS_CLIENTCAS_0", "two", "clientcas: [two]"),
        ("REGISTRY_HTTP_TLS_CLIENTCAS_1", "two", "clientcas: [one, two]"),
        ("REGISTRY_HTTP_TLS_CLIENTCAS", "[x, y]", "clientcas: [x, y]"),
        ("REGISTRY_HTTP_TLS_CLIENTCAS", "x", "clientcas: [x]"),
        ("REGISTRY_HTTP_HEADERS_X-A", "[b]", "x-a: [b]"),
        ("REGISTRY_HTTP_HEADERS_X-NEW", "[c]", "x-new: [c]"),
        ("REGISTRY_LOG_FIELDS_DATA_CENTRE", "north", "data_centre: north"),
        ("REGISTRY_LOG_LEVEL", "DEBUG", "level: debug"),
        ("REGISTRY_LOGLEVEL", "warn", "level: warn"),
        ("REGISTRY_AUTH", "none", "anonymous: all"),
        ("REGISTRY_AUTH", "{htpasswd: {realm: r, path: /p}}", "path: /p"),
        ("REGISTRY_VALIDATION_MANIFESTS_INDEXES_PLATFORMS", "all", "platforms: all"),
        ("REGISTRY_HEALTH_FILE_0_FILE", "/down", "- file: /down"),
        ("REGISTRY_HOMEPORT_LIMITS_MANIFESTBYTES", "1MiB", "manifestBytes: 1048576"),
        ("REGISTRY_HOMEPORT_TOKEN_REFRESHEXPIRY", "48h", "refreshExpiry: 48h"),
        ("REGISTRY_OPENSHIFT_REQUESTS_READ_MAXRUNNING", "9", "maxRunning: 9"),
        ("REGISTRY_OPENSHIFT_METRICS_ENABLED", "true", "access: authenticated"),
        ("REGISTRY_HTTP_TLS_MINVERSION", "VersionTLS13", "minimumtls: tls1.3"),
        (
            "OPENSHIFT_REGISTRY_HTTP_TLS_CIPHERSUITES",
            "TLS_AES_128_GCM_SHA256,TLS_RSA_WITH_AES_128_CBC_SHA",
            "ciphersuites: [TLS_AES_128_GCM_SHA256]",
        ),
        ("REGISTRY_HTTP_PREFIX", "", "prefix: /"),
    ] {
        assert!(shown(Some(&text), &[(name, value)], line), "{name}={value} does not give {line}");
    }
}

#[test]
fn secrets_keep_every_character() {
    for (value, kept) in [
        ("0123", "0123"),
        ("a #b: c", "a #b: c"),
        ("yes", "yes"),
        ("'0x10'", "0x10"),
        ("\"a", "\"a"),
        ("{a}", "{a}"),
        (" a\n", "a"),
    ] {
        let (settings, _) = load_all(None, &[("REGISTRY_HTTP_SECRET", value)]).unwrap();
        assert_eq!(settings.http.secret.map(|secret| secret.expose().to_owned()).as_deref(), Some(kept), "{value}");
    }
}

#[test]
fn items_of_lists_keep_every_character() {
    let env = [
        ("REGISTRY_HOMEPORT_TOKEN_SECRETS_0", "0123 #a: b{c}[d]"),
        ("REGISTRY_HOMEPORT_TOKEN_SECRETS_1", "00000000000000000000"),
    ];
    let (settings, _) = load_all(None, &env).unwrap();
    assert_eq!(settings.token.secrets, [Secret::new("0123 #a: b{c}[d]"), Secret::new("00000000000000000000")]);
    let (settings, _) = load_all(None, &[("REGISTRY_HOMEPORT_TOKEN_SECRETS", "0123 #a: b{c}[d]")]).unwrap();
    assert_eq!(settings.token.secrets, [Secret::new("0123 #a: b{c}[d]")]);
}

#[test]
fn the_more_specific_variable_wins() {
    let env = [
        ("REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY", "/b"),
        ("REGISTRY_STORAGE", "{filesystem: {rootdirectory: /a}}"),
    ];
    assert!(shown(None, &env, "rootdirectory: /b"));
    // The section is replaced as a whole, its other members too.
    let text = with("storage: {delete: {enabled: true}, s3: {bucket: b}}");
    let (settings, _) = load_all(Some(&text), &[("REGISTRY_STORAGE", "filesystem")]).unwrap();
    assert!(!settings.storage.delete);
    let env =
        [("REGISTRY_AUTH", "htpasswd"), ("REGISTRY_AUTH_HTPASSWD_REALM", "r"), ("REGISTRY_AUTH_HTPASSWD_PATH", "/p")];
    assert!(shown(None, &env, "realm: r"));
}

#[test]
fn keys_with_underscores_can_be_reached() {
    let env = [
        ("REGISTRY_STORAGE_AZURE_MAX_RETRIES", "many"),
        ("REGISTRY_STORAGE_GCS_CREDENTIALS_PROJECT_ID", "p"),
        ("REGISTRY_STORAGE_GCS_CHUNKSIZE", "x"),
    ];
    let errors: Vec<_> = load_all(Some("version: 0.1"), &env).unwrap_err().lines().collect();
    assert!(errors.contains(&"REGISTRY_STORAGE_AZURE_MAX_RETRIES: storage.azure.max_retries: must be a whole number without leading zeros".to_owned()), "{errors:#?}");
    assert!(
        errors
            .iter()
            .any(|line| line
                .starts_with("REGISTRY_STORAGE_GCS_CHUNKSIZE: storage.gcs.chunksize: must be a whole number")),
        "{errors:#?}"
    );
}

#[test]
fn unknown_variables_are_warnings() {
    let zero = Settings::zero_config();
    for (name, warning) in [
        (
            "REGISTRY_HTTP_ADRR",
            Some("REGISTRY_HTTP_ADRR: ignored: no key has this name; did you mean \"REGISTRY_HTTP_ADDR\"?"),
        ),
        ("REGISTRY_FOO", Some("REGISTRY_FOO: ignored: no key has this name")),
        (
            "REGISTRY_HTTP_TLS_CLIENTCAS_X",
            Some(
                "REGISTRY_HTTP_TLS_CLIENTCAS_X: ignored: no key has this name; did you mean \"REGISTRY_HTTP_TLS_CLIENTCAS\"?",
            ),
        ),
        ("REGISTRY_VERSION", Some("REGISTRY_VERSION: version: ignored: the version cannot be overridden")),
        (
            "REGISTRY_MIDDLEWARE_REPOSITORY_OPENSHIFT_PULLTHROUGH",
            Some(
                "REGISTRY_MIDDLEWARE_REPOSITORY_OPENSHIFT_PULLTHROUGH: has no effect: an old name of a setting of openshift:, see docs/configuration.md",
            ),
        ),
        ("REGISTRY_PORT", None),
        ("REGISTRY_PORT_5000_TCP_ADDR", None),
        ("REGISTRY_SERVICE_HOST", None),
        ("REGISTRY_SERVICE_PORT_HTTP", None),
        ("REGISTRY_UI_SERVICE_HOST", None),
        ("REGISTRY_CONFIGURATION_PATH", None),
        ("REGISTRY", None),
        ("PATH", None),
    ] {
        let (settings, warnings) = load_all(None, &[(name, "x")]).unwrap();
        assert_eq!(settings, zero, "{name}");
        assert_eq!(
            warnings.iter().map(ToString::to_string).collect::<Vec<_>>(),
            warning.into_iter().collect::<Vec<_>>()
        );
    }
}

#[test]
fn mistakes_name_the_variable() {
    for (name, value, error) in [
        ("REGISTRY_HTTP_RELATIVEURLS", "maybe", "REGISTRY_HTTP_RELATIVEURLS: http.relativeurls: must be true or false"),
        (
            "REGISTRY_HTTP_TLS_CLIENTCAS_2",
            "x",
            "REGISTRY_HTTP_TLS_CLIENTCAS_2: http.tls.clientcas[]: the list has 0 items; the next index is 0",
        ),
        ("REGISTRY_HTTP_HEADERS", "[", "REGISTRY_HTTP_HEADERS: http.headers: is not YAML: "),
        ("REGISTRY_HTTP_SECRET", "caf\u{fffd}", "REGISTRY_HTTP_SECRET: http.secret: is not UTF-8, or has U+FFFD in it"),
        ("REGISTRY_HTTP", "{adr: x}", "REGISTRY_HTTP: http.adr: unknown key; did you mean \"addr\"?"),
    ] {
        let errors = load_all(None, &[(name, value)]).unwrap_err().to_string();
        assert!(errors.starts_with(error), "{errors}");
    }
}

#[test]
fn flags_win() {
    let flags = Flags {
        listen: Some("127.0.0.1:7000".to_owned()),
        data: Some("/data".to_owned()),
        log_level: Some("debug".to_owned()),
        anonymous: Some("pull".to_owned()),
        read_only: true,
        ..Flags::default()
    };
    let env = [("REGISTRY_HTTP_ADDR".to_owned(), ":6000".to_owned())];
    let (settings, _) = load(None, env, &flags).unwrap();
    assert_eq!(settings.http.listen, Listen::Tcp { host: "127.0.0.1".to_owned(), port: 7000 });
    assert_eq!(settings.storage.driver, Driver::Filesystem { root: "/data".into() });
    assert_eq!(
        (settings.log.level, settings.anonymous, settings.storage.read_only),
        (Level::Debug, Anonymous::Pull, true)
    );
    let error = load(None, [], &Flags { listen: Some("x".to_owned()), ..Flags::default() }).unwrap_err().to_string();
    assert!(error.starts_with("--listen: http.addr: must be HOST:PORT"), "{error}");
}
