//! helm: charts as OCI artifacts.

use crate::desk::Desk;
use crate::view::tags;
use anyhow::Result;
use e2e::Server;

#[test]
fn charts() -> Result<()> {
    let desk = Desk::new()?;
    let Some(helm) = desk.tool("helm") else { return Ok(()) };
    let server = Server::builder().config("version: 0.1\ntags: {maxtags: 2}\n").start()?;
    let charts = format!("oci://{}/team/charts", server.address());
    // `+` cannot be part of a tag: helm writes `_`.
    let versions = ["1.0.0", "1.1.0", "1.2.3+build.7", "2.0.0-rc.1", "2.0.0"];
    for version in versions {
        desk.write("demo/Chart.yaml", &format!("apiVersion: v2\nname: demo\nversion: {version}\n"))?;
        desk.write(
            "demo/templates/map.yaml",
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: '{{ .Chart.Name }}'}\n",
        )?;
        helm.ok(&format!("package demo -d {}", desk.text("packages")))?;
        helm.ok(&format!("push {}/demo-{version}.tgz {charts} --plain-http", desk.text("packages")))?;
    }
    assert_eq!(tags(&server.client(), "team/charts/demo")?, ["1.0.0", "1.1.0", "1.2.3_build.7", "2.0.0", "2.0.0-rc.1"]);
    std::fs::create_dir(desk.path("out"))?;
    for version in versions {
        helm.ok(&format!("pull {charts}/demo --version {version} --plain-http -d {}", desk.text("out")))?;
        let name = format!("demo-{version}.tgz");
        assert_eq!(std::fs::read(desk.path("out").join(&name))?, std::fs::read(desk.path("packages").join(&name))?);
    }
    // A range reads all pages of the tags.
    for (range, version) in [("^1.0.0", "1.2.3+build.7"), (">=1.0.0", "2.0.0"), ("~1.1", "1.1.0")] {
        let shown = helm.ok(&format!("show chart {charts}/demo --version '{range}' --plain-http"))?;
        assert!(shown.contains(&format!("version: {version}\n")), "{range}: {shown}");
    }
    let rendered = helm.ok(&format!("template x {charts}/demo --version 1.0.0 --plain-http"))?;
    assert!(rendered.contains("name: 'demo'") || rendered.contains("name: demo"), "{rendered}");
    assert!(helm.refused(&format!("pull {charts}/demo --version 3.0.0 --plain-http"))?.contains("not found"));
    Ok(())
}
