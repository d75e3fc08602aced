//! Who is sent to storage for blobs, and where that is.

use std::time::Duration;

use super::Context;
use super::http::is_url;
use crate::settings::document::Node;
use crate::settings::resolved::{Delivery, Driver, Network, Redirects};
use crate::settings::value;

/// distribution's, for all blobs.
const LIFE: Duration = Duration::from_secs(20 * 60);
const LIFE_MAX: Duration = Duration::from_secs(2 * 3600);
/// No service signs for longer.
const SIGNED_MAX: Duration = Duration::from_secs(7 * 24 * 3600);
const LIFE_MIN: Duration = Duration::from_secs(10);

const MIDDLEWARE: &str = "middleware.storage";
const LIFE_KEY: &str = "homeport.redirect.life";
const MOST_KEY: &str = "homeport.redirect.lifeMax";

/// `wanted`: how long the middleware wants addresses to be good.
pub(super) fn redirects(
    ctx: &mut Context<'_>,
    driver: &Driver,
    delivery: &Delivery,
    wanted: Option<Duration>,
) -> Redirects {
    let own = ctx.span(LIFE_KEY);
    let life = own.or(wanted).unwrap_or(LIFE);
    let life_max = ctx.span(MOST_KEY).unwrap_or(LIFE_MAX.max(life));
    if life < LIFE_MIN {
        let (key, what) = if own.is_some() { (LIFE_KEY, "") } else { (MIDDLEWARE, "the option duration ") };
        ctx.error(key, format!("{what}must be at least 10s: a client needs a moment to follow"));
    }
    if life_max < life {
        ctx.error(MOST_KEY, format!("must not be shorter than {}", value::show_duration(life)));
    }
    if life_max > SIGNED_MAX && *delivery == Delivery::Storage {
        let key = if ctx.has(MOST_KEY) { MOST_KEY } else { LIFE_KEY };
        ctx.error(key, "must be at most 168h: services sign for no longer");
    }
    let redirects = Redirects { networks: networks(ctx, "networks"), except: networks(ctx, "except"), life, life_max };
    warn_of_idle(ctx, &redirects, driver, delivery);
    redirects
}

/// What was set and has no effect.
fn warn_of_idle(ctx: &mut Context<'_>, redirects: &Redirects, driver: &Driver, delivery: &Delivery) {
    const SECTION: &str = "homeport.redirect";
    let limited = !redirects.networks.is_empty() || !redirects.except.is_empty();
    let lives: Vec<&str> = [LIFE_KEY, MOST_KEY].into_iter().filter(|key| ctx.has(key)).collect();
    let on_files = matches!(driver, Driver::Filesystem { .. }) && *delivery == Delivery::Storage;
    if limited && ctx.truth("storage.redirect.disable") == Some(true) {
        ctx.warning(SECTION, "has no effect: storage.redirect.disable is set, so nobody is sent anywhere");
    } else if on_files && (limited || !lives.is_empty()) {
        ctx.warning(
            SECTION,
            "has no effect: files have no addresses; say in middleware.storage where clients can fetch them",
        );
    } else if matches!(delivery, Delivery::BaseUrl(_)) {
        for key in lives {
            ctx.warning(key, "has no effect: the addresses of the middleware redirect have no end");
        }
    }
}

fn networks(ctx: &mut Context<'_>, name: &str) -> Vec<Network> {
    let key = format!("homeport.redirect.{name}");
    let mut networks = Vec::new();
    for text in ctx.texts(&key) {
        match net::Network::parse(&text) {
            Some(network) => networks.push(Network { text, network }),
            None => ctx.error(&key, format!("{text:?} is no network; write it as 10.0.0.0/8 or 2001:db8::/32")),
        }
    }
    networks
}

/// Where blobs are fetched, and how long an address is to be good.
pub(super) fn delivery(ctx: &mut Context<'_>, driver: &Driver) -> (Delivery, Option<Duration>) {
    let items = ctx.root.find(MIDDLEWARE).map(Node::items).unwrap_or_default();
    let name = |item: &Node| item.get("name").and_then(Node::text).unwrap_or_default().to_owned();
    let off =
        |item: &Node| item.get("disabled").and_then(Node::text).is_some_and(|text| value::truth(text) == Ok(true));
    let entries: Vec<&Node> = items.iter().filter(|item| !off(item) && name(item) != "openshift").collect();
    let Some(entry) = entries.first() else { return (Delivery::Storage, None) };
    if entries.len() > 1 {
        ctx.error(MIDDLEWARE, "has more than one entry in use; keep one");
    }
    match name(entry).as_str() {
        "cloudfront" => {
            if !matches!(driver, Driver::S3(_)) {
                ctx.error(
                    MIDDLEWARE,
                    "cloudfront delivers what is in storage.s3 only; use redirect with other storage",
                );
            }
            cloud_front(ctx, entry)
        }
        "redirect" => (Delivery::BaseUrl(base_url(ctx, entry, false)), None),
        other => {
            ctx.error(MIDDLEWARE, format!("{other:?} is not supported; there are cloudfront and redirect"));
            (Delivery::Storage, None)
        }
    }
}

fn option<'n>(entry: &'n Node, name: &str) -> Option<&'n str> {
    entry.get("options")?.get(name)?.text().filter(|text| !text.is_empty())
}

fn required(ctx: &mut Context<'_>, entry: &Node, name: &str, what: &str) -> String {
    option(entry, name).map(str::to_owned).unwrap_or_else(|| {
        ctx.error(MIDDLEWARE, format!("the option {name} is missing: {what}"));
        String::new()
    })
}

fn base_url(ctx: &mut Context<'_>, entry: &Node, scheme_may_miss: bool) -> String {
    let text = required(ctx, entry, "baseurl", "the URL where clients fetch, such as https://cdn.example.com");
    let url = if scheme_may_miss && !text.contains("://") { format!("https://{text}") } else { text };
    if !is_url(&url) && option(entry, "baseurl").is_some() {
        ctx.error(MIDDLEWARE, "the option baseurl must be a URL, such as https://cdn.example.com");
    }
    url
}

fn cloud_front(ctx: &mut Context<'_>, entry: &Node) -> (Delivery, Option<Duration>) {
    let base_url = base_url(ctx, entry, true);
    let private_key = required(ctx, entry, "privatekey", "the file of the private key in PEM").into();
    let key_pair_id = required(ctx, entry, "keypairid", "the id of the public key at CloudFront");
    let known = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if !key_pair_id.bytes().all(known) {
        ctx.error(MIDDLEWARE, "the option keypairid must be an id such as K2JCJMDEHXQW5F");
    }
    let life = option(entry, "duration").and_then(|text| {
        let life = value::duration(text);
        if let Err(error) = &life {
            ctx.error(MIDDLEWARE, format!("the option duration {error}"));
        }
        life.ok()
    });
    let filter = option(entry, "ipfilteredby").unwrap_or("none").trim().to_ascii_lowercase();
    if filter != "none" {
        let message = "the option ipfilteredby has no effect: clients within Amazon's network are sent to CloudFront like \
                       all others; say with homeport.redirect.except whom not to send";
        ctx.warning(MIDDLEWARE, message);
    }
    (Delivery::CloudFront { base_url, private_key, key_pair_id }, life)
}
