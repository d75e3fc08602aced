//! From text to requirements.

use super::{Requirement, Test, is_key, is_label_value};

/// Requirements of one selector, and values of one requirement.
const ENTRIES_MAX: usize = 256;
const BINARY: &str = "in, notin, =, ==, !=, gt, lt";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token<'a> {
    End,
    Word(&'a str),
    In,
    NotIn,
    Open,
    Close,
    Comma,
    Not,
    Equals,
    NotEquals,
    Above,
    Below,
}

impl<'a> Token<'a> {
    /// As they are meant where a key or a value is expected.
    fn word(self) -> Option<&'a str> {
        match self {
            Self::Word(text) => Some(text),
            Self::In => Some("in"),
            Self::NotIn => Some("notin"),
            _ => None,
        }
    }

    fn text(self) -> &'a str {
        match self {
            Self::End => "",
            Self::Word(text) => text,
            Self::In => "in",
            Self::NotIn => "notin",
            Self::Open => "(",
            Self::Close => ")",
            Self::Comma => ",",
            Self::Not => "!",
            Self::Equals => "=",
            Self::NotEquals => "!=",
            Self::Above => ">",
            Self::Below => "<",
        }
    }
}

struct Parser<'a> {
    rest: &'a str,
}

pub(super) fn requirements(text: &str) -> Result<Vec<Requirement>, String> {
    let mut parser = Parser { rest: text };
    let mut found = Vec::new();
    if parser.peek() == Token::End {
        return Ok(found);
    }
    loop {
        found.push(parser.requirement()?);
        if found.len() > ENTRIES_MAX {
            return Err(format!("label selector has more than {ENTRIES_MAX} requirements"));
        }
        match parser.next() {
            Token::End => return Ok(found),
            Token::Comma => {}
            other => return Err(format!("found '{}', expected: ',' or 'end of string'", other.text())),
        }
    }
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Token<'a> {
        Self { rest: self.rest }.next()
    }

    fn next(&mut self) -> Token<'a> {
        let text = self.rest.trim_start_matches([' ', '\t', '\r', '\n']);
        let symbols = [
            ("(", Token::Open),
            (")", Token::Close),
            (",", Token::Comma),
            ("!=", Token::NotEquals),
            ("!", Token::Not),
            ("==", Token::Equals),
            ("=", Token::Equals),
            (">", Token::Above),
            ("<", Token::Below),
        ];
        for (symbol, token) in symbols {
            if let Some(rest) = text.strip_prefix(symbol) {
                self.rest = rest;
                return token;
            }
        }
        let end = text.find([' ', '\t', '\r', '\n', '=', '!', '(', ')', ',', '>', '<']).unwrap_or(text.len());
        let (word, rest) = text.split_at(end);
        self.rest = rest;
        match word {
            "" => Token::End,
            "in" => Token::In,
            "notin" => Token::NotIn,
            word => Token::Word(word),
        }
    }

    fn requirement(&mut self) -> Result<Requirement, String> {
        let missing = self.peek() == Token::Not;
        if missing {
            self.next();
        }
        let token = self.next();
        let key = token.word().ok_or_else(|| format!("found '{}', expected: identifier", token.text()))?;
        if !is_key(key) {
            return Err(format!("{key:?} is no valid key of a label"));
        }
        let test = match self.peek() {
            _ if missing => Test::Missing,
            Token::End | Token::Comma => Test::Exists,
            _ => self.test()?,
        };
        Ok(Requirement { key: key.into(), test })
    }

    fn test(&mut self) -> Result<Test, String> {
        match self.next() {
            Token::In => self.values().map(Test::In),
            Token::NotIn => self.values().map(Test::NotIn),
            Token::Equals => Ok(Test::In(Box::new([self.value()?]))),
            Token::NotEquals => Ok(Test::NotIn(Box::new([self.value()?]))),
            Token::Above => self.number().map(Test::Above),
            Token::Below => self.number().map(Test::Below),
            other => Err(format!("found '{}', expected: {BINARY}", other.text())),
        }
    }

    /// The one value behind an operator, which may be empty.
    fn value(&mut self) -> Result<Box<str>, String> {
        match self.peek() {
            Token::End | Token::Comma => Ok("".into()),
            token => {
                self.next();
                let word = token.word().ok_or_else(|| format!("found '{}', expected: identifier", token.text()))?;
                checked(word)
            }
        }
    }

    fn number(&mut self) -> Result<i64, String> {
        let value = self.value()?;
        value.parse().map_err(|_| format!("{value:?}: for 'Gt', 'Lt' operators, the value must be an integer"))
    }

    /// `(a,b)`; what stands between two commas, or nothing, is the empty value.
    fn values(&mut self) -> Result<Box<[Box<str>]>, String> {
        let open = self.next();
        if open != Token::Open {
            return Err(format!("found '{}' expected: '('", open.text()));
        }
        let mut values: Vec<Box<str>> = Vec::new();
        loop {
            match self.peek() {
                Token::Comma | Token::Close => values.push("".into()),
                token => {
                    self.next();
                    let word = token
                        .word()
                        .ok_or_else(|| format!("found '{}', expected: ',', ')' or identifier", token.text()))?;
                    values.push(checked(word)?);
                }
            }
            if values.len() > ENTRIES_MAX {
                return Err(format!("label selector has more than {ENTRIES_MAX} values"));
            }
            match self.next() {
                Token::Close => return Ok(values.into()),
                Token::Comma => {}
                other => return Err(format!("found '{}', expected: ',' or ')'", other.text())),
            }
        }
    }
}

fn checked(value: &str) -> Result<Box<str>, String> {
    if is_label_value(value) { Ok(value.into()) } else { Err(format!("{value:?} is no valid value of a label")) }
}
