//! Lines that break and services that are busy.

use super::{Options, all, opened, start_with, try_open};
use crate::content::{append, whole};
use crate::{alike, proxy};
use bucket::{Outcome, Request};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use storage::{Batch, Driver, ErrorKind};

#[tokio::test(flavor = "multi_thread")]
async fn broken_lines_are_taken_up_again() {
    for cloud in all() {
        let (address, faults) = proxy::start(cloud.address);
        // The service tells the address by which it was asked.
        let driver =
            try_open(&cloud, |settings| settings.auth_url = format!("http://{address}/auth/v1.0")).await.unwrap();
        let data = alike::broken_lines_are_taken_up_again(&driver, &faults).await;
        alike::a_lost_answer_is_no_conflict(&driver, &faults, u64::from(cloud.keeps_conditions())).await;
        // The same for the manifest of a large object.
        let mut writer = driver.writer_at("large/again", None).await.unwrap();
        append(&mut writer, &data).await.unwrap();
        faults.down.store(600, Ordering::SeqCst);
        writer.commit("large/again").await.unwrap();
        assert!(whole(&driver, "large/again").await == data);
        faults.down.store(0, Ordering::SeqCst);
        // Elsewhere a look comes first.
        let slow = if cloud.keeps_conditions() { Request::Put } else { Request::Head };
        alike::a_busy_service_has_everything(&driver, &faults, slow).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_renewed() {
    // All tests in a cloud are one user with one token: another one's would be gone, too.
    let Some(cloud) = start_with(&Options::default()) else { return };
    let driver = Arc::new(opened(&cloud).await);
    driver.apply(Batch::new().put("a/b", "1")).await.unwrap();
    for _ in 0..3 {
        cloud.host.forget_tokens();
        let gets = (0..12).map(|_| driver.get("a/b", 10));
        let got = futures_util::future::try_join_all(gets.map(std::future::IntoFuture::into_future)).await.unwrap();
        assert!(got.iter().all(|content| content == "1"));
    }
    assert!(driver.requests().of(Request::Get, Outcome::Denied) >= 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_goes_is_not_empty() {
    for cloud in all() {
        let driver = opened(&cloud).await;
        driver.apply(Batch::new().put("a/b", "1")).await.unwrap();
        assert!(driver.stat("a/c").await.unwrap_err().is_not_found());
        for name in cloud.contained() {
            assert_eq!(cloud.request("DELETE", &cloud.path(&name), &[], b"").unwrap().0, 204);
        }
        assert_eq!(cloud.request("DELETE", &cloud.path(""), &[], b"").unwrap().0, 204);
        assert_eq!(driver.apply(Batch::new().put("a/b", "1")).await.unwrap_err().kind, ErrorKind::Unavailable);
        assert_eq!(driver.list("a", "", 10).await.unwrap_err().kind, ErrorKind::Unavailable);
        // For a moment it is believed that what has just answered is there.
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
        while driver.get("a/b", 10).await.unwrap_err().kind != ErrorKind::Unavailable {
            assert!(std::time::Instant::now() < deadline);
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        alike::a_place_that_is_gone_is_not_empty(&driver).await;
        assert_eq!(driver.stat("a/b").await.unwrap_err().kind, ErrorKind::Unavailable);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_container_says_so() {
    for cloud in all() {
        let driver = opened(&cloud).await;
        let quota = [("X-Container-Meta-Quota-Count", "1")];
        assert_eq!(cloud.request("POST", &cloud.path(""), &quota, b"").unwrap().0, 204);
        let error = driver.apply(Batch::new().put("a/b", "1")).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::NoSpace, "{}", error.source);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_another_replica_gave_up_does_not_end() {
    for cloud in all() {
        alike::what_another_replica_gave_up_does_not_end(&opened(&cloud).await, &opened(&cloud).await).await;
    }
}
