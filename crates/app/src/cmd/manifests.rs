//! `homeport manifests`

#[cfg(test)]
mod tests;

use crate::cmd::version::VERSION;
use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use data_encoding::HEXLOWER;
use jiff::Timestamp;
use operator::api_certificate;
use operator::manifests::{Api, Authorization, Inputs, Object, Secret, ServiceType, Storage, desired};
use ring::rand::{SecureRandom, SystemRandom};
use std::io::Read;
use std::path::{Path, PathBuf};

/// A secret is a line, not a document.
const SECRET_BYTES_MAX: u64 = 4096;
const SECRET_BYTES: usize = 32;

#[derive(Args)]
pub(crate) struct Flags {
    /// Namespace for everything
    #[arg(long, value_name = "NAME", default_value = "homeport")]
    namespace: String,
    /// Image of homeport, as the nodes know it
    #[arg(long, value_name = "REF", default_value_t = format!("localhost/homeport:{VERSION}"))]
    image: String,
    /// Name by which clients reach the registry, with port where it is not 443; may be given several times
    #[arg(long = "host", value_name = "HOST[:PORT]")]
    hosts: Vec<String>,
    /// Where the images are kept: pvc:SIZE, emptydir or emptydir:SIZE
    #[arg(long, value_name = "KIND", default_value = "pvc:100Gi")]
    storage: String,
    /// Storage class of the volume; the cluster's default when left out
    #[arg(long, value_name = "NAME")]
    storage_class: Option<String>,
    /// Pods of the registry; several need a volume that can be mounted by several nodes
    #[arg(long, value_name = "N", default_value_t = 1)]
    replicas: u32,
    /// Audience that tokens must be for; may be given several times. Without one, the API server's own
    #[arg(long = "audience", value_name = "TEXT")]
    audiences: Vec<String>,
    /// Secret with tls.crt and tls.key, made by you or by cert-manager; without it the registry speaks plain HTTP
    #[arg(long, value_name = "NAME")]
    tls_secret: Option<String>,
    /// How the Service is reached
    #[arg(long, value_name = "TYPE", default_value = "ClusterIP", ignore_case = true)]
    service_type: Reached,
    /// Who knows the rights of users: rbac follows Roles and bindings, review asks the API server
    #[arg(long, value_name = "MODE", default_value = "rbac")]
    authorization: Rights,
    /// File with the secret that signs upload state; without one it is made up, anew at each call
    #[arg(long, value_name = "FILE", conflicts_with = "keep_secret")]
    secret_file: Option<PathBuf>,
    /// Leave out the Secrets (the one that signs upload state, and the API's certificate): those in the cluster stay
    #[arg(long)]
    keep_secret: bool,
    /// Leave out the Kubernetes API of tags; a cluster can have one, of one registry
    #[arg(long)]
    without_api: bool,
    /// Leave out the ClusterRoles for users (registry-viewer and so on), as on OpenShift, which has them
    #[arg(long)]
    without_roles: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Reached {
    #[value(name = "ClusterIP")]
    ClusterIp,
    #[value(name = "NodePort")]
    NodePort,
    #[value(name = "LoadBalancer")]
    LoadBalancer,
}

#[derive(Clone, Copy, ValueEnum)]
enum Rights {
    Rbac,
    Review,
}

pub(crate) fn run(flags: Flags) -> anyhow::Result<()> {
    let secret = match &flags.secret_file {
        _ if flags.keep_secret => None,
        Some(file) => Some(read_secret(file).with_context(|| format!("cannot use {}", file.display()))?),
        None => Some(make_secret()?),
    };
    let mut inputs = flags.into_inputs(secret)?;
    inputs.check()?;
    inputs.api = certified(&inputs)?;
    super::print(&yaml(&desired(&inputs)?)?)
}

impl Flags {
    fn into_inputs(self, secret: Option<String>) -> anyhow::Result<Inputs> {
        Ok(Inputs {
            storage: storage(&self.storage, self.storage_class)?,
            namespace: self.namespace,
            image: self.image,
            hosts: self.hosts,
            replicas: self.replicas,
            audiences: self.audiences,
            tls_secret: self.tls_secret,
            service_type: match self.service_type {
                Reached::ClusterIp => ServiceType::ClusterIp,
                Reached::NodePort => ServiceType::NodePort,
                Reached::LoadBalancer => ServiceType::LoadBalancer,
            },
            authorization: match self.authorization {
                Rights::Rbac => Authorization::Rbac,
                Rights::Review => Authorization::Review,
            },
            secret: secret.map(Secret),
            roles: !self.without_roles,
            api: (!self.without_api).then_some(Api { certificate: None }),
        })
    }
}

/// A certificate for the API, unless the Secrets stay out.
fn certified(inputs: &Inputs) -> anyhow::Result<Option<Api>> {
    if inputs.api.is_none() || inputs.secret.is_none() {
        return Ok(inputs.api.clone());
    }
    Ok(Some(Api { certificate: Some(api_certificate::make(&inputs.namespace, Timestamp::now())?) }))
}

fn storage(text: &str, class: Option<String>) -> anyhow::Result<Storage> {
    let (kind, size) = text.split_once(':').map_or((text, None), |(kind, size)| (kind, Some(size.to_owned())));
    match (kind, size) {
        ("pvc", Some(size)) => Ok(Storage::Claim { size, class }),
        ("emptydir", _) if class.is_some() => bail!("--storage-class is for --storage pvc:SIZE"),
        ("emptydir", limit) => Ok(Storage::EmptyDir { limit }),
        _ => bail!("--storage {text:?}: write pvc:SIZE (as in pvc:100Gi), emptydir or emptydir:SIZE"),
    }
}

fn read_secret(file: &Path) -> anyhow::Result<String> {
    let mut text = String::new();
    std::fs::File::open(file)?.take(SECRET_BYTES_MAX + 1).read_to_string(&mut text)?;
    Ok(text.trim().to_owned())
}

fn make_secret() -> anyhow::Result<String> {
    let mut bytes = [0; SECRET_BYTES];
    SystemRandom::new().fill(&mut bytes).ok().context("the system has no random numbers")?;
    Ok(HEXLOWER.encode(&bytes))
}

fn yaml(objects: &[Object]) -> anyhow::Result<String> {
    let mut text = String::new();
    for object in objects {
        // A long text stays on its line: a folded one is hard to compare and to search for.
        let options = serde_saphyr::ser_options! { folded_wrap_chars: usize::MAX };
        text.push_str("---\n");
        text.push_str(&serde_saphyr::to_string_with_options(object, options)?);
    }
    Ok(text)
}
