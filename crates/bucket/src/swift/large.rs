//! Large objects: segments, and a manifest that names them in order. A manifest has a limited length, but may name other
//! manifests.

use super::calls::{Call, Calls, Target, failed, is};
use super::segments::{Form, Note, SET, is_session, is_taken};
use bytes::Bytes;
use http::Method;
use object_store::multipart::PartId;
use object_store::{PutPayload, Result};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Longest manifest that is read, in bytes, and what else a service answers.
const MANIFEST_MAX: usize = 8 << 20;
/// Content of objects whose kind nobody knows.
pub(super) const BYTES: &str = "application/octet-stream";

/// One line of a manifest that is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Line {
    path: String,
    etag: String,
}

/// The same as the service tells it.
#[derive(Debug, Deserialize)]
struct Told {
    name: String,
    hash: String,
    #[serde(default)]
    range: Option<String>,
}

/// What came of a manifest, and its mark.
#[derive(Debug)]
enum Published {
    Ours(String),
    /// Somebody else's with the same content was there, and is as good.
    Theirs(String),
}

pub(super) fn mark(text: &super::calls::Text) -> Result<String> {
    let mark = text.header("etag").map(|mark| mark.trim_matches('"').to_owned());
    mark.ok_or_else(|| failed("the service does not tell what it has stored".to_owned()))
}

impl Calls {
    pub(super) async fn begin(&self, path: &str) -> Result<String> {
        let id = Uuid::new_v4().to_string();
        let note = Note::new(self.set(&id)?, vec![path.to_owned()]);
        self.write_note(path, &id, &note).await?;
        Ok(id)
    }

    /// Each attempt of each process has a name of its own, so that a late one writes over nothing that is in use.
    pub(super) async fn put_segment(&self, id: &str, index: usize, data: PutPayload) -> Result<PartId> {
        let salt = Uuid::new_v4().simple().to_string();
        let salt = &salt[..8];
        let name = format!("{}/{index:016}-{salt}", self.set(id)?);
        let call = Call::new(Method::PUT, Target::Object(&name)).header("content-type", BYTES)?.body(data);
        let stored = self.send_and_read(call, MANIFEST_MAX).await?;
        Ok(PartId { content_id: format!("{salt}:{}", mark(&stored)?) })
    }

    /// Publishes the segments; a session object has still to become another one.
    pub(super) async fn end(&self, path: &str, id: &str, parts: &[PartId]) -> Result<String> {
        let set = self.set(id)?;
        let lines = parts.iter().enumerate().map(|(index, part)| self.line(&set, index, part));
        let mut lines = lines.collect::<Result<Vec<_>>>()?;
        let limit = self.info().manifest_segments();
        let mut level = 0;
        while lines.len() > limit {
            lines = self.shorten(&set, level, lines, limit).await?;
            level += 1;
        }
        if is_session(path) && self.info().is_ceph() {
            let note = Note { lines: Some(lines.clone()), ..Note::new(set.clone(), vec![path.to_owned()]) };
            self.write_note(path, id, &note).await?;
        }
        let published = self.publish(path, id, &lines).await?;
        match &published {
            Published::Ours(_) if is_session(path) => {}
            Published::Ours(_) => self.drop_note(path, id).await,
            Published::Theirs(_) => {
                self.drop_set(path, id, &Note::new(set, vec![path.to_owned()])).await;
            }
        }
        let (Published::Ours(mark) | Published::Theirs(mark)) = published;
        Ok(mark)
    }

    fn line(&self, set: &str, index: usize, part: &PartId) -> Result<Line> {
        let unclear = || failed(format!("{:?} is not the mark of a part", part.content_id));
        let (salt, etag) = part.content_id.split_once(':').ok_or_else(unclear)?;
        if !salt.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(unclear());
        }
        Ok(Line { path: format!("/{}/{set}/{index:016}-{salt}", self.container), etag: etag.to_owned() })
    }

    /// Manifests of as many lines as are allowed, and the lines for them.
    async fn shorten(&self, set: &str, level: usize, lines: Vec<Line>, limit: usize) -> Result<Vec<Line>> {
        let mut shorter = Vec::new();
        for (index, chunk) in lines.chunks(limit).enumerate() {
            let name = format!("{set}/manifest-{level}-{index:08}");
            let etag = self.put_manifest(&name, chunk, &[]).await?;
            shorter.push(Line { path: format!("/{}/{name}", self.container), etag });
        }
        Ok(shorter)
    }

    /// A whole blob with other segments, which is there already, stays. Anything else is written over; its segments go
    /// later.
    async fn publish(&self, path: &str, id: &str, lines: &[Line]) -> Result<Published> {
        // Ceph would write over what is there.
        if !self.info().is_ceph() {
            let first = self.put_manifest(path, lines, &[(SET, id), ("if-none-match", "*")]).await;
            match first {
                Err(error) if is_taken(&error) => {}
                other => return other.map(Published::Ours),
            }
        }
        let set = self.set(id)?;
        // An attempt whose answer was lost: it is ours. To write it once more does no harm.
        if self.form(path).await? != Some(Form::Static(Some(set.clone()))) {
            if !is_session(path)
                && let Some(mark) = self.is_as_good(path, &set, lines).await?
            {
                return Ok(Published::Theirs(mark));
            }
            self.note_displaced(path).await?;
        }
        self.put_manifest(path, lines, &[(SET, id)]).await.map(Published::Ours)
    }

    /// The mark of the large object that is there, if it has as many bytes as these segments, and its first and its last one
    /// can be read.
    async fn is_as_good(&self, path: &str, set: &str, lines: &[Line]) -> Result<Option<String>> {
        let Some(size) = self.size_of(set, lines).await?.filter(|size| *size > 0) else { return Ok(None) };
        let head = match self.send_and_read(Call::new(Method::HEAD, Target::Object(path)).latest()?, 0).await {
            Ok(head) => head,
            Err(error) if is(&error, "NoSuchKey") => return Ok(None),
            Err(error) => return Err(error),
        };
        let is_foreign = matches!(self.form_of(&head), Form::Static(Some(_)) | Form::Dynamic(Some(_)));
        if !is_foreign || head.header("content-length") != Some(&size.to_string()) {
            return Ok(None);
        }
        for at in [0, size - 1] {
            let call = Call::new(Method::GET, Target::Object(path)).latest()?;
            let call = call.header("range", &format!("bytes={at}-{at}"))?;
            if !self.send_and_read(call, 1).await.is_ok_and(|text| text.body.len() == 1) {
                return Ok(None);
            }
        }
        mark(&head).map(Some)
    }

    /// Bytes of these segments; `None`: some are not in the list, or are manifests themselves.
    async fn size_of(&self, set: &str, lines: &[Line]) -> Result<Option<u64>> {
        let sizes = self.sizes_below(&format!("{set}/")).await?;
        let own = |line: &Line| sizes.get(line.path.split_once(&*format!("/{}/", self.container))?.1).copied();
        let is_manifest = |line: &Line| line.path.contains("/manifest-");
        if lines.iter().any(is_manifest) {
            return Ok(None);
        }
        Ok(lines.iter().map(own).sum())
    }

    /// Removes segments that another object made needless.
    async fn drop_set(&self, path: &str, id: &str, note: &Note) {
        if let Err(error) = self.follow(path, id, note).await {
            tracing::warn!(%error, path, "needless segments of an upload stay until they are old");
        }
    }

    async fn put_manifest(&self, name: &str, lines: &[Line], headers: &[(&str, &str)]) -> Result<String> {
        let text = serde_json::to_vec(lines).map_err(|error| failed(error.to_string()))?;
        let call = Call::new(Method::PUT, Target::Object(name)).query("multipart-manifest", "put");
        let mut call = call.header("content-type", BYTES)?.body(Bytes::from(text).into());
        for (name, value) in headers {
            call = call.header(name, value)?;
        }
        mark(&self.send_and_read(call, MANIFEST_MAX).await?)
    }

    /// A session object becomes its final one: another manifest of the same segments. Not a byte of them is read.
    pub(super) async fn move_session(&self, from: &str, to: &str) -> Result<bool> {
        if self.info().is_ceph() {
            return self.move_noted(from, to).await;
        }
        let call = Call::new(Method::GET, Target::Object(from)).query("multipart-manifest", "get");
        let manifest = self.send_and_read(call, MANIFEST_MAX).await?;
        let (Form::Static(Some(set)), Some(id)) = (self.form_of(&manifest), manifest.header(SET)) else {
            return Ok(false);
        };
        let told: Vec<Told> = serde_json::from_slice(&manifest.body)
            .map_err(|error| failed(format!("{from}: the manifest is not understood: {error}")))?;
        let lines = told.into_iter().map(|told| {
            if told.range.is_some() {
                return Err(failed(format!("{from}: the manifest has ranges, which none of ours has")));
            }
            Ok(Line { path: told.name, etag: told.hash.trim_matches('"').to_owned() })
        });
        let lines = lines.collect::<Result<Vec<_>>>()?;
        let note = Note::new(set, vec![from.to_owned(), to.to_owned()]);
        self.move_lines(from, to, id, &note, &lines).await.map(|()| true)
    }

    async fn move_lines(&self, from: &str, to: &str, id: &str, note: &Note, lines: &[Line]) -> Result<()> {
        self.write_note(from, id, note).await?;
        match self.publish(to, id, lines).await? {
            Published::Ours(_) => self.drop_note(from, id).await,
            Published::Theirs(_) => self.drop_set(from, id, note).await,
        }
        Ok(())
    }

    /// The same where the note has the manifest.
    async fn move_noted(&self, from: &str, to: &str) -> Result<bool> {
        let session = self.send_and_read(Call::new(Method::HEAD, Target::Object(from)), 0).await?;
        let (form, Some(id)) = (self.form_of(&session), session.header(SET)) else { return Ok(false) };
        let mut note = match self.read_note(from, id).await {
            // An attempt before this one came to its end.
            Err(error) if is(&error, "NoSuchUpload") && self.form(to).await? == Some(form) => return Ok(true),
            note => note?,
        };
        let Some(lines) = note.lines.clone() else {
            return Err(failed(format!("{from}: its note does not have the manifest")));
        };
        note.owners = vec![from.to_owned(), to.to_owned()];
        self.move_lines(from, to, id, &note, &lines).await.map(|()| true)
    }

    /// Gives up what was begun, unless it has come to an end.
    pub(super) async fn give_up(&self, path: &str, id: &str) -> Result<()> {
        let note = self.read_note(path, id).await?;
        self.follow(path, id, &note).await
    }

    /// A copy within the service.
    pub(super) async fn copy(&self, from: &str, to: &str) -> Result<()> {
        let source = format!("/{}/{}", super::calls::quoted(&self.container), super::calls::quoted(from));
        let call = Call::new(Method::PUT, Target::Object(to)).header(super::calls::COPY_FROM, &source)?;
        self.send_and_read(call, MANIFEST_MAX).await.map(drop)
    }

    /// Removes an object, with its segments if it is large.
    pub(super) async fn delete(&self, path: &str) -> Result<()> {
        if is_session(path) {
            return self.delete_plain(path).await;
        }
        match self.form(path).await? {
            None => Ok(()),
            Some(form) => self.delete_form(path, form).await,
        }
    }

    pub(super) async fn delete_form(&self, path: &str, form: Form) -> Result<()> {
        match form {
            Form::Static(None) => self.delete_with_segments(path).await,
            Form::Static(Some(segments)) | Form::Dynamic(Some(segments)) if !super::segments::is_old_upload(path) => {
                // The manifest first: half of an object must not be read. The note is for what a killed process leaves.
                let id = Uuid::new_v4().to_string();
                self.write_note(path, &id, &Note::new(segments.clone(), vec![path.to_owned()])).await?;
                self.delete_plain(path).await?;
                self.delete_below(&segments).await?;
                self.remove_note(path, &id).await
            }
            _ => self.delete_plain(path).await,
        }
    }

    /// The service knows the segments of a manifest that somebody else wrote.
    async fn delete_with_segments(&self, path: &str) -> Result<()> {
        let call = Call::new(Method::DELETE, Target::Object(path)).query("multipart-manifest", "delete");
        let call = call.header("accept", "application/json")?;
        match self.send_and_read(call, MANIFEST_MAX).await {
            Ok(text) => super::remove::outcome(&text.body),
            Err(error) if is(&error, "NoSuchKey") => Ok(()),
            Err(error) => Err(error),
        }
    }
}
