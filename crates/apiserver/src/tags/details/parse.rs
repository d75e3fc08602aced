//! From a manifest and a configuration to what is shown of them. Nothing in them is trusted to have a form or a size.

use std::collections::BTreeMap;
use std::fmt;

use oci::{Descriptor, Manifest, media_type};
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::{Content, Details, LABELS_MAX, LAYERS_MAX, TEXT_MAX, TEXTS_MAX, WORD_MAX};

/// Configurations that say what an image is for.
const IMAGE_CONFIGS: [&str; 2] =
    ["application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"];

/// The configuration is that of an image to run.
pub(super) fn is_image_config(config: &Descriptor) -> bool {
    IMAGE_CONFIGS.contains(&media_type::essence(&config.media_type))
}

/// What the manifest itself says.
pub(super) fn from_manifest(manifest: &Manifest) -> Details {
    let mut details = Details { media_type: word(&manifest.media_type), ..Details::default() };
    let plain = manifest.artifact_type.is_none()
        && manifest
            .config
            .as_ref()
            .is_some_and(|config| is_image_config(config) || config.media_type == media_type::OCI_EMPTY);
    let artifact_type = manifest.effective_artifact_type().filter(|text| !plain && !text.is_empty());
    details.artifact_type = artifact_type.and_then(word);
    details.truncated |= details.artifact_type.is_none() && artifact_type.is_some();
    details.truncated |= manifest.layers.len() > LAYERS_MAX;
    details.layers = manifest.layers.iter().take(LAYERS_MAX).map(content).collect();
    if let Some(annotations) = &manifest.annotations {
        details.annotations = texts(annotations, TEXTS_MAX, &mut details.truncated);
    }
    details.subject = manifest.subject.as_ref().map(content);
    details
}

pub(super) fn content(descriptor: &Descriptor) -> Content {
    Content {
        media_type: word(&descriptor.media_type).unwrap_or_default(),
        digest: descriptor.digest,
        size: size(descriptor),
    }
}

pub(super) fn size(descriptor: &Descriptor) -> u64 {
    u64::try_from(descriptor.size).unwrap_or_default()
}

/// `os/architecture/variant` of a descriptor in an index.
pub(super) fn platform(raw: Option<&RawValue>) -> String {
    #[derive(Deserialize)]
    struct Raw<'a> {
        #[serde(borrow)]
        os: Option<&'a RawValue>,
        #[serde(borrow)]
        architecture: Option<&'a RawValue>,
        #[serde(borrow)]
        variant: Option<&'a RawValue>,
    }
    let Some(parsed) = raw.and_then(|raw| serde_json::from_str::<Raw<'_>>(raw.get()).ok()) else {
        return String::new();
    };
    let parts = [parsed.os, parsed.architecture, parsed.variant].map(|part| text(part, &mut false));
    word(&parts.into_iter().flatten().collect::<Vec<_>>().join("/")).unwrap_or_default()
}

/// Adds what the configuration of an image says.
pub(super) fn add_config(details: &mut Details, bytes: &[u8]) {
    #[derive(Deserialize)]
    struct Raw<'a> {
        #[serde(borrow)]
        created: Option<&'a RawValue>,
        #[serde(borrow)]
        os: Option<&'a RawValue>,
        #[serde(borrow)]
        architecture: Option<&'a RawValue>,
        #[serde(borrow)]
        variant: Option<&'a RawValue>,
        #[serde(borrow)]
        config: Option<&'a RawValue>,
    }
    #[derive(Deserialize)]
    struct Inner<'a> {
        #[serde(rename = "Labels", borrow)]
        labels: Option<&'a RawValue>,
    }
    let Ok(raw) = serde_json::from_slice::<Raw<'_>>(bytes) else {
        details.problem = Some("the configuration of the image is not valid");
        return;
    };
    let cut = &mut details.truncated;
    details.image_created_at =
        text(raw.created, cut).and_then(|text| text.parse::<jiff::Timestamp>().ok()).map(|time| time.to_string());
    details.os = text(raw.os, cut);
    details.architecture = text(raw.architecture, cut);
    details.variant = text(raw.variant, cut);
    let inner = raw.config.and_then(|config| serde_json::from_str::<Inner<'_>>(config.get()).ok());
    if let Some(labels) = inner.and_then(|inner| inner.labels) {
        let left = TEXTS_MAX.saturating_sub(length(&details.annotations));
        details.config_labels = texts(labels, left, &mut details.truncated);
    }
}

/// What is there and can be shown of a media type or of another word.
fn word(text: &str) -> Option<String> {
    let fits = (1..=WORD_MAX).contains(&text.len()) && escaped(text) == text.len();
    fits.then(|| text.to_owned())
}

/// A word of a configuration, if it is one.
fn text(raw: Option<&RawValue>, cut: &mut bool) -> Option<String> {
    let text: String = value(raw?)?;
    let word = word(&text);
    *cut |= word.is_none() && !text.is_empty();
    word
}

/// The first ones of a map of texts, as many as there is room for.
fn texts(raw: &RawValue, room: usize, cut: &mut bool) -> BTreeMap<String, String> {
    let Some(First { mut kept, more }) = value::<First>(raw) else { return BTreeMap::new() };
    let (mut left, count) = (room, kept.len());
    kept.retain(|key, value| {
        let length = escaped(key) + escaped(value);
        let fits = length <= left;
        if fits {
            left -= length;
        }
        fits
    });
    *cut |= more || kept.len() < count;
    kept
}

/// The first texts of a map, and whether there are others. The rest is passed over as it is read: there may be hundreds of
/// thousands, of any form.
#[derive(Default)]
struct First {
    kept: BTreeMap<String, String>,
    more: bool,
}

impl<'de> Deserialize<'de> for First {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(FirstVisitor)
    }
}

struct FirstVisitor;

impl<'de> Visitor<'de> for FirstVisitor {
    type Value = First;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<First, A::Error> {
        let mut first = First::default();
        while let Some((key, raw)) = map.next_entry::<String, &RawValue>()? {
            let Some(text) = value::<String>(raw) else { continue };
            if key.len() + text.len() > TEXT_MAX {
                first.more = true;
                continue;
            }
            first.kept.insert(key, text);
            if first.kept.len() > LABELS_MAX {
                first.kept.pop_last();
                first.more = true;
            }
        }
        Ok(first)
    }
}

fn length(texts: &BTreeMap<String, String>) -> usize {
    texts.iter().map(|(key, value)| escaped(key) + escaped(value)).sum()
}

/// How long a text is in JSON, without its quotes.
fn escaped(text: &str) -> usize {
    let length = |byte: u8| match byte {
        b'"' | b'\\' => 2,
        // At most, as \u0001.
        0..=0x1f => 6,
        _ => 1,
    };
    text.bytes().map(length).sum()
}

fn value<'a, T: Deserialize<'a>>(raw: &'a RawValue) -> Option<T> {
    serde_json::from_str(raw.get()).ok()
}
