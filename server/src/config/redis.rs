//! `[redis]`: a Redis or Valkey that nodes share, where there is one, and how it is reached.

use std::path::{Path, PathBuf};

use cache::place::{Kind, Login, RedisUrl};
use outbound::Trust;
use serde::{
    Deserialize, Deserializer,
    de::{self, Unexpected},
};

use super::{ConfigError, urls::in_data, values::Secret};

#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Redis {
    #[serde(deserialize_with = "url")]
    pub url: Option<RedisUrl>,
    /// A user of its access list; the default one without it.
    pub username: Option<String>,
    pub password: Option<Secret>,
    /// Holds the password, read again for each connection.
    pub password_file: Option<PathBuf>,
    /// Who we are to the Sentinels.
    pub sentinel_username: Option<String>,
    pub sentinel_password: Option<Secret>,
    /// The authorities that its certificates must come from.
    pub ca_file: Option<PathBuf>,
    /// Our own certificate and its key.
    pub client_certificate: Option<PathBuf>,
    pub client_key: Option<PathBuf>,
    /// The head of all keys' names.
    #[serde(deserialize_with = "prefix")]
    pub prefix: String,
}

impl Default for Redis {
    fn default() -> Self {
        Self {
            url: None,
            username: None,
            password: None,
            password_file: None,
            sentinel_username: None,
            sentinel_password: None,
            ca_file: None,
            client_certificate: None,
            client_key: None,
            prefix: "seawall".to_owned(),
        }
    }
}

impl Redis {
    /// Keys that go together.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let refuse = |text: &str| Err(ConfigError::new(text.to_owned()));
        let Some(RedisUrl { place, login }) = &self.url else {
            let set = [
                ("username", self.username.is_some()),
                ("password", self.password.is_some()),
                ("password_file", self.password_file.is_some()),
                ("sentinel_username", self.sentinel_username.is_some()),
                ("sentinel_password", self.sentinel_password.is_some()),
                ("ca_file", self.ca_file.is_some()),
                ("client_certificate", self.client_certificate.is_some()),
                ("client_key", self.client_key.is_some()),
            ];
            return match set.iter().find(|(_, is_set)| *is_set) {
                Some((key, _)) => refuse(&format!(
                    "`redis.{key}` is set and `redis.url` is not: say where the Redis is, or remove it"
                )),
                None => Ok(()),
            };
        };
        let passwords = [
            login.password.is_some(),
            self.password.is_some(),
            self.password_file.is_some(),
        ];
        match passwords.iter().filter(|is_set| **is_set).count() {
            0 if login.user.is_some() || self.username.is_some() => {
                return refuse(
                    "a user of Redis needs a password: in `redis.password`, `redis.password_file` or the URL",
                );
            }
            0 | 1 => {}
            _ => {
                return refuse(
                    "the password stands in one place: in `redis.password`, in `redis.password_file` or in the URL",
                );
            }
        }
        if login.user.is_some() && self.username.is_some() {
            return refuse("the user stands in one place: in `redis.username` or in the URL");
        }
        if self.sentinel_username.is_some() && self.sentinel_password.is_none() {
            return refuse("`redis.sentinel_username` needs `redis.sentinel_password`");
        }
        if self.sentinel_password.is_some() && !matches!(place.kind, Kind::Sentinel(_)) {
            return refuse(
                "`redis.sentinel_password` is for Sentinels, and `redis.url` names none: remove it, or write `redis+sentinel://…`",
            );
        }
        if self.client_certificate.is_some() != self.client_key.is_some() {
            return refuse("`redis.client_certificate` and `redis.client_key` go together");
        }
        if !place.tls && (self.ca_file.is_some() || self.client_key.is_some()) {
            return refuse(
                "`redis.ca_file` and `redis.client_certificate` are for TLS, and `redis.url` is without: begin it with `rediss`, or remove them",
            );
        }
        Ok(())
    }

    pub(super) fn complete(&mut self, data: &Path) {
        let files = [
            &mut self.password_file,
            &mut self.ca_file,
            &mut self.client_certificate,
            &mut self.client_key,
        ];
        for file in files.into_iter().flatten() {
            *file = in_data(file, data);
        }
    }

    /// As the cache takes it; none without a Redis.
    pub fn cache(&self, trust: &Trust) -> Option<cache::Config> {
        let RedisUrl { place, login } = self.url.clone()?;
        let shown = |secret: &Option<Secret>| secret.as_ref().map(|text| text.expose().to_owned());
        Some(cache::Config {
            place,
            login: Login {
                user: self.username.clone().or(login.user),
                password: shown(&self.password).or(login.password),
            },
            password_file: self.password_file.clone(),
            sentinel_login: Login {
                user: self.sentinel_username.clone(),
                password: shown(&self.sentinel_password),
            },
            ca_file: self.ca_file.clone(),
            client: self.client_certificate.clone().zip(self.client_key.clone()),
            prefix: self.prefix.clone(),
            trust: trust.clone(),
        })
    }
}

/// It may hold a password, so messages never show it.
fn url<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<RedisUrl>, D::Error> {
    let Some(secret) = Option::<Secret>::deserialize(deserializer)? else {
        return Ok(None);
    };
    let read: Result<RedisUrl, String> = secret.expose().parse();
    read.map(Some)
        .map_err(|why| de::Error::invalid_value(Unexpected::Other("a text"), &why.as_str()))
}

/// It stands in access lists and before the names of keys; in a Cluster braces would put all keys into one place.
fn prefix<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    let fine = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':' | b'/');
    if (1..=64).contains(&text.len()) && text.bytes().all(fine) {
        return Ok(text);
    }
    let form = "1 to 64 letters, digits and `._-:/`";
    Err(de::Error::invalid_value(Unexpected::Str(&text), &form))
}
