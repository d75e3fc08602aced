//! What another process needs to go on with a large object.
//!
//! The handle itself is small, however large the object: the marks of its parts are at the head of the object that holds
//! the tail, which is what came after the last whole part.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use storage::{Error, ErrorKind, Result, check_key};
use uuid::Uuid;

/// Where unfinished objects are.
pub(crate) const UPLOADS: &str = "homeport/v1/uploads";

/// Longest handle that is read, in bytes.
const HANDLE_MAX: usize = 64 * 1024;
/// Most that the head of a tail can be: a mark of 64 bytes for each part.
pub(crate) const HEAD_MAX: usize = crate::parts::PARTS_MAX * 64;

/// The handle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Handle {
    v: u32,
    /// Names what belongs to this upload.
    pub(crate) id: Uuid,
    /// The key that it goes to, when that is known from the start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<String>,
    /// The service's name of the upload, once a part was sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) upload: Option<String>,
    /// How many parts of which size, in order.
    pub(crate) parts: Vec<(u32, u32)>,
    /// Length of the tail.
    pub(crate) tail: u32,
    /// Which tails there are.
    pub(crate) tails: Tails,
}

/// Names of tails. Each is new: two processes that go on with one upload at the same moment never write over what the other
/// has told its handle.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Tails {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last: Option<Uuid>,
    /// The one before, which an old handle may still need; it goes when the next one is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    before: Option<Uuid>,
}

impl Tails {
    /// A name for the next one, and the names when that is written.
    pub(crate) fn next(self) -> (Uuid, Self) {
        let name = Uuid::new_v4();
        (name, Self { last: Some(name), before: self.last })
    }

    /// The one that nobody needs when there is a next one.
    pub(crate) const fn outdated(self) -> Option<Uuid> {
        self.before
    }

    /// Some request has left one.
    pub(crate) const fn any(self) -> bool {
        self.last.is_some()
    }

    /// Where they are.
    pub(crate) fn keys(self, id: Uuid) -> impl Iterator<Item = String> {
        self.last.into_iter().chain(self.before).map(move |name| tail_key(id, name))
    }
}

/// Head of the object that holds a tail.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Head {
    marks: Vec<String>,
}

/// One part that is in the service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) size: u32,
    /// What the service wants to hear when the object ends.
    pub(crate) mark: String,
}

fn broken(text: &'static str) -> Error {
    Error::new(ErrorKind::NotFound, "resume", "upload", text)
}

impl Handle {
    pub(crate) fn new(id: Uuid, key: Option<String>, upload: Option<String>, tails: Tails) -> Self {
        Self { v: 2, id, key, upload, parts: Vec::new(), tail: 0, tails }
    }

    pub(crate) fn with(mut self, parts: &[Part], tail: u32) -> Self {
        for part in parts {
            match self.parts.last_mut() {
                Some((count, size)) if *size == part.size => *count += 1,
                _ => self.parts.push((1, part.size)),
            }
        }
        self.tail = tail;
        self
    }

    pub(crate) fn encode(&self) -> String {
        // Strings and numbers always have a JSON form.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Handles come from session records; a damaged one must not name anything else.
    pub(crate) fn decode(text: &str) -> Result<Self> {
        if text.len() > HANDLE_MAX {
            return Err(broken("not an upload of this driver"));
        }
        let handle: Self = serde_json::from_str(text).map_err(|_| broken("not an upload of this driver"))?;
        let parts: u64 = handle.parts.iter().map(|(count, _)| u64::from(*count)).sum();
        if handle.v != 2 || parts > crate::parts::PARTS_MAX as u64 || (parts > 0) != handle.upload.is_some() {
            return Err(broken("an upload of another version of this driver"));
        }
        handle.key.as_deref().map_or(Ok(()), check_key).map_err(|_| broken("an upload to no key"))?;
        Ok(handle)
    }

    /// Where the tail is.
    pub(crate) fn tail_key(&self) -> Result<String> {
        self.tails.last.map(|name| tail_key(self.id, name)).ok_or_else(|| broken("an upload without its tail"))
    }

    /// Length of all.
    pub(crate) fn total(&self) -> u64 {
        let parts: u64 = self.parts.iter().map(|(count, size)| u64::from(*count) * u64::from(*size)).sum();
        parts + u64::from(self.tail)
    }

    /// The parts with their marks, and the tail, from the object that holds both.
    pub(crate) fn read_tail(&self, content: &Bytes) -> Result<(Vec<Part>, Bytes)> {
        let end = content.iter().position(|byte| *byte == b'\n').ok_or_else(|| broken("the tail has no head"))?;
        let head: Head = serde_json::from_slice(&content[..end]).map_err(|_| broken("the tail has another head"))?;
        let tail = content.slice(end + 1..);
        let sizes = self.parts.iter().flat_map(|(count, size)| std::iter::repeat_n(*size, *count as usize));
        let sizes: Vec<u32> = sizes.collect();
        if sizes.len() != head.marks.len() || tail.len() != self.tail as usize {
            return Err(broken("the tail belongs to another handle"));
        }
        let parts = sizes.into_iter().zip(head.marks).map(|(size, mark)| Part { size, mark }).collect();
        Ok((parts, tail))
    }
}

/// What is before the tail in its object.
pub(crate) fn head(parts: &[Part]) -> Bytes {
    let marks = parts.iter().map(|part| part.mark.clone()).collect();
    let mut out = serde_json::to_vec(&Head { marks }).unwrap_or_default();
    out.push(b'\n');
    out.into()
}

/// Where the parts go while the final key is not known.
pub(crate) fn session_key(id: Uuid) -> String {
    format!("{UPLOADS}/{id}")
}

/// Where a tail is.
pub(crate) fn tail_key(id: Uuid, name: Uuid) -> String {
    format!("{UPLOADS}/{id}.{}.tail", name.simple())
}

/// Where it says who ends the upload; see [`crate::claim`].
pub(crate) fn end_key(id: Uuid) -> String {
    format!("{UPLOADS}/{id}.end")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(sizes in proptest::collection::vec(5_u32..8, 0..50), tail in "[\n-~]{0,40}", key in proptest::option::of("[a-z]{1,5}/[a-z]{1,5}")) {
            let part = |(index, size): (usize, &u32)| Part { size: *size << 20, mark: format!("\"{index:032x}\"") };
            let parts: Vec<Part> = sizes.iter().enumerate().map(part).collect();
            let upload = (!parts.is_empty()).then(|| "u/+=".to_owned());
            let (_, tails) = Tails::default().next().1.next();
            let handle = Handle::new(Uuid::new_v4(), key, upload, tails).with(&parts, u32::try_from(tail.len()).unwrap());
            let read = Handle::decode(&handle.encode()).unwrap();
            prop_assert_eq!(&read, &handle);
            prop_assert_eq!(read.total(), parts.iter().map(|part| u64::from(part.size)).sum::<u64>() + tail.len() as u64);
            let content = Bytes::from([&head(&parts)[..], tail.as_bytes()].concat());
            prop_assert_eq!(read.read_tail(&content).unwrap(), (parts, Bytes::from(tail)));
        }

        #[test]
        fn anything_else_is_refused(text in ".{0,200}") {
            prop_assert!(Handle::decode(&text).is_err());
        }
    }

    #[test]
    fn a_handle_stays_small_and_cannot_name_a_stranger() {
        let parts: Vec<Part> =
            (0..10_000).map(|index| Part { size: 8 << 20, mark: format!("\"{index:032x}\"") }).collect();
        let handle = Handle::new(Uuid::new_v4(), None, Some("u".to_owned()), Tails::default().next().1).with(&parts, 3);
        assert!(handle.encode().len() < 250, "{}", handle.encode());
        assert!(head(&parts).len() < HEAD_MAX);
        let stranger = handle.encode().replace("\"upload\"", "\"key\":\"../x\",\"upload\"");
        assert_eq!(Handle::decode(&stranger).unwrap_err().kind, ErrorKind::NotFound);
        let without_upload = handle.encode().replace("\"upload\":\"u\",", "");
        assert!(Handle::decode(&without_upload).is_err());
        assert!(handle.read_tail(&Bytes::from_static(b"{\"marks\":[]}\nabc")).is_err());
    }
}
