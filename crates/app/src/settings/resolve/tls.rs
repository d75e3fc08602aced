//! `http.tls`.

use super::Context;
use crate::settings::document::Node;
use crate::settings::hint;
use crate::settings::resolved::{ClientAuth, ClientCertificates, Tls, TlsVersion};

/// What rustls with ring can do, by IANA name.
const SUITES: &[&str] = &[
    "TLS_AES_128_GCM_SHA256",
    "TLS_AES_256_GCM_SHA384",
    "TLS_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
];

/// Other names for the same, as Go and OpenShift's profiles write them.
const SUITE_ALIASES: &[(&str, &str)] = &[
    ("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305", "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256"),
    ("TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305", "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"),
];

/// Suites that distribution lists and this build lacks; all of them are weak.
const SUITES_MISSING: &[&str] = &[
    "TLS_RSA_WITH_RC4_128_SHA",
    "TLS_RSA_WITH_3DES_EDE_CBC_SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA",
    "TLS_RSA_WITH_AES_256_CBC_SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA256",
    "TLS_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_RC4_128_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_RC4_128_SHA",
    "TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256",
];

pub(super) fn tls(ctx: &mut Context<'_>) -> Option<Tls> {
    let (certificate, key) = (ctx.path("http.tls.certificate"), ctx.path("http.tls.key"));
    match (&certificate, &key) {
        (Some(_), None) => ctx.error("http.tls.key", "is missing, since http.tls.certificate is set"),
        (None, Some(_)) => ctx.error("http.tls.certificate", "is missing, since http.tls.key is set"),
        _ => {}
    }
    // Evaluated in any case, for the mistakes in it.
    let (clients, minimum, cipher_suites) = (clients(ctx), minimum(ctx), suites(ctx));
    let only_old =
        cipher_suites.as_ref().is_some_and(|suites| suites.iter().all(|suite| suite.starts_with("TLS_ECDHE")));
    if minimum == TlsVersion::V13 && only_old {
        ctx.error(
            "http.tls.ciphersuites",
            "has no suite of TLS 1.3, but http.tls.minimumtls is tls1.3; remove one of the two",
        );
    }
    match (certificate, key) {
        (Some(certificate), Some(key)) => Some(Tls { certificate, key, clients, minimum, cipher_suites }),
        (None, None) => {
            if clients.is_some() {
                ctx.error("http.tls.clientcas", "needs http.tls.certificate and http.tls.key");
            }
            None
        }
        _ => None,
    }
}

fn clients(ctx: &mut Context<'_>) -> Option<ClientCertificates> {
    let authorities: Vec<_> = ctx.texts("http.tls.clientcas").into_iter().map(Into::into).collect();
    let mode = ctx.word("http.tls.clientauth");
    if authorities.is_empty() {
        if mode.is_some() {
            ctx.warning("http.tls.clientauth", "has no effect without http.tls.clientcas");
        }
        return None;
    }
    let mode = match mode.as_deref() {
        Some("request-client-cert") => ClientAuth::Request,
        Some("require-any-client-cert") => ClientAuth::RequireAny,
        Some("verify-client-cert-if-given") => ClientAuth::VerifyIfGiven,
        _ => ClientAuth::RequireAndVerify,
    };
    Some(ClientCertificates { authorities, mode })
}

fn minimum(ctx: &mut Context<'_>) -> TlsVersion {
    match ctx.word("http.tls.minimumtls").as_deref() {
        Some("tls1.3" | "versiontls13") => TlsVersion::V13,
        Some("tls1.0" | "tls1.1" | "versiontls10" | "versiontls11") => {
            ctx.warning("http.tls.minimumtls", "is raised to tls1.2; older versions are not spoken");
            TlsVersion::V12
        }
        _ => TlsVersion::V12,
    }
}

fn suites(ctx: &mut Context<'_>) -> Option<Vec<&'static str>> {
    let items = ctx.root.find("http.tls.ciphersuites").map(Node::items).filter(|items| !items.is_empty())?;
    let mut suites = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let Some(name) = item.text() else { continue };
        let key = format!("http.tls.ciphersuites[{index}]");
        let name = SUITE_ALIASES.iter().find(|(alias, _)| *alias == name).map_or(name, |(_, suite)| suite);
        if let Some(suite) = SUITES.iter().find(|suite| **suite == name) {
            suites.push(*suite);
        } else if SUITES_MISSING.contains(&name) {
            ctx.report.warning(Some(&item.origin), key, "is left out: this build does not have it, since it is weak");
        } else {
            ctx.report.error(Some(&item.origin), key, hint::with("is not a known cipher suite", name, SUITES));
        }
    }
    if suites.is_empty() {
        ctx.error(
            "http.tls.ciphersuites",
            format!("has no suite that this build can use; choose from {}", SUITES.join(", ")),
        );
    }
    Some(suites)
}
