//! Health, metrics, logs.

use crate::support::{BASE, PASSWORD, Registry, basic, blob_path, open, raw, refused, serve, until, users};
use anyhow::Result;
use e2e::{Image, Server, digest};

#[test]
fn health() -> Result<()> {
    let file = tempfile::NamedTempFile::new()?;
    let path = file.path().to_owned();
    file.close()?;
    let server = serve(&format!(
        "health: {{storagedriver: {{enabled: true, interval: 50ms, threshold: 1}}, file: [{{file: {}, interval: 50ms}}]}}\nhomeport:\n{}",
        path.display(),
        users(&[("ci", &[])])
    ))?;
    let client = server.client();
    for probe in ["/healthz", "/livez", "/readyz"] {
        let answer = client.get(probe)?;
        assert_eq!((answer.status, answer.text().as_str()), (200, "ok\n"), "{probe} needs no credentials");
    }
    std::fs::write(&path, "")?;
    until("it is not ready", || client.get("/readyz").is_ok_and(|answer| answer.status == 503))?;
    assert!(client.get("/readyz")?.text().contains(&*path.to_string_lossy()));
    assert_eq!(client.get("/livez")?.status, 200);
    std::fs::remove_file(&path)?;
    until("it is ready again", || client.get("/readyz").is_ok_and(|answer| answer.status == 200))?;
    assert!(!server.log().contains("path=/readyz"), "probes are not logged");
    Ok(())
}

#[test]
fn the_debug_listener_tells_that_we_are_stopping() -> Result<()> {
    let debug = e2e::free_local_address()?.to_string();
    let server = serve(&format!(
        "http: {{draintimeout: 20s, debug: {{addr: '{debug}', prometheus: {{enabled: true, path: /m}}}}}}\n"
    ))?;
    server.client().get("/v2/")?;
    let get = |path: &str| raw(&debug, &format!("GET {path}"), &[]);
    assert_eq!(get("/readyz")?.status, 200);
    assert!(get("/m")?.text().contains("homeport_build_info"));
    assert_eq!((get("/metrics")?.status, get("/v2/")?.status), (404, 404));

    let mut upload = crate::support::Raw::connect(server.address())?;
    let location = crate::support::begin(&server.client(), "a")?;
    upload.request(&format!("PATCH {location}"), &[("content-length", "3"), ("expect", "100-continue")])?;
    assert_eq!(upload.head()?.status, 100);
    server.signal("TERM")?;
    until("it says that it stops", || get("/readyz").is_ok_and(|answer| answer.status == 503))?;
    assert!(get("/readyz")?.text().contains("stopping"));
    upload.send("abc")?;
    assert_eq!(upload.answer()?.status, 202);
    server.stop()?;
    Ok(())
}

#[test]
fn b_172_metrics_count_under_both_names() -> Result<()> {
    let server = serve("homeport: {metrics: {access: open}}\n")?;
    let client = server.client();
    let image = Image::new(1, &[5000]);
    client.push_image("a", "v1", &image)?;
    client.get("/v2/a/manifests/none")?;
    client.get(&blob_path("a", &image.blobs[1]))?;
    let answer = client.get("/extensions/v2/metrics")?;
    assert_eq!(answer.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    let text = answer.text();
    for line in [
        "homeport_http_requests_total{route=\"blob\",method=\"get\",status=\"2xx\"} 1",
        "homeport_http_requests_total{route=\"manifest\",method=\"get\",status=\"4xx\"} 1",
        "homeport_http_requests_total{route=\"manifest\",method=\"put\",status=\"2xx\"} 1",
        "homeport_http_requests_total{route=\"uploads\",method=\"post\",status=\"2xx\"} 2",
        "homeport_http_request_duration_seconds_count{route=\"blob\",method=\"get\"} 1",
        "homeport_http_request_duration_seconds_bucket{route=\"blob\",method=\"get\",le=\"+Inf\"} 1",
        "homeport_limited_requests{class=\"read\",state=\"running\"} 0",
        "imageregistry_http_in_flight_requests 1",
        "imageregistry_http_requests_total{code=\"404\",method=\"get\"} 1",
        "# TYPE imageregistry_http_request_duration_seconds summary",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
    assert!(text.contains("imageregistry_http_request_duration_seconds{method=\"get\",quantile=\"0.99\"}"));
    assert!(text.contains("imageregistry_build_info{gitCommit="));
    let sent = text.lines().find_map(|line| line.strip_prefix("homeport_http_sent_bytes_total ")).unwrap_or_default();
    assert!(sent.parse::<u64>()? >= 5000, "{sent}");
    // Every family is announced before its samples, and every line can be read.
    let mut announced = Vec::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            announced.push(rest.split(' ').next().unwrap_or_default());
        } else if !line.starts_with('#') {
            let (name, value) = line.rsplit_once(' ').unwrap_or_default();
            let name = name.split('{').next().unwrap_or_default();
            assert!(announced.last().is_some_and(|family| name.starts_with(family)), "{line}");
            assert!(value.parse::<f64>().is_ok(), "{line}");
        }
    }
    Ok(())
}

#[test]
fn b_174_who_may_read_the_metrics() -> Result<()> {
    let path = "/extensions/v2/metrics";
    assert_eq!(open()?.client().get(path)?.status, 404);
    for section in [
        "homeport:\n  metrics: {access: authenticated, secret: the-metrics-secret}\n",
        "openshift: {version: '1.0', metrics: {enabled: true, secret: the-metrics-secret}}\nhomeport:\n",
    ] {
        let server = serve(&format!("{section}{}", users(&[("ci", &[("p", "*", "FULL")])])))?;
        refused(&server.client().get(path)?, 401, "UNAUTHORIZED");
        refused(&server.user("ci").get(path)?, 403, "DENIED");
        for value in ["Bearer the-metrics-secret".to_owned(), basic("anybody", "the-metrics-secret")] {
            assert_eq!(server.client().authorization(&value).get(path)?.status, 200, "{value}");
        }
        for value in ["Bearer wrong".to_owned(), basic("anybody", "wrong"), "Bearer ".to_owned(), basic("", "")] {
            let answer = server.client().authorization(&value).get(path)?;
            assert!(answer.status == 401 && !answer.text().contains("homeport_"), "{value}");
        }
        let post = server.client().authorization("Bearer the-metrics-secret").send("POST", path, &[], &[])?;
        assert_eq!((post.status, post.header("allow")), (405, "GET, HEAD"));
    }
    Ok(())
}

/// The fields of a line `key=value`.
fn field<'a>(line: &'a str, name: &str) -> &'a str {
    let from = line.find(&format!(" {name}=")).map_or("", |at| &line[at + name.len() + 2..]);
    match from.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next().unwrap_or_default(),
        None => from.split(' ').next().unwrap_or_default(),
    }
}

#[test]
fn every_request_is_one_line_with_what_one_wants_to_know() -> Result<()> {
    let server = serve(&format!("homeport:\n{}", users(&[("ci", &[("p", "*", "FULL")])])))?;
    let client = server.user("ci");
    let image = Image::new(2, &[5000]);
    let name = client.push_image("p/a", "v1", &image)?;
    client.send("GET", "/v2/p/a/manifests/v1", &[("user-agent", "docker/27 (x)"), ("x-request-id", "id-1")], &[])?;
    client.get(&blob_path("p/a", &image.blobs[1]))?;
    client.get("/v2/p/a/manifests/none")?;
    server.client().get("/v2/p/a/manifests/v1")?;
    client.get("/v2/_catalog")?;
    until("all lines are there", || server.log().contains("path=/v2/_catalog"))?;
    let log = server.log();
    let lines: Vec<_> = log.lines().filter(|line| line.contains("msg=request")).collect();
    // Two blobs with two requests each, the manifest, and five.
    assert_eq!(lines.len(), 10, "{log}");
    let line = lines[5];
    for (name, value) in [
        ("level", "info"),
        ("id", "id-1"),
        ("client", "127.0.0.1"),
        ("user", "ci"),
        ("method", "GET"),
        ("path", "/v2/p/a/manifests/v1"),
        ("status", "200"),
        ("repository", "p/a"),
        ("reference", "v1"),
        ("digest", &name),
        ("bytes_in", "0"),
        ("bytes_out", &image.manifest.len().to_string()),
        ("complete", "true"),
        ("agent", "docker/27 (x)"),
    ] {
        assert_eq!(field(line, name), value, "{name}: {line}");
    }
    assert!(field(line, "duration_ms").parse::<f64>().is_ok(), "{line}");
    let blob = lines[6];
    assert_eq!((field(blob, "bytes_out"), field(blob, "digest")), ("5000", digest(&image.blobs[1]).as_str()));
    assert_eq!((field(lines[7], "status"), field(lines[7], "code")), ("404", "MANIFEST_UNKNOWN"));
    assert_eq!(
        (field(lines[8], "status"), field(lines[8], "code"), field(lines[8], "user")),
        ("401", "UNAUTHORIZED", "anonymous")
    );
    let put = lines.iter().find(|line| line.contains("method=PUT") && line.contains("blobs/uploads")).unwrap();
    assert_ne!(field(put, "bytes_in"), "0", "{put}");
    assert!(field(put, "digest").starts_with("sha256:"));
    assert!(!log.contains(PASSWORD) && !log.contains(&basic("ci", PASSWORD)), "no secrets in the log");
    assert!(!log.contains("_state="), "addresses of uploads are rights");
    Ok(())
}

#[test]
fn b_168_the_first_lines_tell_what_runs_where() -> Result<()> {
    let server = serve("log: {fields: {service: registry, environment: test}}\n")?;
    let log = server.log();
    let line = log.lines().find(|line| line.contains("listening on")).unwrap_or_default();
    assert!(
        line.starts_with("time=20") && line.contains(&format!("msg=\"listening on {}\"", server.address())),
        "{line}"
    );
    for (name, value) in [
        ("level", "info"),
        ("version", env!("CARGO_PKG_VERSION")),
        ("cache", "inmemory"),
        ("tls", "false"),
        ("environment", "test"),
        ("service", "registry"),
    ] {
        assert_eq!(field(line, name), value, "{name}: {line}");
    }
    Ok(())
}

#[test]
fn audit_lines_as_text_and_json() -> Result<()> {
    for format in ["text", "json"] {
        let config = format!(
            "{BASE}log: {{formatter: {format}, accesslog: {{disabled: true}}}}\nopenshift: {{version: '1.0', audit: {{enabled: true}}}}\nhomeport:\n{}",
            users(&[("ci", &[("p", "*", "FULL")])])
        );
        let server = Registry::start(Server::builder().config(&config))?;
        let client = server.user("ci");
        let image = Image::new(3, &[500]);
        let name = client.push_image("p/a", "v1", &image)?;
        let mount = format!("/v2/p/b/blobs/uploads/?from=p/a&mount={}", digest(&image.blobs[1]));
        client.send("POST", &mount, &[], &[])?;
        client.push_manifest("p/a", "v2", Image::MEDIA_TYPE, &image.manifest)?;
        client.delete("/v2/p/a/manifests/v1")?;
        client.delete(&format!("/v2/p/a/manifests/{name}"))?;
        client.delete(&blob_path("p/a", &image.blobs[1]))?;
        // Refused and read-only requests change nothing.
        client.get("/v2/p/a/tags/list")?;
        client.delete("/v2/p/a/manifests/v1")?;
        server.client().delete("/v2/p/a/manifests/v1")?;
        until("all lines are there", || server.log().contains("blob.delete"))?;
        let log = server.log();
        let lines: Vec<_> = log.lines().filter(|line| line.contains("audit")).collect();
        let value = |line: &str, name: &str| match format {
            "text" => field(line, name).to_owned(),
            _ => {
                let line: serde_json::Value = serde_json::from_str(line).unwrap();
                line[name].as_str().unwrap_or_default().to_owned()
            }
        };
        let actions: Vec<_> = lines.iter().map(|line| value(line, "action")).collect();
        let expected = [
            "blob.push",
            "blob.push",
            "manifest.push",
            "blob.mount",
            "manifest.push",
            "tag.delete",
            "manifest.delete",
            "blob.delete",
        ];
        assert_eq!(actions, expected, "{log}");
        for line in &lines {
            assert_eq!(
                (value(line, "user"), value(line, "client")),
                ("ci".to_owned(), "127.0.0.1".to_owned()),
                "{line}"
            );
            assert!(
                value(line, "digest").starts_with("sha256:") && value(line, "repository").starts_with("p/"),
                "{line}"
            );
            assert_eq!((value(line, "msg"), value(line, "level")), ("audit".to_owned(), "info".to_owned()));
        }
        assert_eq!((value(lines[5], "reference"), value(lines[5], "digest")), ("v1".to_owned(), name.clone()));
        assert_eq!(value(lines[6], "tags"), "v2", "which tags went with it");
        if format == "json" {
            assert!(log.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()), "{log}");
        }
    }
    // Not asked for, there is none.
    let server = open()?;
    server.client().push_image("a", "v1", &Image::new(4, &[10]))?;
    until("it is logged", || server.log().contains("manifests/v1"))?;
    assert!(!server.log().contains("audit"));
    Ok(())
}

#[test]
fn request_lines_as_json() -> Result<()> {
    let server = serve("log: {formatter: json}\n")?;
    server.client().send("GET", "/v2/a/manifests/x", &[("user-agent", "a \"b\" \\ c")], &[])?;
    until("it is logged", || server.log().contains("manifests/x"))?;
    let log = server.log();
    let line = log.lines().find(|line| line.contains("manifests/x")).unwrap_or_default();
    let line: serde_json::Value = serde_json::from_str(line)?;
    assert_eq!((&line["status"], &line["agent"]), (&404.into(), &"a \"b\" \\ c".into()), "{line}");
    assert!(line["duration_ms"].is_number() && line["bytes_out"].is_number());
    Ok(())
}
