//! The shared secret behind upload addresses and tokens.

use crate::settings::Settings;
use anyhow::Context;
use std::path::Path;

/// Where a registry without a configured secret keeps the one that it made up, below the data folder.
const FILE: &str = "homeport/v1/secret";
/// Enough for HMAC-SHA256.
const BYTES: usize = 32;

/// The current secret of each kind and, while it is being exchanged, the one before.
pub(crate) struct Secrets {
    pub(crate) uploads: (Vec<u8>, Option<Vec<u8>>),
    pub(crate) tokens: (Vec<u8>, Option<Vec<u8>>),
}

/// Secrets from the settings; what is missing comes from a file in the data folder, made on first use. Without a folder,
/// or one that cannot be written, it is made up for this run.
pub(crate) fn secrets(settings: &Settings, data: Option<&Path>) -> anyhow::Result<Secrets> {
    let bytes = |secret: &crate::settings::Secret| secret.expose().as_bytes().to_vec();
    let mut configured = settings.token.secrets.iter().map(bytes);
    let tokens = configured.next().map(|current| (current, configured.next()));
    let http = settings.http.secret.as_ref().map(bytes);
    let fallback = match (&http, &tokens) {
        (Some(secret), _) => (secret.clone(), None),
        (None, Some(tokens)) => tokens.clone(),
        (None, None) => (kept(data)?, None),
    };
    Ok(Secrets { uploads: fallback.clone(), tokens: tokens.unwrap_or(fallback) })
}

fn kept(data: Option<&Path>) -> anyhow::Result<Vec<u8>> {
    let Some(data) = data else { return made_up() };
    let path = data.join(FILE);
    match std::fs::read(&path) {
        Ok(secret) if secret.len() >= BYTES => return Ok(secret),
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
    let secret = made_up()?;
    match keep(&path, &secret) {
        Ok(()) => {}
        // Another process was faster: its secret counts.
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => return Ok(std::fs::read(&path)?),
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "cannot keep a secret; uploads end with this process");
        }
    }
    Ok(secret)
}

fn keep(path: &Path, secret: &[u8]) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    let temp = path.with_extension(format!("{}.tmp", std::process::id()));
    let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temp)?;
    std::io::Write::write_all(&mut file, secret)?;
    file.sync_all()?;
    let linked = std::fs::hard_link(&temp, path);
    std::fs::remove_file(&temp)?;
    linked
}

fn made_up() -> anyhow::Result<Vec<u8>> {
    let mut secret = vec![0; BYTES];
    let random = ring::rand::SystemRandom::new();
    ring::rand::SecureRandom::fill(&random, &mut secret)
        .map_err(|_| anyhow::anyhow!("the system has no random numbers"))?;
    Ok(secret)
}
