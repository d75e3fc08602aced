//! Where the bucket is.

use super::S3Settings;

/// Region of services that have none.
const ANY_REGION: &str = "us-east-1";

/// The address of a bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Endpoint {
    /// Scheme, host, port and, in path style, nothing more.
    pub(super) service: String,
    /// The bucket is a part of the host name.
    pub(super) virtual_hosted: bool,
    pub(super) region: String,
}

impl Endpoint {
    /// `None`: the region is not known and there is no address either.
    pub(super) fn of(settings: &S3Settings, address: Option<&str>) -> Option<Self> {
        let known = settings.known_region();
        let address = address.map(str::trim).filter(|address| !address.is_empty());
        let region = match (known, address) {
            (Some(region), _) => region,
            (None, Some(_)) => ANY_REGION,
            (None, None) => return None,
        };
        let own = address.is_some();
        let virtual_hosted = match (settings.force_path_style, settings.virtual_hosted_style) {
            (_, Some(true)) | (Some(false), None) => true,
            (Some(true), _) | (_, Some(false)) => false,
            (None, None) => !own,
        };
        // A dot in the name would not match the certificate of the service.
        let virtual_hosted = virtual_hosted && (own || !settings.bucket.contains('.'));
        let address = address.map_or_else(|| amazon(region, settings.use_dual_stack), str::to_owned);
        let scheme = if settings.secure { "https" } else { "http" };
        let address = if address.contains("://") { address } else { format!("{scheme}://{address}") };
        let service = address.trim_end_matches('/').to_owned();
        Some(Self { service, virtual_hosted, region: region.to_owned() })
    }

    /// Address of the bucket itself.
    pub(super) fn bucket(&self, bucket: &str) -> String {
        match self.service.split_once("://") {
            Some((scheme, rest)) if self.virtual_hosted => format!("{scheme}://{bucket}.{rest}"),
            _ => format!("{}/{bucket}", self.service),
        }
    }

    /// Where web identity is exchanged for keys; `None`: where the client library does so, in Amazon's main partition.
    pub(super) fn sts(&self, settings: &S3Settings) -> Option<String> {
        let given = settings.variable("AWS_ENDPOINT_URL_STS").map(str::to_owned);
        given.or_else(|| partition(&self.region).map(|domain| format!("https://sts.{}.{domain}", self.region)))
    }

    /// Nobody can listen, so nothing needs a signature over its content.
    pub(super) fn is_encrypted(&self) -> bool {
        self.service.starts_with("https://")
    }
}

/// Domain of the partition that a region is in, if it is not that of most.
fn partition(region: &str) -> Option<&'static str> {
    let partitions = [
        ("cn-", "amazonaws.com.cn"),
        ("eusc-", "amazonaws.eu"),
        ("us-iso-", "c2s.ic.gov"),
        ("us-isob-", "sc2s.sgov.gov"),
        ("us-isof-", "csp.hci.ic.gov"),
        ("eu-isoe-", "cloud.adc-e.uk"),
    ];
    partitions.into_iter().find(|(prefix, _)| region.starts_with(prefix)).map(|(_, domain)| domain)
}

fn amazon(region: &str, dual_stack: bool) -> String {
    let dual_stack = if dual_stack { ".dualstack" } else { "" };
    let domain = partition(region).unwrap_or("amazonaws.com");
    format!("s3{dual_stack}.{region}.{domain}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket(change: impl FnOnce(&mut S3Settings)) -> String {
        let mut settings = S3Settings::new("images");
        change(&mut settings);
        let endpoint = Endpoint::of(&settings, settings.region_endpoint.as_deref());
        endpoint.map_or_else(|| "unknown".to_owned(), |endpoint| endpoint.bucket(&settings.bucket))
    }

    #[test]
    fn addresses_of_amazon() {
        assert_eq!(bucket(|_| {}), "unknown");
        let region = |settings: &mut S3Settings| settings.region = Some("eu-west-1".to_owned());
        assert_eq!(bucket(region), "https://images.s3.eu-west-1.amazonaws.com");
        let environment = |settings: &mut S3Settings| {
            settings.environment.insert("AWS_REGION".to_owned(), "cn-north-1".to_owned());
        };
        assert_eq!(bucket(environment), "https://images.s3.cn-north-1.amazonaws.com.cn");
        let plain = |settings: &mut S3Settings| {
            region(settings);
            settings.force_path_style = Some(true);
            settings.use_dual_stack = true;
            settings.secure = false;
        };
        assert_eq!(bucket(plain), "http://s3.dualstack.eu-west-1.amazonaws.com/images");
        let dotted = |settings: &mut S3Settings| {
            region(settings);
            settings.bucket = "a.b".to_owned();
        };
        assert_eq!(bucket(dotted), "https://s3.eu-west-1.amazonaws.com/a.b");
    }

    #[test]
    fn each_partition_has_its_hosts() {
        let hosts = |change: &dyn Fn(&mut S3Settings)| {
            let mut settings = S3Settings::new("images");
            change(&mut settings);
            let endpoint = Endpoint::of(&settings, settings.region_endpoint.as_deref()).unwrap();
            (endpoint.service.clone(), endpoint.sts(&settings))
        };
        for (name, domain) in [
            ("cn-northwest-1", "amazonaws.com.cn"),
            ("eusc-de-east-1", "amazonaws.eu"),
            ("us-iso-east-1", "c2s.ic.gov"),
            ("us-isob-east-1", "sc2s.sgov.gov"),
            ("us-isof-south-1", "csp.hci.ic.gov"),
            ("eu-isoe-west-1", "cloud.adc-e.uk"),
        ] {
            let region = |settings: &mut S3Settings| settings.region = Some(name.to_owned());
            let expected = (format!("https://s3.{name}.{domain}"), Some(format!("https://sts.{name}.{domain}")));
            assert_eq!(hosts(&region), expected);
            let own = |settings: &mut S3Settings| {
                region(settings);
                settings.region_endpoint = Some("https://vpce.local".to_owned());
            };
            assert_eq!(hosts(&own), ("https://vpce.local".to_owned(), expected.1));
            let told = |settings: &mut S3Settings| {
                region(settings);
                settings.environment.insert("AWS_ENDPOINT_URL_STS".to_owned(), "https://sts.local".to_owned());
            };
            assert_eq!(hosts(&told), (expected.0, Some("https://sts.local".to_owned())));
        }
        for name in ["us-east-1", "us-gov-west-1", "eu-central-1", "garage"] {
            let region = |settings: &mut S3Settings| settings.region = Some(name.to_owned());
            assert_eq!(hosts(&region), (format!("https://s3.{name}.amazonaws.com"), None));
        }
    }

    #[test]
    fn addresses_of_others() {
        let at = |address: &'static str| {
            move |settings: &mut S3Settings| settings.region_endpoint = Some(address.to_owned())
        };
        assert_eq!(bucket(at("https://store.local/")), "https://store.local/images");
        assert_eq!(bucket(at("store.local:9000")), "https://store.local:9000/images");
        let hosted = |settings: &mut S3Settings| {
            at("http://store.local:9000")(settings);
            settings.virtual_hosted_style = Some(true);
        };
        assert_eq!(bucket(hosted), "http://images.store.local:9000");
        // The scheme of the address wins over `secure`.
        let both = |settings: &mut S3Settings| {
            at("http://store.local")(settings);
            settings.secure = true;
            settings.virtual_hosted_style = Some(false);
        };
        assert_eq!(bucket(both), "http://store.local/images");
    }
}
