//! The chunked transfer coding, of which only the end and the number of bytes matter.

#[derive(Default)]
pub(super) struct Chunks {
    state: State,
    /// Bytes of content seen.
    pub(super) content: u64,
}

#[derive(Default)]
enum State {
    #[default]
    SizeLine,
    /// The size read so far, at least one digit.
    Size(u64),
    /// Behind the digits of the size, in what may follow on the line.
    Extension(u64),
    /// Content left, and the line break behind it.
    Content(u64),
    /// In the lines behind the last chunk; true at the start of a line.
    Trailer(bool),
    End,
}

impl Chunks {
    /// Takes all of `bytes`, gives the content to `sink`; true at the end of the body.
    pub(super) fn feed(&mut self, mut bytes: &[u8], mut sink: impl FnMut(&[u8])) -> bool {
        while let Some((&byte, rest)) = bytes.split_first() {
            let mut next = rest;
            self.state = match self.state {
                State::SizeLine | State::Size(_) if byte.is_ascii_hexdigit() => {
                    let so_far = if let State::Size(size) = self.state { size } else { 0 };
                    State::Size(so_far * 16 + u64::from(hex(byte)))
                }
                State::SizeLine => State::SizeLine,
                State::Size(size) | State::Extension(size) => match (byte, size) {
                    (b'\n', 0) => State::Trailer(true),
                    (b'\n', size) => State::Content(size),
                    (_, size) => State::Extension(size),
                },
                State::Content(left) => {
                    let take = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                    let (content, behind) = bytes.split_at(take);
                    sink(content);
                    self.content += take as u64;
                    next = behind;
                    let left = left - take as u64;
                    // The line break behind the content is skipped as an empty size line.
                    if left == 0 { State::SizeLine } else { State::Content(left) }
                }
                State::Trailer(true) if byte == b'\n' => State::End,
                State::Trailer(start) => State::Trailer(byte == b'\n' || (start && byte == b'\r')),
                State::End => State::End,
            };
            bytes = next;
        }
        matches!(self.state, State::End)
    }
}

fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => digit - b'A' + 10,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_is_the_same_however_the_bytes_arrive() {
        let wire = b"5\r\nhello\r\n10;name=x\r\n0123456789abcdef\r\n0\r\nDate: now\r\n\r\n";
        for step in 1..=wire.len() {
            let (mut chunks, mut content, mut ended) = (Chunks::default(), Vec::new(), false);
            for part in wire.chunks(step) {
                assert!(!ended);
                ended = chunks.feed(part, |bytes| content.extend_from_slice(bytes));
            }
            assert!(ended, "step {step}");
            assert_eq!(content, b"hello0123456789abcdef");
            assert_eq!(chunks.content, 21);
        }
    }
}
