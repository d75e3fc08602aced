//! Which place a source is: the same words the next time, and others for any other place.

use crate::cmd::serve::place;
use crate::settings::Driver;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::UNIX_EPOCH;

/// Made once in the life of a registry's data, whoever wrote it.
const TREE: &str = "docker/registry/v2";

pub(super) fn name(driver: &Driver) -> String {
    let more = match driver {
        Driver::Filesystem { root } => folder(root),
        Driver::S3(s3) => told(&[("endpoint", &s3.region_endpoint), ("region", &s3.region)]),
        Driver::Gcs(gcs) => told(&[("endpoint", &gcs.endpoint)]),
        Driver::Azure(azure) => told(&[("realm", &Some(azure.realm.clone())), ("endpoint", &azure.service_url)]),
        Driver::Swift(swift) => told(&[
            ("authurl", &Some(swift.auth_url.clone())),
            ("region", &swift.region),
            ("tenant", &swift.tenant),
            ("tenantid", &swift.tenant_id),
            ("tenantdomain", &swift.tenant_domain),
            ("tenantdomainid", &swift.tenant_domain_id),
            ("trustid", &swift.trust_id),
            ("domain", &swift.domain),
            ("domainid", &swift.domain_id),
            ("username", &swift.username),
            ("credential", &swift.credential_id),
            ("credential", &swift.credential_name),
        ]),
    };
    if more.is_empty() { place(driver) } else { format!("{} ({})", place(driver), more.join(", ")) }
}

fn told(keys: &[(&str, &Option<String>)]) -> Vec<String> {
    keys.iter().filter_map(|(key, value)| value.as_ref().map(|value| format!("{key} {value}"))).collect()
}

/// Another volume may be mounted at the same path. Numbers of devices change when one is mounted again; the number of a folder
/// on its volume does not, nor the time when it was made, where there is one.
fn folder(root: &Path) -> Vec<String> {
    let Ok(tree) = std::fs::metadata(root.join(TREE)) else { return Vec::new() };
    let made = tree.created().ok().and_then(|made| made.duration_since(UNIX_EPOCH).ok());
    let mut words = vec![format!("folder {}", tree.ino())];
    words.extend(made.map(|made| format!("made {}", made.as_millis())));
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::load_storage;

    fn of(storage: &str) -> String {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), format!("version: 0.1\nstorage: {storage}\n")).unwrap();
        name(&load_storage(file.path()).unwrap().0.storage.driver)
    }

    #[test]
    fn another_folder_at_the_same_path_is_another_place() {
        let parent = tempfile::tempdir().unwrap();
        let root = parent.path().join("data");
        let driver = Driver::Filesystem { root: root.clone() };
        std::fs::create_dir_all(root.join(TREE)).unwrap();
        let first = name(&driver);
        std::fs::write(root.join(TREE).join("more"), "x").unwrap();
        assert_eq!(name(&driver), first);
        std::fs::rename(&root, parent.path().join("old")).unwrap();
        std::fs::create_dir_all(root.join(TREE)).unwrap();
        assert_ne!(name(&driver), first);
        assert!(first.starts_with(&*root.canonicalize().unwrap().to_string_lossy()), "{first}");
    }

    #[test]
    fn buckets_of_one_name_differ_by_their_service() {
        let one = of("{s3: {bucket: images, region: eu, regionendpoint: 'https://one.example.com'}}");
        let other = of("{s3: {bucket: images, region: eu, regionendpoint: 'https://two.example.com'}}");
        assert!(one.starts_with("s3://images (endpoint https://one.example.com"), "{one}");
        assert_ne!(one, other);
        let swift = |tenant: &str| {
            of(&format!(
                "{{swift: {{container: images, authurl: 'https://k:5000/v3', username: me, password: 0123456789abcdef, \
                 domain: d, tenant: {tenant}}}}}"
            ))
        };
        assert_ne!(swift("red"), swift("blue"));
        assert!(!swift("red").contains("0123456789abcdef"));
    }
}
