use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;
use serde_json::{Value, json};

use super::bundle::{Bundle, end};
use super::decide::{Cause, Inputs, Key, Plan, Registration, Stored, decide, renewed};
use super::pair::{Pair, RENEW_BEFORE, make};
use super::*;

const NAMESPACE: &str = "images";

fn days(days: i64) -> SignedDuration {
    SignedDuration::from_hours(24 * days)
}

fn now() -> Timestamp {
    "2026-11-21T17:30:00Z".parse().unwrap()
}

fn made(age: SignedDuration) -> Pair {
    make(NAMESPACE, now() - age).unwrap()
}

fn bundle(pairs: &[&Pair]) -> Bundle {
    Bundle::parse(pairs.iter().map(|pair| pair.certificate.as_str()).collect::<String>().as_bytes())
}

fn stored(pair: &Pair, ca: &[&Pair]) -> Stored {
    Stored { marked: true, chain: bundle(&[pair]), key: Key(pair.key.clone().into_bytes()), ca: bundle(ca) }
}

fn trusts(pairs: &[&Pair]) -> Registration {
    Registration::Ours { trusted: bundle(pairs), held: true }
}

/// When every pod shows what is in the Secret.
fn plan(registration: &Registration, stored: Option<&Stored>) -> Plan {
    decide(Inputs { namespace: NAMESPACE, registration, stored, settled: true, now: now() })
}

/// When pods may still show something else.
fn plan_early(registration: &Registration, stored: Option<&Stored>) -> Plan {
    decide(Inputs { namespace: NAMESPACE, registration, stored, settled: false, now: now() })
}

/// A certificate for our Service as an authority makes it, and the authority.
fn issued() -> (Pair, Pair) {
    let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.distinguished_name.push(rcgen::DnType::CommonName, "internal");
    let key = rcgen::KeyPair::generate().unwrap();
    let ca = params.self_signed(&key).unwrap();
    let authority = Pair { certificate: ca.pem(), key: key.serialize_pem() };
    let issuer = rcgen::Issuer::new(params, key);
    let key = rcgen::KeyPair::generate().unwrap();
    let leaf = rcgen::CertificateParams::new(vec![server_name(NAMESPACE)]).unwrap().signed_by(&key, &issuer).unwrap();
    (Pair { certificate: leaf.pem(), key: key.serialize_pem() }, authority)
}

fn kept(plan: Plan) -> (Option<Bundle>, Option<Bundle>) {
    match plan {
        Plan::Keep { end, trust, ca } => {
            assert!(end.unwrap().duration_since(now()) > RENEW_BEFORE);
            (trust, ca)
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_certificate_is_good_for_its_service_and_a_year() {
    let pair = made(SignedDuration::ZERO);
    let good_until = |name: &str| end(&bundle(&[&pair]), pair.key.as_bytes(), &bundle(&[&pair]), name, now());
    for name in ["homeport-api.images.svc", "homeport-api.images.svc.cluster.local"] {
        let life = good_until(name).unwrap().duration_since(now());
        assert!(days(364) < life && life <= days(365), "{life:?}");
    }
    assert_eq!(good_until("homeport-api.other.svc"), None);
    // A longer namespace than a common name may be.
    let (long, other) = ("n".repeat(63), made(SignedDuration::ZERO));
    let pair = make(&long, now()).unwrap();
    let ends = |key: &Pair, trusted: &Pair| {
        end(&bundle(&[&pair]), key.key.as_bytes(), &bundle(&[trusted]), &server_name(&long), now())
    };
    assert!(ends(&pair, &pair).is_some());
    assert_eq!((ends(&other, &pair), ends(&pair, &other)), (None, None));
    assert!(!format!("{pair:?}").contains("PRIVATE"));
}

#[test]
fn what_is_written_is_what_is_read() {
    let (one, other) = (made(days(9)), made(days(8)));
    let both = bundle(&[&one, &other, &one]);
    assert_eq!(Bundle::parse(both.to_pem().as_bytes()), both);
    assert_eq!(bundle(&[&one]).to_pem().trim(), one.certificate.trim().replace('\r', ""));
    for nothing in ["", "text", "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n", &one.key] {
        assert!(Bundle::parse(nothing.as_bytes()).is_empty(), "{nothing:.30}");
    }
    // A company's bundle is not cut.
    let many: Vec<Pair> = (0..20).map(|age| made(days(age))).collect();
    let all = many.iter().fold(Bundle::default(), renewed);
    assert_eq!(all, bundle(&many.iter().collect::<Vec<_>>()));
    assert_eq!(Bundle::parse(all.to_pem().as_bytes()), all);
}

#[test]
fn where_everything_is_as_it_should_be_nothing_is_done() {
    let (pair, before) = (made(days(100)), made(days(300)));
    assert_eq!(kept(plan(&trusts(&[&pair]), Some(&stored(&pair, &[&pair])))), (None, None));
    let both = [&before, &pair];
    assert_eq!(kept(plan(&trusts(&both), Some(&stored(&pair, &both)))), (None, None));
}

#[test]
fn what_is_trusted_follows_the_secret() {
    let (pair, before, foreign) = (made(days(1)), made(days(300)), made(days(2)));
    let wanted = Some(bundle(&[&pair]));
    let unheld = Registration::Ours { trusted: bundle(&[&pair]), held: false };
    for registration in [trusts(&[]), trusts(&[&foreign]), trusts(&[&pair, &foreign]), unheld] {
        assert_eq!(kept(plan(&registration, Some(&stored(&pair, &[&pair])))), (wanted.clone(), None));
    }
    // Somebody took the certificate itself out of what is trusted, or the one before, which they may.
    assert_eq!(kept(plan(&trusts(&[&pair]), Some(&stored(&pair, &[])))), (None, wanted.clone()));
    assert_eq!(kept(plan(&trusts(&[&before, &pair]), Some(&stored(&pair, &[&pair])))), (wanted, None));
}

/// What is served must be trusted while pods see the Secret late: manifests that were applied again with another
/// certificate, a hand that was too quick, a leader of before whose change is on its way.
#[test]
fn nothing_is_taken_away_before_pods_show_what_the_secret_says() {
    let (pair, before, ended) = (made(days(1)), made(days(100)), made(days(400)));
    let (_, authority) = issued();
    for trusted in [vec![&before], vec![&before, &pair], vec![&authority, &before], vec![&ended]] {
        let wanted = bundle(&[trusted.as_slice(), &[&pair]].concat());
        let (trust, ca) = kept(plan_early(&trusts(&trusted), Some(&stored(&pair, &[&pair]))));
        assert_eq!((trust.unwrap_or_else(|| bundle(&trusted)), ca), (wanted, None));
        let (trust, ca) = kept(plan(&trusts(&trusted), Some(&stored(&pair, &[&pair]))));
        assert_eq!((trust, ca), (Some(bundle(&[&pair])), None));
    }
    // Nothing to do: what is trusted has more than is said.
    assert_eq!(kept(plan_early(&trusts(&[&before, &pair]), Some(&stored(&pair, &[&pair])))), (None, None));
    let old = made(days(300));
    let both = bundle(&[&before, &old]);
    let wanted = Plan::Renew { cause: Cause::Age, beside: both };
    assert_eq!(plan_early(&trusts(&[&before, &old]), Some(&stored(&old, &[&old]))), wanted);
}

#[test]
fn a_certificate_that_has_ended_is_no_longer_trusted() {
    let (pair, before) = (made(days(130)), made(days(370)));
    let both = [&before, &pair];
    let wanted = Some(bundle(&[&pair]));
    assert_eq!(kept(plan(&trusts(&both), Some(&stored(&pair, &both)))), (wanted.clone(), wanted));
}

#[test]
fn a_new_one_comes_in_time_and_the_one_before_stays_trusted() {
    for (age, cause) in [
        (days(365 - 365 / 3) - days(2), None),
        (days(365 - 365 / 3) + days(1), Some(Cause::Age)),
        (days(364), Some(Cause::Age)),
        (days(366), Some(Cause::Unusable)),
        (days(9000), Some(Cause::Unusable)),
    ] {
        let pair = made(age);
        match (plan(&trusts(&[&pair]), Some(&stored(&pair, &[&pair]))), cause) {
            (Plan::Keep { trust: None, ca: None, .. }, None) => {}
            (Plan::Renew { cause, beside }, Some(wanted)) => {
                assert_eq!(cause, wanted);
                assert_eq!(beside, bundle(&[&pair]));
            }
            (other, _) => panic!("{age:?}: {other:?}"),
        }
    }
    let (pair, new) = (made(days(300)), made(SignedDuration::ZERO));
    assert_eq!(renewed(bundle(&[&pair]), &new), bundle(&[&pair, &new]));
}

#[test]
fn what_cannot_be_used_is_replaced() {
    let (pair, other) = (made(days(1)), made(days(2)));
    let elsewhere = make("elsewhere", now()).unwrap();
    let broken = |change: fn(&mut Stored)| {
        let mut broken = stored(&pair, &[&pair]);
        change(&mut broken);
        broken
    };
    let key_of_another = Stored { key: Key(other.key.clone().into_bytes()), ..stored(&pair, &[&pair]) };
    let cases = [
        (key_of_another, vec![&pair]),
        (broken(|secret| secret.key = Key(Vec::new())), vec![&pair]),
        (broken(|secret| secret.chain = Bundle::default()), vec![&pair]),
        (stored(&elsewhere, &[&elsewhere]), vec![&pair]),
        // Emptied: pods still show what they have read.
        (Stored { chain: Bundle::default(), ..stored(&pair, &[]) }, vec![&pair]),
    ];
    for (secret, beside) in cases {
        let wanted = Plan::Renew { cause: Cause::Unusable, beside: bundle(&beside) };
        assert_eq!(plan(&trusts(&[&pair]), Some(&secret)), wanted);
    }
    // Pods may still show what was in a Secret that is gone, whoever vouches for it.
    let (_, authority) = issued();
    let wanted = Plan::Renew { cause: Cause::Missing, beside: bundle(&[&pair, &authority]) };
    assert_eq!(plan(&trusts(&[&pair, &authority]), None), wanted);
}

#[test]
fn what_others_make_is_followed_and_not_replaced() {
    let (pair, old) = (made(days(1)), made(days(400)));
    let foreign = |pair: &Pair, ca: &[&Pair]| Stored { marked: false, ..stored(pair, ca) };
    let trust = |plan: Plan| match plan {
        Plan::Keep { trust, ca: None, .. } => trust,
        other => panic!("{other:?}"),
    };
    assert_eq!(trust(plan(&trusts(&[]), Some(&foreign(&pair, &[&pair])))), Some(bundle(&[&pair])));
    assert_eq!(trust(plan(&trusts(&[&pair]), Some(&foreign(&pair, &[&pair])))), None);
    // However bad it is, where nothing else is better; what it replaces may be right in some way that we do not know.
    assert_eq!(trust(plan(&trusts(&[]), Some(&foreign(&old, &[&old])))), Some(bundle(&[&old])));
    assert_eq!(trust(plan(&trusts(&[&pair]), Some(&foreign(&old, &[&old])))), Some(bundle(&[&pair, &old])));
    assert_eq!(trust(plan(&trusts(&[&pair, &old]), Some(&foreign(&old, &[&old])))), None);
    // An authority that everybody knows has no certificate here, or the administrator says which one counts.
    assert_eq!(trust(plan(&trusts(&[&old]), Some(&foreign(&pair, &[])))), None);
}

#[test]
fn what_vouches_for_a_foreign_certificate_is_not_exchanged_for_what_does_not() {
    let ((leaf, authority), other) = (issued(), made(days(1)));
    let foreign = |ca: &[&Pair]| Stored { marked: false, ..stored(&leaf, ca) };
    let kept = |plan: Plan| match plan {
        Plan::Keep { end: Some(_), trust, ca: None } => trust,
        other => panic!("{other:?}"),
    };
    // A stale authority in the Secret, and the right one set by hand.
    for plan in [plan, plan_early] {
        assert_eq!(kept(plan(&trusts(&[&authority]), Some(&foreign(&[&other])))), None);
        assert_eq!(kept(plan(&trusts(&[&authority]), Some(&foreign(&[&authority])))), None);
    }
    // Another authority comes: the one before stays until pods show the certificate of the new one.
    let both = Some(bundle(&[&other, &authority]));
    assert_eq!(kept(plan_early(&trusts(&[&other]), Some(&foreign(&[&authority])))), both);
    assert_eq!(kept(plan(&trusts(&[&other, &authority]), Some(&foreign(&[&authority])))), Some(bundle(&[&authority])));
}

/// The Secret is made anew when it is deleted, and somebody else's certificate comes into it: the mark is still there.
#[test]
fn a_certificate_of_an_authority_is_not_ours_whatever_is_marked() {
    let ((leaf, authority), ours) = (issued(), made(days(1)));
    let marked = stored(&leaf, &[&authority]);
    assert!(marked.marked);
    let Plan::Keep { end: Some(_), trust, ca: None } = plan_early(&trusts(&[&ours]), Some(&marked)) else { panic!() };
    assert_eq!(trust, Some(bundle(&[&ours, &authority])));
    // Also when nothing vouches for it here, and when its key is not there yet.
    for odd in [stored(&leaf, &[]), Stored { key: Key(ours.key.clone().into_bytes()), ..marked }] {
        let plan = plan(&trusts(&[&ours]), Some(&odd));
        assert!(matches!(plan, Plan::Keep { end: None, ca: None, .. }), "{plan:?}");
    }
}

#[test]
fn an_api_of_somebody_else_is_not_ours() {
    let pair = made(days(300));
    assert_eq!(plan(&Registration::NotOurs, Some(&stored(&pair, &[]))), Plan::Idle);
    assert_eq!(plan(&Registration::NotOurs, None), Plan::Idle);
    let registration = |spec: Value| {
        let metadata = json!({"name": API_SERVICE});
        let mut object = json!({"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService"});
        (object["metadata"], object["spec"]) = (metadata, spec);
        objects::registration(&serde_json::from_value::<APIService>(object).unwrap(), NAMESPACE)
    };
    let priorities = json!({"groupPriorityMinimum": 1, "versionPriority": 1});
    let with = |service: Value| {
        let mut spec = priorities.clone();
        spec["service"] = service;
        spec
    };
    for spec in [
        priorities.clone(),
        with(json!({"name": SERVICE, "namespace": "other"})),
        with(json!({"name": "other", "namespace": NAMESPACE})),
    ] {
        assert_eq!(registration(spec), Registration::NotOurs);
    }
    let ours = registration(with(json!({"name": SERVICE, "namespace": NAMESPACE})));
    assert_eq!(ours, Registration::Ours { trusted: Bundle::default(), held: false });
}

#[test]
fn a_secret_of_ours_is_known_by_its_mark() {
    let pair = made(days(1));
    let ours = objects::fresh(NAMESPACE, &pair, &bundle(&[&pair]));
    let read = |object: &Value| objects::stored(&serde_json::from_value::<Secret>(object.clone()).unwrap());
    assert_eq!(read(&ours), stored(&pair, &[&pair]));
    let mut foreign = ours.clone();
    foreign["metadata"]["annotations"] = json!({(MARK.0): "cert-manager"});
    assert!(!read(&foreign).marked);
    foreign["metadata"]["annotations"] = Value::Null;
    foreign["data"] = Value::Null;
    let empty = read(&foreign);
    assert!(!empty.marked && empty.chain.is_empty() && empty.ca.is_empty() && empty.key == Key(Vec::new()));
    assert!(!format!("{:?}", read(&ours)).contains("PRIVATE"));
}

#[test]
fn a_change_is_bound_to_the_state_that_it_was_made_for() {
    let pair = made(days(1));
    let metadata = serde_json::from_value(json!({"name": "x", "uid": "u", "resourceVersion": "7"})).unwrap();
    let bundle = bundle(&[&pair]);
    for change in [
        objects::trust(&metadata, &bundle),
        objects::says(&metadata, &bundle),
        objects::replaced(&metadata, &pair, &bundle),
    ] {
        let metadata = &change["metadata"];
        assert_eq!((metadata["uid"].as_str(), metadata["resourceVersion"].as_str()), (Some("u"), Some("7")));
    }
    // Nothing else of the APIService is ours.
    assert_eq!(objects::trust(&metadata, &bundle)["spec"].as_object().unwrap().len(), 1);
}
