//! After a change of the objects: `HOMEPORT_BLESS=1 cargo test -p homeport manifests` writes the files anew.

use super::*;
use crate::settings;
use clap::Parser;
use operator::api_certificate::Pair;
use serde_json::Value;

const API_CERTIFICATE: &str = "/etc/homeport/api/tls.crt";
const SECRET: &str = "0123456789abcdef0123456789abcdef";

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    flags: Flags,
}

fn objects(arguments: &[&str]) -> Vec<Object> {
    let line = ["manifests", "--image", "registry.example/infra/homeport:1"].iter().chain(arguments);
    let flags = Command::try_parse_from(line).unwrap().flags;
    let secret = (!flags.keep_secret).then(|| SECRET.to_owned());
    let mut inputs = flags.into_inputs(secret).unwrap();
    // Not a new one for each comparison.
    if let Some(api) = certified(&inputs).unwrap() {
        let pair = Pair { certificate: "the certificate\n".to_owned(), key: "the key\n".to_owned() };
        inputs.api = Some(Api { certificate: api.certificate.map(|_| pair) });
    }
    desired(&inputs).unwrap()
}

const EVERYTHING: &[&str] = &[
    "--namespace=images",
    "--host=registry.example",
    "--host=10.96.0.7:5000",
    "--storage=pvc:2Ti",
    "--storage-class=shared",
    "--replicas=3",
    "--audience=registry.example",
    "--tls-secret=registry-tls",
    "--service-type=loadbalancer",
    "--authorization=review",
];

fn matches_the_file(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/cmd/manifests").join(name);
    if std::env::var_os("HOMEPORT_BLESS").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(text == expected, "{} is out of date; run this test with HOMEPORT_BLESS=1", path.display());
}

#[test]
fn the_objects_are_those_in_the_files() {
    matches_the_file("plain.yaml", &yaml(&objects(&[])).unwrap());
    matches_the_file("everything.yaml", &yaml(&objects(EVERYTHING)).unwrap());
    let trial = ["--storage=emptydir:1Gi", "--without-roles", "--without-api"];
    matches_the_file("trial.yaml", &yaml(&objects(&trial)).unwrap());
}

#[test]
fn yaml_says_what_the_objects_say() {
    for arguments in [&[][..], EVERYTHING, &["--audience=yes", "--host=0x10", "--storage=emptydir"]] {
        let objects = objects(arguments);
        let read: Vec<Value> = serde_saphyr::from_multiple(&yaml(&objects).unwrap()).unwrap();
        assert_eq!(read.len(), objects.len());
        for (read, object) in read.iter().zip(&objects) {
            assert_eq!(read, &serde_json::to_value(object).unwrap());
        }
    }
}

#[test]
fn the_registry_takes_its_configuration() {
    let folder = tempfile::tempdir().unwrap();
    for arguments in [&["--host=registry.example", "--audience=a", "--audience=b"][..], EVERYTHING] {
        let objects = objects(arguments);
        let text = objects
            .iter()
            .find_map(|object| match object {
                Object::ConfigMap(map) => map.data.as_ref()?.get("config.yml"),
                _ => None,
            })
            .unwrap();
        let file = folder.path().join("config.yml");
        std::fs::write(&file, text).unwrap();
        let env = [("REGISTRY_HTTP_SECRET".to_owned(), SECRET.to_owned())];
        let (settings, warnings) = settings::load(Some(&file), env, &settings::Flags::default()).unwrap();
        assert!(warnings.is_empty(), "{warnings:?}");
        assert_eq!(settings.http.tls.is_some(), text.contains("tls:"));
        let kubernetes = settings.kubernetes.unwrap();
        assert_eq!(kubernetes.hosts[0], "registry.example");
        assert!(kubernetes.hosts.iter().any(|host| host.ends_with(".svc:5000")), "{:?}", kubernetes.hosts);
        assert_eq!(kubernetes.rights == settings::RightsFrom::Review, text.contains("review"));
        assert_eq!(kubernetes.audiences.is_empty(), !text.contains("audiences"));
        let api = kubernetes.api.unwrap();
        assert_eq!((api.host.as_str(), api.certificate.as_path()), ("registry.example", API_CERTIFICATE.as_ref()));
    }
}

#[test]
fn secrets_stay_out_together_and_the_api_goes_alone() {
    let secrets = |arguments: &[&str]| -> Vec<String> {
        let text = yaml(&objects(arguments)).unwrap();
        let read: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
        let secrets = read.iter().filter(|object| object["kind"] == "Secret");
        let names = secrets.map(|object| object["metadata"]["name"].as_str().unwrap().to_owned()).collect();
        let (api, kept) = (!arguments.contains(&"--without-api"), arguments.contains(&"--keep-secret"));
        assert_eq!((text.contains("kind: APIService"), text.contains("caBundle")), (api, api && !kept));
        names
    };
    assert_eq!(secrets(&[]), ["homeport-secret", "homeport-api-tls"]);
    assert_eq!(secrets(&["--without-api"]), ["homeport-secret"]);
    assert!(secrets(&["--keep-secret"]).is_empty() && secrets(&["--keep-secret", "--without-api"]).is_empty());
}

#[test]
fn a_secret_comes_from_a_file_or_from_nowhere_twice() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret");
    std::fs::write(&file, format!("{SECRET}\n")).unwrap();
    assert_eq!(read_secret(&file).unwrap(), SECRET);
    let (one, other) = (make_secret().unwrap(), make_secret().unwrap());
    assert_ne!(one, other);
    assert_eq!(one.len(), 2 * SECRET_BYTES);
}

#[test]
fn a_storage_that_is_none_is_refused() {
    for (text, class, part) in [
        ("pvc", None, "write pvc:SIZE"),
        ("disk:1Gi", None, "write pvc:SIZE"),
        ("emptydir", Some("fast".to_owned()), "--storage-class is for"),
    ] {
        let error = storage(text, class).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn the_pages_show_every_flag_and_proper_yaml() {
    let install = include_str!("../../../../../docs/kubernetes/install.md");
    let command = <Command as clap::CommandFactory>::command();
    let flags: Vec<String> = command
        .get_arguments()
        .filter_map(|argument| argument.get_long())
        .filter(|name| !matches!(*name, "help" | "version"))
        .map(|name| format!("| `--{name}"))
        .collect();
    let rows: Vec<&str> = install.lines().filter(|line| line.starts_with("| `--")).collect();
    assert_eq!(rows.len(), flags.len());
    for flag in &flags {
        assert!(rows.iter().any(|row| row.starts_with(flag)), "{flag}");
    }
    let pages = [
        install,
        include_str!("../../../../../docs/kubernetes/credential-provider.md"),
        include_str!("../../../../../docs/kubernetes/rights.md"),
        include_str!("../../../../../docs/kubernetes/namespaces.md"),
    ];
    for block in pages.iter().flat_map(|page| page.split("```yaml\n").skip(1)) {
        let (text, _) = block.split_once("```").unwrap();
        let documents: Vec<Value> = serde_saphyr::from_multiple(text).unwrap_or_else(|error| panic!("{error}: {text}"));
        assert!(documents.iter().all(Value::is_object), "{text}");
    }
}
