//! Braces become alternatives.

use super::PatternError;

/// More alternatives than anybody writes by hand.
const ALTERNATIVES_MAX: usize = 64;
/// All alternatives together: what keeps a short pattern from becoming a long list.
const EXPANDED_BYTES_MAX: usize = 4 * super::PATTERN_BYTES_MAX;

/// Stands in an alternative where a brace began. What follows it counts as the beginning of a segment, and a path
/// does not end early across it: braces are looked into only when they are reached.
pub(super) const MARK: u8 = 0;

/// The alternatives of a pattern, without braces.
pub(super) fn expand(pattern: &[u8]) -> Result<Vec<Vec<u8>>, PatternError> {
    in_pairs(pattern)?;
    let mut done = Vec::new();
    // Each with the place from where on there may be braces.
    let mut pending = vec![(pattern.to_vec(), 0)];
    let mut bytes = 0;
    while let Some((text, from)) = pending.pop() {
        let Some(open) = next_brace(&text, from)? else {
            bytes += text.len();
            done.push(text);
            if bytes > EXPANDED_BYTES_MAX {
                return Err(PatternError::Alternatives);
            }
            continue;
        };
        let (head, rest) = (text.get(..open).unwrap_or_default(), text.get(open + 1..).unwrap_or_default());
        let (parts, tail) = parts(rest)?;
        if done.len() + pending.len() + parts.len() > ALTERNATIVES_MAX {
            return Err(PatternError::Alternatives);
        }
        pending.extend(parts.into_iter().map(|part| ([head, &[MARK], part, tail].concat(), open + 1)));
    }
    Ok(done)
}

/// The texts between the commas up to the partner of a brace that was open before `text`, and what comes after it.
/// Classes are not looked at, as in the original.
fn parts(text: &[u8]) -> Result<(Vec<&[u8]>, &[u8]), PatternError> {
    let (mut found, mut begin, mut depth) = (Vec::new(), 0, 0_usize);
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        match byte {
            b'\\' => at += 1,
            b'{' => depth += 1,
            b'}' if depth > 0 => depth -= 1,
            b',' | b'}' if depth == 0 => {
                found.push(text.get(begin..at).unwrap_or_default());
                begin = at + 1;
                if *byte == b'}' {
                    return Ok((found, text.get(begin..).unwrap_or_default()));
                }
            }
            _ => {}
        }
        at += 1;
    }
    Err(PatternError::Brace)
}

/// Where the next brace opens.
fn next_brace(text: &[u8], from: usize) -> Result<Option<usize>, PatternError> {
    let mut at = from;
    while let Some(byte) = text.get(at) {
        match byte {
            b'{' => return Ok(Some(at)),
            b'\\' => at += 2,
            b'[' => at = class_end(text, at)?,
            _ => at += 1,
        }
    }
    Ok(None)
}

/// Every brace outside of classes has a partner.
fn in_pairs(text: &[u8]) -> Result<(), PatternError> {
    let (mut at, mut depth) = (0, 0_usize);
    while let Some(byte) = text.get(at) {
        match byte {
            b'\\' if at + 1 == text.len() => return Err(PatternError::Escape),
            b'\\' => at += 2,
            b'[' => at = class_end(text, at)?,
            b'{' | b'}' => {
                let change = if *byte == b'{' { depth.checked_add(1) } else { depth.checked_sub(1) };
                depth = change.ok_or(PatternError::Brace)?;
                at += 1;
            }
            _ => at += 1,
        }
    }
    if depth == 0 { Ok(()) } else { Err(PatternError::Brace) }
}

/// Where the text goes on after the class that begins at `open`.
pub(super) fn class_end(text: &[u8], open: usize) -> Result<usize, PatternError> {
    let first = open + 1 + usize::from(matches!(text.get(open + 1), Some(b'!' | b'^')));
    if text.get(first) == Some(&b']') {
        return Err(PatternError::Class);
    }
    let mut at = first;
    while let Some(byte) = text.get(at) {
        match byte {
            b'\\' => at += 2,
            b']' => return Ok(at + 1),
            _ => at += 1,
        }
    }
    Err(PatternError::Class)
}
