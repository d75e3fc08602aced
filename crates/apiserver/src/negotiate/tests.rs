use proptest::prelude::*;

use super::*;

const KUBECTL_TABLE: &str =
    "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";
const METADATA_LIST: &str = "application/vnd.kubernetes.protobuf;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,\
                             application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json";
const METADATA_GET: &str = "application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,\
                            application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json";
const BROWSER: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8";

#[test]
fn what_clients_send_gets_the_form_that_they_mean() {
    use Form::{Object, Partial, Table};
    for (accept, expected) in [
        (None, Object),
        (Some(""), Object),
        (Some(KUBECTL_TABLE), Table),
        (Some(METADATA_LIST), Partial),
        (Some(METADATA_GET), Partial),
        (Some(BROWSER), Object),
        // kubectl get -o yaml, client-go's dynamic informers, informers for built-in types, curl.
        (Some("application/json"), Object),
        (Some("application/json, */*"), Object),
        (Some("application/vnd.kubernetes.protobuf, */*"), Object),
        (Some("application/vnd.kubernetes.protobuf,application/json"), Object),
        (Some("*/*"), Object),
        (Some("*"), Object),
        (Some("application/*"), Object),
        (Some("application/json;stream=watch"), Object),
        (Some("application/json;stream=watch, application/json"), Object),
        (Some("application/json; charset=utf-8"), Object),
        (Some("application/json;as=Table;g=meta.k8s.io;v=v1"), Table),
        (Some("APPLICATION/JSON;as=Table;g=meta.k8s.io;v=v1"), Table),
        (Some(" application/json ; as=Table ; g=meta.k8s.io ; v=v1 "), Table),
        (Some("*/*;as=Table;g=meta.k8s.io;v=v1"), Table),
        // What is not understood is passed over, and better qualities come first.
        (Some("application/json;as=Table;g=meta.k8s.io;v=v9,application/json"), Object),
        (Some("application/json;as=Table;g=meta.k8s.io;v=v1beta1,application/json"), Object),
        (Some("application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1beta1,*/*"), Object),
        (
            Some(
                "application/json;as=Table;g=meta.k8s.io;v=v1beta1,\
                 application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1",
            ),
            Partial,
        ),
        (Some("application/json;as=Graph;g=meta.k8s.io;v=v1,application/json;as=Table;g=meta.k8s.io;v=v1"), Table),
        (Some("application/json;q=0.5,application/json;as=Table;g=meta.k8s.io;v=v1;q=0.9"), Table),
        (Some("application/json;as=Table;g=meta.k8s.io;v=v1;q=0.1,application/json"), Object),
        (Some("application/json;q=0,*/*;as=Table;g=meta.k8s.io;v=v1;q=0.1"), Table),
        (Some("application/json;sv=v1,application/json"), Object),
        (Some("rubbish,application/json"), Object),
    ] {
        assert_eq!(form(accept).ok(), Some(expected), "{accept:?}");
    }
}

#[test]
fn what_is_not_spoken_is_not_acceptable() {
    for accept in [
        "application/yaml",
        "application/vnd.kubernetes.protobuf",
        "text/html",
        "application/cbor",
        "application/json;q=0",
        "application/json;as=Table;g=meta.k8s.io",
        "application/json;as=Table;v=v1",
        "application/json;g=meta.k8s.io;v=v1",
        "application/json;as=Table;g=other;v=v1",
        "application/json;as=Table;g=meta.k8s.io;v=v1beta1",
        "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1beta1",
        "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1beta1",
        "application/json;stream=other",
        "application/json;sv=v1",
        "rubbish",
        ",",
    ] {
        let failure = form(Some(accept)).unwrap_err();
        assert_eq!((failure.status().as_u16(), failure.reason()), (406, "NotAcceptable"), "{accept}");
    }
}

proptest! {
    #[test]
    fn any_header_has_an_answer(accept in "[a-z*/;=,. q01]{0,60}") {
        let _ = form(Some(&accept));
    }

    #[test]
    fn a_last_resort_always_helps(accept in "[ -~]{0,40}") {
        let accept = accept + ",*/*";
        prop_assert!(form(Some(&accept)).is_ok());
    }
}
