//! Variables and flags laid over a document.
//!
//! `REGISTRY_HTTP_ADDR` replaces `http.addr`, as in distribution: the underscore goes one level down, a number picks an item of
//! a list (one past the end appends), and a name in the middle (`REGISTRY_STORAGE=filesystem`) replaces everything below it.
//! Variables are applied in the order of their names, so the more specific one wins. Beyond distribution, a key that itself has
//! an underscore can be reached, and case does not matter.

use super::document::{Entry, Node, Origin, Value};
use super::hint;
use super::report::Report;
use super::schema::{self, Kind};

const PREFIX: &str = "REGISTRY_";

/// Variables of OpenShift's operator that do not follow the scheme.
const ALIASES: &[(&str, &str)] = &[
    ("REGISTRY_HTTP_TLS_MINVERSION", "http.tls.minimumtls"),
    ("OPENSHIFT_REGISTRY_HTTP_TLS_CIPHERSUITES", "http.tls.ciphersuites"),
];

/// Names with our prefix that mean something to others: the path of the file (which the caller has used already).
const FOREIGN: &[&str] = &["REGISTRY_CONFIGURATION_PATH"];

/// The old names of OpenShift's settings.
const LEGACY: &str = "REGISTRY_MIDDLEWARE_REPOSITORY_OPENSHIFT_";

/// The two names of one driver.
const S3: &str = "s3";
const S3_ALIAS: &str = "s3aws";

/// Command line flags; each stands for one key and wins over file and variables.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Flags {
    /// `--listen`: `http.addr`
    pub(crate) listen: Option<String>,
    /// `--data`: `storage.filesystem.rootdirectory`
    pub(crate) data: Option<String>,
    /// `--log-level`: `log.level`
    pub(crate) log_level: Option<String>,
    /// `--log-format`: `log.formatter`
    pub(crate) log_format: Option<String>,
    /// `--anonymous`: `homeport.anonymous`
    pub(crate) anonymous: Option<String>,
    /// `--users`: `homeport.usersFile`
    pub(crate) users: Option<String>,
    /// `--tls-cert`: `http.tls.certificate`
    pub(crate) tls_cert: Option<String>,
    /// `--tls-key`: `http.tls.key`
    pub(crate) tls_key: Option<String>,
    /// `--kubeconfig`: `homeport.kubernetes.kubeconfig`
    pub(crate) kubeconfig: Option<String>,
    /// `--context`: `homeport.kubernetes.context`
    pub(crate) context: Option<String>,
    /// `--read-only`: `homeport.readOnly`
    pub(crate) read_only: bool,
}

/// One step from a node to a node below it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Key(&'static str),
    /// A name that the operator chose; an existing one in another case is meant as well.
    Free(String),
    Item(usize),
}

pub(crate) fn apply_flags(root: &mut Node, flags: &Flags, report: &mut Report) {
    let Flags {
        listen,
        data,
        log_level,
        log_format,
        anonymous,
        users,
        tls_cert,
        tls_key,
        kubeconfig,
        context,
        read_only,
    } = flags;
    let values = [
        ("--listen", "http.addr", listen.as_deref()),
        ("--data", "storage.filesystem.rootdirectory", data.as_deref()),
        ("--log-level", "log.level", log_level.as_deref()),
        ("--log-format", "log.formatter", log_format.as_deref()),
        ("--anonymous", "homeport.anonymous", anonymous.as_deref()),
        ("--users", "homeport.usersFile", users.as_deref()),
        ("--tls-cert", "http.tls.certificate", tls_cert.as_deref()),
        ("--tls-key", "http.tls.key", tls_key.as_deref()),
        ("--kubeconfig", "homeport.kubernetes.kubeconfig", kubeconfig.as_deref()),
        ("--context", "homeport.kubernetes.context", context.as_deref()),
        ("--read-only", "homeport.readOnly", read_only.then_some("true")),
    ];
    for (flag, path, text) in values {
        if let Some(text) = text {
            put(root, path, Node::scalar(text, Origin::Flag(flag)), report);
        }
    }
}

pub(crate) fn apply_environment(root: &mut Node, env: impl IntoIterator<Item = (String, String)>, report: &mut Report) {
    let mut variables: Vec<_> = env
        .into_iter()
        .filter(|(name, _)| name.starts_with(PREFIX) || ALIASES.iter().any(|(alias, _)| alias == name))
        .collect();
    variables.sort();
    for (name, payload) in variables {
        apply_variable(root, &name, &payload, report);
    }
}

fn apply_variable(root: &mut Node, name: &str, payload: &str, report: &mut Report) {
    let origin = Origin::Variable(name.to_owned());
    if FOREIGN.contains(&name) || is_service_link(name) {
        return;
    }
    if name == "REGISTRY_VERSION" {
        return report.warning(Some(&origin), "version", "ignored: the version cannot be overridden");
    }
    if name.starts_with(LEGACY) || name == "REGISTRY_OPENSHIFT_CACHE_QUOTATTL" {
        return report.warning(
            Some(&origin),
            "",
            "has no effect: an old name of a setting of openshift:, see docs/configuration.md",
        );
    }
    if let Some((_, path)) = ALIASES.iter().find(|(alias, _)| *alias == name) {
        return alias(root, path, payload, &origin, report);
    }
    let mut segments: Vec<&str> = name.strip_prefix(PREFIX).unwrap_or(name).split('_').collect();
    if let [section, driver, ..] = &mut segments[..]
        && section.eq_ignore_ascii_case("storage")
        && driver.eq_ignore_ascii_case(S3_ALIAS)
    {
        *driver = S3;
    }
    let Some((steps, path)) = locate(&segments) else {
        return report.warning(Some(&origin), "", unknown(name));
    };
    let kind = kind(&path);
    let path = path.join(".").replace(".[]", "[]");
    // What the caller has put for bytes that are no text: half a password helps nobody.
    if payload.contains(char::REPLACEMENT_CHARACTER) {
        return report.error(Some(&origin), path, "is not UTF-8, or has U+FFFD in it");
    }
    match read(kind, payload) {
        Ok(node) => {
            if let Err(message) = set(root, &steps, node.with_origin(&origin)) {
                report.error(Some(&origin), path, message);
            }
            expand(root);
        }
        Err(message) => report.error(Some(&origin), path, message),
    }
}

fn kind(path: &[String]) -> Option<Kind> {
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    match path.split_last() {
        Some((&"[]", list)) if is_text_list(list) => Some(Kind::Text),
        _ => schema::find(&path).map(|key| key.kind),
    }
}

fn is_text_list(path: &[&str]) -> bool {
    matches!(schema::find(path).map(|key| key.kind), Some(Kind::TextList | Kind::SecretList))
}

/// OpenShift's operator writes lists with commas here.
fn alias(root: &mut Node, path: &str, payload: &str, origin: &Origin, report: &mut Report) {
    let words = payload.split(',').map(str::trim).filter(|word| !word.is_empty());
    let node = match path {
        "http.tls.ciphersuites" => Node {
            value: Value::List(words.map(|word| Node::scalar(word, origin.clone())).collect()),
            origin: origin.clone(),
        },
        _ => Node::scalar(payload.trim(), origin.clone()),
    };
    if !payload.trim().is_empty() {
        put(root, path, node, report);
    }
}

fn put(root: &mut Node, path: &str, node: Node, report: &mut Report) {
    let origin = node.origin.clone();
    let segments: Vec<&str> = path.split('.').collect();
    let result =
        locate(&segments).ok_or_else(|| "unknown key".to_owned()).and_then(|(steps, _)| set(root, &steps, node));
    if let Err(message) = result {
        report.error(Some(&origin), path, message);
    }
}

/// Finds the steps that the parts of a name take through the table, and the table's path.
fn locate(segments: &[&str]) -> Option<(Vec<Step>, Vec<String>)> {
    let (mut steps, mut path) = (Vec::new(), Vec::<String>::new());
    let mut rest = segments;
    while !rest.is_empty() {
        let here: Vec<&str> = path.iter().map(String::as_str).collect();
        let names = schema::children(&here);
        if is_text_list(&here) || names == ["[]"] {
            steps.push(Step::Item(rest[0].parse().ok()?));
            path.push("[]".to_owned());
            rest = &rest[1..];
        } else if let Some((name, used)) = longest(&names, rest) {
            steps.push(Step::Key(name));
            path.push(name.to_owned());
            rest = &rest[used..];
        } else if names.contains(&"*") {
            let below: Vec<&str> = here.iter().copied().chain(["*"]).collect();
            // A name with nothing below it takes all that is left, since it may have underscores of its own.
            let used = if schema::children(&below).is_empty() { rest.len() } else { 1 };
            let name = rest[..used].join("_");
            path.push("*".to_owned());
            steps.push(Step::Free(name));
            rest = &rest[used..];
        } else {
            return None;
        }
    }
    Some((steps, path))
}

/// The known name that takes most of the parts (`max_retries` takes two), and how many.
fn longest(names: &[&'static str], rest: &[&str]) -> Option<(&'static str, usize)> {
    (1..=rest.len()).rev().find_map(|used| {
        let joined = rest[..used].join("_");
        names.iter().find(|name| name.eq_ignore_ascii_case(&joined)).map(|name| (*name, used))
    })
}

fn set(node: &mut Node, steps: &[Step], new: Node) -> Result<(), String> {
    let Some((step, rest)) = steps.split_first() else {
        *node = new;
        return Ok(());
    };
    let origin = new.origin.clone();
    let next = match step {
        Step::Item(index) => item(node, *index, &origin)?,
        Step::Key(name) => fresh(node, &origin).member_mut(name, |key| key == *name),
        Step::Free(name) => fresh(node, &origin).member_mut(&name.to_lowercase(), |key| key.eq_ignore_ascii_case(name)),
    };
    set(next, rest, new)
}

/// A section that only exists because of a variable comes from there.
fn fresh<'n>(node: &'n mut Node, origin: &Origin) -> &'n mut Node {
    if !matches!(node.value, Value::Map(_)) {
        *node = Node::empty(origin.clone());
    }
    node
}

fn item<'n>(node: &'n mut Node, index: usize, origin: &Origin) -> Result<&'n mut Node, String> {
    if !matches!(node.value, Value::List(_)) {
        node.value = Value::List(node.items().to_vec());
    }
    let Value::List(items) = &mut node.value else { return Err("must be a list".to_owned()) };
    let length = items.len();
    if index == length {
        items.push(Node::empty(origin.clone()));
    }
    items.get_mut(index).ok_or_else(|| format!("the list has {length} items; the next index is {length}"))
}

/// `storage: filesystem` and `auth: none` name a type without parameters; both become sections. And a driver with two names
/// goes by one of them.
pub(crate) fn expand(root: &mut Node) {
    let Value::Map(entries) = &mut root.value else { return };
    for entry in entries.iter_mut().filter(|entry| entry.key == "storage" || entry.key == "auth") {
        if let Value::Scalar(name) = &entry.node.value {
            let origin = entry.node.origin.clone();
            let inner = Entry { key: name.clone(), node: Node::empty(origin.clone()) };
            entry.node = Node { value: Value::Map(vec![inner]), origin };
        }
        if let (true, Value::Map(drivers)) = (entry.key == "storage", &mut entry.node.value)
            && !drivers.iter().any(|driver| driver.key == S3)
            && let Some(driver) = drivers.iter_mut().find(|driver| driver.key == S3_ALIAS)
        {
            driver.key = S3.to_owned();
        }
    }
}

/// A variable's text as the kind of key wants it.
///
/// Single values are taken as they are, so that a password may hold `#` or `: `; only quotes around the whole are taken off, as
/// distribution does. Lists and sections are YAML.
fn read(kind: Option<Kind>, payload: &str) -> Result<Node, String> {
    let origin = Origin::Line(1);
    let trimmed = payload.trim();
    let parsed = || Node::parse(payload).map_err(|error| format!("is not YAML: {}", error.message));
    match kind {
        _ if trimmed.is_empty() => Ok(Node::empty(origin)),
        None | Some(Kind::Section | Kind::Named | Kind::Anything) => parsed(),
        Some(Kind::TextList | Kind::SecretList) if trimmed.starts_with(['[', '-']) => parsed(),
        Some(_) if trimmed.starts_with(['"', '\'']) => match parsed() {
            Ok(node) if node.text().is_some() => Ok(node),
            _ => Ok(Node::scalar(trimmed, origin)),
        },
        Some(_) => Ok(Node::scalar(trimmed, origin)),
    }
}

/// Kubernetes describes every service to every pod; one named `registry` gives names with our prefix.
fn is_service_link(name: &str) -> bool {
    let rest = name.strip_prefix(PREFIX).unwrap_or(name);
    let link = |rest: &str| {
        rest == "PORT"
            || rest.starts_with("PORT_")
            || rest == "SERVICE_HOST"
            || rest == "SERVICE_PORT"
            || rest.starts_with("SERVICE_PORT_")
    };
    link(rest)
        || rest
            .match_indices('_')
            .any(|(at, _)| link(&rest[at + 1..]) && locate(&rest.split('_').collect::<Vec<_>>()).is_none())
}

fn unknown(name: &str) -> String {
    let bare = |name: &str| name.strip_prefix(PREFIX).unwrap_or(name).to_owned();
    // Compared without the prefix that all have, or else any short name would resemble any other.
    let known: Vec<String> = schema::keys().map(|key| bare(&variable(key.path))).collect();
    match hint::nearest(&bare(name), known.iter().map(String::as_str)) {
        Some(near) => format!("ignored: no key has this name; did you mean \"{PREFIX}{near}\"?"),
        None => "ignored: no key has this name".to_owned(),
    }
}

/// The variable of a key.
pub(crate) fn variable(path: &str) -> String {
    format!("{PREFIX}{}", path.replace(".[]", ".0").replace(".*", ".NAME").replace('.', "_").to_uppercase())
}
