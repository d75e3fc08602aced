//! Which blobs and manifests go into which repositories, whatever the layout on disk.

use anyhow::Result;

use super::{Content, READ, REFERRERS, REPOSITORY_COUNT, TAG_COUNT, TAGS, Tree, repository, tag};

pub(super) fn write(content: &Content, tree: &mut dyn Tree) -> Result<()> {
    for blob in content.blobs() {
        tree.layer(READ, &blob.digest, &content.file(&blob.digest))?;
    }
    for (index, manifest) in content.manifests.iter().enumerate() {
        tree.manifest(READ, manifest, &content.file(&manifest.digest), &[tag(index)])?;
    }
    if let Some(image) = &content.image {
        tree.manifest(READ, image, &content.file(&image.digest), &["image".to_owned()])?;
    }
    if content.needs.referrers {
        write_repository(content, tree, REFERRERS, &["subject".to_owned()])?;
    }
    if content.needs.many {
        write_lists(content, tree)?;
    }
    tree.finish()
}

/// The 50,000 tags and the 10,000 repositories.
pub(super) fn write_lists(content: &Content, tree: &mut dyn Tree) -> Result<()> {
    let tags: Vec<String> = (0..TAG_COUNT).map(tag).collect();
    write_repository(content, tree, TAGS, &tags)?;
    for index in 0..REPOSITORY_COUNT {
        write_repository(content, tree, &repository(index), &["latest".to_owned()])?;
    }
    Ok(())
}

/// A repository with the first of the manifests under these tags.
fn write_repository(content: &Content, tree: &mut dyn Tree, name: &str, tags: &[String]) -> Result<()> {
    let Some(manifest) = content.manifests.first() else { return Ok(()) };
    // The config stands for all blobs: what counts here is the number of names.
    tree.layer(name, &content.config.digest, &content.file(&content.config.digest))?;
    tree.manifest(name, manifest, &content.file(&manifest.digest), tags)
}
