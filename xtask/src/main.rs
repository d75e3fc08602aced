use std::process::ExitCode;

use clap::{Parser, Subcommand};
use xtask::{bench, cluster, conformance, image, server, test, tidy, tools};

/// The project's own commands.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Make the external programs of tests and benchmarks available
    Tools(tools::Args),
    /// Run everything that must pass: tools, build, tests, a bounded fuzz run
    Test(test::Args),
    /// Check the project's own rules
    Tidy,
    /// Run the OCI conformance suites against homeport
    Conformance(conformance::Args),
    /// Measure homeport against its peers on this machine
    Bench(bench::Args),
    /// A real Kubernetes cluster on this machine
    Cluster(cluster::Args),
    /// Make the container image
    Image(image::Args),
    /// Run the measurements in this process (started by `bench`)
    #[command(hide = true)]
    BenchWorker(bench::Args),
    /// Become another program that ends when its parent ends
    #[command(hide = true)]
    Guard(server::guard::Args),
}

fn main() -> ExitCode {
    let result = match Cli::parse().task {
        Task::Tools(args) => tools::run(&args),
        Task::Test(args) => test::run(&args),
        Task::Tidy => tidy::run(),
        Task::Conformance(args) => conformance::run(&args),
        Task::Bench(args) => bench::run(&args),
        Task::Cluster(args) => cluster::run(&args),
        Task::Image(args) => image::run(&args),
        Task::BenchWorker(args) => bench::worker::run(&args),
        Task::Guard(args) => server::guard::run(&args),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
