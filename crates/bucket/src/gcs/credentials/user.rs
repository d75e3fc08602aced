//! A person's credentials, as Google's tools keep them.

use super::{Held, Unusable, ask_by_form, checked};
use object_store::client::HttpClient;
use serde::Deserialize;
use std::fmt;

const PLACE: &str = "https://oauth2.googleapis.com/token";

#[derive(Deserialize)]
pub(super) struct User {
    client_id: String,
    client_secret: String,
    refresh_token: String,
    token_uri: Option<String>,
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("User").field("client_id", &self.client_id).finish_non_exhaustive()
    }
}

impl User {
    pub(super) fn from_json(text: &str) -> Result<Self, Unusable> {
        let user: Self = serde_json::from_str(text)?;
        checked("token_uri", user.token_uri.as_deref())?;
        Ok(user)
    }

    pub(super) async fn fetch(&self, client: &HttpClient) -> object_store::Result<Held> {
        let form = [
            ("grant_type", "refresh_token"),
            ("client_id", &*self.client_id),
            ("client_secret", &self.client_secret),
            ("refresh_token", &self.refresh_token),
        ];
        let place = self.token_uri.as_deref().unwrap_or(PLACE);
        ask_by_form(client, place, &form).await.map(super::Granted::held)
    }
}
