//! Tokens that no cluster would give.

use anyhow::{Context, Result, ensure};
use e2e::kube::Kube;
use e2e::site::{URL, base64};
use serde_json::{Value, json};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::SystemTime;

/// Whose signature a token has.
pub(crate) enum Key {
    /// The cluster's own.
    Cluster(PathBuf),
    /// One that nobody knows.
    Other(tempfile::TempDir),
}

impl Key {
    pub(crate) fn of_cluster(kube: &Kube) -> Result<Self> {
        Ok(Self::Cluster(kube.cluster()?.folder().join("conf/pki/sa.key")))
    }

    pub(crate) fn other() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        openssl(&["genrsa", "-out", &folder.path().join("key").display().to_string(), "2048"], b"")?;
        Ok(Self::Other(folder))
    }

    pub(crate) fn path(&self) -> PathBuf {
        match self {
            Self::Cluster(path) => path.clone(),
            Self::Other(folder) => folder.path().join("key"),
        }
    }

    /// A token with these claims, signed with RS256.
    pub(crate) fn sign(&self, key_id: &str, claims: &Value) -> Result<String> {
        let header = json!({ "alg": "RS256", "typ": "JWT", "kid": key_id });
        let part = |value: &Value| base64(value.to_string().as_bytes(), URL, false);
        let signed = format!("{}.{}", part(&header), part(claims));
        let key = self.path().display().to_string();
        let signature = openssl(&["dgst", "-sha256", "-sign", &key, "-binary"], signed.as_bytes())?;
        Ok(format!("{signed}.{}", base64(&signature, URL, false)))
    }
}

/// Seconds since 1970.
pub(crate) fn now() -> Result<i64> {
    Ok(i64::try_from(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs())?)
}

/// The claims of a token, without a look at its signature.
pub(crate) fn claims(token: &str) -> Result<Value> {
    let part = token.split('.').nth(1).context("three parts")?;
    Ok(serde_json::from_slice(&decode(part)?)?)
}

/// The header of a token.
pub(crate) fn header(token: &str) -> Result<Value> {
    let part = token.split('.').next().context("three parts")?;
    Ok(serde_json::from_slice(&decode(part)?)?)
}

/// Base64 for URLs, without padding.
fn decode(text: &str) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    let (mut word, mut bits) = (0u32, 0);
    for letter in text.bytes() {
        let value = URL.iter().position(|known| *known == letter).context("a letter of base64")?;
        word = word << 6 | u32::try_from(value)?;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            out.push(u8::try_from(word >> bits & 0xff)?);
        }
    }
    Ok(out)
}

/// A server with a certificate of its own that serves the files of a folder, and is gone with this value.
pub(crate) struct FileServer(std::process::Child);

impl FileServer {
    pub(crate) fn start(folder: &Path, address: &str, certificate: &Path, key: &Path) -> Result<Self> {
        let mut command = Command::new("openssl");
        command.args(["s_server", "-quiet", "-WWW", "-accept", address]);
        command.arg("-cert").arg(certificate).arg("-key").arg(key).current_dir(folder);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        Ok(Self(child.context("openssl s_server")?))
    }
}

impl Drop for FileServer {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

pub(crate) fn openssl(arguments: &[&str], input: &[u8]) -> Result<Vec<u8>> {
    let mut child = Command::new("openssl")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("openssl")?;
    child.stdin.take().context("no input")?.write_all(input)?;
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "openssl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(output.stdout)
}
