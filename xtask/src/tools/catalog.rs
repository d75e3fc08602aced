//! The one list of external programs, with the versions that results are quoted for.

use std::path::PathBuf;

use crate::places;

#[derive(Debug)]
pub struct Tool {
    pub name: &'static str,
    pub source: Source,
    /// Made only when named.
    pub optional: bool,
}

#[derive(Debug)]
pub enum Source {
    Go(GoProgram),
    Python(PythonProgram),
    Node(NodeProgram),
    Debian { package: &'static str, program: &'static str },
}

#[derive(Debug)]
pub struct GoProgram {
    pub package: &'static str,
    pub version: &'static str,
    pub build: Build,
}

#[derive(Debug)]
pub enum Build {
    /// `go install PACKAGE@VERSION`.
    Install,
    /// As a requirement of a scratch module, of which the module's path is given. `go install` asks
    /// for every prefix of the package's path, and a proxy may refuse those that are no module.
    Require(&'static str),
    /// The same for a test suite, which cannot be installed.
    Test(&'static str),
}

/// A program of a Python package, in an environment of its own.
#[derive(Debug)]
pub struct PythonProgram {
    /// As `pip install` takes it, without the version.
    pub package: &'static str,
    pub version: &'static str,
    pub program: &'static str,
}

/// A program of an npm package, in a folder of its own.
#[derive(Debug)]
pub struct NodeProgram {
    pub package: &'static str,
    pub version: &'static str,
    pub program: &'static str,
}

impl Tool {
    pub(crate) fn find(&self) -> Option<PathBuf> {
        match &self.source {
            Source::Go(program) => program.path(self.name).filter(|path| path.is_file()),
            Source::Python(program) => program.path(self.name).filter(|path| path.is_file()),
            Source::Node(program) => program.path(self.name).filter(|path| path.is_file()),
            Source::Debian { program, .. } => places::on_path(program),
        }
    }
}

impl GoProgram {
    pub(crate) fn path(&self, name: &str) -> Option<PathBuf> {
        cached(name, self.version.trim_start_matches('v'))
    }
}

impl PythonProgram {
    pub(crate) fn path(&self, name: &str) -> Option<PathBuf> {
        cached(name, self.version)
    }
}

impl NodeProgram {
    pub(crate) fn path(&self, name: &str) -> Option<PathBuf> {
        cached(name, self.version)
    }
}

/// The version is part of the file name, so that a new pin never runs an old program.
fn cached(name: &str, version: &str) -> Option<PathBuf> {
    places::cache().ok().map(|cache| cache.join("bin").join(format!("{name}-{version}")))
}

const fn go(name: &'static str, package: &'static str, version: &'static str) -> Tool {
    Tool { name, source: Source::Go(GoProgram { package, version, build: Build::Install }), optional: false }
}

const fn required(name: &'static str, module: &'static str, package: &'static str, version: &'static str) -> Tool {
    let program = GoProgram { package, version, build: Build::Require(module) };
    Tool { name, source: Source::Go(program), optional: false }
}

const fn debian(package: &'static str, program: &'static str) -> Tool {
    Tool { name: program, source: Source::Debian { package, program }, optional: false }
}

const CONFORMANCE: &str = "github.com/opencontainers/distribution-spec/conformance";

pub const TOOLS: &[Tool] = &[
    // Clients.
    go("crane", "github.com/google/go-containerregistry/cmd/crane", "v0.22.1"),
    go("regctl", "github.com/regclient/regclient/cmd/regctl", "v0.11.7"),
    required("oras", "oras.land/oras", "oras.land/oras/cmd/oras", "v1.2.3"),
    go("helm", "helm.sh/helm/v3/cmd/helm", "v3.22.0"),
    go("cosign", "github.com/sigstore/cosign/v3/cmd/cosign", "v3.1.3"),
    debian("skopeo", "skopeo"),
    debian("podman", "podman"),
    debian("buildah", "buildah"),
    debian("containerd", "containerd"),
    debian("runc", "runc"),
    debian("umoci", "umoci"),
    debian("busybox-static", "busybox"),
    // Peers.
    go("distribution", "github.com/distribution/distribution/v3/cmd/registry", "v3.1.1"),
    debian("docker-registry", "docker-registry"),
    debian("nginx-light", "nginx"),
    // Services for objects.
    go("versitygw", "github.com/versity/versitygw/cmd/versitygw", "v1.8.0"),
    Tool {
        name: "moto",
        source: Source::Python(PythonProgram { package: "moto[s3,server]", version: "5.2.5", program: "moto_server" }),
        optional: false,
    },
    go("fake-gcs-server", "github.com/fsouza/fake-gcs-server", "v1.56.1"),
    // Azure Blob storage on this machine.
    Tool {
        name: "azurite",
        source: Source::Node(NodeProgram { package: "azurite", version: "3.37.0", program: "azurite-blob" }),
        optional: false,
    },
    // Swift: all servers of one cloud, and what keeps its tokens.
    debian("swift-account", "swift-account-server"),
    debian("swift-container", "swift-container-server"),
    debian("swift-object", "swift-object-server"),
    debian("swift-proxy", "swift-proxy-server"),
    debian("memcached", "memcached"),
    // Ceph: the gateway for S3 and Swift, and what it needs.
    debian("ceph-mon", "ceph-mon"),
    debian("ceph-osd", "ceph-osd"),
    debian("radosgw", "radosgw"),
    // Without build tags this is what the project calls zot-minimal.
    Tool { optional: true, ..go("zot", "zotregistry.dev/zot/v2/cmd/zot", "v2.1.20") },
    // The conformance suites of the distribution specification: the tag v1.1.1, and the main branch.
    Tool {
        name: "conformance-1.1",
        source: Source::Go(GoProgram {
            package: CONFORMANCE,
            version: "v0.0.0-20250123160558-a139cc423184",
            build: Build::Test(CONFORMANCE),
        }),
        optional: false,
    },
    required("conformance-main", CONFORMANCE, CONFORMANCE, "v0.0.0-20260716174315-967efdc079b9"),
];
