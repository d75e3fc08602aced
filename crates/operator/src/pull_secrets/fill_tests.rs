use super::super::testing::{ACCOUNT, ACCOUNT_UID, OPERATOR, at, fresh, key, settings, token};
use super::*;
use k8s_openapi::api::authentication::v1::TokenRequestStatus;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

const END: i64 = 1_772_763_259;

fn answer(account_uid: &str) -> TokenRequest {
    let token = token(&key(), account_uid, END - 86_400, END);
    let mut answer = token_request(&fresh(), &settings());
    answer.status = Some(TokenRequestStatus { expiration_timestamp: Time(at(END)), token });
    answer
}

fn owner(name: &str, uid: &str) -> OwnerReference {
    let (api_version, kind) = ("v1".to_owned(), "ServiceAccount".to_owned());
    OwnerReference { api_version, kind, name: name.into(), uid: uid.into(), ..OwnerReference::default() }
}

#[test]
fn the_token_is_bound_to_the_secret_and_meant_for_the_registry() {
    let request = serde_json::to_value(token_request(&fresh(), &settings())).unwrap();
    let bound = json!({"apiVersion": "v1", "kind": "Secret", "name": "my-pull-secret", "uid": "secret-uid"});
    let wanted = json!({"audiences": ["registry.example"], "boundObjectRef": bound, "expirationSeconds": 86400});
    assert_eq!(request["spec"], wanted);
}

#[test]
fn a_token_of_a_replaced_account_is_not_taken() {
    assert!(Token::of(answer("the one before"), ACCOUNT_UID).is_none());
    let mut empty = answer(ACCOUNT_UID);
    empty.status.as_mut().unwrap().token = String::new();
    assert!(Token::of(empty, ACCOUNT_UID).is_none());
    let mut none = answer(ACCOUNT_UID);
    none.status = None;
    assert!(Token::of(none, ACCOUNT_UID).is_none());
    assert_eq!(Token::of(answer(ACCOUNT_UID), ACCOUNT_UID).unwrap().expires, at(END));
}

#[test]
fn everything_changes_in_one_step_and_only_from_the_known_state() {
    let token = Token::of(answer(ACCOUNT_UID), ACCOUNT_UID).unwrap();
    let patch = filled(&fresh(), ACCOUNT, ACCOUNT_UID, &settings(), &token);
    let metadata = &patch["metadata"];
    assert_eq!((metadata["uid"].as_str(), metadata["resourceVersion"].as_str()), (Some("secret-uid"), Some("7")));
    let annotations = &metadata["annotations"];
    assert_eq!(annotations[names::EXPIRES_AT], "2026-03-06T02:14:19Z");
    assert_eq!(annotations[names::SERVICE_ACCOUNT_UID], ACCOUNT_UID);
    let hash = annotations[names::HASH].as_str().unwrap();
    assert!(hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()), "{hash}");
    let status: Value = serde_json::from_str(annotations[names::STATUS].as_str().unwrap()).unwrap();
    assert_eq!((&status["type"], &status["status"]), (&json!("Ready"), &json!("True")));
    assert_eq!(patch["data"].as_object().unwrap().len(), 1);
    assert_eq!(annotations[names::OPERATOR], OPERATOR);
    // The name is the user's to write.
    assert!(annotations.get(names::SERVICE_ACCOUNT).is_none());
}

#[test]
fn owners_of_others_stay_and_earlier_accounts_go() {
    let mut secret = fresh();
    let mut foreign = owner("chart", "c");
    foreign.kind = "Release".into();
    secret.annotations.service_account_uid = Some("earlier-uid".into());
    secret.owners = vec![
        foreign.clone(),
        owner("earlier", "earlier-uid"),
        owner(ACCOUNT, "replaced"),
        owner("somebody", "else"),
        owner(ACCOUNT, ACCOUNT_UID),
    ];
    let wanted = vec![foreign, owner("somebody", "else"), owner(ACCOUNT, ACCOUNT_UID)];
    assert_eq!(owners(&secret, ACCOUNT, ACCOUNT_UID), wanted);
}

#[test]
fn a_status_touches_nothing_else() {
    let patch = told(&fresh(), &Status::problem("ServiceAccountNotFound", &"long ".repeat(1000)), &settings());
    assert_eq!(patch.as_object().unwrap().len(), 1);
    assert_eq!(patch["metadata"].as_object().unwrap().len(), 3);
    let annotations = &patch["metadata"]["annotations"];
    assert!(annotations[names::STATUS].as_str().unwrap().len() < 1024);
    assert_eq!((annotations.as_object().unwrap().len(), &annotations[names::OPERATOR]), (2, &json!(OPERATOR)));
}

#[test]
fn who_has_nothing_to_fill_holds_nothing() {
    let none = Settings::new(OPERATOR, Vec::new(), None, std::time::Duration::ZERO);
    let status = Status::problem("NoRegistryHosts", "none");
    let patch = told(&fresh(), &status, &none);
    assert_eq!(patch["metadata"]["annotations"], json!({ (names::STATUS): status.to_annotation() }));
    let mut secret = fresh();
    secret.annotations.status = Some(status.to_annotation());
    assert!(plan::is_told(&secret, &status, &none));
    assert!(!plan::is_told(&secret, &status, &settings()));
}

#[test]
fn an_account_is_what_its_metadata_say() {
    let named = |uid: Option<&str>| ObjectMeta { uid: uid.map(str::to_owned), ..ObjectMeta::default() };
    assert_eq!(account(None), Account::Missing);
    assert_eq!(account(Some(named(Some("u")))), Account::Exists("u".into()));
    assert_eq!(account(Some(named(None))), Account::Deleting);
    let going = ObjectMeta { deletion_timestamp: Some(Time(at(1))), ..named(Some("u")) };
    assert_eq!(account(Some(going)), Account::Deleting);
}
