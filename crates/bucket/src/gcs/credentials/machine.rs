//! The credentials of the machine, or of the container in it.

use super::{Granted, Held, ask, no_token};
use http::Request;
use object_store::Result;
use object_store::client::{HttpClient, HttpRequestBody};
use tokio::sync::OnceCell;

/// The same in every one of Google's networks.
const HOST: &str = "169.254.169.254";

#[derive(Debug)]
pub(super) struct Machine {
    account: String,
    email: OnceCell<String>,
}

impl Machine {
    pub(super) fn new(host: Option<&str>) -> Self {
        let host = host.unwrap_or(HOST);
        let account = format!("http://{host}/computeMetadata/v1/instance/service-accounts/default");
        Self { account, email: OnceCell::new() }
    }

    async fn get(&self, client: &HttpClient, what: &str) -> Result<bytes::Bytes> {
        let place = format!("{}/{what}", self.account);
        ask(client, || Request::get(&place).header("metadata-flavor", "Google"), HttpRequestBody::empty()).await
    }

    pub(super) async fn fetch(&self, client: &HttpClient) -> Result<Held> {
        let answer = self.get(client, "token").await?;
        serde_json::from_slice(&answer).map(Granted::held).map_err(no_token)
    }

    pub(super) async fn email(&self, client: &HttpClient) -> Result<String> {
        let ask = || async {
            let answer = self.get(client, "email").await?;
            Ok(String::from_utf8_lossy(&answer).trim().to_owned())
        };
        self.email.get_or_try_init(ask).await.cloned()
    }
}
