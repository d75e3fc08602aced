//! Files that people have: what the images ship, and files that settings name.

use std::time::Duration;

use super::*;

/// The keys that the image `registry:2` sets.
const REGISTRY_2: &str = "\
version: 0.1
storage:
  filesystem: {rootdirectory: /var/lib/registry}
  cache: {blobdescriptor: inmemory}
log:
  fields: {service: registry}
health:
  storagedriver: {enabled: true, interval: 10s, threshold: 3}
http:
  headers: {X-Content-Type-Options: [nosniff]}
  addr: :5000
";

/// The keys that the image `registry:3` sets.
const REGISTRY_3: &str = "\
version: 0.1
storage:
  filesystem: {rootdirectory: /var/lib/registry}
  delete: {enabled: true}
  cache: {blobdescriptor: inmemory}
  tag: {concurrencylimit: 5}
log:
  level: debug
  fields: {service: registry, environment: development}
health:
  storagedriver: {enabled: true, interval: 10s, threshold: 3}
http:
  addr: :5000
  debug: {addr: ':5001', prometheus: {enabled: true, path: /metrics}}
";

/// The keys that OpenShift's image sets.
const OPENSHIFT: &str = "\
version: 0.1
log: {level: info}
storage:
  filesystem: {rootdirectory: /registry}
  cache: {blobdescriptor: inmemory}
  delete: {enabled: true}
http: {addr: ':5000'}
auth: {openshift: {}}
openshift:
  version: 1.0
  auth: {realm: openshift}
  audit: {enabled: false}
  metrics: {enabled: false}
  requests:
    read: {maxrunning: 0, maxinqueue: 0, maxwaitinqueue: 0}
    write: {maxrunning: 0, maxinqueue: 0, maxwaitinqueue: 0}
  quota: {enabled: false, cachettl: 1m}
  cache: {blobrepositoryttl: 10m}
  pullthrough: {enabled: true, mirror: true}
  compatibility: {acceptschema2: true}
";

fn warned(text: &str) -> Vec<String> {
    load_all(Some(text), &[]).unwrap().1.iter().map(|warning| warning.key().to_owned()).collect()
}

#[test]
fn zero_config() {
    let zero = Settings::zero_config();
    assert_eq!(zero.http.listen, Listen::Tcp { host: "127.0.0.1".to_owned(), port: 5000 });
    assert_eq!(zero.storage.driver, Driver::Filesystem { root: "./homeport-data".into() });
    assert_eq!((zero.anonymous, zero.storage.delete), (Anonymous::All, true));
    assert_eq!(load(None, [], &Flags::default()).unwrap(), (zero, vec![]));
}

#[test]
fn registry_2() {
    let settings = settings(REGISTRY_2);
    assert_eq!(settings.http.listen, Listen::Tcp { host: String::new(), port: 5000 });
    assert_eq!(settings.storage.driver, Driver::Filesystem { root: "/var/lib/registry".into() });
    assert_eq!(settings.health.storage, Some(Probe { interval: Duration::from_secs(10), threshold: 3 }));
    assert_eq!(settings.http.headers["x-content-type-options"], ["nosniff"]);
    assert_eq!(settings.log.fields["service"], "registry");
    assert_eq!((settings.storage.delete, settings.anonymous), (false, Anonymous::All));
    assert_eq!(settings.storage.uploads.expiry, Duration::from_secs(168 * 3600));
    assert_eq!(warned(REGISTRY_2), ["homeport.anonymous"]);
}

#[test]
fn registry_3() {
    let settings = settings(REGISTRY_3);
    assert!(settings.storage.delete);
    let debug = settings.http.debug.unwrap();
    assert_eq!((debug.listen.to_string().as_str(), debug.metrics_path.as_deref()), (":5001", Some("/metrics")));
    assert_eq!(settings.log.level, Level::Debug);
    assert_eq!(warned(REGISTRY_3), ["storage.tag.concurrencylimit", "homeport.anonymous"]);
}

#[test]
fn openshift() {
    let operator = [
        ("REGISTRY_OPENSHIFT_QUOTA_ENABLED", "true"),
        ("REGISTRY_OPENSHIFT_METRICS_ENABLED", "true"),
        ("REGISTRY_OPENSHIFT_SERVER_ADDR", "image-registry.openshift-image-registry.svc:5000"),
        ("REGISTRY_OPENSHIFT_REQUESTS_READ_MAXRUNNING", "10"),
        ("REGISTRY_OPENSHIFT_REQUESTS_READ_MAXINQUEUE", "5"),
        ("REGISTRY_OPENSHIFT_REQUESTS_READ_MAXWAITINQUEUE", "1m0s"),
        ("REGISTRY_STORAGE_MAINTENANCE_READONLY", "{enabled: true}"),
        ("REGISTRY_HTTP_TLS_CERTIFICATE", "/etc/secrets/tls.crt"),
        ("REGISTRY_HTTP_TLS_KEY", "/etc/secrets/tls.key"),
        ("REGISTRY_HTTP_TLS_MINVERSION", "VersionTLS12"),
    ];
    let (settings, warnings) = load_all(Some(OPENSHIFT), &operator).unwrap();
    assert_eq!(settings.auth, Auth::OpenShift { realm: "openshift".to_owned() });
    assert_eq!(settings.anonymous, Anonymous::None);
    let wait_max = Some(Duration::from_secs(60));
    assert_eq!(settings.limits.read, Some(RequestLimit { running_max: 10, queue_max: 5, wait_max }));
    assert_eq!((settings.limits.write, settings.storage.read_only), (None, true));
    assert_eq!(settings.metrics.access, MetricsAccess::Authenticated);
    assert_eq!(settings.http.tls.unwrap().certificate, Path::new("/etc/secrets/tls.crt"));
    let keys: Vec<_> = warnings.iter().map(Warning::key).collect();
    let expected = [
        "openshift.quota.enabled",
        "openshift.quota.cachettl",
        "openshift.cache.blobrepositoryttl",
        "openshift.pullthrough.enabled",
        "openshift.pullthrough.mirror",
        "openshift.compatibility.acceptschema2",
        "openshift.server.addr",
    ];
    assert_eq!(keys, expected);
}

#[test]
fn every_documented_key_is_known() {
    // One value of the right kind for each row of the table: nothing may be unknown or of the wrong type.
    for key in schema::keys() {
        let value = match key.kind {
            schema::Kind::Section | schema::Kind::Named => continue,
            schema::Kind::Bool => "true",
            schema::Kind::Count | schema::Kind::Integer => "7",
            schema::Kind::Duration | schema::Kind::Span => "90s",
            schema::Kind::Size => "8KiB",
            schema::Kind::TextList | schema::Kind::SecretList => "[a, b]",
            schema::Kind::Choice(words) => words[0],
            schema::Kind::Text | schema::Kind::Secret | schema::Kind::Anything => "text",
        };
        let mut text = String::new();
        let mut column = 0;
        for part in key.path.split('.') {
            if part == "[]" {
                text.push_str(&format!("\n{}-", " ".repeat(column)));
            } else {
                let name = if part == "*" { "any" } else { part };
                let gap = if text.ends_with('-') { " ".to_owned() } else { format!("\n{}", " ".repeat(column)) };
                text.push_str(&format!("{gap}{name}:"));
            }
            column += 2;
        }
        let root = Node::parse(&format!("{text} {value}\n")).unwrap();
        let mut report = report::Report::new(None);
        check::check(&root, &mut report);
        let found = report.finish(()).err().map(|errors| errors.to_string()).unwrap_or_default();
        assert!(found.is_empty() || found.contains("not supported"), "{}: {found}\n{text}", key.path);
        // A plug-in that is switched off is no reason to refuse the file.
        let refused = key.state == schema::State::Refused && !key.path.ends_with("[].disabled");
        assert_eq!(!found.is_empty(), refused, "{}: {found}", key.path);
    }
}

#[test]
fn files_that_settings_name() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let users = write("users.yml", &format!("bob:\n  passwordHash: {HASH}\n  projects: [{{name: p, access: full}}]\n"));
    let secret = write("secret", "0123456789abcdef\n");
    let text = |extra: &str| {
        let (users, secret) = (users.display(), secret.display());
        with(&format!("homeport:\n  usersFile: {users}\n  token: {{secretFiles: [{secret}]}}\n{extra}"))
    };
    let config = write("config.yml", &text(""));
    let (settings, _) = load(Some(&config), [], &Flags::default()).unwrap();
    assert_eq!(
        settings.users["bob"].projects,
        [Project { name: "p".to_owned(), sub_path: "*".to_owned(), access: ProjectAccess::Full }]
    );
    assert_eq!(settings.token.secrets, [Secret::new("0123456789abcdef")]);
    assert_eq!(settings.watched_files(), [users.clone(), secret.clone()]);

    let config = write("config.yml", &text(&format!("  users: {{bob: {{passwordHash: {HASH}}}}}\n")));
    let error = load(Some(&config), [], &Flags::default()).unwrap_err().to_string();
    assert_eq!(
        error,
        format!("{}:1: homeport.users.bob: is also in homeport.users; keep one of the two", users.display())
    );

    std::fs::write(&users, "bob:\n  passwrodHash: x\n").unwrap();
    let config = write("config.yml", &text(""));
    let error = load(Some(&config), [], &Flags::default()).unwrap_err().to_string();
    assert!(
        error
            .starts_with(&format!("{}:2: homeport.users.bob.passwrodHash: unknown key; did you mean", users.display())),
        "{error}"
    );
}
