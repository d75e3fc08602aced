//! Keys of Azure Blob storage.

use super::Kind::{Bool, Choice, Duration, Integer, Named, Secret, Text};
use super::{Key, fixed, ours_fixed, warned};

const PROOFS: &[&str] = &["shared_key", "client_secret", "default_credentials"];

pub(super) const AZURE: &[Key] = &[
    fixed(
        "storage.azure",
        Named,
        "",
        "a container of Azure Blob storage; see [storage](storage.md#azure-blob-storage)",
    ),
    fixed("storage.azure.accountname", Text, "", "required, if `connectionstring` does not have it"),
    fixed("storage.azure.accountkey", Secret, "", "key of the account, in base64"),
    fixed("storage.azure.container", Text, "", "required; it must be there"),
    fixed("storage.azure.realm", Text, "core.windows.net", "end of the service's host name, by which clouds differ"),
    fixed(
        "storage.azure.serviceurl",
        Text,
        "",
        "address of the account, where it does not follow from account and realm",
    ),
    ours_fixed(
        "storage.azure.redirectendpoint",
        Text,
        "",
        "address of the account by which clients reach it, where it is another one; redirects lead there. Like `serviceurl`, \
         whose path it has when it names the account neither in its host nor in a path",
    ),
    fixed("storage.azure.rootdirectory", Text, "", "what all keys begin with"),
    fixed(
        "storage.azure.connectionstring",
        Secret,
        "",
        "as Azure's tools show it: account, key or shared access signature, address. Single keys win over it",
    ),
    fixed(
        "storage.azure.credentials.type",
        Choice(PROOFS),
        "",
        "left out: the account's key or signature, then `secret`, then what environment and machine have",
    ),
    fixed("storage.azure.credentials.clientid", Text, "", "application that signs in; else `AZURE_CLIENT_ID`"),
    fixed("storage.azure.credentials.tenantid", Text, "", "its directory; else `AZURE_TENANT_ID`"),
    fixed("storage.azure.credentials.secret", Secret, "", "its secret, for `client_secret`"),
    ours_fixed(
        "storage.azure.legacyrootprefix",
        Bool,
        "",
        "names begin with a slash, as OpenShift's registry wrote them; left out: as what is in the container. The name is GitLab's",
    ),
    ours_fixed("storage.azure.trimlegacyrootprefix", Bool, "", "the opposite, as GitLab's registry has it as well"),
    fixed(
        "storage.azure.skipverify",
        Bool,
        "false",
        "takes any certificate of the service; `cafile` is the better way",
    ),
    ours_fixed("storage.azure.cafile", Text, "", "PEM file with further authorities for the service's certificate"),
    warned("storage.azure.max_retries", Integer, "nothing is polled: copies end before they are answered"),
    warned("storage.azure.retry_delay", Duration, "nothing is polled: copies end before they are answered"),
];
