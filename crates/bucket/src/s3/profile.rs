//! Credentials files as Amazon's tools have them.

use async_trait::async_trait;
use object_store::aws::AwsCredential;
use object_store::{CredentialProvider, Result};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Longest file that is read, in bytes.
const FILE_MAX: u64 = 1 << 20;
/// How long what was read is believed; a rotated key is used after that.
const FRESH: Duration = Duration::from_secs(30);

/// What a profile says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Profile {
    pub(super) access_key: Option<String>,
    pub(super) secret_key: Option<String>,
    pub(super) session_token: Option<String>,
    pub(super) role: Option<String>,
    pub(super) token_file: Option<String>,
    pub(super) role_session: Option<String>,
}

impl Profile {
    /// The section `[name]` or `[profile name]`.
    pub(super) fn parse(text: &str, name: &str) -> Self {
        let mut profile = Self::default();
        let mut ours = false;
        for line in text.lines().map(str::trim).filter(|line| !line.starts_with(['#', ';'])) {
            if let Some(section) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
                let section = section.trim();
                ours = section.strip_prefix("profile ").unwrap_or(section).trim() == name;
            } else if let (true, Some((key, value))) = (ours, line.split_once('=')) {
                let value = Some(value.trim().to_owned()).filter(|value| !value.is_empty());
                match key.trim() {
                    "aws_access_key_id" => profile.access_key = value,
                    "aws_secret_access_key" => profile.secret_key = value,
                    "aws_session_token" => profile.session_token = value,
                    "role_arn" => profile.role = value,
                    "web_identity_token_file" => profile.token_file = value,
                    "role_session_name" => profile.role_session = value,
                    _ => {}
                }
            }
        }
        profile
    }

    pub(super) fn read(file: &Path, name: &str) -> std::io::Result<Self> {
        use std::io::Read;
        let mut text = String::new();
        std::fs::File::open(file)?.take(FILE_MAX).read_to_string(&mut text)?;
        Ok(Self::parse(&text, name))
    }

    fn credential(self) -> Option<AwsCredential> {
        Some(AwsCredential { key_id: self.access_key?, secret_key: self.secret_key?, token: self.session_token })
    }
}

/// Keys from a file that may be written anew at any time.
#[derive(Debug)]
pub(super) struct FileKeys {
    file: PathBuf,
    profile: String,
    last: Mutex<Option<(Instant, Arc<AwsCredential>)>>,
}

impl FileKeys {
    pub(super) fn new(file: PathBuf, profile: String) -> Self {
        Self { file, profile, last: Mutex::new(None) }
    }

    async fn get(&self) -> Result<Arc<AwsCredential>> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((read, credential)) = &last
            && read.elapsed() < FRESH
        {
            return Ok(Arc::clone(credential));
        }
        let (file, name) = (self.file.clone(), self.profile.clone());
        let read = tokio::task::spawn_blocking(move || Profile::read(&file, &name)).await;
        let found = read.map_err(std::io::Error::other).and_then(|profile| profile).map(Profile::credential);
        let credential = match (found, last) {
            (Ok(Some(credential)), _) => Arc::new(credential),
            // While it is being replaced the old keys may still do.
            (_, Some((_, credential))) => credential,
            (Ok(None), None) => return Err(failed("the credentials file has no keys".into())),
            (Err(error), None) => return Err(failed(error.into())),
        };
        let kept = (Instant::now(), Arc::clone(&credential));
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(kept);
        Ok(credential)
    }
}

fn failed(source: Box<dyn std::error::Error + Send + Sync>) -> object_store::Error {
    object_store::Error::Generic { store: "S3", source }
}

#[async_trait]
impl CredentialProvider for FileKeys {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> Result<Arc<AwsCredential>> {
        self.get().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "[other]\naws_access_key_id = no\n# aws_secret_access_key=no\n[default]\r\n aws_access_key_id=AKIA\n\
        aws_secret_access_key = a=b+/\n[profile web]\nsts_regional_endpoints = regional\nrole_arn = arn:aws:iam::1:role/r\n\
        web_identity_token_file = /var/run/token\n";

    #[test]
    fn profiles_are_told_apart() {
        let keys = Profile::parse(TEXT, "default");
        assert_eq!((keys.access_key.as_deref(), keys.secret_key.as_deref()), (Some("AKIA"), Some("a=b+/")));
        let web = Profile::parse(TEXT, "web");
        assert_eq!(
            (web.role.as_deref(), web.token_file.as_deref()),
            (Some("arn:aws:iam::1:role/r"), Some("/var/run/token"))
        );
        assert_eq!(Profile::parse(TEXT, "none"), Profile::default());
    }

    #[tokio::test]
    async fn keys_survive_a_moment_without_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("credentials");
        let keys = FileKeys::new(file.clone(), "default".to_owned());
        assert!(keys.get().await.is_err());
        std::fs::write(&file, TEXT).unwrap();
        assert_eq!(keys.get().await.unwrap().key_id, "AKIA");
        std::fs::remove_file(&file).unwrap();
        if let Some((read, _)) = &mut *keys.last.lock().unwrap() {
            *read = read.checked_sub(FRESH).unwrap();
        }
        assert_eq!(keys.get().await.unwrap().key_id, "AKIA");
    }
}
