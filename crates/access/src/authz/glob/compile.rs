//! From the text of an alternative to its steps.

use super::PatternError;
use super::expand::{MARK, class_end};
use super::program::{Program, Step};

/// The steps of a text without braces.
pub(super) fn compile(text: &[u8]) -> Result<Program, PatternError> {
    let mut compiler = Compiler { text, at: 0, fresh: true, lone_stars: false, classes: Vec::new() };
    let mut steps = Vec::new();
    // Where the text goes on after each step.
    let mut ends = vec![0];
    while let Some(byte) = text.get(compiler.at) {
        if *byte == MARK {
            compiler.at += 1;
            compiler.fresh = true;
            continue;
        }
        steps.push(compiler.step(*byte)?);
        ends.push(compiler.at);
    }
    let rest = |left| {
        let at = steps.len().checked_sub(left).and_then(|step| ends.get(step))?;
        let rest = text.get(*at..)?;
        rest.get(rest.iter().take_while(|byte| **byte == MARK).count()..)
    };
    // The original knows exactly these texts as ones that a path may end before.
    let may_end_before = [matches!(rest(1), Some(b"*" | b"**" | b"**/")), matches!(rest(2), Some(b"/**" | b"/**/"))];
    Ok(Program {
        steps: steps.into(),
        classes: compiler.classes.into(),
        may_end_before,
        lone_stars: compiler.lone_stars,
    })
}

struct Compiler<'t> {
    text: &'t [u8],
    at: usize,
    /// At the beginning of a segment, the only place where `**` is more than `*`.
    fresh: bool,
    lone_stars: bool,
    classes: Vec<u128>,
}

impl Compiler<'_> {
    fn step(&mut self, byte: u8) -> Result<Step, PatternError> {
        let fresh = std::mem::take(&mut self.fresh);
        self.at += 1;
        Ok(match byte {
            b'*' => self.star(fresh),
            b'?' => Step::Any,
            b'[' => self.class()?,
            // Its partner was taken for a part of a class.
            b'{' | b'}' => return Err(PatternError::Brace),
            b'\\' => {
                let escaped = *self.text.get(self.at).ok_or(PatternError::Escape)?;
                self.at += 1;
                self.literal(escaped)
            }
            _ => self.literal(byte),
        })
    }

    fn literal(&mut self, byte: u8) -> Step {
        self.fresh = byte == b'/';
        Step::Byte(byte)
    }

    fn star(&mut self, fresh: bool) -> Step {
        if self.text.get(self.at) != Some(&b'*') {
            return Step::Star;
        }
        self.at += 1;
        match self.text.get(self.at) {
            None if fresh => Step::Rest,
            Some(b'/') if fresh => {
                self.at += 1;
                self.fresh = true;
                Step::Segments
            }
            _ => {
                self.lone_stars = true;
                Step::Star
            }
        }
    }

    fn class(&mut self) -> Result<Step, PatternError> {
        let open = self.at - 1;
        self.at = class_end(self.text, open)?;
        let text = self.text.get(open + 1..self.at - 1).unwrap_or_default();
        let (negated, text) = match text {
            [b'!' | b'^', rest @ ..] => (true, rest),
            _ => (false, text),
        };
        let listed = listed(text);
        let class = if negated { !listed } else { listed } & !(1 << b'/');
        let number = self.classes.iter().position(|known| *known == class).unwrap_or_else(|| {
            self.classes.push(class);
            self.classes.len() - 1
        });
        // A pattern is too short for that many.
        u8::try_from(number).map(Step::Class).map_err(|_| PatternError::Alternatives)
    }
}

/// The bytes that the inside of a class lists.
fn listed(text: &[u8]) -> u128 {
    let mut bytes = text.iter().copied().peekable();
    let (mut found, mut low) = (0_u128, None);
    while let Some(mut byte) = bytes.next() {
        if let (b'-', Some(from), Some(next)) = (byte, low, bytes.peek().copied()) {
            bytes.next();
            let to = if next == b'\\' { bytes.next().unwrap_or(next) } else { next };
            found |= (from..=to).fold(0, |range, byte| range | bit(byte));
            low = None;
            continue;
        }
        if byte == b'\\' {
            byte = bytes.next().unwrap_or(byte);
        }
        found |= bit(byte);
        low = Some(byte);
    }
    found
}

fn bit(byte: u8) -> u128 {
    1_u128.checked_shl(u32::from(byte)).unwrap_or_default()
}
