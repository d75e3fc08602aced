//! Tags, catalog, referrers.

use crate::support::{
    EMPTY, OCI_INDEX, OCI_MANIFEST, child, index, manifest, open, path, push_referrer, put, refused, serve, sha512,
};
use anyhow::Result;
use e2e::{Answer, Client, Image, digest};
use serde_json::json;

fn names(answer: &Answer, field: &str) -> Vec<String> {
    assert_eq!(answer.status, 200, "{}", answer.text());
    serde_json::from_value(answer.json()[field].clone()).unwrap()
}

/// The address of the next page.
fn next(answer: &Answer) -> Option<String> {
    let link = answer.header("link");
    let address = link.strip_prefix('<').and_then(|rest| rest.strip_suffix(">; rel=\"next\""));
    assert_eq!(link.is_empty(), address.is_none(), "{link}");
    address.map(|address| path(address).to_owned())
}

/// All pages from `start` on.
fn pages(client: &Client, start: &str, field: &str) -> Result<Vec<Vec<String>>> {
    let (mut pages, mut at) = (Vec::new(), Some(start.to_owned()));
    while let Some(address) = at {
        let answer = client.get(&address)?;
        pages.push(names(&answer, field));
        at = next(&answer);
        assert!(pages.len() < 100);
    }
    Ok(pages)
}

#[test]
fn tags_page_by_page() -> Result<()> {
    let server = open()?;
    let client = server.client();
    let image = Image::new(1, &[10]);
    let tags = ["0", "A", "B_", "_x", "a", "a.b", "a-b", "b", "latest", "v1.10", "v1.9"];
    let query: Vec<_> = tags.iter().map(|tag| format!("tag={tag}")).collect();
    client.push_image("a/b", "latest", &image)?;
    assert_eq!(put(&client, "a/b", &format!("latest?{}", query.join("&")), OCI_MANIFEST, &image.manifest)?.status, 201);
    let mut sorted = tags.map(str::to_owned).to_vec();
    sorted.sort();

    let all = client.get("/v2/a/b/tags/list")?;
    assert_eq!((names(&all, "tags"), &all.json()["name"]), (sorted.clone(), &json!("a/b")));
    assert_eq!((next(&all), all.header("content-type")), (None, "application/json"));
    for n in [1, 2, 3, 10, 11, 12, 1000] {
        let pages = pages(&client, &format!("/v2/a/b/tags/list?n={n}"), "tags")?;
        assert!(pages.iter().all(|page| page.len() <= n));
        assert_eq!(pages.len(), sorted.len().div_ceil(n), "n={n}: no empty page at the end");
        assert_eq!(pages.concat(), sorted);
    }
    let after =
        |last: &str| Ok::<_, anyhow::Error>(names(&client.get(&format!("/v2/a/b/tags/list?last={last}"))?, "tags"));
    assert_eq!(after("b")?, ["latest", "v1.10", "v1.9"]);
    assert_eq!(after("c")?, ["latest", "v1.10", "v1.9"], "a tag that is not there");
    assert_eq!(after("zzz")?, [""; 0]);
    assert_eq!(after("")?, sorted);
    Ok(())
}

#[test]
fn odd_page_sizes() -> Result<()> {
    let server = open()?;
    let client = server.client();
    let image = Image::new(1, &[10]);
    let name = client.push_image("a", "t", &image)?;
    for (list, field) in [("/v2/a/tags/list".to_owned(), "tags"), ("/v2/_catalog".to_owned(), "repositories")] {
        let none = client.get(&format!("{list}?n=0"))?;
        assert_eq!((names(&none, field), next(&none)), (vec![], None));
        for n in ["99999", "18446744073709551615", "99999999999999999999999999"] {
            assert_eq!(names(&client.get(&format!("{list}?n={n}"))?, field).len(), 1);
        }
    }
    for list in ["/v2/a/tags/list".to_owned(), "/v2/_catalog".to_owned(), format!("/v2/a/referrers/{name}")] {
        for n in ["-1", "x", "", "1.5", "0x10", "%20", "1%00", "+1"] {
            refused(&client.get(&format!("{list}?n={n}"))?, 400, "PAGINATION_NUMBER_INVALID");
        }
        for query in ["last=%ff%fe", "last=../../..", "last=%00", "n=1&n=x&last=a&last=b", "&&=&=&"] {
            assert_eq!(client.get(&format!("{list}?{query}"))?.status, 200, "{query}");
        }
    }
    refused(&client.get("/v2/unknown/tags/list")?, 404, "NAME_UNKNOWN");
    client.push_blob("blobs/only", b"x")?;
    assert_eq!(names(&client.get("/v2/blobs/only/tags/list")?, "tags"), [""; 0]);
    Ok(())
}

#[test]
fn the_catalog_page_by_page() -> Result<()> {
    let server = open()?;
    let client = server.client();
    assert_eq!(client.get("/v2/_catalog")?.json(), json!({"repositories": []}));
    let image = Image::new(1, &[10]);
    let mut repositories = ["a", "a/b", "a/b/c", "a-b", "a.b", "ab", "z/y/x/w", "m"].map(str::to_owned).to_vec();
    for repository in &repositories {
        client.push_image(repository, "t", &image)?;
    }
    client.push_blob("blobs/only", b"x")?;
    let found = pages(&client, "/v2/_catalog", "repositories")?.concat();
    let ordered = found.clone();
    repositories.sort();
    let mut sorted = found;
    sorted.sort();
    assert_eq!(sorted, repositories, "a repository comes into being with its first manifest");
    for n in 1..10 {
        let pages = pages(&client, &format!("/v2/_catalog?n={n}"), "repositories")?;
        assert!(pages.iter().all(|page| page.len() <= n));
        assert_eq!(pages.concat(), ordered, "n={n}");
    }
    Ok(())
}

#[test]
fn the_largest_pages_are_configured() -> Result<()> {
    let server = serve("catalog: {maxentries: 2}\ntags: {maxtags: 3}\n")?;
    let client = server.client();
    let image = Image::new(1, &[10]);
    for repository in ["a", "b", "c", "d", "e"] {
        client.push_image(repository, "t", &image)?;
        put(&client, "a", repository, OCI_MANIFEST, &image.manifest)?;
    }
    for start in ["/v2/_catalog", "/v2/_catalog?n=4"] {
        assert_eq!(pages(&client, start, "repositories")?, [vec!["a", "b"], vec!["c", "d"], vec!["e"]]);
    }
    let expected = [vec!["a", "b", "c"], vec!["d", "e", "t"]];
    assert_eq!(pages(&client, "/v2/a/tags/list?n=100", "tags")?, expected);
    // Not every client follows Link: without n all come at once.
    assert_eq!(pages(&client, "/v2/a/tags/list", "tags")?, [expected.concat()]);
    Ok(())
}

fn digests(answer: &Answer) -> Vec<String> {
    assert_eq!((answer.status, answer.header("content-type")), (200, OCI_INDEX), "{}", answer.text());
    let body = answer.json();
    assert_eq!((&body["schemaVersion"], &body["mediaType"]), (&json!(2), &json!(OCI_INDEX)));
    let list = body["manifests"].as_array().unwrap();
    list.iter().map(|entry| entry["digest"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn referrers_of_present_and_absent_subjects() -> Result<()> {
    let server = open()?;
    let client = server.client();
    let subject = manifest(EMPTY, &[], json!({}));
    let list = format!("/v2/a/referrers/{}", digest(&subject));
    assert_eq!(digests(&client.get(&list)?), [""; 0], "also in an unknown repository");

    // The subject need not be there yet.
    let one = push_referrer(&client, "a", &subject, "application/vnd.test.one")?;
    let two = push_referrer(&client, "a", &subject, "application/vnd.test.two")?;
    client.push_manifest("a", "subject", OCI_MANIFEST, &subject)?;
    // An index may refer as well, and without an artifactType the config's type stands for it.
    let list_of_two =
        json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [], "subject": child(OCI_MANIFEST, &subject)});
    let three = list_of_two.to_string().into_bytes();
    assert_eq!(put(&client, "a", "three", OCI_INDEX, &three)?.header("oci-subject"), digest(&subject));
    let four = manifest(EMPTY, &[], json!({"subject": child(OCI_MANIFEST, &subject)}));
    put(&client, "a", "four", OCI_MANIFEST, &four)?;
    push_referrer(&client, "b", &subject, "application/vnd.test.elsewhere")?;

    let answer = client.get(&list)?;
    let mut expected = [&one, &two, &three, &four].map(|bytes| digest(bytes)).to_vec();
    expected.sort();
    assert_eq!(digests(&answer), expected);
    assert!(answer.header("oci-filters-applied").is_empty());
    let entries = answer.json()["manifests"].clone();
    let entry = |bytes: &[u8]| {
        entries.as_array().unwrap().iter().find(|entry| entry["digest"] == digest(bytes).as_str()).unwrap().clone()
    };
    assert_eq!(
        entry(&one),
        json!({
            "mediaType": OCI_MANIFEST, "digest": digest(&one), "size": one.len(),
            "artifactType": "application/vnd.test.one", "annotations": {"of": "application/vnd.test.one"},
        })
    );
    assert_eq!(entry(&three)["mediaType"], OCI_INDEX);
    assert_eq!(entry(&four)["artifactType"], "application/vnd.oci.image.config.v1+json");

    let filtered = client.get(&format!("{list}?artifactType=application%2Fvnd.test.two"))?;
    assert_eq!(digests(&filtered), [digest(&two)]);
    assert_eq!(filtered.header("oci-filters-applied"), "artifactType");
    assert_eq!(digests(&client.get(&format!("{list}?artifactType=x%2Fy"))?), [""; 0]);

    let (mut paged, mut at) = (Vec::new(), Some(format!("{list}?n=1")));
    while let Some(address) = at {
        let page = client.get(&address)?;
        assert_eq!(digests(&page).len(), 1);
        paged.extend(digests(&page));
        at = next(&page);
    }
    assert_eq!(paged, expected);

    for bytes in [&one, &three] {
        assert_eq!(client.delete(&format!("/v2/a/manifests/{}", digest(bytes)))?.status, 202);
        expected.retain(|name| *name != digest(bytes));
        assert_eq!(digests(&client.get(&list)?), expected);
    }
    refused(&client.get("/v2/a/referrers/sha256:x")?, 400, "DIGEST_INVALID");
    refused(&client.get("/v2/a/referrers/latest")?, 400, "DIGEST_INVALID");
    assert_eq!(digests(&client.get(&format!("/v2/a/referrers/{}", sha512(b"x")))?), [""; 0]);
    Ok(())
}

#[test]
fn filtered_referrers_page_by_page_keep_the_filter() -> Result<()> {
    let server = open()?;
    let client = server.client();
    let subject = manifest(EMPTY, &[], json!({"n": 1}));
    client.push_blob("a", EMPTY)?;
    for n in 0..9 {
        let more = json!({"artifactType": format!("a/{}+x", n % 3), "n": n, "subject": child(OCI_MANIFEST, &subject)});
        put(&client, "a", &format!("t{n}"), OCI_MANIFEST, &manifest(EMPTY, &[], more))?;
    }
    let (mut found, mut at) = (0, Some(format!("/v2/a/referrers/{}?n=2&artifactType=a/1%2Bx", digest(&subject))));
    while let Some(address) = at {
        let page = client.get(&address)?;
        assert_eq!(page.header("oci-filters-applied"), "artifactType");
        found += digests(&page).len();
        at = next(&page);
    }
    assert_eq!(found, 3);
    Ok(())
}

#[test]
fn cosign_fallback_tags_from_before_are_merged_in() -> Result<()> {
    let server = open()?;
    let client = server.client();
    let image = Image::new(3, &[10]);
    let name = client.push_image("a", "v1", &image)?;
    let known = push_referrer(&client, "a", &image.manifest, "a/known")?;
    let list = format!("/v2/a/referrers/{name}");
    // As cosign and oras write it where the API is missing: with an entry that lies about itself, one that is not here, and
    // one that refers to something else.
    let other = push_referrer(&client, "a", b"another subject", "a/other")?;
    let fallback = index(&[child(OCI_MANIFEST, &known), child(OCI_MANIFEST, b"gone"), child(OCI_MANIFEST, &other)]);
    client.push_manifest("a", &name.replace(':', "-"), OCI_INDEX, &fallback)?;
    assert_eq!(digests(&client.get(&list)?), [digest(&known)], "no duplicate, nothing made up");

    // Our own record is lost, as if another registry had written the folder.
    drop(client);
    let records = server.data().join("homeport/v1/referrers");
    std::fs::remove_dir_all(&records)?;
    let again = crate::support::Registry::start(e2e::Server::builder().data(server.data()))?;
    let answer = again.client().get(&list)?;
    assert_eq!(digests(&answer), [digest(&known)]);
    assert_eq!(answer.json()["manifests"][0]["artifactType"], "a/known");
    Ok(())
}
