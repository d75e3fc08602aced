use super::*;
use crate::testing::read;

const V2: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
const V2BETA1: &str = "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList";

fn accepting(value: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if !value.is_empty() {
        headers.insert(header::ACCEPT, value.parse().unwrap());
    }
    headers
}

#[tokio::test]
async fn groups_come_in_the_form_that_the_client_takes() {
    let documents = Documents::new("1.2.3");
    for (accept, media_type, kind, version) in [
        // The aggregator, kubectl, older clients.
        (format!("{V2},{V2BETA1}"), V2, "APIGroupDiscoveryList", "apidiscovery.k8s.io/v2"),
        (format!("{V2},{V2BETA1},application/json"), V2, "APIGroupDiscoveryList", "apidiscovery.k8s.io/v2"),
        (V2BETA1.to_owned(), V2BETA1, "APIGroupDiscoveryList", "apidiscovery.k8s.io/v2beta1"),
        ("application/json, */*".to_owned(), "application/json", "APIGroupList", "v1"),
        ("application/vnd.kubernetes.protobuf, */*".to_owned(), "application/json", "APIGroupList", "v1"),
        (String::new(), "application/json", "APIGroupList", "v1"),
        (
            "application/json;g=apidiscovery.k8s.io;v=v9;as=APIGroupDiscoveryList,application/json".to_owned(),
            "application/json",
            "APIGroupList",
            "v1",
        ),
    ] {
        let answer = answer_groups(&documents, &accepting(&accept), Encoding::default()).unwrap();
        let answer = read(answer).await;
        assert_eq!(answer.header(header::CONTENT_TYPE), media_type, "{accept}");
        let document = answer.json();
        assert_eq!((&document["kind"], &document["apiVersion"]), (&json!(kind), &json!(version)), "{accept}");
    }
    for accept in ["application/yaml", "application/vnd.kubernetes.protobuf"] {
        let refused = answer_groups(&documents, &accepting(accept), Encoding::default()).unwrap_err();
        assert_eq!(refused.status().as_u16(), 406);
        assert_eq!(
            answer(&documents.resources, &accepting(accept), Encoding::default()).unwrap_err().reason(),
            "NotAcceptable"
        );
    }
}

/// Field by field what Kubernetes publishes of its own resources, in `api/discovery` of its sources.
#[test]
fn the_documents_say_what_can_be_done_to_tags() {
    let verbs = json!(["delete", "deletecollection", "get", "list", "watch"]);
    assert_eq!(
        resources(),
        json!({
            "kind": "APIResourceList",
            "apiVersion": "v1",
            "groupVersion": "payload-registry.deckhouse.io/v1alpha1",
            "resources": [{
                "name": "payloadrepositorytags",
                "singularName": "payloadrepositorytag",
                "namespaced": true,
                "kind": "PayloadRepositoryTag",
                "verbs": verbs,
                "shortNames": ["prt", "prtags"],
            }],
        })
    );
    assert_eq!(
        aggregated("v2"),
        json!({
            "kind": "APIGroupDiscoveryList",
            "apiVersion": "apidiscovery.k8s.io/v2",
            "metadata": {},
            "items": [{
                "metadata": { "name": "payload-registry.deckhouse.io" },
                "versions": [{
                    "version": "v1alpha1",
                    "freshness": "Current",
                    "resources": [{
                        "resource": "payloadrepositorytags",
                        "responseKind": {
                            "group": "payload-registry.deckhouse.io",
                            "version": "v1alpha1",
                            "kind": "PayloadRepositoryTag",
                        },
                        "scope": "Namespaced",
                        "singularResource": "payloadrepositorytag",
                        "verbs": verbs,
                        "shortNames": ["prt", "prtags"],
                    }],
                }],
            }],
        })
    );
    let version = json!({ "groupVersion": "payload-registry.deckhouse.io/v1alpha1", "version": "v1alpha1" });
    let group = json!({
        "name": "payload-registry.deckhouse.io", "versions": [version], "preferredVersion": version,
    });
    assert_eq!(groups(), json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": [group] }));
    assert_eq!(super::version("1.2.3")["gitVersion"], "v1.2.3");
}
