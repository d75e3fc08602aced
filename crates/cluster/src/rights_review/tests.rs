use access::{Source, Verb};

use super::*;
use crate::testing::Server;

const STALE_FOR: Duration = Duration::from_secs(600);
const AWAY: Verdict = Verdict::Unavailable { retry_after: RETRY_AFTER_DEFAULT };

fn asked(resource: Resource, name: &str) -> Right<'_> {
    Right { verb: Verb::Get, resource, namespace: Some("shop"), name: Some(name) }
}

#[tokio::test]
async fn what_was_granted_is_good_while_the_server_is_away() {
    let server = Server::start(|target, body| {
        let rule = r#"{"verbs":["get"],"apiGroups":["payload-registry.deckhouse.io"],
            "resources":["payloadrepositoryaccesses"],"resourceNames":["app/**"]}"#;
        let status = match target {
            RULES_PATH => format!(r#"{{"resourceRules":[{rule}],"incomplete":false}}"#),
            _ => format!(r#"{{"allowed":{}}}"#, body.contains(r#""name":"old""#)),
        };
        Some((201, format!(r#"{{"status":{status}}}"#)))
    })
    .await;
    let rights = RightsReview::new(&server.connection, STALE_FOR);
    let bob = Caller::named("bob", Source::Cluster);
    let (patterns, layers) = (Resource::RepositoryAccesses, Resource::Layers);
    let check = |resource, name| rights.check(&bob, asked(resource, name));
    for _ in 0..2 {
        assert_eq!(check(patterns, "app/web").await, Verdict::Granted);
        assert_eq!(check(patterns, "tools").await, Verdict::NotGranted);
        assert_eq!(check(layers, "old").await, Verdict::Granted);
        assert_eq!(check(layers, "new").await, Verdict::NotGranted);
    }
    let fresh = server.asked().len();
    assert_eq!(fresh, 4, "rules, one name, and another in both groups");
    server.clock.advance(ANSWER_TTL);
    assert_eq!(check(patterns, "app/web").await, Verdict::Granted);
    assert_eq!(server.asked().len(), fresh + 1, "after its time an answer is asked for again");

    server.go_away();
    server.clock.advance(ANSWER_TTL);
    assert_eq!(check(patterns, "app/web").await, Verdict::Granted);
    assert_eq!(check(layers, "old").await, Verdict::Granted);
    for (resource, name) in [(patterns, "tools"), (layers, "new"), (layers, "never")] {
        assert_eq!(check(resource, name).await, AWAY, "an old no is no answer");
    }
    assert_eq!(rights.check(&Caller::named("eve", Source::Cluster), asked(patterns, "app/web")).await, AWAY);
    server.clock.advance(STALE_FOR);
    assert_eq!(check(patterns, "app/web").await, AWAY);
    assert_eq!(check(layers, "old").await, AWAY);
    assert_eq!(server.asked().len(), fresh + 1, "nobody is asked while nobody is there");
}
