//! A TLS configuration that can be replaced while connections are open.

use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use tokio_rustls::TlsAcceptor;

use super::load::{self, ContentHash, Files, Loaded};
use super::{ClientAuth, TlsError, TlsSettings};
use crate::connection::ClientCertificate;
use crate::socket::Socket;

/// More of them lead nowhere: a verifier follows no longer chain.
const INTERMEDIATES_MAX: usize = 6;

pub(crate) type TlsStream = tokio_rustls::server::TlsStream<Socket>;

/// The current certificate, key and authorities. New connections see a replacement at once, open ones keep what
/// they began with.
pub struct ReloadingTls {
    settings: TlsSettings,
    current: ArcSwap<Loaded>,
    /// Content that could not be used, so that each broken state is reported once.
    refused: Mutex<Option<ContentHash>>,
}

/// A finished handshake.
pub(crate) struct Accepted {
    pub(crate) stream: TlsStream,
    pub(crate) http2: bool,
    pub(crate) client_certificate: Option<ClientCertificate>,
}

impl ReloadingTls {
    /// Reads the files (blocking).
    ///
    /// # Errors
    /// When a file cannot be read or parsed, the key does not match the certificate, or a cipher suite is unknown.
    pub fn load(settings: TlsSettings) -> Result<ReloadingTls, TlsError> {
        let loaded = load::build(&settings, &Files::read(&settings)?)?;
        Ok(ReloadingTls { settings, current: ArcSwap::from_pointee(loaded), refused: Mutex::new(None) })
    }

    /// Waits until the files are there and can be used: a secret may be made after the process has started. Looks every
    /// `pause`, and hands each new reason to wait longer to `tell`.
    ///
    /// # Errors
    /// When the settings themselves cannot be used, whatever the files contain.
    pub async fn load_when_there(
        settings: TlsSettings,
        pause: Duration,
        mut tell: impl FnMut(&TlsError) + Send,
    ) -> Result<ReloadingTls, TlsError> {
        let mut told = String::new();
        loop {
            let attempt = settings.clone();
            match tokio::task::spawn_blocking(move || ReloadingTls::load(attempt)).await {
                Ok(Ok(tls)) => return Ok(tls),
                Ok(Err(error @ (TlsError::CipherSuite { .. } | TlsError::Versions(_)))) => return Err(error),
                Ok(Err(error)) => {
                    let reason = format!("{error:?}");
                    if reason != told {
                        tell(&error);
                        told = reason;
                    }
                }
                // The runtime ends.
                Err(_) => {}
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// Reads the files again (blocking; a few KiB) and takes them over if their content has changed; true if it has.
    /// Meant to be called every few seconds: contents are compared, because Kubernetes replaces the files of a secret
    /// by swapping a symbolic link, which no file time or inode tells.
    ///
    /// # Errors
    /// When the new content cannot be used. The old one stays in force, and the same content is not reported again.
    pub fn reload_if_changed(&self) -> Result<bool, TlsError> {
        let files = Files::read(&self.settings)?;
        let hash = files.hash();
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        if hash == self.current.load().hash {
            *refused = None;
            return Ok(false);
        }
        if *refused == Some(hash) {
            return Ok(false);
        }
        match load::build(&self.settings, &files) {
            Ok(loaded) => {
                self.current.store(loaded.into());
                *refused = None;
                Ok(true)
            }
            Err(error) => {
                *refused = Some(hash);
                Err(error)
            }
        }
    }

    /// End of validity of the certificate in force; `None` when it cannot be read from it.
    #[must_use]
    pub fn not_after(&self) -> Option<SystemTime> {
        self.current.load().not_after
    }

    /// Performs the handshake. Has no time limit of its own.
    pub(crate) async fn accept(&self, socket: Socket) -> io::Result<Accepted> {
        let config = self.current.load().config.clone();
        let stream = TlsAcceptor::from(config).accept(socket).await?;
        let session = stream.get_ref().1;
        let http2 = session.alpn_protocol() == Some(b"h2");
        let verified = matches!(self.settings.client_auth, ClientAuth::Require | ClientAuth::VerifyIfGiven);
        let client_certificate = session.peer_certificates().and_then(<[_]>::split_first).map(|(der, rest)| {
            let intermediates = rest.iter().take(INTERMEDIATES_MAX).map(|der| der.to_vec()).collect();
            ClientCertificate::new(der.to_vec(), intermediates, verified)
        });
        Ok(Accepted { stream, http2, client_certificate })
    }
}

impl std::fmt::Debug for ReloadingTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReloadingTls").field("settings", &self.settings).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
