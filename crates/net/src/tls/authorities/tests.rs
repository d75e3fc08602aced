use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, date_time_ymd,
};

use super::*;

type Issuer = CertifiedIssuer<'static, KeyPair>;

/// date -u -d 2030-06-01 +%s
const IN_2030: u64 = 1_906_502_400;
const YEAR: Duration = Duration::from_secs(365 * 86_400);

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(IN_2030)
}

fn authority_params(not_after: i32) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "front-proxy-ca");
    params.not_after = date_time_ymd(not_after, 1, 1);
    params
}

fn authority(not_after: i32) -> Issuer {
    Issuer::self_signed(authority_params(not_after), KeyPair::generate().unwrap()).unwrap()
}

/// Valid in 2030, for `usages`.
fn leaf(issuer: &Issuer, usages: &[ExtendedKeyUsagePurpose]) -> Vec<u8> {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, "front-proxy-client");
    params.not_before = date_time_ymd(2030, 1, 1);
    params.not_after = date_time_ymd(2031, 1, 1);
    params.extended_key_usages = usages.to_vec();
    params.signed_by(&KeyPair::generate().unwrap(), issuer).unwrap().der().to_vec()
}

fn shown(der: Vec<u8>) -> ClientCertificate {
    ClientCertificate::new(der, Vec::new(), false)
}

fn trusting(pem: &str) -> ClientAuthorities {
    ClientAuthorities::from_pem(pem.as_bytes()).unwrap()
}

#[test]
fn only_certificates_of_the_authority_for_clients_in_their_time() {
    use ExtendedKeyUsagePurpose::{ClientAuth, ServerAuth};
    // Two authorities of the same name, as before and after a rotation.
    let (ours, theirs) = (authority(2040), authority(2040));
    let trust = trusting(&ours.pem());
    let client = shown(leaf(&ours, &[ClientAuth]));
    assert_eq!(client.common_name.as_deref(), Some("front-proxy-client"));
    assert!(trust.vouches_for(&client, now()));
    assert!(!trust.vouches_for(&client, now() + YEAR), "expired");
    assert!(!trust.vouches_for(&client, now() - YEAR), "not yet valid");
    assert!(!trust.vouches_for(&client, UNIX_EPOCH - YEAR), "no time for certificates");
    assert!(trust.vouches_for(&shown(leaf(&ours, &[])), now()), "for everything");
    assert!(trust.vouches_for(&shown(leaf(&ours, &[ServerAuth, ClientAuth])), now()));
    assert!(!trust.vouches_for(&shown(leaf(&ours, &[ServerAuth])), now()), "for servers");
    assert!(!trust.vouches_for(&shown(leaf(&theirs, &[ClientAuth])), now()), "of another authority");
    assert!(!trust.vouches_for(&shown(ours.der().to_vec()), now()), "the authority itself");

    let mut tampered = client.der.clone();
    let name = b"front-proxy-client";
    let at = tampered.windows(name.len()).position(|window| window == name).unwrap();
    tampered[at] = b'F';
    let tampered = shown(tampered);
    assert_eq!(tampered.common_name.as_deref(), Some("Front-proxy-client"));
    assert!(!trust.vouches_for(&tampered, now()));
    for odd in [Vec::new(), b"no certificate".to_vec()] {
        assert!(!trust.vouches_for(&shown(odd), now()));
    }
}

#[test]
fn a_chain_leads_over_what_the_client_sent() {
    let (root, stranger) = (authority(2040), authority(2040));
    let below = |root: &Issuer| {
        let mut params = authority_params(2040);
        params.distinguished_name.push(DnType::CommonName, "between");
        Issuer::signed_by(params, KeyPair::generate().unwrap(), root).unwrap()
    };
    let (between, other) = (below(&root), below(&stranger));
    let der = leaf(&between, &[ExtendedKeyUsagePurpose::ClientAuth]);
    let with = |intermediates: &[&Issuer]| {
        let intermediates = intermediates.iter().map(|issuer| issuer.der().to_vec()).collect();
        ClientCertificate::new(der.clone(), intermediates, false)
    };
    let trust = trusting(&root.pem());
    assert!(trust.vouches_for(&with(&[&between]), now()));
    assert!(trust.vouches_for(&with(&[&other, &between]), now()), "in any order, with others");
    assert!(!trust.vouches_for(&with(&[]), now()));
    assert!(!trust.vouches_for(&with(&[&other, &root]), now()));
    assert!(!trusting(&stranger.pem()).vouches_for(&with(&[&between, &other]), now()));
}

#[test]
fn a_bundle_is_as_good_as_its_best() {
    let (old, new, expired) = (authority(2040), authority(2041), authority(2030));
    let odd = "-----BEGIN CERTIFICATE-----\nYm9ndXM=\n-----END CERTIFICATE-----\n";
    let trust = trusting(&format!("# old\n{}{odd}\n{}{}", old.pem(), new.pem(), expired.pem()));
    for (issuer, expected) in [(&old, true), (&new, true), (&expired, false), (&authority(2040), false)] {
        assert_eq!(trust.vouches_for(&shown(leaf(issuer, &[])), now()), expected);
    }
    let read = |pem: &str| ClientAuthorities::from_pem(pem.as_bytes());
    for empty in ["", "no PEM", odd] {
        assert!(matches!(read(empty), Err(AuthoritiesError::NoAuthority)), "{empty}");
    }
    assert!(matches!(
        read("-----BEGIN CERTIFICATE-----\n@\n-----END CERTIFICATE-----\n"),
        Err(AuthoritiesError::Pem(_))
    ));
    let cut = old.pem();
    assert!(matches!(read(&cut[..cut.len() / 2]), Err(AuthoritiesError::Pem(_))));
}
