//! From settings to the parts of the program. Nothing else in the program knows both.

mod identity;
mod live;
mod network;
mod secret;
mod tasks;

pub(crate) use identity::Identities;
pub(crate) use live::{gate_limits, live};
pub(crate) use network::{bind, serve_settings, tls};
pub(crate) use secret::{made_up, secrets};
pub(crate) use tasks::{Reload, Tasks};

use crate::settings::Settings;

/// Everything that can be found out about a configuration without serving it.
pub(crate) fn check(settings: &Settings) -> anyhow::Result<()> {
    net::install_provider();
    live(settings)?;
    tls(settings)?;
    Identities::new()?.build(settings, &secrets(settings, &made_up(None, false)?))?;
    Ok(())
}
