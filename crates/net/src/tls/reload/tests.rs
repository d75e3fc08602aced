use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use super::*;
use crate::tls::TlsVersion;

/// Writes a fresh self-signed pair that ends on 1 January of `year`; returns the key.
fn write_pair(directory: &Path, year: i32) -> rcgen::KeyPair {
    let mut params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.not_after = rcgen::date_time_ymd(year, 1, 1);
    let key = rcgen::KeyPair::generate().unwrap();
    std::fs::write(directory.join("tls.crt"), params.self_signed(&key).unwrap().pem()).unwrap();
    std::fs::write(directory.join("tls.key"), key.serialize_pem()).unwrap();
    key
}

fn settings(directory: &Path) -> TlsSettings {
    TlsSettings {
        certificate: directory.join("tls.crt"),
        key: directory.join("tls.key"),
        client_cas: Vec::new(),
        client_auth: ClientAuth::Require,
        minimum_version: TlsVersion::V1_2,
        cipher_suites: Vec::new(),
        http2: true,
    }
}

#[test]
fn takes_over_a_new_pair_and_keeps_the_old_one_when_the_new_one_is_broken() {
    let directory = tempfile::tempdir().unwrap();
    write_pair(directory.path(), 2040);
    let tls = ReloadingTls::load(settings(directory.path())).unwrap();
    let end_of = |year: u64| UNIX_EPOCH + Duration::from_secs(year);
    let (in_2040, in_2041) = (end_of(2_208_988_800), end_of(2_240_611_200));
    assert_eq!(tls.not_after(), Some(in_2040));
    assert!(!tls.reload_if_changed().unwrap());

    let foreign = rcgen::KeyPair::generate().unwrap();
    let good = write_pair(directory.path(), 2041);
    std::fs::write(directory.path().join("tls.key"), foreign.serialize_pem()).unwrap();
    assert!(matches!(tls.reload_if_changed(), Err(TlsError::Pair { .. })));
    assert!(!tls.reload_if_changed().unwrap(), "reported once");
    assert_eq!(tls.not_after(), Some(in_2040));

    std::fs::write(directory.path().join("tls.key"), good.serialize_pem()).unwrap();
    assert!(tls.reload_if_changed().unwrap());
    assert_eq!(tls.not_after(), Some(in_2041));

    std::fs::remove_file(directory.path().join("tls.crt")).unwrap();
    assert!(matches!(tls.reload_if_changed(), Err(TlsError::Read { .. })));
    assert_eq!(tls.not_after(), Some(in_2041));
}

#[test]
fn follows_the_link_swap_of_a_kubernetes_secret() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    for (version, year) in [("v1", 2040), ("v2", 2041)] {
        std::fs::create_dir(root.join(version)).unwrap();
        write_pair(&root.join(version), year);
    }
    std::os::unix::fs::symlink("v1", root.join("..data")).unwrap();
    for name in ["tls.crt", "tls.key"] {
        std::os::unix::fs::symlink(Path::new("..data").join(name), root.join(name)).unwrap();
    }
    let tls = ReloadingTls::load(settings(root)).unwrap();
    std::os::unix::fs::symlink("v2", root.join("..data_tmp")).unwrap();
    std::fs::rename(root.join("..data_tmp"), root.join("..data")).unwrap();
    assert!(tls.reload_if_changed().unwrap());
}

#[test]
fn unusable_settings_are_errors() {
    let directory = tempfile::tempdir().unwrap();
    let good = settings(directory.path());
    assert!(matches!(ReloadingTls::load(good.clone()), Err(TlsError::Read { .. })));
    write_pair(directory.path(), 2040);

    let named = |names: &[&str]| TlsSettings {
        cipher_suites: names.iter().map(|name| (*name).to_owned()).collect(),
        ..good.clone()
    };
    ReloadingTls::load(named(&["TLS_AES_128_GCM_SHA256", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"])).unwrap();
    let error = ReloadingTls::load(named(&["TLS_RSA_WITH_RC4_128_SHA"])).unwrap_err();
    assert!(error.to_string().contains("TLS_AES_256_GCM_SHA384"), "{error}");
    let only_1_2 =
        TlsSettings { minimum_version: TlsVersion::V1_3, ..named(&["TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"]) };
    assert!(matches!(ReloadingTls::load(only_1_2), Err(TlsError::Versions(_))));

    std::fs::write(directory.path().join("tls.crt"), "").unwrap();
    assert!(matches!(ReloadingTls::load(good), Err(TlsError::NoCertificate(_))));
}

#[tokio::test]
async fn files_that_come_later_are_waited_for() {
    let directory = tempfile::tempdir().unwrap();
    let wanted = settings(directory.path());
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let waiting = tokio::spawn(ReloadingTls::load_when_there(wanted.clone(), Duration::from_millis(1), move |error| {
        tell.send(error.to_string()).unwrap();
    }));
    let reason = told.recv().await.unwrap();
    assert!(reason.contains("tls.crt"), "{reason}");
    // Something else than the key is there first, or there would be a moment in which all is well.
    let (elsewhere, foreign) = (tempfile::tempdir().unwrap(), rcgen::KeyPair::generate().unwrap());
    write_pair(elsewhere.path(), 2040);
    let path = directory.path();
    std::fs::write(path.join("tls.key"), foreign.serialize_pem()).unwrap();
    std::fs::rename(elsewhere.path().join("tls.crt"), path.join("tls.crt")).unwrap();
    let mut reasons = vec![reason];
    while !reasons.last().unwrap().contains("do not belong together") {
        reasons.push(told.recv().await.unwrap());
        assert!(reasons.windows(2).all(|pair| pair[0] != pair[1]), "{reasons:?}");
    }
    std::fs::rename(elsewhere.path().join("tls.key"), path.join("tls.key")).unwrap();
    let tls = tokio::time::timeout(Duration::from_secs(30), waiting).await.unwrap().unwrap().unwrap();
    assert_eq!(tls.not_after(), Some(UNIX_EPOCH + Duration::from_secs(2_208_988_800)));

    let never = TlsSettings { cipher_suites: vec!["TLS_NULL".to_owned()], ..wanted };
    let refused = ReloadingTls::load_when_there(never, Duration::from_secs(3_600), |_| ()).await;
    assert!(matches!(refused, Err(TlsError::CipherSuite { .. })));
}
