//! Where the parts of the registry are: its database, its store, and what clients call it.

use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

use http::Uri;
use outbound::proxy::{NoProxy, ProxyUrl};
use serde::{
    Deserialize, Deserializer,
    de::{self, Unexpected},
};

use super::values::Secret;

/// `DATA` at the head of a path stands for the data directory.
pub(super) fn in_data(path: &Path, data: &Path) -> PathBuf {
    path.strip_prefix("DATA")
        .map_or_else(|_| path.to_owned(), |rest| data.join(rest))
}

/// Where the metadata are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DatabaseUrl {
    Sqlite(PathBuf),
    /// The whole URL, as the driver takes it; it holds a password.
    Postgres(Secret),
}

impl DatabaseUrl {
    /// Without what is secret in it.
    pub fn shown(&self) -> String {
        match self {
            Self::Sqlite(path) => format!("sqlite:{}", path.display()),
            Self::Postgres(url) => {
                let url = url.expose();
                let after = url.split_once("://").map_or(url, |(_, after)| after);
                let place = after.rsplit_once('@').map_or(after, |(_, place)| place);
                let place = place.split_once('?').map_or(place, |(place, _)| place);
                format!("postgres://{place}")
            }
        }
    }
}

impl<'de> Deserialize<'de> for DatabaseUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let form = "`sqlite:PATH` or `postgres://USER:PASSWORD@HOST[,HOST…]/NAME`";
        let secret = Secret::deserialize(deserializer)?;
        let url = secret.expose();
        if let Some(path) = url
            .strip_prefix("sqlite:")
            .filter(|path| !path.is_empty() && !path.starts_with(':'))
        {
            // `sqlite:///srv/x` is how other programs write an absolute path.
            let path = path
                .strip_prefix("//")
                .filter(|path| path.starts_with('/'))
                .unwrap_or(path);
            return Ok(Self::Sqlite(PathBuf::from(path)));
        }
        let after = url
            .strip_prefix("postgres://")
            .or_else(|| url.strip_prefix("postgresql://"));
        match after {
            Some(after) if !after.is_empty() => Ok(Self::Postgres(secret)),
            _ => Err(de::Error::invalid_value(Unexpected::Other("a text"), &form)),
        }
    }
}

/// What clients call this registry: scheme and host, without a slash at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExternalUrl {
    pub https: bool,
    /// Host and port, as in the `Host` header.
    pub authority: String,
}

impl fmt::Display for ExternalUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}://{}",
            if self.https { "https" } else { "http" },
            self.authority
        )
    }
}

impl<'de> Deserialize<'de> for ExternalUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let refuse = || {
            de::Error::invalid_value(
                Unexpected::Str(&text),
                &"`https://HOST[:PORT]` without a path",
            )
        };
        let uri = Uri::from_str(&text).map_err(|_| refuse())?;
        let https = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            Some(_) | None => return Err(refuse()),
        };
        let authority = uri.authority().map(ToString::to_string).unwrap_or_default();
        if uri.host().is_none_or(str::is_empty)
            || authority.contains('@')
            || !matches!(uri.path(), "" | "/")
            || uri.query().is_some()
        {
            return Err(refuse());
        }
        Ok(Self { https, authority })
    }
}

/// A proxy may come with a password, so that messages never show its address.
pub(super) fn proxy_url<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<ProxyUrl>, D::Error> {
    let form = "`http://[USER:PASSWORD@]HOST:PORT` or `https://…`";
    let Some(secret) = Option::<Secret>::deserialize(deserializer)? else {
        return Ok(None);
    };
    let refused = |()| de::Error::invalid_value(Unexpected::Other("a text"), &form);
    secret.expose().parse().map(Some).map_err(refused)
}

/// `NO_PROXY`, as other programs have it.
pub(super) fn no_proxy<'de, D: Deserializer<'de>>(deserializer: D) -> Result<NoProxy, D::Error> {
    let form = "hosts, addresses, networks or `*`, with commas between them";
    let text = String::deserialize(deserializer)?;
    text.parse()
        .map_err(|entry: String| de::Error::invalid_value(Unexpected::Str(&entry), &form))
}
