use futures_util::poll;

use super::*;

fn user(name: &str) -> Caller {
    Caller::named(name, Source::Cluster).with_groups(["system:authenticated"])
}

fn controller() -> Caller {
    user("system:serviceaccount:kube-system:namespace-controller")
}

/// Enters if that is possible at once.
async fn enter(limits: &Limits, caller: &Caller) -> Option<Result<Place>> {
    limits.enter(caller, false).now_or_never()
}

#[tokio::test]
async fn the_namespace_controller_passes_when_everything_is_full() {
    let limits = Limits::new();
    let mut places = Vec::new();
    for _ in 0..SHARED.max_running {
        places.push(limits.enter(&user("alice"), false).await.unwrap());
    }
    let bob = user("bob");
    let mut waiting: Vec<_> = (0..SHARED.max_in_queue).map(|_| Box::pin(limits.enter(&bob, false))).collect();
    for place in &mut waiting {
        assert!(poll!(place).is_pending());
    }
    let refused = enter(&limits, &bob).await.unwrap().err().unwrap();
    assert_eq!((refused.status().as_u16(), refused.reason()), (429, "TooManyRequests"));
    let masters = Caller::named("root", Source::Cluster).with_groups(["system:masters"]);
    for caller in [controller(), masters, user("system:kube-controller-manager")] {
        places.push(enter(&limits, &caller).await.unwrap().unwrap());
    }
    assert_eq!(limits.requests(), (67, 256));
    // Somebody of another source only has the name.
    let named = Caller::named("system:kube-controller-manager", Source::StaticUser);
    assert!(enter(&limits, &named).await.unwrap().is_err());
    for _ in 3..RESERVED.max_running {
        places.push(enter(&limits, &controller()).await.unwrap().unwrap());
    }
    assert!(enter(&limits, &controller()).await.is_none(), "a bound is a bound");
    drop(waiting);
    drop(places);
    assert_eq!(limits.requests(), (0, 0));
}

#[tokio::test]
async fn the_reserved_places_are_kept_while_there_are_others() {
    let limits = Limits::new();
    let mut places = Vec::new();
    for _ in 0..SHARED.max_running {
        places.push(limits.enter(&controller(), false).await.unwrap());
    }
    assert_eq!(limits.reserved.running(), 0);
    places.push(limits.enter(&controller(), false).await.unwrap());
    assert_eq!((limits.reserved.running(), limits.shared.queued()), (1, 0));
}

#[tokio::test]
async fn watches_have_places_of_their_own() {
    let limits = Limits::new();
    let mut places = Vec::new();
    for _ in 0..WATCHES_MAX {
        places.push(limits.enter(&user("alice"), true).await.unwrap());
    }
    assert_eq!(limits.enter(&user("bob"), true).await.err().unwrap().status().as_u16(), 429);
    assert!(limits.enter(&user("bob"), false).await.is_ok());
    places.push(limits.enter(&controller(), true).await.unwrap());
    assert_eq!(limits.watches(), WATCHES_MAX + 1);
    places.clear();
    assert_eq!(limits.watches(), 0);
}
