//! `homeport version`

/// Version and, where the build knew it, the commit.
pub(crate) const LONG: &str = concat!(env!("CARGO_PKG_VERSION"), env!("HOMEPORT_COMMIT_SUFFIX"));
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");
pub(crate) const COMMIT: &str = env!("HOMEPORT_COMMIT");

pub(crate) fn run() -> anyhow::Result<()> {
    super::print(&format!("homeport {LONG}\n"))
}
