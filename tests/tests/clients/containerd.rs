//! containerd: pull, push, mirrors, and an image that really runs.

use crate::desk::{Daemon, Desk, Tool};
use crate::material::{self, pack, rootfs};
use crate::view::{manifest, view};
use anyhow::Result;
use e2e::Server;

/// A containerd in the folder of a desk.
pub(crate) struct Containerd<'a> {
    ctr: Tool<'a>,
    socket: String,
    _daemon: Daemon,
}

impl<'a> Containerd<'a> {
    /// `None` when containerd or runc is not here.
    pub(crate) fn start(desk: &'a Desk) -> Result<Option<Self>> {
        let (Some(containerd), Some(_)) = (e2e::tool("containerd"), e2e::tool("runc")) else { return Ok(None) };
        let (root, state, socket) =
            (desk.text("containerd"), desk.text("containerd-state"), desk.text("containerd.sock"));
        let off = [
            "grpc.v1.cri",
            "snapshotter.v1.aufs",
            "snapshotter.v1.btrfs",
            "snapshotter.v1.devmapper",
            "snapshotter.v1.zfs",
        ];
        let off: Vec<String> = off.iter().map(|name| format!("\"io.containerd.{name}\"")).collect();
        let config = desk.write(
            "containerd.toml",
            &format!(
                "version = 2\nroot = \"{root}\"\nstate = \"{state}\"\ndisabled_plugins = [{}]\n\
                 [grpc]\naddress = \"{socket}\"\n[ttrpc]\naddress = \"{socket}.ttrpc\"\n",
                off.join(", ")
            ),
        )?;
        let config = config.display().to_string();
        let ctr = desk.program(containerd.with_file_name("ctr"));
        let daemon = desk.daemon("containerd", &containerd, &["--config", &config], "successfully booted")?;
        Ok(Some(Self { ctr, socket, _daemon: daemon }))
    }

    pub(crate) fn ctr(&self, line: &str) -> Result<String> {
        self.ctr.ok(&self.line(line))
    }

    pub(crate) fn refused(&self, line: &str) -> Result<String> {
        self.ctr.refused(&self.line(line))
    }

    fn line(&self, line: &str) -> String {
        format!("--address {} {line}", self.socket)
    }
}

/// Runs an image; the native snapshotter works on every file system.
fn run(desk: &Desk, containerd: &Containerd<'_>, image: &str, name: &str, command: &str) -> Result<String> {
    let isolation = format!("--rm --snapshotter native --net-host --cgroup '' --runc-root {}", desk.text("runc"));
    containerd.ctr(&format!("run {isolation} {image} {name} {command}"))
}

#[test]
fn image_from_scratch_runs() -> Result<()> {
    let desk = Desk::new()?;
    let (Some(crane), Some(rootfs)) = (desk.tool("crane"), rootfs(&desk)?) else { return Ok(()) };
    let Some(containerd) = Containerd::start(&desk)? else { return Ok(()) };
    let server = Server::open()?;
    let layer = pack(&desk, &rootfs, "busybox")?;
    for option in ["", "--oci-empty-base"] {
        let image = format!("{}/team/busybox:v{}", server.address(), option.len());
        crane.ok(&format!("append {option} --new_layer {} --new_tag {image}", layer.display()))?;
        crane.ok(&format!(
            "mutate {image} --set-platform linux/amd64 --cmd /bin/id --env GREETING=hello --tag {image}"
        ))?;
        containerd.ctr(&format!("images pull --plain-http --snapshotter native {image}"))?;
        let listed = containerd.ctr("images ls")?;
        assert!(listed.contains(crane.ok(&format!("digest {image}"))?.trim()), "{listed}");
        let name = format!("run{}", option.len());
        assert!(run(&desk, &containerd, &image, &name, "")?.contains("uid=0"));
        let said = run(&desk, &containerd, &image, &name, "/bin/sh -c 'echo $GREETING from $(cat /proc/1/comm)'")?;
        assert_eq!(said, "hello from sh\n");
    }
    Ok(())
}

/// Built by buildah, pushed, pulled by containerd, run, pushed by containerd under another name, run again.
#[test]
fn built_pushed_pulled_run() -> Result<()> {
    let desk = Desk::new()?;
    let (Some(buildah), Some(rootfs)) = (desk.tool("buildah"), rootfs(&desk)?) else { return Ok(()) };
    let Some(containerd) = Containerd::start(&desk)? else { return Ok(()) };
    let server = Server::open()?;
    let (built, again) = (format!("{}/team/built:1", server.address()), format!("{}/other/built:2", server.address()));
    desk.write(
        "Containerfile",
        "FROM scratch\nCOPY bin /bin\nENTRYPOINT [\"/bin/echo\", \"built\"]\nCMD [\"here\"]\n",
    )?;
    buildah.ok(&format!("build --isolation chroot -t {built} -f Containerfile {}", rootfs.display()))?;
    buildah.ok(&format!("push --tls-verify=false {built}"))?;
    containerd.ctr(&format!("images pull --plain-http --snapshotter native {built}"))?;
    assert_eq!(run(&desk, &containerd, &built, "first", "")?, "built here\n");
    containerd.ctr(&format!("images tag {built} {again}"))?;
    containerd.ctr(&format!("images push --plain-http {again}"))?;
    containerd.ctr(&format!("images rm --sync {built} {again}"))?;
    containerd.ctr(&format!("images pull --plain-http --snapshotter native {again}"))?;
    assert_eq!(run(&desk, &containerd, &again, "second", "")?, "built here\n");
    let client = server.client();
    assert_eq!(manifest(&client, "team/built", "1")?.body, manifest(&client, "other/built", "2")?.body);
    Ok(())
}

/// One tag, pulled with every client of the manuals.
#[test]
fn same_digest_everywhere() -> Result<()> {
    let desk = Desk::new()?;
    let (Some(crane), Some(podman), Some(skopeo)) = (desk.tool("crane"), desk.tool("podman"), desk.tool("skopeo"))
    else {
        return Ok(());
    };
    let Some(containerd) = Containerd::start(&desk)? else { return Ok(()) };
    let server = Server::open()?;
    let image = format!("{}/project-1/ubuntu:1", server.address());
    material::image(&desk, &crane, &image, "one")?;
    crane.ok(&format!("mutate {image} --set-platform linux/amd64 --tag {image}"))?;
    let digest = crane.ok(&format!("digest {image}"))?;
    let digest = digest.trim();
    podman.ok(&format!("pull --tls-verify=false {image}"))?;
    assert_eq!(podman.ok(&format!("inspect --format {{{{.Digest}}}} {image}"))?.trim(), digest);
    assert_eq!(
        skopeo.ok(&format!("inspect --tls-verify=false --format {{{{.Digest}}}} docker://{image}"))?.trim(),
        digest
    );
    containerd.ctr(&format!("content fetch --plain-http {image}"))?;
    assert!(containerd.ctr("images ls")?.contains(digest));
    Ok(())
}

#[test]
fn index_with_all_platforms() -> Result<()> {
    let desk = Desk::new()?;
    let Some(crane) = desk.tool("crane") else { return Ok(()) };
    let Some(containerd) = Containerd::start(&desk)? else { return Ok(()) };
    let (from, to) = (Server::open()?, Server::open()?);
    material::index(&desk, &crane, &format!("{}/team/app", from.address()))?;
    let (image, copy) = (format!("{}/team/app:all", from.address()), format!("{}/team/app:all", to.address()));
    containerd.ctr(&format!("content fetch --plain-http --all-platforms {image}"))?;
    containerd.ctr(&format!("images tag {image} {copy}"))?;
    containerd.ctr(&format!("images push --plain-http {copy}"))?;
    let (from, to) = (from.client(), to.client());
    assert_eq!(manifest(&from, "team/app", "all")?.body, manifest(&to, "team/app", "all")?.body);
    view(&to, &[])?;
    Ok(())
}

/// As a mirror of another registry: containerd adds `?ns=` to its requests.
#[test]
fn mirror() -> Result<()> {
    let desk = Desk::new()?;
    let Some(crane) = desk.tool("crane") else { return Ok(()) };
    let Some(containerd) = Containerd::start(&desk)? else { return Ok(()) };
    let server = Server::open()?;
    material::image(&desk, &crane, &format!("{}/library/app:1", server.address()), "one")?;
    let hosts = format!("[host.\"http://{}\"]\ncapabilities = [\"pull\", \"resolve\"]\n", server.address());
    desk.write("hosts/registry.example/hosts.toml", &hosts)?;
    containerd.ctr(&format!("content fetch --hosts-dir {} registry.example/library/app:1", desk.text("hosts")))?;
    let missing = format!("content fetch --hosts-dir {} registry.example/library/app:2", desk.text("hosts"));
    assert!(!containerd.refused(&missing)?.is_empty());
    Ok(())
}
