//! The external programs that tests and benchmarks use: found, or built, or said to be unavailable.

mod apt;
mod catalog;
mod go;
mod lock;
mod node;
mod python;

use std::path::PathBuf;

use anyhow::{Result, bail};

pub use catalog::{Source, TOOLS, Tool};

#[derive(clap::Args, Default)]
pub struct Args {
    /// Only these programs; without names, all that are not marked optional
    names: Vec<String>,
    /// Build and install nothing: print the path of each program, fail when one is missing
    #[arg(long)]
    path: bool,
}

impl Args {
    /// One program by its name.
    pub fn only(name: &str) -> Self {
        Self { names: vec![name.to_owned()], path: false }
    }
}

/// What became of one program.
enum Outcome {
    Found(PathBuf),
    Made(PathBuf),
    Unavailable(String),
}

/// Where the program `name` of the catalogue is, when it is there already.
pub fn find(name: &str) -> Option<PathBuf> {
    TOOLS.iter().find(|tool| tool.name == name).and_then(Tool::find)
}

pub fn run(args: &Args) -> Result<bool> {
    let wanted = select(&args.names)?;
    if args.path {
        return Ok(print_paths(&wanted));
    }
    // Two runs at once would build the same things twice and fight over the package manager.
    let _lock = lock::acquire()?;
    let mut all = true;
    for tool in wanted {
        let outcome = provide(tool);
        all &= !matches!(outcome, Outcome::Unavailable(_));
        println!("{}", line(tool, &outcome));
    }
    // Without names this is best effort: a machine that lacks something can still run most tests.
    Ok(all || args.names.is_empty())
}

fn select(names: &[String]) -> Result<Vec<&'static Tool>> {
    if names.is_empty() {
        return Ok(TOOLS.iter().filter(|tool| !tool.optional).collect());
    }
    names.iter().map(|name| by_name(name)).collect()
}

fn by_name(name: &str) -> Result<&'static Tool> {
    if let Some(tool) = TOOLS.iter().find(|tool| tool.name == name) {
        return Ok(tool);
    }
    let known: Vec<&str> = TOOLS.iter().map(|tool| tool.name).collect();
    bail!("no tool named {name}; there are {}", known.join(", "))
}

fn print_paths(wanted: &[&Tool]) -> bool {
    let mut all = true;
    for tool in wanted {
        if let Some(path) = tool.find() {
            println!("{}", path.display());
        } else {
            all = false;
            eprintln!("{}: not there; run `cargo xtask tools {}`", tool.name, tool.name);
        }
    }
    all
}

fn provide(tool: &Tool) -> Outcome {
    if let Some(path) = tool.find() {
        return Outcome::Found(path);
    }
    let made = match &tool.source {
        Source::Go(program) => go::build(tool.name, program),
        Source::Python(program) => python::install(tool.name, program),
        Source::Node(program) => node::install(tool.name, program),
        Source::Debian { package, .. } => apt::install(package),
    };
    match (made, tool.find()) {
        (Ok(()), Some(path)) => Outcome::Made(path),
        (Ok(()), None) => Outcome::Unavailable("installed, but the program is not where it should be".into()),
        (Err(error), _) => Outcome::Unavailable(format!("{error:#}")),
    }
}

fn line(tool: &Tool, outcome: &Outcome) -> String {
    let label = match &tool.source {
        Source::Go(program) => format!("{} {}", tool.name, program.version),
        Source::Python(program) => format!("{} {}", tool.name, program.version),
        Source::Node(program) => format!("{} {}", tool.name, program.version),
        Source::Debian { .. } => tool.name.to_owned(),
    };
    let what = match outcome {
        Outcome::Found(path) => format!("found        {}", path.display()),
        Outcome::Made(path) => match tool.source {
            Source::Go(_) => format!("built        {}", path.display()),
            Source::Python(_) | Source::Node(_) | Source::Debian { .. } => format!("installed    {}", path.display()),
        },
        Outcome::Unavailable(reason) => format!("unavailable  {reason}"),
    };
    format!("{label:<28} {what}")
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_are_unique_and_versions_are_pinned() {
        let names: HashSet<&str> = TOOLS.iter().map(|tool| tool.name).collect();
        assert_eq!(names.len(), TOOLS.len());
        for tool in TOOLS {
            match &tool.source {
                Source::Go(program) => assert!(program.version.starts_with('v'), "{} has no version", tool.name),
                Source::Python(program) => assert!(!program.version.is_empty(), "{} has no version", tool.name),
                Source::Node(program) => assert!(!program.version.is_empty(), "{} has no version", tool.name),
                Source::Debian { .. } => {}
            }
        }
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_known_ones() {
        let error = by_name("nothing").unwrap_err().to_string();
        assert!(error.contains("crane"), "{error}");
    }

    #[test]
    fn optional_programs_are_only_made_when_named() {
        assert!(select(&[]).unwrap().iter().all(|tool| tool.name != "zot"));
        assert_eq!(select(&["zot".into()]).unwrap().len(), 1);
    }
}
