//! Arguments.

use crate::cmd;
use crate::settings::Flags;
use clap::{Args, CommandFactory, Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;

const ABOUT: &str = "A container image registry that is part of a Kubernetes cluster";

const EXAMPLES: &str = "\
Examples:
  homeport serve                            a registry on 127.0.0.1:5000, data in ./homeport-data
  homeport serve config.yml                 with distribution's configuration file
  homeport serve --listen :5000 --data /srv/registry
  homeport config check config.yml          tells what is wrong with a configuration
  homeport passwd alice                     asks for a password, prints a line for users or htpasswd
  homeport storage copy --from old.yml --to new.yml
                                            moves everything to another storage, while it is being served
  homeport manifests --image IMAGE          everything to run it in a cluster, for kubectl apply --server-side -f -
  homeport access can-i shop:ci push shop/app
                                            tells which binding grants it, or what is missing";

#[derive(Parser)]
#[command(name = "homeport", version = crate::cmd::version::LONG, about = ABOUT, after_help = EXAMPLES, propagate_version = false)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the registry
    #[command(after_help = SERVE_HELP)]
    Serve(Serve),
    /// Look at a configuration
    Config {
        #[command(subcommand)]
        command: Config,
    },
    /// Make a password hash for a static user or an htpasswd file
    Passwd {
        /// Print `NAME:HASH` for an htpasswd file instead of the hash alone
        name: Option<String>,
        /// Work factor of bcrypt; one more doubles the time of each first login
        #[arg(long, default_value_t = access::COST_DEFAULT, value_parser = clap::value_parser!(u32).range(i64::from(access::COST_MIN)..=i64::from(access::COST_MAX)))]
        cost: u32,
    },
    /// Move what is stored
    Storage {
        #[command(subcommand)]
        command: Storage,
    },
    /// Ask the cluster's rules
    Access {
        #[command(subcommand)]
        command: Access,
    },
    /// Print everything that a cluster needs to run the registry
    #[command(after_help = MANIFESTS_HELP)]
    Manifests(Box<cmd::manifests::Flags>),
    /// Run the controllers that keep pull secrets fresh
    Operator(Operator),
    /// The kubelet's plug-in: a pod pulls with its own ServiceAccount. Reads a request on standard input
    #[command(name = "credential-provider", after_help = "Reference: docs/kubernetes/credential-provider.md")]
    CredentialProvider,
    /// Print a completion script for a shell
    Completion {
        /// bash, elvish, fish, powershell or zsh
        shell: clap_complete::Shell,
    },
    /// Print the version
    Version,
}

const SERVE_HELP: &str = "\
Without CONFIG everything is open to whoever reaches 127.0.0.1:5000. With CONFIG the file decides; it is the file of
distribution (registry:2, registry:3), REGISTRY_* variables included, and may have a section `homeport:`. Flags come last.

Signals: SIGHUP reads the configuration again; SIGTERM and SIGINT finish running requests and stop.
Reference: docs/configuration.md";

#[derive(Args)]
struct Serve {
    /// Configuration file (YAML)
    config: Option<PathBuf>,
    /// Address to listen on, for example 127.0.0.1:5000 or :5000
    #[arg(long, value_name = "HOST:PORT")]
    listen: Option<String>,
    /// Folder for the data
    #[arg(long, value_name = "DIR")]
    data: Option<String>,
    /// What clients without credentials may do: none, pull or all
    #[arg(long, value_name = "WHAT")]
    anonymous: Option<String>,
    /// File with static users (YAML)
    #[arg(long, value_name = "FILE")]
    users: Option<String>,
    /// TLS certificate (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<String>,
    /// Key of the TLS certificate (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<String>,
    #[command(flatten)]
    place: Place,
    /// Refuse everything that changes something
    #[arg(long)]
    read_only: bool,
    /// error, warn, info, debug or trace
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
    /// text or json
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<String>,
}

const MANIFESTS_HELP: &str = "\
Nothing is changed and no cluster is asked: apply what is printed with `kubectl apply --server-side -f -`. Another call makes
up another secret; for changes later take --keep-secret or --secret-file.
Reference: docs/kubernetes/install.md";

const COPY_HELP: &str = "\
Run it while the source is being served, as often as you like: each run copies what is new or changed. Then stop the
registry or set it read-only, run it a last time, and start the registry with the settings of the destination. It may be
killed at any point; the next run goes on. Of both files only the section `storage` counts, and no REGISTRY_* variables.

Ends with 0 when the destination is complete, with 1 when it is not.
Reference: docs/storage-copy.md";

const CAN_I_HELP: &str = "\
Reads Roles and bindings with your credentials and judges as the registry does; the registry is not asked. Ends with 0 for
yes, 1 for no, 2 when it could not find out.
Reference: docs/kubernetes/rights.md";

/// Where the cluster is.
#[derive(Args)]
struct Place {
    /// Be part of the cluster of this kubeconfig file; in a pod the configuration alone suffices
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<String>,
    /// Context in that file
    #[arg(long, value_name = "NAME", requires = "kubeconfig")]
    context: Option<String>,
}

#[derive(Args)]
struct Operator {
    /// Configuration file (YAML), the registry's
    config: Option<PathBuf>,
    /// Address of /livez, /readyz and /metrics
    #[arg(long, value_name = "HOST:PORT", default_value = ":8080")]
    listen: String,
    #[command(flatten)]
    place: Place,
}

#[derive(Subcommand)]
enum Storage {
    /// Copy everything from one storage to another
    #[command(after_help = COPY_HELP)]
    Copy(cmd::storage::Copy),
}

#[derive(Subcommand)]
enum Access {
    /// May a user pull, push or delete, and why
    #[command(name = "can-i", after_help = CAN_I_HELP)]
    CanI(cmd::access::CanI),
}

#[derive(Subcommand)]
enum Config {
    /// Check a configuration and print what it amounts to, secrets hidden
    Check {
        /// Configuration file; without one, the defaults and the environment
        config: Option<PathBuf>,
    },
}

impl Serve {
    fn into_flags(self) -> (Option<PathBuf>, Flags) {
        let flags = Flags {
            listen: self.listen,
            data: self.data,
            log_level: self.log_level,
            log_format: self.log_format,
            anonymous: self.anonymous,
            users: self.users,
            tls_cert: self.tls_cert,
            tls_key: self.tls_key,
            kubeconfig: self.place.kubeconfig,
            context: self.place.context,
            read_only: self.read_only,
        };
        (configuration(self.config), flags)
    }
}

/// What the image of distribution sets names the file, so that ours can take its place.
fn configuration(named: Option<PathBuf>) -> Option<PathBuf> {
    named.or_else(|| std::env::var_os("REGISTRY_CONFIGURATION_PATH").map(PathBuf::from))
}

pub(crate) fn run() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Serve(serve) => {
            let (config, flags) = serve.into_flags();
            cmd::serve::run(config, flags)
        }
        Command::Config { command: Config::Check { config } } => cmd::check::run(configuration(config).as_deref()),
        Command::Passwd { name, cost } => cmd::passwd::run(name.as_deref(), cost),
        Command::Storage { command: Storage::Copy(arguments) } => match cmd::storage::copy(arguments) {
            Ok(true) => Ok(()),
            Ok(false) => return ExitCode::FAILURE,
            Err(error) => Err(error),
        },
        Command::Access { command: Access::CanI(arguments) } => return cmd::access::can_i(arguments),
        Command::Manifests(flags) => cmd::manifests::run(*flags),
        Command::Operator(Operator { config, listen, place: Place { kubeconfig, context } }) => {
            let flags = Flags { kubeconfig, context, ..Flags::default() };
            cmd::operator::run(configuration(config), &listen, &flags)
        }
        Command::CredentialProvider => cmd::credential_provider::run(),
        Command::Completion { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "homeport", &mut std::io::stdout());
            Ok(())
        }
        Command::Version => cmd::version::run(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            cmd::complain(&error);
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_consistent() {
        Cli::command().debug_assert();
    }
}
