//! What Swift and Keystone can be told. Everything may be left out: the environment of OpenStack's own programs says the rest.

/// Who asks for a token, and for which endpoint. Of a user and of an application credential one is named, or neither.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// Keystone's address (`https://HOST:5000/v3`), or TempAuth's (`https://HOST/auth/v1.0`).
    pub auth_url: Option<String>,
    /// By default the address tells.
    pub auth_version: Option<AuthVersion>,
    pub user: Option<Name>,
    pub password: Option<Secret>,
    /// The domain of a user who is named and not numbered.
    pub user_domain: Option<Name>,
    /// A tenant, as Keystone v2 calls it.
    pub project: Option<Name>,
    pub project_domain: Option<Name>,
    pub trust_id: Option<String>,
    /// Its name needs a user.
    pub application_credential: Option<Name>,
    pub application_credential_secret: Option<Secret>,
    /// Which of the catalog's addresses is called; the public one by default.
    pub interface: Option<Interface>,
    /// Signs the addresses that clients are sent to.
    pub temp_url_key: Option<Secret>,
    /// Where to lay that key; by default it was laid there by somebody else.
    pub set_temp_url_key: Option<KeyPlace>,
}

/// How Keystone finds something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Name {
    Name(String),
    Id(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthVersion {
    /// TempAuth, swauth, Ceph's gateway.
    V1,
    KeystoneV2,
    KeystoneV3,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interface {
    Public,
    Internal,
    Admin,
}

/// Whose key for temporary addresses it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyPlace {
    Account,
    Container,
}

/// A text that debug output does not show.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}
