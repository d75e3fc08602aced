//! Where the parts of large objects are, and the notes on those that nobody may own.
//!
//! A note is written before the first segment and goes when a manifest has them all, so that what a killed process leaves
//! can be told from what is in use. Whoever follows a note looks first whether one of its owners has the segments.

use super::calls::{Call, Calls, Target, failed, has_status, is_absent};
use super::large::Line;
use crate::error::Said;
use crate::handle::UPLOADS;
use http::Method;
use object_store::{Error, Result};
use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Segments of ours, below the place of all segments.
pub(super) const OURS: &str = "segments/homeport/";
/// Notes, below the same.
pub(super) const NOTES: &str = "segments/homeport-unfinished/";
/// Metadata of a manifest of ours: which segments it has.
pub(super) const SET: &str = "x-object-meta-homeport-segments";
/// Longest note that is read, in bytes.
const NOTE_MAX: usize = 1 << 20;
/// Where distribution keeps what is being uploaded. Its manifest may have the segments of a blob by then.
const OLD_UPLOADS: &str = "/_uploads/";

/// On segments below one place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Note {
    pub(super) segments: String,
    /// Objects that may have them.
    pub(super) owners: Vec<String>,
    /// The manifest of a session object, where the service does not tell it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) lines: Option<Vec<Line>>,
}

impl Note {
    pub(super) const fn new(segments: String, owners: Vec<String>) -> Self {
        Self { segments, owners, lines: None }
    }
}

/// How an object is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// In one piece.
    Plain,
    /// A manifest that names each of its segments; those of ours are all below one place.
    Static(Option<String>),
    /// A manifest that names what the names of its segments begin with, in this container or in another one.
    Dynamic(Option<String>),
}

/// A session object of an upload: it never owns its segments, a note or the final object does.
pub(super) fn is_session(path: &str) -> bool {
    path.contains(&format!("{UPLOADS}/"))
}

/// What distribution was uploading.
pub(super) fn is_old_upload(path: &str) -> bool {
    path.contains(OLD_UPLOADS)
}

impl Calls {
    /// Ids come from records; a damaged one must not name anything else.
    pub(super) fn set(&self, id: &str) -> Result<String> {
        let id: Uuid = id.parse().map_err(|_| failed(format!("{id:?} is not the name of an upload")))?;
        Ok(format!("{}/homeport/{id}", self.segments))
    }

    pub(super) fn note_name(&self, path: &str, id: &str) -> String {
        format!("{}/homeport-unfinished/{path}/{id}", self.segments)
    }

    /// What all notes on objects that begin like this begin with.
    pub(super) fn notes_below(&self, prefix: &str) -> String {
        format!("{}/homeport-unfinished/{prefix}", self.segments)
    }

    pub(super) async fn write_note(&self, path: &str, id: &str, note: &Note) -> Result<()> {
        let name = self.note_name(path, id);
        let text = serde_json::to_vec(note).map_err(|error| failed(error.to_string()))?;
        let call = Call::new(Method::PUT, Target::Object(&name)).header("content-type", "application/json")?;
        self.send_and_read(call.body(text.into()), NOTE_MAX).await.map(drop)
    }

    pub(super) async fn read_note(&self, path: &str, id: &str) -> Result<Note> {
        let name = self.note_name(path, id);
        match self.send_and_read(Call::new(Method::GET, Target::Object(&name)).latest()?, NOTE_MAX).await {
            Ok(text) => serde_json::from_slice(&text.body).map_err(|error| failed(format!("{name}: {error}"))),
            Err(error) if is_absent(&error) => {
                Err(Said { status: 404, code: "NoSuchUpload", text: name }.into_error(super::calls::STORE))
            }
            Err(error) => Err(error),
        }
    }

    pub(super) async fn remove_note(&self, path: &str, id: &str) -> Result<()> {
        self.delete_plain(&self.note_name(path, id)).await
    }

    /// The object is there, and that is what counts: a note that stays is followed later, and removes nothing.
    pub(super) async fn drop_note(&self, path: &str, id: &str) {
        if let Err(error) = self.remove_note(path, id).await {
            tracing::warn!(%error, path, "the note of an upload stays until it is old");
        }
    }

    /// How an object is stored; `None`: it is not there.
    pub(super) async fn form(&self, path: &str) -> Result<Option<Form>> {
        let call = Call::new(Method::HEAD, Target::Object(path)).latest()?;
        match self.send_and_read(call, 0).await {
            Ok(text) => Ok(Some(self.form_of(&text))),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) fn form_of(&self, text: &super::calls::Text) -> Form {
        if let Some(manifest) = text.header("x-object-manifest") {
            let manifest = percent_decode_str(manifest).decode_utf8_lossy().into_owned();
            let own = manifest.trim_start_matches('/').split_once('/').filter(|(at, _)| *at == self.container);
            return Form::Dynamic(own.map(|(_, prefix)| prefix.trim_end_matches('/').to_owned()));
        }
        match text.header("x-static-large-object") {
            Some(value) if value.eq_ignore_ascii_case("true") => {
                Form::Static(text.header(SET).and_then(|id| self.set(id).ok()))
            }
            _ => Form::Plain,
        }
    }

    /// One of the owners has the segments. What cannot be told for sure is an error.
    pub(super) async fn is_owned(&self, note: &Note) -> Result<bool> {
        for path in note.owners.iter().filter(|path| !is_session(path)) {
            match self.form(path).await? {
                Some(Form::Static(Some(set)) | Form::Dynamic(Some(set))) if set == note.segments => return Ok(true),
                Some(Form::Static(None)) => return Err(unclear(path, "has a manifest of somebody else")),
                Some(_) => {}
                // Some of the service may be out of reach; its lists are kept elsewhere.
                None if self.names(path, 1).await?.first() == Some(path) => {
                    return Err(unclear(path, "is in the list only"));
                }
                None => {}
            }
        }
        Ok(false)
    }

    /// Removes the segments of a note that nobody owns, then the note.
    pub(super) async fn follow(&self, path: &str, id: &str, note: &Note) -> Result<()> {
        if !self.is_owned(note).await? {
            self.delete_below(&note.segments).await?;
        }
        self.remove_note(path, id).await
    }

    /// The object is written over: notes its segments, which nobody has then.
    pub(super) async fn note_displaced(&self, path: &str) -> Result<()> {
        match self.form(path).await? {
            Some(Form::Static(Some(segments)) | Form::Dynamic(Some(segments))) if !is_session(path) => {
                let note = Note::new(segments, vec![path.to_owned()]);
                self.write_note(path, &Uuid::new_v4().to_string(), &note).await
            }
            _ => Ok(()),
        }
    }

    /// Removes an object in one piece, or a manifest without what it names.
    pub(super) async fn delete_plain(&self, name: &str) -> Result<()> {
        match self.send_and_read(Call::new(Method::DELETE, Target::Object(name)), NOTE_MAX).await {
            Err(error) if !is_absent(&error) => Err(error),
            _ => Ok(()),
        }
    }
}

fn unclear(path: &str, what: &str) -> Error {
    failed(format!("{path} {what}: segments that it may need stay"))
}

/// A conditional write found something.
pub(super) fn is_taken(error: &Error) -> bool {
    has_status(error, 412)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_and_old_uploads_are_told_by_their_place() {
        assert!(is_session("p/files/homeport/v1/uploads/2f8c"));
        assert!(!is_session("p/files/docker/registry/v2/blobs/sha256/aa/aabb/data"));
        assert!(is_old_upload("files/docker/registry/v2/repositories/a/_uploads/1/data"));
        let note = Note::new("segments/homeport/1".to_owned(), vec!["files/a".to_owned()]);
        let text = serde_json::to_string(&note).unwrap();
        assert_eq!(serde_json::from_str::<Note>(&text).unwrap(), note);
    }
}
