//! The whole way from a text to settings.

mod api;
mod azure;
mod docs;
mod environment;
mod files;
mod gcs;
mod s3;
mod swift;

use std::path::Path;

use proptest::prelude::*;

use super::*;

const HASH: &str = "$2y$05$KbQy.oSLGCS.mm0SIkLtIOYu.G1Lcp8iyPMLfK/Id9AO7nJYmdLXa";

fn no_files(path: &Path) -> std::io::Result<String> {
    Err(std::io::Error::new(std::io::ErrorKind::NotFound, format!("no {}", path.display())))
}

fn load_all(text: Option<&str>, env: &[(&str, &str)]) -> Result<(Settings, Vec<Warning>), Errors> {
    load_files(text, env, &no_files)
}

fn load_files(
    text: Option<&str>,
    env: &[(&str, &str)],
    files: resolve::ReadFile<'_>,
) -> Result<(Settings, Vec<Warning>), Errors> {
    let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let report = report::Report::new(text.map(|_| Path::new("c.yml")));
    read(text, env, &Flags::default(), files, report)
}

fn settings(text: &str) -> Settings {
    load_all(Some(text), &[]).unwrap_or_else(|errors| panic!("{errors}\n{text}")).0
}

fn warnings(text: &str) -> Vec<String> {
    load_all(Some(text), &[]).unwrap().1.iter().map(ToString::to_string).collect()
}

fn errors(text: &str) -> Vec<String> {
    load_all(Some(text), &[]).unwrap_err().lines().collect()
}

/// A minimal file with something added at the end; what is added begins in line 2.
fn with(rest: &str) -> String {
    format!("version: 0.1\n{rest}")
}

#[test]
fn all_mistakes_are_reported_together_with_line_and_hint() {
    let text = "\
version: 0.2
log:
  level: verbose
http:
  adr: :5000
  prefix: registry
  tls:
    certificate: /tls.crt
stroage:
  filesystem:
validation:
  disabled: perhaps
homeport:
  token:
    expiry: 5
    secrets: [short]
  users:
    alice: {passwordHash: plain, projects: [{name: p, access: WRITE}]}
";
    let expected = [
        "c.yml:3: log.level: must be one of error, warn, info, debug, trace",
        "c.yml:5: http.adr: unknown key; did you mean \"addr\"?",
        "c.yml:9: stroage: unknown key; did you mean \"storage\"?",
        "c.yml:12: validation.disabled: must be true or false",
        "c.yml:15: homeport.token.expiry: must be a duration with a unit, such as 30s, 5m or 1h30m",
        "c.yml:18: homeport.users.alice.projects[0].access: must be one of READ, FULL",
        "c.yml:1: version: is not supported; the only version is 0.1",
        "c.yml:6: http.prefix: must begin and end with a slash, such as /registry/",
        "c.yml: http.tls.key: is missing, since http.tls.certificate is set",
        "c.yml:18: homeport.users.alice.passwordHash: is not a bcrypt hash ($2y$…); print one with `htpasswd -Bnb NAME PASSWORD`",
        "c.yml:16: homeport.token.secrets: has a secret of fewer than 16 characters; make one with `openssl rand -hex 32`",
    ];
    assert_eq!(errors(text), expected);
}

#[test]
fn a_broken_file_is_told_with_its_line() {
    assert!(
        errors("version: 0.1\nhttp:\n  addr: [\n")[0].starts_with("c.yml:"),
        "{:?}",
        errors("version: 0.1\nhttp:\n  addr: [\n")
    );
    assert_eq!(
        errors("- a\n"),
        [
            "c.yml:1: must be a map of sections, beginning with `version: 0.1`",
            "c.yml: version: is missing; begin the file with `version: 0.1`"
        ]
    );
    let error = load(Some(Path::new("/nonexistent/c.yml")), [], &Flags::default()).unwrap_err().to_string();
    assert!(error.starts_with("/nonexistent/c.yml: cannot read the configuration"), "{error}");
}

#[test]
fn combinations_that_cannot_work() {
    for (text, error) in [
        ("storage: {filesystem: {}, s3: {}}", "c.yml:2: storage: has more than one driver: filesystem, s3; keep one"),
        ("storage: inmemory", "c.yml:2: storage.inmemory: not supported"),
        ("storage: floppy", "c.yml:2: storage.floppy: unknown key"),
        ("auth: silly", "c.yml:2: auth.silly: not supported"),
        (
            "auth:\n  token:\n    realm: https://a/token",
            "c.yml:3: auth.token: not supported: Homeport issues tokens itself",
        ),
        (
            "auth: {htpasswd: {realm: r, path: p}, none: {}}",
            "c.yml:2: auth: has more than one provider: htpasswd, none",
        ),
        ("auth: htpasswd", "c.yml:2: auth.htpasswd.realm: is missing"),
        (
            "proxy: {remoteurl: 'https://registry-1.docker.io'}",
            "c.yml:2: proxy: not supported: pull-through comes later",
        ),
        ("middleware: {storage: [{name: rewrite}]}", "c.yml:2: middleware.storage: \"rewrite\" is not supported"),
        ("middleware: {storage: [{name: cloudfront}]}", "cloudfront delivers what is in storage.s3 only"),
        ("middleware: {storage: [{name: redirect}]}", "c.yml:2: middleware.storage: the option baseurl is missing"),
        ("homeport: {redirect: {except: [pods]}}", "c.yml:2: homeport.redirect.except: \"pods\" is no network"),
        ("homeport: {redirect: {life: 3h, lifeMax: 2h}}", "homeport.redirect.lifeMax: must not be shorter than 3h"),
        ("homeport: {tags: {immutable: ['v?']}}", "c.yml:2: homeport.tags.immutable: \"v?\" has a character"),
        ("http: {tls: {letsencrypt: {email: a@b}}}", "c.yml:2: http.tls.letsencrypt: not supported"),
        ("http: {net: unix}", "http.addr: must be the path of the socket"),
        ("http: {addr: '5000'}", "c.yml:2: http.addr: must be HOST:PORT"),
        ("http: {addr: '[::g]:5000'}", "c.yml:2: http.addr: must be HOST:PORT"),
        ("http: {host: registry.example.com}", "c.yml:2: http.host: must be the public URL"),
        ("http: {headers: {X-Y: ['a\u{e9}']}}", "c.yml:2: http.headers.X-Y: has a character"),
        ("http: {debug: {prometheus: {enabled: true}}}", "http.debug.prometheus.enabled: needs a listener"),
        (
            "http: {tls: {certificate: c, key: k, minimumtls: tls1.3, ciphersuites: [TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256]}}",
            "http.tls.ciphersuites: has no suite of TLS 1.3",
        ),
        (
            "http: {tls: {certificate: c, key: k, ciphersuites: [TLS_NULL]}}",
            "http.tls.ciphersuites[0]: is not a known cipher suite",
        ),
        (
            "health: {storagedriver: {enabled: true, interval: 10}}",
            "health.storagedriver.interval: must be at least 1ms",
        ),
        ("health: {file: [{interval: 1s}]}", "health.file[0].file: is missing"),
        (
            "storage: {maintenance: {uploadpurging: {age: 168}}}",
            "storage.maintenance.uploadpurging.age: must be a duration with a unit",
        ),
        ("validation: {manifests: {indexes: {platforms: list}}}", "platforms: is list, but platformlist is empty"),
        ("homeport: {limits: {manifestBytes: 1GiB}}", "homeport.limits.manifestBytes: must be from 4KiB to 64MiB"),
        ("homeport: {limits: {maxConnections: 0}}", "homeport.limits.maxConnections: must be at least 1"),
        ("homeport: {users: {alice: {}}}", "homeport.users.alice.passwordHash: is missing"),
        ("homeport: {users: {alice: {passwordHash: ''}}}", "homeport.users.alice.passwordHash: is missing"),
        ("homeport: {usersFile: /u.yml}", "homeport.usersFile: cannot read /u.yml"),
        ("homeport: {token: {expiry: 10m, refreshExpiry: 5m}}", "refreshExpiry: must not be shorter"),
        (
            "openshift: {auth: {tokenrealm: 'https://a/b'}}",
            "openshift.auth.tokenrealm: must be scheme and host without a path",
        ),
        ("openshift: {version: 2.0}", "openshift.version: is not supported"),
        ("log: {fields: [a]}", "log.fields: must be a section"),
        ("http: {headers: {X: {a: b}}}", "http.headers.X: must be a list of texts"),
    ] {
        let found = errors(&with(text));
        assert!(found.iter().any(|line| line.contains(error)), "{text}: {found:#?}");
    }
}

#[test]
fn what_has_no_effect_is_named() {
    for (text, warning) in [
        ("loglevel: debug", "c.yml:2: loglevel: has no effect: deprecated"),
        ("log: {formatter: logstash}", "log.formatter: logstash is written as json"),
        ("redis: {addr: 'localhost:6379'}", "c.yml:2: redis: has no effect"),
        ("reporting: {bugsnag: {apikey: k}}", "c.yml:2: reporting: has no effect"),
        (
            "notifications: {endpoints: [{name: a, url: 'http://b'}]}",
            "c.yml:2: notifications: has no effect: notifications come later",
        ),
        ("middleware: {registry: [{name: openshift}]}", "c.yml:2: middleware.registry: has no effect"),
        ("storage: {filesystem: {maxthreads: 100}}", "c.yml:2: storage.filesystem.maxthreads: has no effect"),
        ("storage: {cache: {layerinfo: redis}}", "c.yml:2: storage.cache.layerinfo: redis is not used"),
        ("policy: {repository: {classes: [image]}}", "c.yml:2: policy: has no effect"),
        ("compatibility: {schema1: {enabled: true}}", "c.yml:2: compatibility: has no effect"),
        ("health: {tcp: [{addr: 'a:1'}]}", "c.yml:2: health.tcp: has no effect"),
        ("homeport: {redirect: {except: [10.0.0.0/8]}}", "homeport.redirect: has no effect: files have no addresses"),
        ("homeport: {redirect: {lifeMax: 4h}}", "homeport.redirect: has no effect: files have no addresses"),
        (
            "homeport: {redirect: {life: 1h}}\nmiddleware: {storage: [{name: redirect, options: {baseurl: 'https://c'}}]}",
            "c.yml:2: homeport.redirect.life: has no effect: the addresses of the middleware redirect",
        ),
        ("http: {draintimeout: 60}", "c.yml:2: http.draintimeout: has no unit and counts nanoseconds"),
        ("http: {tls: {certificate: c, key: k, minimumtls: tls1.0}}", "http.tls.minimumtls: is raised to tls1.2"),
        ("openshift: {quota: {enabled: true}}", "c.yml:2: openshift.quota.enabled: has no effect"),
        (
            "catalog: {maxentries: 5}\nhomeport: {catalog: {maxEntries: 6}}",
            "c.yml:2: catalog.maxentries: has no effect: homeport.catalog.maxEntries",
        ),
        ("http: {addr: ':5000'}", "homeport.anonymous: defaults to all: whoever reaches :5000"),
    ] {
        let found = warnings(&with(text));
        assert!(found.iter().any(|line| line.contains(warning)), "{text}: {found:#?}");
    }
}

#[test]
fn what_is_switched_off_is_no_warning() {
    let text = with(
        "http: {addr: 'localhost:5000'}\nopenshift: {quota: {enabled: false}}\nredis: {}\nproxy:\nlog: {hooks: []}\n",
    );
    assert_eq!(warnings(&text), [""; 0]);
}

#[test]
fn anonymous_follows_from_the_rest() {
    let user = format!("homeport: {{users: {{a: {{passwordHash: '{HASH}'}}}}}}");
    for (text, expected) in [
        ("", Anonymous::All),
        ("auth: none", Anonymous::All),
        ("auth: {htpasswd: {realm: r, path: /p}}", Anonymous::None),
        ("auth: openshift", Anonymous::None),
        (user.as_str(), Anonymous::None),
        ("homeport: {anonymous: pull}", Anonymous::Pull),
    ] {
        assert_eq!(settings(&with(text)).anonymous, expected, "{text}");
    }
}

#[test]
fn limits_of_both_sections() {
    let theirs =
        "openshift: {requests: {read: {maxrunning: 5, maxinqueue: 2, maxwaitinqueue: 3s}, write: {maxrunning: -1}}}\n";
    let limits = settings(&with(theirs)).limits;
    let wait_max = Some(std::time::Duration::from_secs(3));
    assert_eq!(limits.read, Some(RequestLimit { running_max: 5, queue_max: 2, wait_max }));
    assert_eq!(limits.write, None);
    let both = format!("{theirs}homeport: {{limits: {{read: {{maxRunning: 7}}}}}}");
    assert_eq!(settings(&with(&both)).limits.read, Some(RequestLimit { running_max: 7, queue_max: 0, wait_max: None }));
    assert!(warnings(&with(&both)).iter().any(|line| line.contains("openshift.requests.read: has no effect")));
}

#[test]
fn secrets_are_never_shown() {
    let text = with(&format!(
        "http: {{secret: TopSecret0}}\nredis: {{password: TopSecret1}}\nhomeport:\n  token: {{secrets: [TopSecretTopSecret2]}}\n  \
         metrics: {{secret: TopSecret3}}\n  users: {{a: {{passwordHash: '{HASH}'}}}}\n"
    ));
    let (settings, warnings) = load_all(Some(&text), &[]).unwrap();
    let shown = format!("{}{settings:?}{warnings:?}", yaml(&settings));
    assert!(shown.contains("***") && !shown.contains("TopSecret") && !shown.contains(HASH), "{shown}");
    assert_eq!(settings.http.secret.map(|secret| secret.expose().to_owned()).as_deref(), Some("TopSecret0"));
    for text in [
        "http: {secret: {TopSecret: 1}}",
        "homeport: {users: {a: {passwordHash: TopSecret}}}",
        "storage: {s3: {secretkey: TopSecret, chunksize: x}}",
    ] {
        let shown =
            load_all(Some(&with(text)), &[("REGISTRY_HOMEPORT_TOKEN_SECRETS", "[TopSecret")]).unwrap_err().to_string();
        assert!(!shown.replace("http.secret", "").contains("TopSecret:") && !shown.contains(" TopSecret"), "{shown}");
    }
}

#[test]
fn a_shown_configuration_reads_back() {
    for text in [
        "storage: {filesystem: {rootdirectory: '/a b'}}\nlog: {fields: {a.b: 'c: d', n: '012'}}",
        "auth: {htpasswd: {realm: 'My \"realm\"', path: /p}}\nhttp: {addr: '[::1]:1', headers: {X-A: [b, 'c, d']}}",
        "http: {addr: /run/h.sock, net: unix, tls: {certificate: c, key: k, clientcas: [a, b], ciphersuites: [TLS_AES_128_GCM_SHA256]}}",
        "health: {file: [{file: /down, threshold: 2}, {file: /d2}]}\nvalidation: {manifests: {indexes: {platforms: list, platformlist: [{os: linux, architecture: amd64}]}}}",
        "validation: {disabled: true}\nhomeport: {metrics: {access: open}, limits: {maxUploadBytes: 1GiB, read: {maxRunning: 1}}}",
        "openshift: {auth: {tokenrealm: 'https://a:5000'}, metrics: {enabled: true}}\nauth: openshift",
    ] {
        let first = settings(&with(text));
        assert_eq!(settings(&yaml(&first)), first, "{}", yaml(&first));
    }
}

#[test]
fn every_shown_key_is_in_the_table() {
    let text = with(&format!(
        "http: {{addr: ':1', host: 'http://a', secret: b, tls: {{certificate: c, key: k, clientcas: [a], ciphersuites: [TLS_AES_128_GCM_SHA256]}}, \
         headers: {{a: b}}, debug: {{addr: ':2', prometheus: {{enabled: true}}}}}}\nauth: {{htpasswd: {{realm: r, path: p}}}}\n\
         log: {{fields: {{a: b}}}}\nhealth: {{storagedriver: {{enabled: true}}, file: [{{file: f}}]}}\n\
         validation: {{manifests: {{indexes: {{platforms: list, platformlist: [{{os: linux, architecture: amd64}}]}}}}}}\n\
         homeport: {{users: {{a: {{passwordHash: '{HASH}', projects: [{{name: p, access: FULL}}]}}}}, token: {{secrets: [0123456789abcdef], \
         realm: 'http://b'}}, metrics: {{secret: c}}, limits: {{maxUploadBytes: 1}}}}\n"
    ));
    for (path, _) in show::lines(&settings(&text)) {
        let key = schema::find(&reload::schema_path(&path)).unwrap_or_else(|| panic!("{path:?} is not in the table"));
        assert!(matches!(key.state, schema::State::Honoured | schema::State::Ours), "{path:?}");
    }
}

#[test]
fn reload_tells_what_waits_for_a_restart() {
    let user = |name: &str| format!("  users:\n    {name}: {{passwordHash: '{HASH}'}}\n");
    let old = settings(&with(&format!(
        "http: {{addr: ':5000', tls: {{certificate: a, key: k}}}}\nhomeport:\n  readOnly: true\n{}",
        user("a")
    )));
    let new = settings(&with(&format!(
        "log: {{level: debug, formatter: json}}\nhttp: {{addr: ':6000', tls: {{certificate: b, key: k}}}}\nhomeport:\n  token: {{secrets: [0123456789abcdef]}}\n{}",
        user("b")
    )));
    let (applied, restart) = reload_diff(&old, &new);
    let expected = [
        "log.level",
        "storage.maintenance.readonly.enabled",
        "http.tls.certificate",
        "homeport.users.b.passwordHash",
        "homeport.token.secrets",
        "homeport.users.a.passwordHash",
    ];
    assert_eq!(applied, expected);
    assert_eq!(restart, ["log.formatter", "http.addr"]);
    assert_eq!(reload_diff(&old, &old), (vec![], vec![]));
    let plain = settings(&with("http: {addr: ':5000'}"));
    assert!(reload_diff(&plain, &old).1.contains(&"http.tls.certificate".to_owned()));
}

#[test]
fn the_table_is_sound() {
    let keys: Vec<_> = schema::keys().collect();
    for (index, key) in keys.iter().enumerate() {
        let path: Vec<&str> = key.path.split('.').collect();
        assert!(keys[..index].iter().all(|other| other.path != key.path), "{} is there twice", key.path);
        assert_eq!(schema::find(&path).map(|found| found.path), Some(key.path));
        let children = schema::children(&path);
        let section = matches!(key.kind, schema::Kind::Section | schema::Kind::Named);
        assert!(section || children.is_empty(), "{} is a value with keys below it", key.path);
        assert!(children.len() < 2 || !children.contains(&"[]"), "{} is a list and a map", key.path);
        // A reason is given where it is reported: at the key itself or at a section above it.
        let silent = matches!(key.state, schema::State::Warned | schema::State::Refused) && key.note.is_empty();
        let above = (1..path.len()).any(|n| {
            schema::find(&path[..n]).is_some_and(|key| !key.note.is_empty() && key.state != schema::State::Honoured)
        });
        assert!(!silent || above, "{} has no reason", key.path);
    }
}

/// Texts that come near to configurations.
fn configurations() -> impl Strategy<Value = String> {
    let names: Vec<&'static str> =
        schema::keys().flat_map(|key| key.path.split('.')).filter(|name| *name != "*" && *name != "[]").collect();
    let value = prop_oneof![
        "\\PC{0,12}",
        "[0-9a-z:./$&*!|>%@`'\"{}\\[\\],#-]{0,12}",
        Just("[a, b]".to_owned()),
        Just("{a: b}".to_owned())
    ];
    let line =
        (0_usize..5, any::<bool>(), proptest::sample::select(names), value).prop_map(|(depth, item, name, value)| {
            format!("{}{}{name}: {value}", "  ".repeat(depth), if item { "- " } else { "" })
        });
    proptest::collection::vec(line, 0..12).prop_map(|lines| format!("version: 0.1\n{}", lines.join("\n")))
}

proptest! {
    #[test]
    fn arbitrary_text_never_panics(text in "(?s).{0,200}") {
        let _ = load_all(Some(&text), &[]).map_err(|errors| errors.to_string());
    }

    #[test]
    fn near_configurations_never_panic(text in configurations()) {
        if let Ok((settings, _)) = load_all(Some(&text), &[]) {
            let _ = yaml(&settings);
        }
    }

    #[test]
    fn arbitrary_variables_never_panic(key in proptest::sample::select(schema::keys().map(|key| key.path).collect::<Vec<_>>()), tail in "(_[0-9A-Z]{0,3}){0,2}", payload in "\\PC{0,30}") {
        let name = format!("{}{tail}", overlay::variable(key));
        let _ = load_all(Some("version: 0.1"), &[(&name, &payload)]);
    }
}
