//! The subjects that bindings name, and those that a caller is.

use std::sync::Arc;

use super::names::{Names, Number};
use super::object::Subject;
use crate::identity::Caller;

/// The user that a request without credentials is.
const ANONYMOUS_USER: &str = "system:anonymous";
/// Its only group.
const ANONYMOUS_GROUP: &str = "system:unauthenticated";

/// A subject that some binding names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum SubjectId {
    User(Number),
    Group(Number),
}

/// All subjects that bindings name.
#[derive(Default)]
pub(super) struct Subjects {
    users: Names<str>,
    groups: Names<str>,
}

impl Subjects {
    pub(super) fn hold(&mut self, subject: &Subject) -> SubjectId {
        match subject {
            Subject::User(name) => SubjectId::User(self.users.hold(Arc::from(&**name))),
            Subject::Group(name) => SubjectId::Group(self.groups.hold(Arc::from(&**name))),
        }
    }

    pub(super) fn release(&mut self, id: SubjectId) {
        match id {
            SubjectId::User(number) => self.users.release(number),
            SubjectId::Group(number) => self.groups.release(number),
        }
    }

    #[cfg(test)]
    pub(super) fn size(&self) -> usize {
        self.users.all().count() + self.groups.all().count()
    }

    /// The name of a subject, for people.
    pub(super) fn describe(&self, id: SubjectId) -> Option<Subject> {
        match id {
            SubjectId::User(number) => self.users.name(number).map(|name| Subject::User(name.into())),
            SubjectId::Group(number) => self.groups.name(number).map(|name| Subject::Group(name.into())),
        }
    }

    /// What a caller is, as far as some binding names it.
    pub(super) fn of<'a>(&'a self, caller: &'a Caller) -> impl Iterator<Item = SubjectId> + 'a {
        let user = self.users.find(caller.name().unwrap_or(ANONYMOUS_USER));
        let unnamed = caller.is_anonymous().then_some(ANONYMOUS_GROUP);
        let groups = caller.groups().iter().map(|group| &**group).chain(unnamed);
        let groups = groups.filter_map(|group| self.groups.find(group)).map(SubjectId::Group);
        user.map(SubjectId::User).into_iter().chain(groups)
    }
}
