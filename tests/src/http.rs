//! A small blocking HTTP client that reports instead of judging.

use anyhow::{Context, Result};
use std::time::Duration;

/// Requests to one server.
#[derive(Clone)]
pub struct Client {
    base: String,
    agent: ureq::Agent,
    authorization: Option<String>,
}

/// What came back, whatever the status.
#[derive(Debug)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// Headers; names in lower case.
    pub headers: Vec<(String, String)>,
    /// The whole body.
    pub body: Vec<u8>,
}

impl Answer {
    /// First value of a header, empty when missing.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(found, _)| found == name).map_or("", |(_, value)| value)
    }

    /// All values of a header.
    #[must_use]
    pub fn all(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(found, _)| found == name).map(|(_, value)| value.as_str()).collect()
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON; null when it is none.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The code of the first error in the body.
    #[must_use]
    pub fn code(&self) -> String {
        self.json()["errors"][0]["code"].as_str().unwrap_or_default().to_owned()
    }
}

impl Client {
    /// A client of `base`, scheme and host.
    #[must_use]
    pub fn new(base: &str) -> Self {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_global(Some(Duration::from_secs(60)))
            .allow_non_standard_methods(true)
            .build();
        Self { base: base.to_owned(), agent: config.into(), authorization: None }
    }

    /// The same with an `Authorization` header.
    #[must_use]
    pub fn authorization(&self, value: &str) -> Self {
        Self { authorization: Some(value.to_owned()), ..self.clone() }
    }

    /// One request. `path` may be absolute, as a `Location` may be.
    ///
    /// # Errors
    /// No answer.
    pub fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<Answer> {
        let url = if path.starts_with("http") { path.to_owned() } else { format!("{}{path}", self.base) };
        let mut request = ureq::http::Request::builder().method(method).uri(&url);
        if let Some(value) = &self.authorization {
            request = request.header("authorization", value);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut response = self.agent.run(request.body(body)?).with_context(|| format!("{method} {url}"))?;
        let headers = response.headers().iter();
        let headers =
            headers.map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()));
        let headers = headers.collect();
        let body = response.body_mut().with_config().limit(u64::MAX).read_to_vec()?;
        Ok(Answer { status: response.status().as_u16(), headers, body })
    }

    /// GET.
    ///
    /// # Errors
    /// No answer.
    pub fn get(&self, path: &str) -> Result<Answer> {
        self.send("GET", path, &[], &[])
    }

    /// HEAD.
    ///
    /// # Errors
    /// No answer.
    pub fn head(&self, path: &str) -> Result<Answer> {
        self.send("HEAD", path, &[], &[])
    }

    /// DELETE.
    ///
    /// # Errors
    /// No answer.
    pub fn delete(&self, path: &str) -> Result<Answer> {
        self.send("DELETE", path, &[], &[])
    }

    /// Pushes a blob with POST and PUT; returns its digest.
    ///
    /// # Errors
    /// Any other answer than success.
    pub fn push_blob(&self, repo: &str, content: &[u8]) -> Result<String> {
        let begun = self.send("POST", &format!("/v2/{repo}/blobs/uploads/"), &[], &[])?;
        anyhow::ensure!(begun.status == 202, "POST: {} {}", begun.status, begun.text());
        let digest = crate::digest(content);
        let location = begun.header("location");
        let separator = if location.contains('?') { '&' } else { '?' };
        let put = self.send("PUT", &format!("{location}{separator}digest={digest}"), &[], content)?;
        anyhow::ensure!(put.status == 201, "PUT: {} {}", put.status, put.text());
        Ok(digest)
    }

    /// Pushes a manifest; returns its digest.
    ///
    /// # Errors
    /// Any other answer than success.
    pub fn push_manifest(&self, repo: &str, reference: &str, media_type: &str, manifest: &[u8]) -> Result<String> {
        let path = format!("/v2/{repo}/manifests/{reference}");
        let put = self.send("PUT", &path, &[("content-type", media_type)], manifest)?;
        anyhow::ensure!(put.status == 201, "PUT: {} {}", put.status, put.text());
        Ok(crate::digest(manifest))
    }

    /// Pushes an image under a tag.
    ///
    /// # Errors
    /// Any other answer than success.
    pub fn push_image(&self, repo: &str, tag: &str, image: &crate::Image) -> Result<String> {
        for blob in &image.blobs {
            self.push_blob(repo, blob)?;
        }
        self.push_manifest(repo, tag, crate::Image::MEDIA_TYPE, &image.manifest)
    }
}
