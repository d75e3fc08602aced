//! The shared secret behind upload addresses and tokens.

use crate::settings::Settings;
use anyhow::Context;
use std::path::Path;

/// Where a registry without a configured secret keeps the one that it made up, below the data folder.
const FILE: &str = "homeport/v1/secret";
/// Enough for HMAC-SHA256.
const BYTES: usize = 32;
/// Keeps the secret of a bucket apart from other uses of the key that it is derived from.
const PURPOSE: &[u8] = b"homeport/v1/secret";

/// The current secret of each kind and, while it is being exchanged, the one before.
pub(crate) struct Secrets {
    pub(crate) uploads: (Vec<u8>, Option<Vec<u8>>),
    pub(crate) tokens: (Vec<u8>, Option<Vec<u8>>),
}

/// Secrets from the settings; in place of a missing one `made_up` is used, see [`made_up`].
pub(crate) fn secrets(settings: &Settings, made_up: &[u8]) -> Secrets {
    let bytes = |secret: &crate::settings::Secret| secret.expose().as_bytes().to_vec();
    let mut configured = settings.token.secrets.iter().map(bytes);
    let tokens = configured.next().map(|current| (current, configured.next()));
    let (guessable, http): (Vec<_>, Vec<_>) = settings.http.secret.iter().partition(|secret| secret.is_guessable());
    if !guessable.is_empty() {
        tracing::warn!("http.secret has less than 16 bytes and could be guessed; it is not used");
    }
    let http = http.into_iter().map(bytes).next();
    let fallback = match (&http, &tokens) {
        (Some(secret), _) => (secret.clone(), None),
        (None, Some(tokens)) => tokens.clone(),
        (None, None) => (made_up.to_vec(), None),
    };
    Secrets { uploads: fallback.clone(), tokens: tokens.unwrap_or(fallback) }
}

/// A secret for a registry that has none in its settings: from a file in the data folder, made on first use. Without a
/// folder, or one that must not be written, it is good for this run.
pub(super) fn made_up(data: Option<&Path>, writable: bool) -> anyhow::Result<Vec<u8>> {
    let Some(data) = data else { return random() };
    let path = data.join(FILE);
    match std::fs::read(&path) {
        Ok(secret) if secret.len() >= BYTES => return Ok(secret),
        Ok(_) => anyhow::bail!("{} is damaged; remove it, and tokens and uploads begin anew", path.display()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
    let secret = random()?;
    if !writable {
        return Ok(secret);
    }
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

/// The same for a bucket, where everybody who may read it could read the secret: all who have its key can derive it. Without a
/// key that is long enough the settings have a secret.
pub(super) fn derived(secret_key: Option<&crate::settings::Secret>) -> anyhow::Result<Vec<u8>> {
    let Some(secret_key) = secret_key.filter(|key| !key.is_guessable()) else { return random() };
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret_key.expose().as_bytes());
    Ok(ring::hmac::sign(&key, PURPOSE).as_ref().to_vec())
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
    linked?;
    path.parent().map_or(Ok(()), |parent| std::fs::File::open(parent)?.sync_all())
}

fn random() -> anyhow::Result<Vec<u8>> {
    let mut secret = vec![0; BYTES];
    let random = ring::rand::SystemRandom::new();
    ring::rand::SecureRandom::fill(&random, &mut secret)
        .map_err(|_| anyhow::anyhow!("the system has no random numbers"))?;
    Ok(secret)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Secret;

    #[test]
    fn replicas_derive_the_same_secret() {
        let key = Secret::new("an ordinary secret key");
        let secret = derived(Some(&key)).unwrap();
        assert_eq!(derived(Some(&key)).unwrap(), secret);
        assert_eq!(secret.len(), BYTES);
        assert_ne!(derived(Some(&Secret::new("another secret key"))).unwrap(), secret);
        let short = Secret::new("minioadmin");
        assert_ne!(derived(Some(&short)).unwrap(), derived(Some(&short)).unwrap());
    }
}
