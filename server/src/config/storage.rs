//! `[storage]`: where the blobs are, and how an object store is reached.

use std::path::PathBuf;

use blob::objects::config::Vendor::{Azure, Google, S3, Swift};
use blob::objects::config::{ANONYMOUS, Encryption, Keys, Redirect, Vendor};
use ipnet::IpNet;
use outbound::Outbound;
use serde::{
    Deserialize, Deserializer,
    de::{self, Unexpected},
};

use super::{
    ConfigError, swift,
    values::{Secret, networks, optional_size, part_size},
};

/// A key that not every kind of store has: its name, whether it is set, and with whose buckets it goes.
type OfBuckets = (&'static str, bool, &'static [Vendor]);

const EVERY: &[Vendor] = &[S3, Azure, Google, Swift];

#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Storage {
    pub url: StorageUrl,
    /// Uploads are refused while less than this is free; without it the store decides by the size of the file system.
    #[serde(deserialize_with = "optional_size")]
    pub reserve: Option<u64>,
    /// Where the object store is; the vendor's own address without it.
    pub endpoint: Option<Endpoint>,
    pub region: Option<String>,
    /// Azure: the storage account.
    pub access_key: Option<Secret>,
    /// Azure: the account's key, or a shared access signature.
    pub secret_key: Option<Secret>,
    /// Google: the JSON of a service account or the file that it is in, or `anonymous`.
    pub credentials: Option<Secret>,
    /// Whether the bucket (Azure: the account) stands in the path of addresses and not in the host.
    pub path_style: Option<bool>,
    /// Bytes of a part of an upload.
    #[serde(deserialize_with = "part_size")]
    pub part_size: u64,
    pub storage_class: Option<String>,
    pub encryption: Option<Sse>,
    /// The key's name in the site's key management.
    pub kms_key: Option<String>,
    /// Whether clients are sent to the object store for what they pull.
    pub redirect: bool,
    /// The object store as clients reach it.
    pub redirect_endpoint: Option<Endpoint>,
    /// Which clients; all without it.
    #[serde(deserialize_with = "networks")]
    pub redirect_clients: Vec<IpNet>,
    /// Who asks Swift.
    pub swift: swift::Swift,
    /// What the environment says that object stores' own programs look for there.
    #[serde(skip)]
    pub environment: Vec<(String, String)>,
}

impl Default for Storage {
    fn default() -> Self {
        Self {
            url: StorageUrl::File(PathBuf::from("DATA/storage")),
            reserve: None,
            endpoint: None,
            region: None,
            access_key: None,
            secret_key: None,
            credentials: None,
            path_style: None,
            part_size: blob::objects::config::PART_SIZE,
            storage_class: None,
            encryption: None,
            kms_key: None,
            redirect: false,
            redirect_endpoint: None,
            redirect_clients: Vec::new(),
            swift: swift::Swift::default(),
            environment: Vec::new(),
        }
    }
}

/// Where the blobs are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StorageUrl {
    File(PathBuf),
    Bucket {
        vendor: Vendor,
        bucket: String,
        /// Without slashes at its ends.
        prefix: String,
    },
}

impl StorageUrl {
    /// As a person writes it.
    pub fn shown(&self) -> String {
        match self {
            Self::File(root) => format!("file://{}", root.display()),
            Self::Bucket {
                vendor,
                bucket,
                prefix,
            } => {
                let slash = if prefix.is_empty() { "" } else { "/" };
                format!("{}://{bucket}{slash}{prefix}", vendor.scheme())
            }
        }
    }
}

/// Scheme, host and port, without a slash at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint(pub String);

/// How the object store encrypts.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
pub enum Sse {
    #[serde(rename = "AES256")]
    Own,
    #[serde(rename = "aws:kms")]
    Kms,
}

impl Storage {
    /// The place without what is secret in it. One place may be written in several ways.
    pub fn shown(&self) -> String {
        let account = self.access_key.as_ref().filter(|_| self.is_of(Azure));
        let swift = &self.swift;
        let project = swift.project.as_ref().or(swift.project_id.as_ref());
        [
            self.endpoint.as_ref().map(|endpoint| endpoint.0.as_str()),
            account.map(Secret::expose),
            swift.auth_url.as_deref(),
            project.map(String::as_str),
        ]
        .into_iter()
        .flatten()
        .fold(self.url.shown(), |shown, more| format!("{shown} ({more})"))
    }

    fn is_of(&self, wanted: Vendor) -> bool {
        matches!(&self.url, StorageUrl::Bucket { vendor, .. } if *vendor == wanted)
    }

    /// The directory, where the contents lie in one.
    pub fn directory(&self) -> Option<&std::path::Path> {
        match &self.url {
            StorageUrl::File(path) => Some(path),
            StorageUrl::Bucket { .. } => None,
        }
    }

    fn of_buckets(&self) -> [OfBuckets; 12] {
        [
            ("endpoint", self.endpoint.is_some(), EVERY),
            ("region", self.region.is_some(), &[S3, Swift]),
            ("access_key", self.access_key.is_some(), &[S3, Azure]),
            ("secret_key", self.secret_key.is_some(), &[S3, Azure]),
            ("credentials", self.credentials.is_some(), &[Google]),
            ("path_style", self.path_style.is_some(), &[S3, Azure]),
            (
                "storage_class",
                self.storage_class.is_some(),
                &[S3, Azure, Google],
            ),
            ("encryption", self.encryption.is_some(), &[S3]),
            ("kms_key", self.kms_key.is_some(), &[S3]),
            ("redirect", self.redirect, EVERY),
            (
                "redirect_endpoint",
                self.redirect_endpoint.is_some(),
                &[S3, Azure, Swift],
            ),
            ("redirect_clients", !self.redirect_clients.is_empty(), EVERY),
        ]
    }

    /// Keys that go together.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let refuse = |text: String| Err(ConfigError::new(text));
        let mut set = self
            .of_buckets()
            .into_iter()
            .filter(|(_, is_set, _)| *is_set);
        let StorageUrl::Bucket { vendor, .. } = &self.url else {
            let key = set.next().map(|(key, ..)| key.to_owned());
            let of_swift = || self.swift.first_set().map(|key| format!("swift.{key}"));
            return match key.or_else(of_swift) {
                Some(key) => refuse(format!(
                    "`storage.{key}` is for object stores, and `storage.url` names a directory: remove the one or correct the other"
                )),
                None => Ok(()),
            };
        };
        if let Some((key, _, of)) = set.find(|(_, _, of)| !of.contains(vendor)) {
            let fitting = of.iter().map(|vendor| format!("`{}://`", vendor.scheme()));
            return refuse(format!(
                "`storage.{key}` goes with {}, and `storage.url` is `{}://…`: remove it",
                fitting.collect::<Vec<_>>().join(" and "),
                vendor.scheme()
            ));
        }
        if self.reserve.is_some() {
            return refuse(
                "`storage.reserve` is for a directory, and `storage.url` names an object store: remove it"
                    .to_owned(),
            );
        }
        if let Some(key) = self.swift.first_set().filter(|_| *vendor != Swift) {
            return refuse(format!(
                "`storage.swift.{key}` goes with `swift://`, and `storage.url` is `{}://…`: remove it",
                vendor.scheme()
            ));
        }
        self.check_keys(*vendor)?;
        if self.kms_key.is_some() && self.encryption != Some(Sse::Kms) {
            return refuse("`storage.kms_key` needs `storage.encryption = \"aws:kms\"`".to_owned());
        }
        if !self.redirect && (self.redirect_endpoint.is_some() || !self.redirect_clients.is_empty())
        {
            return refuse(
                "`storage.redirect_endpoint` and `storage.redirect_clients` need `storage.redirect = true`"
                    .to_owned(),
            );
        }
        Ok(())
    }

    fn check_keys(&self, vendor: Vendor) -> Result<(), ConfigError> {
        let refuse = |text: &str| Err(ConfigError::new(text.to_owned()));
        let (id, secret) = (self.access_key.is_some(), self.secret_key.is_some());
        match vendor {
            S3 if id != secret => refuse(
                "`storage.access_key` and `storage.secret_key` go together: give both, or none to take them from the environment or the machine",
            ),
            Azure if secret && !id => {
                refuse("`storage.secret_key` needs the storage account in `storage.access_key`")
            }
            Azure
                if self
                    .storage_class
                    .as_deref()
                    .is_some_and(|tier| !matches!(tier, "Hot" | "Cool" | "Cold")) =>
            {
                refuse(
                    "`storage.storage_class` of Azure is `Hot`, `Cool` or `Cold`: from others nothing can be read at once",
                )
            }
            Google if self.credentials.as_ref().is_some_and(is_anonymous) && self.redirect => {
                refuse("`storage.redirect` needs credentials that can sign: not `anonymous`")
            }
            Swift => self.swift.check(self.redirect),
            S3 | Azure | Google => Ok(()),
        }
    }

    /// As the store takes it.
    pub fn store(&self, outbound: Outbound) -> blob::Config {
        let (vendor, bucket, prefix) = match &self.url {
            StorageUrl::File(root) => {
                let mut files = blob::files::Config::new(root.clone());
                files.reserve = self.reserve;
                return files.into();
            }
            StorageUrl::Bucket {
                vendor,
                bucket,
                prefix,
            } => (*vendor, bucket.clone(), prefix.clone()),
        };
        let endpoint = |endpoint: &Option<Endpoint>| {
            let endpoint = endpoint.as_ref();
            endpoint.map(|Endpoint(address)| address.clone())
        };
        blob::objects::Config {
            prefix,
            endpoint: endpoint(&self.endpoint),
            region: self.region.clone(),
            path_style: self.path_style,
            account: match vendor {
                Azure => self.access_key.as_ref().map(|id| id.expose().to_owned()),
                S3 | Google | Swift => None,
            },
            credentials: self
                .credentials
                .as_ref()
                .map(|told| told.expose().to_owned()),
            keys: match (&self.access_key, &self.secret_key) {
                (Some(id), Some(secret)) => Some(Keys {
                    id: id.expose().to_owned(),
                    secret: secret.expose().to_owned(),
                    session_token: None,
                }),
                _ => None,
            },
            swift: self.swift.store(),
            environment: self.environment.clone(),
            part_size: self.part_size,
            storage_class: self.storage_class.clone(),
            encryption: self.encryption.map(|encryption| match encryption {
                Sse::Own => Encryption::Own,
                Sse::Kms => Encryption::Kms(self.kms_key.clone()),
            }),
            redirect: if self.redirect {
                Redirect::To(endpoint(&self.redirect_endpoint))
            } else {
                Redirect::Never
            },
            ..blob::objects::Config::new(vendor, bucket, outbound)
        }
        .into()
    }
}

fn is_anonymous(credentials: &Secret) -> bool {
    credentials.expose() == ANONYMOUS
}

impl<'de> Deserialize<'de> for StorageUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let refuse = |form: &str| de::Error::invalid_value(Unexpected::Str(&text), &form);
        match text.split_once("://") {
            Some(("file", path)) if path.starts_with('/') || path.starts_with("DATA/") => {
                Ok(Self::File(PathBuf::from(path)))
            }
            Some((scheme, path)) if let Some(vendor) = Vendor::of(scheme) => {
                let (bucket, prefix) = path.split_once('/').unwrap_or((path, ""));
                let prefix = prefix.trim_matches('/');
                if !is_bucket(bucket) || !is_prefix(prefix) {
                    return Err(refuse(&format!(
                        "`{scheme}://BUCKET` or `{scheme}://BUCKET/PREFIX`, where the prefix has letters, digits and `._-/`"
                    )));
                }
                Ok(Self::Bucket {
                    vendor,
                    bucket: bucket.to_owned(),
                    prefix: prefix.to_owned(),
                })
            }
            _ => Err(refuse(
                "`file:///DIR` with an absolute path, `file://DATA/DIR`, `s3://BUCKET/PREFIX`, `azure://CONTAINER/PREFIX`, `gs://BUCKET/PREFIX` or `swift://CONTAINER/PREFIX`",
            )),
        }
    }
}

fn is_bucket(name: &str) -> bool {
    let fine = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    (1..=255).contains(&name.len()) && name.bytes().all(fine)
}

/// Segments that every vendor keeps as they are.
fn is_prefix(prefix: &str) -> bool {
    let fine = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    prefix.is_empty()
        || prefix
            .split('/')
            .all(|segment| !matches!(segment, "" | "." | "..") && segment.bytes().all(fine))
}

impl<'de> Deserialize<'de> for Endpoint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let uri = text.parse::<http::Uri>().ok();
        let fine = uri.is_some_and(|uri| {
            matches!(uri.scheme_str(), Some("http" | "https"))
                && uri.host().is_some_and(|host| !host.is_empty())
                && !text.contains('@')
                && uri.path() == "/"
                && uri.query().is_none()
        });
        if !fine {
            return Err(de::Error::invalid_value(
                Unexpected::Str(&text),
                &"`https://HOST[:PORT]` without a path and without the bucket",
            ));
        }
        Ok(Self(text.trim_end_matches('/').to_owned()))
    }
}
