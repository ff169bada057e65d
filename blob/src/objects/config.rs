//! What a store in a bucket can be told.

use outbound::Outbound;

pub use super::swift::config as swift;

/// A bucket, and how it is reached.
#[derive(Clone)]
pub struct Config {
    pub vendor: Vendor,
    pub bucket: String,
    /// Below which all keys lie; empty, or without a slash at its end.
    pub prefix: String,
    /// `https://HOST[:PORT]`; the vendor's own without it.
    pub endpoint: Option<String>,
    pub region: Option<String>,
    /// Azure's storage account; without it the environment names it.
    pub account: Option<String>,
    /// Whether the bucket (Azure: the account) stands in the path and not in the host; by default where there is an endpoint.
    pub path_style: Option<bool>,
    /// Without them they come from the environment, from files, or from the machine.
    pub keys: Option<Keys>,
    /// Google's: of a service account, the JSON itself or the file that it is in. Emulators want [`ANONYMOUS`].
    pub credentials: Option<String>,
    /// Variables that the vendors' own programs look at, by name.
    pub environment: Vec<(String, String)>,
    /// Bytes of a part, and of what is stored with one call; at least 5 MiB.
    pub part_size: u64,
    pub storage_class: Option<String>,
    pub encryption: Option<Encryption>,
    /// Whether clients are sent to the store for what they pull, and under which address.
    pub redirect: Redirect,
    /// For Swift alone.
    pub swift: swift::Config,
    pub outbound: Outbound,
}

/// Whose interface it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vendor {
    S3,
    Azure,
    Google,
    Swift,
}

impl Vendor {
    const ALL: [Self; 4] = [Self::S3, Self::Azure, Self::Google, Self::Swift];

    /// What the addresses of its buckets begin with.
    pub fn scheme(self) -> &'static str {
        match self {
            Self::S3 => "s3",
            Self::Azure => "azure",
            Self::Google => "gs",
            Self::Swift => "swift",
        }
    }

    pub fn of(scheme: &str) -> Option<Self> {
        let mut all = Self::ALL.into_iter();
        all.find(|vendor| vendor.scheme() == scheme)
    }
}

/// A name and its secret. Azure: the account, and its key or a shared access signature.
#[derive(Clone)]
pub struct Keys {
    pub id: String,
    pub secret: String,
    /// Of credentials that end.
    pub session_token: Option<String>,
}

/// How the store encrypts what it keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Encryption {
    /// With keys of its own (SSE-S3).
    Own,
    /// With a key of the site's key management (SSE-KMS); the bucket's default key without a name.
    Kms(Option<String>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Redirect {
    Never,
    /// To the endpoint, or to another address under which clients reach it.
    To(Option<String>),
}

/// In place of credentials where nobody asks for any.
pub const ANONYMOUS: &str = "anonymous";

pub const PART_SIZE: u64 = 8 << 20;

impl Config {
    /// A bucket with what is usual: at the vendor's own address, with credentials of the machine's.
    pub fn new(vendor: Vendor, bucket: String, outbound: Outbound) -> Self {
        Self {
            vendor,
            bucket,
            prefix: String::new(),
            endpoint: None,
            region: None,
            account: None,
            path_style: None,
            keys: None,
            credentials: None,
            environment: Vec::new(),
            part_size: PART_SIZE,
            storage_class: None,
            encryption: None,
            redirect: Redirect::Never,
            swift: swift::Config::default(),
            outbound,
        }
    }

    /// As a person writes it.
    pub fn shown(&self) -> String {
        let slash = if self.prefix.is_empty() { "" } else { "/" };
        format!("{}{slash}{}", self.root(), self.prefix)
    }

    /// What keys begin with: empty, or with a slash at its end.
    pub(crate) fn below(&self) -> String {
        match self.prefix.as_str() {
            "" => String::new(),
            prefix => format!("{prefix}/"),
        }
    }

    /// The same without the prefix.
    pub(crate) fn root(&self) -> String {
        format!("{}://{}", self.vendor.scheme(), self.bucket)
    }
}
