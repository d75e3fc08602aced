//! Listeners and TLS.

use crate::settings::{self, Listen, Settings};
use net::{ClientAuth, Listener, ReloadingTls, ServeSettings, TlsSettings, TlsVersion};
use std::sync::Arc;

/// Connections that wait to be accepted.
const BACKLOG: u32 = 1024;

pub(crate) async fn bind(listen: &Listen) -> anyhow::Result<Listener> {
    Ok(match listen {
        Listen::Tcp { host, port } if host.contains(':') => {
            Listener::bind_tcp(&format!("[{host}]:{port}"), BACKLOG).await?
        }
        Listen::Tcp { host, port } => Listener::bind_tcp(&format!("{host}:{port}"), BACKLOG).await?,
        Listen::Unix(path) => Listener::bind_unix(path, BACKLOG)?,
    })
}

/// Takes over an exchanged certificate, and says so. `told` keeps a state that stays from being said again.
pub(crate) async fn renew(tls: &Arc<ReloadingTls>, key: &'static str, told: &mut Option<String>) {
    let current = Arc::clone(tls);
    match tokio::task::spawn_blocking(move || current.reload_if_changed()).await {
        Ok(Ok(true)) => {
            *told = None;
            tracing::info!(key, "new TLS certificate in use");
        }
        Ok(Ok(false)) | Err(_) => {}
        Ok(Err(error)) => {
            let error = format!("{:#}", anyhow::Error::new(error));
            if told.as_ref() != Some(&error) {
                tracing::error!(key, error, "the new TLS certificate is not usable, the old one stays");
                *told = Some(error);
            }
        }
    }
}

pub(crate) fn serve_settings(settings: &Settings) -> ServeSettings {
    ServeSettings {
        max_connections: settings.limits.connections_max,
        drain_timeout: settings.http.drain_timeout,
        h2c: settings.http.h2c,
        ..ServeSettings::new()
    }
}

pub(crate) fn tls(settings: &Settings) -> anyhow::Result<Option<Arc<ReloadingTls>>> {
    let Some(tls) = &settings.http.tls else { return Ok(None) };
    let clients = tls.clients.as_ref();
    let http2 = settings.http.http2;
    let settings = TlsSettings {
        certificate: tls.certificate.clone(),
        key: tls.key.clone(),
        client_cas: clients.map(|clients| clients.authorities.clone()).unwrap_or_default(),
        client_auth: match clients.map(|clients| clients.mode) {
            Some(settings::ClientAuth::Request) => ClientAuth::Request,
            Some(settings::ClientAuth::RequireAny) => ClientAuth::RequireAny,
            Some(settings::ClientAuth::VerifyIfGiven) => ClientAuth::VerifyIfGiven,
            Some(settings::ClientAuth::RequireAndVerify) | None => ClientAuth::Require,
        },
        minimum_version: match tls.minimum {
            settings::TlsVersion::V12 => TlsVersion::V1_2,
            settings::TlsVersion::V13 => TlsVersion::V1_3,
        },
        cipher_suites: tls.cipher_suites.iter().flatten().map(|name| (*name).to_owned()).collect(),
        http2,
    };
    Ok(Some(Arc::new(ReloadingTls::load(settings)?)))
}
