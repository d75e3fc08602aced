//! Static users, from the configuration and from a file of their own.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::Context;
use crate::settings::check;
use crate::settings::document::{Entry, Node, Origin, Value};
use crate::settings::resolved::{Project, ProjectAccess, User};
use crate::settings::secret::Secret;

pub(super) fn users(ctx: &mut Context<'_>) -> (BTreeMap<String, User>, Option<PathBuf>) {
    let mut users = BTreeMap::new();
    let root = ctx.root;
    collect(ctx, root, &mut users);
    let file = ctx.path("homeport.usersFile");
    if let Some(file) = &file {
        from_file(ctx, file, &mut users);
    }
    (users, file)
}

fn from_file(ctx: &mut Context<'_>, file: &Path, users: &mut BTreeMap<String, User>) {
    let text = match (ctx.read_file)(file) {
        Ok(text) => text,
        Err(error) => return ctx.error("homeport.usersFile", format!("cannot read {}: {error}", file.display())),
    };
    let (base, read_file) = (ctx.base, ctx.read_file);
    ctx.report.in_file(file, |report| match Node::parse(&text) {
        Err(error) => report.error(error.line.map(Origin::Line).as_ref(), "", error.message),
        Ok(map) => {
            // The file holds the map alone; the table knows it at its place in a configuration.
            let root = nest(nest(map, "users"), "homeport");
            check::check(&root, report);
            collect(&mut Context { root: &root, base, read_file, report }, &root, users);
        }
    });
}

fn nest(node: Node, key: &str) -> Node {
    let origin = node.origin.clone();
    Node { value: Value::Map(vec![Entry { key: key.to_owned(), node }]), origin }
}

fn collect(ctx: &mut Context<'_>, root: &Node, users: &mut BTreeMap<String, User>) {
    for entry in root.find("homeport.users").map(Node::entries).unwrap_or_default() {
        let key = format!("homeport.users.{}", entry.key);
        if entry.key.is_empty() || entry.key.contains(':') || entry.key.chars().any(char::is_control) {
            ctx.report.error(
                Some(&entry.node.origin),
                key.clone(),
                "is not a name that a client can send: it is empty or has a colon",
            );
        }
        let user = User { password_hash: hash(ctx, &entry.node, &key), projects: projects(ctx, &entry.node, &key) };
        if users.insert(entry.key.clone(), user).is_some() {
            ctx.report.error(Some(&entry.node.origin), key, "is also in homeport.users; keep one of the two");
        }
    }
}

fn hash(ctx: &mut Context<'_>, user: &Node, key: &str) -> Secret {
    let key = format!("{key}.passwordHash");
    let node = user.get("passwordHash");
    let text = node.and_then(Node::text).unwrap_or_default();
    let origin = &node.unwrap_or(user).origin;
    if text.is_empty() {
        // An entry without a hash must never become a login without a password.
        ctx.report.error(Some(origin), key, "is missing; print one with `htpasswd -Bnb NAME PASSWORD`");
    } else if !is_bcrypt(text) {
        ctx.report.error(
            Some(origin),
            key,
            "is not a bcrypt hash ($2y$…); print one with `htpasswd -Bnb NAME PASSWORD`",
        );
    }
    Secret::new(text)
}

/// `$2y$05$` and 53 characters of salt and hash.
fn is_bcrypt(text: &str) -> bool {
    let Some(rest) = ["$2a$", "$2b$", "$2y$"].iter().find_map(|prefix| text.strip_prefix(prefix)) else { return false };
    let Some((cost, hash)) = rest.split_once('$') else { return false };
    // Four to 31 is what the algorithm allows; beyond 16 a single login takes many seconds, which invites a stranger to try.
    cost.len() == 2
        && cost.parse::<u32>().is_ok_and(|cost| (4..=16).contains(&cost))
        && hash.len() == 53
        && hash.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'/'))
}

fn projects(ctx: &mut Context<'_>, user: &Node, key: &str) -> Vec<Project> {
    let mut projects = Vec::new();
    for (index, item) in user.get("projects").map(Node::items).unwrap_or_default().iter().enumerate() {
        let text = |name: &str| item.get(name).and_then(Node::text).filter(|text| !text.is_empty());
        let key = |name: &str| format!("{key}.projects[{index}].{name}");
        if text("name").is_none() {
            ctx.report.error(
                Some(&item.origin),
                key("name"),
                "is missing; it is the first segment of the repositories' path",
            );
        }
        let access = match text("access") {
            Some(word) if word.eq_ignore_ascii_case("FULL") => ProjectAccess::Full,
            Some(_) => ProjectAccess::Read,
            None => {
                ctx.report.error(Some(&item.origin), key("access"), "is missing; write READ or FULL");
                ProjectAccess::Read
            }
        };
        projects.push(Project {
            name: text("name").unwrap_or_default().to_owned(),
            sub_path: text("subPath").unwrap_or("*").to_owned(),
            access,
        });
    }
    projects
}

/// Secrets that stand in files of their own, one each.
pub(super) fn secret_files(ctx: &mut Context<'_>, key: &str) -> (Vec<PathBuf>, Vec<Secret>) {
    let files: Vec<PathBuf> = ctx.texts(key).into_iter().map(PathBuf::from).collect();
    let mut secrets = Vec::new();
    for (index, file) in files.iter().enumerate() {
        match (ctx.read_file)(file) {
            // An editor ends a file with a line break; nobody means it as a part of the secret.
            Ok(text) => secrets.push(Secret::new(text.trim_end_matches(['\r', '\n']))),
            Err(error) => {
                let origin = ctx.root.find(key).map(|node| &node.origin);
                ctx.report.error(origin, format!("{key}[{index}]"), format!("cannot read {}: {error}", file.display()));
            }
        }
    }
    (files, secrets)
}
