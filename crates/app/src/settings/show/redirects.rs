//! Who is sent to storage for blobs, and where that is.

use super::{Lines, Shown};
use crate::settings::resolved::{Delivery, Driver, Network, Redirects};
use crate::settings::value::show_duration;

pub(super) fn show(out: &mut Lines, redirects: &Redirects, delivery: &Delivery, driver: &Driver) {
    let Redirects { networks, except, life, life_max } = redirects;
    for (name, networks) in [("networks", networks), ("except", except)] {
        if !networks.is_empty() {
            let texts = networks.iter().map(|Network { text, network: _ }| text);
            out.list(&format!("homeport.redirect.{name}"), texts);
        }
    }
    // Only where addresses end: elsewhere it would be a warning.
    let is_signed = match delivery {
        Delivery::Storage => !matches!(driver, Driver::Filesystem { .. }),
        Delivery::BaseUrl(_) => false,
        Delivery::CloudFront { .. } => true,
    };
    if is_signed {
        out.put("homeport.redirect.life", show_duration(*life));
        out.put("homeport.redirect.lifeMax", show_duration(*life_max));
    }
    let mut entry = |name: &str, value: String| out.below("middleware.storage", "0", name, Shown::Text(value));
    match delivery {
        Delivery::Storage => {}
        Delivery::BaseUrl(base_url) => {
            entry("name", "redirect".to_owned());
            entry("options.baseurl", base_url.clone());
        }
        Delivery::CloudFront { base_url, private_key, key_pair_id } => {
            entry("name", "cloudfront".to_owned());
            entry("options.baseurl", base_url.clone());
            entry("options.privatekey", private_key.display().to_string());
            entry("options.keypairid", key_pair_id.clone());
        }
    }
}
