//! One alternative as steps over sets of positions.

use super::Shape;
use super::positions::{Places, Positions};

/// One step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// This byte.
    Byte(u8),
    /// One byte but a slash.
    Any,
    /// One byte of this class of the program.
    Class(u8),
    /// Any text without a slash.
    Star,
    /// Any number of whole segments with their slashes.
    Segments,
    /// All that is left.
    Rest,
}

#[derive(Clone, Debug)]
pub(super) struct Program {
    pub(super) steps: Box<[Step]>,
    /// Bit sets of ASCII, without the slash.
    pub(super) classes: Box<[u128]>,
    /// Whether the path may end when one, two steps are still to be done: `a/**` covers `a`.
    pub(super) may_end_before: [bool; 2],
    /// Whether some `**` acts as `*`.
    pub(super) lone_stars: bool,
}

impl Program {
    /// A class is as many steps as it has bytes: each is looked up by itself.
    pub(super) fn steps(&self) -> usize {
        let size = |class: u8| self.classes.get(usize::from(class)).map_or(0, |bytes| bytes.count_ones() as usize);
        let steps = |step: &Step| if let Step::Class(class) = step { size(*class).max(1) } else { 1 };
        self.steps.iter().map(steps).sum()
    }

    pub(super) fn bytes(&self) -> usize {
        size_of::<Self>() + size_of_val(&*self.steps) + size_of_val(&*self.classes)
    }

    pub(super) fn into_shape(self) -> Shape {
        let text = |steps: &[Step]| -> Option<Box<[u8]>> {
            steps.iter().map(|step| if let Step::Byte(byte) = step { Some(*byte) } else { None }).collect()
        };
        if let Some(text) = text(&self.steps) {
            return Shape::Exactly(text);
        }
        match &*self.steps {
            [Step::Rest] => return Shape::Everything,
            [top @ .., Step::Byte(b'/'), Step::Rest] if self.may_end_before == [true, true] => {
                if let Some(top) = text(top) {
                    return Shape::Below(top);
                }
            }
            _ => {}
        }
        Shape::Program(Box::new(self))
    }

    pub(super) fn covers(&self, path: &Places<'_>) -> bool {
        let end = path.end();
        let mut here = Positions::one(0);
        for (at, step) in self.steps.iter().enumerate() {
            // At its end a path is judged by the steps that are left, and not moved any more.
            if here.take(end) && self.may_end_at(at) {
                return true;
            }
            if here.is_empty() {
                return false;
            }
            here = match step {
                Step::Byte(byte) => here.over(path.of(*byte)),
                Step::Any => here.over(path.inside()),
                Step::Class(class) => {
                    here.over(path.of_class(self.classes.get(usize::from(*class)).copied().unwrap_or_default()))
                }
                Step::Star => here.along(path.inside()),
                Step::Segments => here.first_and_later(path.starts()),
                Step::Rest => return true,
            };
        }
        here.contains(end)
    }

    fn may_end_at(&self, at: usize) -> bool {
        let left = self.steps.len() - at;
        left.checked_sub(1).and_then(|left| self.may_end_before.get(left)).copied().unwrap_or_default()
    }
}
