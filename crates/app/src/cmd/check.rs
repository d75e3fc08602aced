//! `homeport config check`

use crate::settings::{self, Flags};
use std::path::Path;

pub(crate) fn run(config: Option<&Path>) -> anyhow::Result<()> {
    let (settings, warnings) = settings::load(config, crate::environment::variables(), &Flags::default())?;
    super::print(&settings::yaml(&settings))?;
    for warning in &warnings {
        super::print(&format!("# warning: {warning}\n"))?;
    }
    // What only the server would find out.
    crate::wiring::check(&settings)
}
