//! The head of a response: only what the generator needs of it.

#[derive(Debug, PartialEq)]
pub(super) enum Length {
    Exact(u64),
    Chunked,
    /// Neither length nor chunks: the connection's end is the body's end.
    UntilClose,
}

#[derive(Debug, PartialEq)]
pub(super) struct Head {
    pub(super) status: u16,
    pub(super) length: Length,
    pub(super) location: Option<String>,
    pub(super) close: bool,
    /// Where the body begins.
    pub(super) end: usize,
}

/// Parses the head when all of it has arrived. Servers are trusted: what is odd is skipped.
pub(super) fn parse(bytes: &[u8]) -> Option<Head> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let text = bytes.get(..end)?;
    let status = text.get(9..12).and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
    let mut head = Head { status: status.unwrap_or(0), length: Length::UntilClose, location: None, close: false, end };
    if matches!(head.status, 204 | 304) {
        head.length = Length::Exact(0);
    }
    for line in text.split(|byte| *byte == b'\n').skip(1) {
        // Most headers are of no interest; the first letter tells.
        if matches!(line.first(), Some(b'c' | b'C' | b'l' | b'L' | b't' | b'T')) {
            field(&mut head, line);
        }
    }
    Some(head)
}

fn field(head: &mut Head, line: &[u8]) {
    let Some(colon) = line.iter().position(|byte| *byte == b':') else { return };
    let (name, value) = line.split_at(colon);
    let Ok(value) = std::str::from_utf8(value) else { return };
    let value = value.trim_start_matches(':').trim();
    if name.eq_ignore_ascii_case(b"content-length") {
        if let Ok(length) = value.parse() {
            head.length = Length::Exact(length);
        }
    } else if name.eq_ignore_ascii_case(b"location") {
        head.location = Some(value.to_owned());
    } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
        head.length = Length::Chunked;
    } else if name.eq_ignore_ascii_case(b"connection") {
        head.close = value.eq_ignore_ascii_case("close");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_complete_at_the_empty_line_only() {
        let text = b"HTTP/1.1 202 Accepted\r\nlocation: /v2/x?a=b:c\r\nContent-Length: 12\r\n\r\nbody";
        for cut in 0..text.len() - 4 {
            assert_eq!(parse(&text[..cut]), None, "cut at {cut}");
        }
        let head = parse(text).unwrap();
        assert_eq!(head.status, 202);
        assert_eq!(head.location.as_deref(), Some("/v2/x?a=b:c"));
        assert_eq!(head.length, Length::Exact(12));
        assert_eq!(&text[head.end..], b"body");
    }

    #[test]
    fn chunks_and_close_are_seen() {
        let head = parse(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: Close\r\n\r\n").unwrap();
        assert_eq!((head.length, head.close), (Length::Chunked, true));
        let head = parse(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap();
        assert_eq!(head.length, Length::Exact(0));
    }
}
