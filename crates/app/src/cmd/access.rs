//! `homeport access can-i`: which rule of the cluster grants a right, or what is missing.
//!
//! The registry is not asked: Roles and bindings are read with the rights of whoever runs the command, and judged by the same code.

mod advice;
mod fill;
mod list;
mod place;
mod question;
#[cfg(test)]
mod tests;

use access::{Action, Rbac};
use anyhow::Context;
use clap::Args;
use cluster::{ConnectSettings, Connection};
use place::Place;
use question::Question;
use std::fmt::Write;
use std::path::PathBuf;
use std::process::ExitCode;

/// Neither yes nor no.
const UNKNOWN: u8 = 2;

#[derive(Args)]
pub(crate) struct CanI {
    /// User name; NAMESPACE:NAME, sa/NAMESPACE/NAME or the full name for a ServiceAccount; user/NAME for a name as it is
    user: String,
    /// pull, push or delete; get is pull, create and update are push
    verb: String,
    /// The repository: NAMESPACE/PATH
    #[arg(value_name = "NAMESPACE/PATH")]
    target: String,
    /// Group of the user; may be given several times. Those that Kubernetes gives by itself are added
    #[arg(long = "group", value_name = "GROUP")]
    groups: Vec<String>,
    /// File with the cluster's address and your credentials [default: $KUBECONFIG, ~/.kube/config, or the pod's ServiceAccount]
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Context in that file
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
}

pub(crate) fn can_i(arguments: CanI) -> ExitCode {
    match answer(arguments).and_then(|answer| super::print(&answer.text).map(|()| answer.granted)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            super::complain(&error);
            ExitCode::from(UNKNOWN)
        }
    }
}

fn answer(arguments: CanI) -> anyhow::Result<Answer> {
    let question = Question::parse(&arguments.user, &arguments.groups, &arguments.verb, &arguments.target)?;
    let kubeconfig =
        arguments.kubeconfig.or_else(|| default_kubeconfig(|name| std::env::var_os(name).map(PathBuf::from)));
    let settings = ConnectSettings { kubeconfig, context: arguments.context };
    net::install_provider();
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start the runtime")?;
    let (objects, place) = runtime.block_on(async {
        let connection = Connection::connect(&settings).await?;
        // Nothing but a push needs the namespace.
        let place = match question.action {
            Action::Push => place::read(&connection, &question.namespace).await?,
            _ => Place::Exists,
        };
        anyhow::Ok((list::list(&connection, &question.namespace).await?, place))
    })?;
    Ok(judge(&fill::rbac(objects), &question, place))
}

/// Where kubectl looks. Of several files in the variable the first that exists counts; they are not merged.
fn default_kubeconfig(variable: impl Fn(&str) -> Option<PathBuf>) -> Option<PathBuf> {
    let listed = variable("KUBECONFIG").filter(|value| !value.as_os_str().is_empty());
    if let Some(listed) = listed {
        let first = std::env::split_paths(&listed).find(|path| path.is_file());
        // A name that leads nowhere is a mistake to be told, not a reason to ask another cluster.
        return first.or(Some(listed));
    }
    variable("HOME").map(|home| home.join(".kube/config")).filter(|path| path.is_file())
}

struct Answer {
    granted: bool,
    text: String,
}

fn judge(rbac: &Rbac, question: &Question, place: Place) -> Answer {
    let explanations = question.rights().map(|right| rbac.explain(&question.caller, right));
    let has_right = explanations.iter().any(access::Explanation::is_granted);
    let granted = has_right && place.takes_images();
    let Question { caller, action, namespace, path, .. } = question;
    let (word, may) = if granted { ("yes", "may") } else { ("no", "may not") };
    let mut text = format!("{word}: {caller} {may} {} {namespace}/{path}\n", action.as_str());
    if !caller.groups().is_empty() {
        line(&mut text, &format!("groups: {}", caller.groups().join(", ")));
    }
    if let Some(remark) = place.remark(namespace) {
        line(&mut text, &remark);
    }
    for explanation in &explanations {
        line(&mut text, &format!("\n{explanation}"));
    }
    if !has_right {
        line(&mut text, "\nThis would grant it:\n");
        text.push_str(&advice::yaml(question));
    }
    Answer { granted, text }
}

fn line(text: &mut String, line: &str) {
    // Writing to a text does not fail.
    let _ = writeln!(text, "{line}");
}
