//! Tokens that the cluster issued, reviewed by the cluster.

use std::sync::Arc;
use std::time::Duration;

use access::{
    AuthError, Authenticator, Basic, Caller, ClusterTokenLimits, ClusterTokens, Credential, ReviewError, SystemClock,
    TokenReviewer,
};
use cluster::{Call, Outcome, TokenReviews};
use kube::Client;
use serde_json::json;

use crate::support::{connect, create, delete, namespace, namespace_path, unique, until};

const LIMITS: ClusterTokenLimits = ClusterTokenLimits {
    ttl: Duration::from_secs(60),
    negative_ttl: Duration::from_secs(10),
    stale_for: Duration::from_secs(600),
};

async fn account(client: &Client, namespace: &str, name: &str) {
    let object = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}});
    create(client, &format!("/api/v1/namespaces/{namespace}/serviceaccounts"), &object).await;
}

async fn token(client: &Client, namespace: &str, account: &str, audiences: &[&str]) -> String {
    let request = json!({
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {"audiences": audiences, "expirationSeconds": 600},
    });
    let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token");
    create(client, &path, &request).await["status"]["token"].as_str().unwrap().to_owned()
}

async fn login(tokens: &ClusterTokens, token: &str) -> Result<Caller, AuthError> {
    let credential = Credential::Basic(Basic::new("token", token.as_bytes()).unwrap());
    tokens.authenticate(&credential).await
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_of_service_accounts() {
    let Some((client, connection)) = connect("review of tokens of service accounts").await else { return };
    let shop = unique("tokens");
    namespace(&client, &shop).await;
    account(&client, &shop, "ci").await;
    let (own, registry) = (token(&client, &shop, "ci", &[]).await, token(&client, &shop, "ci", &["registry"]).await);

    let plain = TokenReviews::new(&connection, Vec::new());
    let reviewed = plain.review(&own, false).await.unwrap();
    assert_eq!(reviewed.user, format!("system:serviceaccount:{shop}:ci"));
    assert!(!reviewed.uid.is_empty());
    let expected = [&format!("system:serviceaccounts:{shop}"), "system:serviceaccounts", "system:authenticated"];
    for group in expected {
        assert!(reviewed.groups.iter().any(|found| found == group), "{group} in {:?}", reviewed.groups);
    }

    let ours = TokenReviews::new(&connection, vec!["registry".into(), "other".into()]);
    assert!(ours.review(&registry, false).await.is_ok());
    // Meant for somebody else, either way; and broken ones.
    let mut tampered = own.clone().into_bytes();
    let middle = own.find('.').unwrap() + 10;
    tampered[middle] ^= 1;
    for (reviews, token) in [
        (&ours, own.as_str()),
        (&plain, registry.as_str()),
        (&plain, std::str::from_utf8(&tampered).unwrap()),
        (&plain, "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZG1pbiJ9.e30"),
    ] {
        assert!(matches!(reviews.review(token, false).await, Err(ReviewError::Rejected(_))));
    }

    // Revoked with its account.
    delete(&client, &format!("/api/v1/namespaces/{shop}/serviceaccounts/ci")).await;
    until("refusal of a revoked token", || async {
        matches!(plain.review(&own, false).await, Err(ReviewError::Rejected(_))).then_some(())
    })
    .await;
    delete(&client, &namespace_path(&shop)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cold_pull_of_twenty_layers_is_one_review_and_a_warm_one_none() {
    let Some((client, connection)) = connect("number of reviews of a pull").await else { return };
    let shop = unique("layers");
    namespace(&client, &shop).await;
    account(&client, &shop, "ci").await;
    let text = token(&client, &shop, "ci", &[]).await;
    let reviews = TokenReviews::new(&connection, Vec::new());
    let tokens = Arc::new(ClusterTokens::new(reviews, Arc::new(SystemClock::new()), LIMITS, 100).unwrap());
    let pulls: Vec<_> = (0..20)
        .map(|_| {
            let (tokens, text) = (Arc::clone(&tokens), text.clone());
            tokio::spawn(async move { login(&tokens, &text).await })
        })
        .collect();
    for pull in pulls {
        assert_eq!(pull.await.unwrap().unwrap().name(), Some(&*format!("system:serviceaccount:{shop}:ci")));
    }
    let asked = || connection.counters().get(Call::TokenReview, Outcome::Ok);
    assert_eq!(asked(), 1);
    for _ in 0..20 {
        assert!(login(&tokens, &text).await.is_ok());
    }
    assert_eq!(asked(), 1);
    let left = tokens.expires_in(text.as_bytes()).unwrap();
    assert_eq!(left, 300, "no longer than clients should keep it");
    delete(&client, &namespace_path(&shop)).await;
}
