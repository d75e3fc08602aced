//! Buckets: files and variables that people have for them.

use super::*;

const SECRET: &str = "http: {addr: 'localhost:5000', secret: 0123456789abcdef}\n";

/// A file with these keys in the section of the driver.
fn with_s3(keys: &str) -> String {
    with(&format!("{SECRET}storage: {{s3: {{bucket: images, {keys}}}}}\n"))
}

fn s3(settings: Settings) -> S3 {
    match settings.storage.driver {
        Driver::S3(s3) => *s3,
        other => panic!("{other:?}"),
    }
}

#[test]
fn case_c_11_the_documented_block() {
    let text = "\
version: 0.1
storage:
  cache:
    layerinfo: inmemory
  delete:
    enabled: true
  s3:
    accesskey: awsaccesskey
    secretkey: awssecretkey
    region: us-west-1
    regionendpoint: http://myobjects.local
    bucket: bucketname
    encrypt: true
    keyid: mykeyid
    secure: true
    v4auth: false
    chunksize: 5242880
    rootdirectory: /s3/object/name/prefix
";
    // The sample's secret is shorter than any real one, so that nothing can be derived from it.
    let expected = "c.yml: http.secret: is missing: with a bucket the same one must be set in all replicas; make one with `openssl rand -hex 32`";
    assert_eq!(errors(text), [expected]);
    let text = text.replace("awssecretkey", "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY00");
    let (settings, warnings) = load_all(Some(&text), &[]).unwrap();
    assert!(settings.storage.delete);
    let expected = S3 {
        bucket: "bucketname".to_owned(),
        region: Some("us-west-1".to_owned()),
        region_endpoint: Some("http://myobjects.local".to_owned()),
        redirect_endpoint: None,
        force_path_style: None,
        virtual_hosted_style: None,
        secure: true,
        skip_verify: false,
        ca_file: None,
        dual_stack: false,
        access_key: Some(Secret::new("awsaccesskey")),
        secret_key: Some(Secret::new("wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY00")),
        session_token: None,
        credentials_file: None,
        encrypt: true,
        key_id: Some("mykeyid".to_owned()),
        storage_class: "STANDARD".to_owned(),
        root_directory: "s3/object/name/prefix".to_owned(),
        user_agent: None,
        chunk_bytes: 5 << 20,
        copy_threshold_bytes: 32 << 20,
        copy_chunk_bytes: 32 << 20,
        copies_max: 16,
    };
    assert_eq!(s3(settings), expected);
    let keys: Vec<_> = warnings.iter().map(Warning::key).collect();
    assert_eq!(keys, ["storage.s3.v4auth", "homeport.anonymous"]);
}

#[test]
fn what_openshift_passes() {
    let text = with("storage: {filesystem: {}, delete: {enabled: true}}\n");
    let operator = [
        ("REGISTRY_STORAGE", "s3"),
        ("REGISTRY_STORAGE_S3_BUCKET", "cluster-image-registry"),
        ("REGISTRY_STORAGE_S3_REGION", "eu-west-1"),
        ("REGISTRY_STORAGE_S3_ENCRYPT", "true"),
        ("REGISTRY_STORAGE_S3_FORCEPATHSTYLE", "false"),
        ("REGISTRY_STORAGE_S3_USEDUALSTACK", "true"),
        ("REGISTRY_STORAGE_S3_CHUNKSIZE", "10485760"),
        ("REGISTRY_STORAGE_S3_CREDENTIALSCONFIGPATH", "/var/run/secrets/cloud/credentials"),
        ("REGISTRY_HTTP_SECRET", "0123456789abcdef"),
    ];
    let (settings, warnings) = load_all(Some(&text), &operator).unwrap();
    assert_eq!(warnings.iter().map(Warning::key).collect::<Vec<_>>(), ["homeport.anonymous"]);
    let s3 = s3(settings);
    assert_eq!((s3.bucket.as_str(), s3.region.as_deref()), ("cluster-image-registry", Some("eu-west-1")));
    assert_eq!((s3.encrypt, s3.force_path_style, s3.dual_stack, s3.chunk_bytes), (true, Some(false), true, 10 << 20));
    assert_eq!(s3.credentials_file.as_deref(), Some(Path::new("/var/run/secrets/cloud/credentials")));
}

#[test]
fn the_other_name_of_the_driver() {
    let text = with(&format!("{SECRET}storage:\n  s3aws:\n    bucket: a\n    secure: no\n"));
    let (settings, _) = load_all(Some(&text), &[]).unwrap();
    assert!(!s3(settings).secure);
    for name in ["REGISTRY_STORAGE_S3AWS_BUCKET", "REGISTRY_STORAGE_S3_BUCKET"] {
        assert_eq!(s3(load_all(Some(&text), &[(name, "b #c")]).unwrap().0).bucket, "b #c");
    }
    let env = [
        ("REGISTRY_STORAGE", "s3aws"),
        ("REGISTRY_STORAGE_S3AWS_BUCKET", "b"),
        ("REGISTRY_HTTP_SECRET", "0123456789abcdef"),
    ];
    assert_eq!(s3(load_all(None, &env).unwrap().0).bucket, "b");
    let misspelled = with(&format!("{SECRET}storage: {{s3aws: {{bucket: a, regoin: r}}}}"));
    assert_eq!(errors(&misspelled), ["c.yml:3: storage.s3.regoin: unknown key; did you mean \"region\"?"]);
    let both = with(&format!("{SECRET}storage: {{s3aws: {{bucket: a}}, s3: {{bucket: a}}}}"));
    assert_eq!(errors(&both), ["c.yml:3: storage: has more than one driver: s3aws, s3; keep one"]);
}

#[test]
fn mistakes() {
    for (keys, error) in [
        ("bucket: ''", "storage.s3.bucket: is missing; name the bucket"),
        ("accesskey: a", "storage.s3.secretkey: is missing, since storage.s3.accesskey is set"),
        ("secretkey: a", "storage.s3.accesskey: is missing, since storage.s3.secretkey is set"),
        ("chunksize: 1048576", "storage.s3.chunksize: must be from 5242880 to 5368709120 (bytes)"),
        ("chunksize: 5MiB", "storage.s3.chunksize: must be a whole number"),
        ("multipartcopychunksize: 1", "storage.s3.multipartcopychunksize: must be from 5242880"),
        ("multipartcopythresholdsize: 5368709121", "storage.s3.multipartcopythresholdsize: must be from 0"),
        ("multipartcopymaxconcurrency: 0", "storage.s3.multipartcopymaxconcurrency: must be at least 1"),
        ("regionendpoint: 'ftp://a'", "storage.s3.regionendpoint: must be a host or a URL"),
        ("redirectendpoint: 'a b'", "storage.s3.redirectendpoint: must be a host or a URL"),
        (
            "forcepathstyle: true, virtualhostedstyle: true",
            "storage.s3.virtualhostedstyle: contradicts storage.s3.forcepathstyle",
        ),
        ("storageclass: glacier", "storage.s3.storageclass: must be one of NONE, STANDARD"),
        ("objectacl: public-read", "storage.s3.objectacl: must be private"),
        ("usefipsendpoint: true", "storage.s3.usefipsendpoint: not supported"),
        ("acceskey: a", "storage.s3.acceskey: unknown key; did you mean \"accesskey\"?"),
    ] {
        let found = errors(&with_s3(keys).replace("bucket: images, bucket", "bucket"));
        assert_eq!(found.len(), 1, "{keys}: {found:#?}");
        assert!(found[0].contains(error), "{keys}: {found:#?}");
    }
}

#[test]
fn what_has_no_effect() {
    for (keys, warning) in [
        ("keyid: k", "storage.s3.keyid: has no effect without `encrypt: true`"),
        ("v4auth: false", "storage.s3.v4auth: false has no effect"),
        ("accelerate: true", "storage.s3.accelerate: has no effect"),
        ("loglevel: debug", "storage.s3.loglevel: has no effect"),
        ("chunksize: 104857600", "storage.s3.chunksize: counts as 25165824"),
        (
            "accesskey: a, secretkey: b, credentialsconfigpath: /c",
            "storage.s3.credentialsconfigpath: has no effect: storage.s3.accesskey is set as well, and wins",
        ),
    ] {
        let found = warnings(&with_s3(keys));
        assert!(found.iter().any(|line| line.contains(warning)), "{keys}: {found:#?}");
    }
    let silent = "v4auth: true, accelerate: false, usefipsendpoint: false, objectacl: private, keyid: k, encrypt: true";
    assert_eq!(warnings(&with_s3(silent)), [""; 0]);
}

#[test]
fn replicas_need_a_common_secret() {
    let bucket = |rest: &str, keys: &str| with(&format!("storage: {{s3: {{bucket: b, {keys}}}}}\n{rest}"));
    let long = "accesskey: a, secretkey: 0123456789abcdef";
    for text in [
        bucket("http: {secret: 0123456789abcdef}", ""),
        bucket("", long),
        bucket("http: {secret: short}", long),
        bucket("homeport: {token: {secrets: [0123456789abcdef]}}", ""),
    ] {
        assert!(load_all(Some(&text), &[]).is_ok(), "{text}");
    }
    for (text, what) in [
        (bucket("", ""), "http.secret: is missing: with a bucket"),
        (bucket("", "accesskey: minioadmin, secretkey: minioadmin"), "http.secret: is missing: with a bucket"),
        (
            bucket("http: {secret: short}", ""),
            "http.secret: has less than 16 bytes and could be guessed: with a bucket",
        ),
    ] {
        assert!(errors(&text)[0].contains(what), "{text}: {:?}", errors(&text));
    }
}

#[test]
fn keys_are_never_shown() {
    let text = with_s3("accesskey: TopSecret0TopSecret, secretkey: TopSecret1TopSecret, sessiontoken: TopSecret2");
    let settings = settings(&text);
    let shown = format!("{}{settings:?}", yaml(&settings));
    assert!(!shown.contains("TopSecret") && shown.contains("secretkey: \"***\""), "{shown}");
}

#[test]
fn a_shown_bucket_reads_back() {
    let text = with_s3(
        "region: r, regionendpoint: 'a:1', redirectendpoint: 'https://b', forcepathstyle: false, virtualhostedstyle: true, \
         secure: false, skipverify: true, cafile: /ca.pem, usedualstack: true, accesskey: 0123456789abcdef, \
         secretkey: 0123456789abcdef, sessiontoken: 0123456789abcdef, credentialsconfigpath: /c, encrypt: true, keyid: k, \
         storageclass: standard_ia, rootdirectory: /a/b/, useragent: u, chunksize: 6291456, multipartcopythresholdsize: 0, \
         multipartcopychunksize: 5242880, multipartcopymaxconcurrency: 3",
    );
    let first = settings(&text);
    assert_eq!(settings(&yaml(&first).replace("\"***\"", "0123456789abcdef")), first, "{}", yaml(&first));
    let shown: Vec<_> = show::lines(&first).into_iter().map(|(path, _)| path.join(".")).collect();
    for key in schema::keys().filter(|key| key.path.starts_with("storage.s3.") && key.state != schema::State::Refused) {
        let silent = ["v4auth", "objectacl", "accelerate", "loglevel"].iter().any(|name| key.path.ends_with(name));
        assert_eq!(shown.contains(&key.path.to_owned()), !silent, "{}", key.path);
    }
    let other = settings(&text.replace("bucket: images", "bucket: others"));
    assert_eq!(reload_diff(&first, &other), (vec![], vec!["storage.s3.bucket".to_owned()]));
}

#[test]
fn addresses_are_good_as_long_as_who_signs_them_can() {
    let delivered = |duration: &str, more: &str| {
        let front = "baseurl: 'https://c', privatekey: /k.pem, keypairid: K";
        let entry =
            format!("middleware: {{storage: [{{name: cloudfront, options: {{{front}, duration: {duration}}}}}]}}");
        format!("{}\n{entry}\n{more}", with_s3("region: r, accesskey: 0123456789abcdef, secretkey: 0123456789abcdef"))
    };
    let month = settings(&delivered("720h", ""));
    assert_eq!(month.redirects.life.as_secs(), 720 * 3600);
    assert_eq!(settings(&yaml(&month).replace("\"***\"", "0123456789abcdef")).redirects, month.redirects);
    let [error] = &errors(&delivered("5s", ""))[..] else { panic!() };
    assert!(error.contains(" middleware.storage: the option duration must be at least 10s"), "{error}");
    let [error] = &errors(&delivered("1h", "homeport: {redirect: {life: 5s}}"))[..] else { panic!() };
    assert!(error.contains(" homeport.redirect.life: must be at least 10s"), "{error}");
    for key in ["life", "lifeMax"] {
        let text = with_s3("region: r, accesskey: 0123456789abcdef, secretkey: 0123456789abcdef");
        let [error] = &errors(&format!("{text}\nhomeport: {{redirect: {{{key}: 169h}}}}"))[..] else { panic!() };
        assert!(error.contains(&format!(" homeport.redirect.{key}: must be at most 168h")), "{error}");
    }
}
