//! Google Cloud Storage: files and variables that people have for it.

use super::*;

const SECRET: &str = "http: {addr: 'localhost:5000', secret: 0123456789abcdef}\n";

fn with_gcs(keys: &str) -> String {
    with(&format!("{SECRET}storage: {{gcs: {{bucket: images, {keys}}}}}\n"))
}

fn gcs(settings: Settings) -> Gcs {
    match settings.storage.driver {
        Driver::Gcs(gcs) => *gcs,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_documented_block() {
    let text = with(
        "storage:
  gcs:
    bucket: bucketname
    credentials:
      type: service_account
      project_id: project_id_string
      private_key_id: private_key_id_string
      private_key: \"-----BEGIN PRIVATE KEY-----\\nabc\\n\"
      client_email: client@example.com
      client_id: client_id_string
      auth_uri: http://example.com/auth_uri
      token_uri: http://example.com/token_uri
      auth_provider_x509_cert_url: http://example.com/provider_cert_url
      client_x509_cert_url: http://example.com/client_cert_url
    rootdirectory: /gcs/object/name/prefix
    chunksize: 5242880
",
    );
    let (settings, warnings) = load_all(Some(&text), &[]).unwrap();
    assert_eq!(warnings.iter().map(Warning::key).collect::<Vec<_>>(), ["homeport.anonymous"]);
    let shown = format!("{}{settings:?}", yaml(&settings));
    assert!(!shown.contains("BEGIN") && !shown.contains("private_key_id_string"), "{shown}");
    let gcs = gcs(settings);
    assert_eq!((gcs.bucket.as_str(), gcs.root_directory.as_str()), ("bucketname", "gcs/object/name/prefix"));
    assert_eq!(gcs.private_key.unwrap().expose(), "-----BEGIN PRIVATE KEY-----\nabc\n");
    assert_eq!(gcs.credentials["client_email"].expose(), "client@example.com");
    assert_eq!((gcs.chunk_bytes, gcs.requests_max), (5 << 20, 50));
}

#[test]
fn what_openshift_passes() {
    let text = with("storage: {filesystem: {}, delete: {enabled: true}}\n");
    let operator = [
        ("REGISTRY_STORAGE", "gcs"),
        ("REGISTRY_STORAGE_GCS_BUCKET", "cluster-image-registry"),
        ("REGISTRY_STORAGE_GCS_KEYFILE", "/gcs/keyfile"),
        ("REGISTRY_STORAGE_GCS_ROOTDIRECTORY", "/a/b"),
        ("REGISTRY_HTTP_SECRET", "0123456789abcdef"),
    ];
    let files = |path: &Path| match path.to_str() {
        Some("/gcs/keyfile") => Ok("{\"type\": \"external_account\"}".to_owned()),
        _ => no_files(path),
    };
    let (settings, warnings) = load_files(Some(&text), &operator, &files).unwrap();
    assert_eq!(warnings.iter().map(Warning::key).collect::<Vec<_>>(), ["homeport.anonymous"]);
    let gcs = gcs(settings);
    assert_eq!(gcs.bucket, "cluster-image-registry");
    assert_eq!(gcs.key_file.as_deref(), Some(Path::new("/gcs/keyfile")));
    assert_eq!((gcs.private_key, gcs.root_directory.as_str()), (None, "a/b"));
}

#[test]
fn mistakes() {
    for (keys, error) in [
        ("bucket: ''", "storage.gcs.bucket: is missing; name the bucket"),
        ("chunksize: 5000000", "storage.gcs.chunksize: must be a multiple of 262144"),
        ("chunksize: 0", "storage.gcs.chunksize: must be a multiple of 262144"),
        ("keyfile: /nowhere", "storage.gcs.keyfile: cannot be read: no /nowhere"),
        ("endpoint: 'ftp://a'", "storage.gcs.endpoint: must be a host or a URL"),
        ("redirectendpoint: 'a b'", "storage.gcs.redirectendpoint: must be a host or a URL"),
        ("credentials: {client_email: a}", "storage.gcs.credentials.private_key: is missing"),
        ("keyfyle: a", "storage.gcs.keyfyle: unknown key; did you mean \"keyfile\"?"),
    ] {
        let found = errors(&with_gcs(keys).replace("bucket: images, bucket", "bucket"));
        assert_eq!(found.len(), 1, "{keys}: {found:#?}");
        assert!(found[0].contains(error), "{keys}: {found:#?}");
    }
}

#[test]
fn replicas_need_a_common_secret() {
    let bucket = |keys: &str| with(&format!("storage: {{gcs: {{bucket: b, {keys}}}}}\n"));
    let key = "credentials: {client_email: a, private_key: 0123456789abcdef}";
    assert!(load_all(Some(&bucket(key)), &[]).is_ok());
    let files = |_: &Path| Ok("{\"private_key\": \"0123456789abcdef\"}".to_owned());
    assert!(load_files(Some(&bucket("keyfile: /k")), &[], &files).is_ok());
    let files = |_: &Path| Ok("{\"type\": \"external_account\"}".to_owned());
    for found in [
        load_all(Some(&bucket("")), &[]).unwrap_err().to_string(),
        load_files(Some(&bucket("keyfile: /k")), &[], &files).unwrap_err().to_string(),
    ] {
        assert!(found.contains("http.secret: is missing: with a bucket"), "{found}");
    }
}

#[test]
fn a_shown_bucket_reads_back() {
    let text = with_gcs(
        "keyfile: /k, rootdirectory: /a/b/, chunksize: 6291456, maxconcurrency: 30, useragent: u, endpoint: 'a:1', \
         redirectendpoint: 'https://b', cafile: /ca.pem, credentials: {type: t, project_id: a, private_key_id: \
         0123456789abcdef, private_key: 0123456789abcdef, client_email: b, client_id: c, auth_uri: d, token_uri: e, \
         auth_provider_x509_cert_url: f, client_x509_cert_url: g, universe_domain: h}",
    );
    let files = |_: &Path| Ok("{}".to_owned());
    let read = |text: &str| load_files(Some(text), &[], &files).unwrap().0;
    let first = read(&text);
    assert_eq!(read(&yaml(&first).replace("\"***\"", "0123456789abcdef")), first, "{}", yaml(&first));
    let shown: Vec<_> = show::lines(&first).into_iter().map(|(path, _)| path.join(".")).collect();
    for key in schema::keys().filter(|key| key.path.starts_with("storage.gcs.")) {
        assert!(shown.contains(&key.path.to_owned()), "{}", key.path);
    }
    let other = read(&text.replace("bucket: images", "bucket: others"));
    assert_eq!(reload_diff(&first, &other), (vec![], vec!["storage.gcs.bucket".to_owned()]));
}
