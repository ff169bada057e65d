//! The settings as they are at one moment: what the database keeps, and over it what the configuration pins.

use std::{collections::BTreeMap, fmt, time::Duration};

use super::{Changes, Setting, find};
use crate::{Error, Result, What};

/// What the configuration says of settings, so that nobody can change them while the server runs.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Pinned {
    /// Checked, as the database would keep them, but passwords in clear.
    pub values: BTreeMap<String, String>,
    /// Harbor's `CONFIG_OVERWRITE_JSON` was given: no setting may be changed, pinned or not.
    pub all: bool,
}

impl fmt::Debug for Pinned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pinned")
            .field("values", &self.values.keys())
            .field("all", &self.all)
            .finish()
    }
}

/// All settings at one moment.
#[derive(Clone, Default)]
pub struct Settings {
    kept: Changes,
    pinned: Changes,
    all_pinned: bool,
}

/// Who knows people's passwords.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthMode {
    Database,
    Ldap,
    Oidc,
    Uaa,
    Http,
}

impl AuthMode {
    /// As settings and Harbor's API name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Database => "db_auth",
            Self::Ldap => "ldap_auth",
            Self::Oidc => "oidc_auth",
            Self::Uaa => "uaa_auth",
            Self::Http => "http_auth",
        }
    }
}

/// Where mails go out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mail<'a> {
    pub host: &'a str,
    pub port: u16,
    /// Empty where the server asks for no name.
    pub username: &'a str,
    pub from: &'a str,
    /// TLS from the first byte; without it STARTTLS where the server offers it.
    pub tls: bool,
    /// The server's certificate is not verified.
    pub insecure: bool,
    /// The authorisation identity, where it is not the user name.
    pub identity: &'a str,
}

impl Settings {
    /// `kept` as the database keeps them. What is no setting of ours, or does not fit one any more, counts as not set.
    pub fn new(kept: impl IntoIterator<Item = (String, String)>, pinned: &Pinned) -> Self {
        let pinned_values = pinned.values.clone().into_iter();
        Self {
            kept: fitting(kept),
            pinned: fitting(pinned_values),
            all_pinned: pinned.all,
        }
    }

    /// The text of a setting, passwords as they are kept (see [`Settings::is_pinned`]).
    pub fn text(&self, setting: &Setting) -> &str {
        let set = self
            .pinned
            .get(setting.name)
            .or_else(|| self.kept.get(setting.name));
        set.map_or(setting.default, String::as_str)
    }

    /// Whether the configuration says what it is. A pinned password is in clear; one from the database is encrypted.
    pub fn is_pinned(&self, setting: &Setting) -> bool {
        self.pinned.contains_key(setting.name)
    }

    /// Whether people may change it.
    pub fn is_editable(&self, setting: &Setting) -> bool {
        !self.all_pinned && !self.is_pinned(setting)
    }

    /// Refuses changes of what is pinned, and settings that do not go together.
    pub fn check(&self, changes: &Changes) -> Result<()> {
        if self.all_pinned {
            return Err(Error::Denied(
                "current config is init by env variable: CONFIG_OVERWRITE_JSON, it cannot be updated"
                    .to_owned(),
            ));
        }
        // A form that sends everything back changes nothing by that.
        let pinned = changes.iter().find(|(name, value)| {
            self.pinned
                .get(*name)
                .is_some_and(|pinned| pinned != *value)
        });
        if let Some((name, _)) = pinned {
            return Err(Error::Denied(format!(
                "`{name}` is set by the server's configuration, it cannot be updated"
            )));
        }
        let after = |name: &str| {
            changes
                .get(name)
                .map_or_else(|| self.of(name), String::as_str)
        };
        if after("skip_audit_log_database") == "true"
            && after("audit_log_forward_endpoint").is_empty()
        {
            return Err(Error::invalid(
                What::Setting,
                "audit log forward endpoint should be configured before enable skip audit log in database (`audit_log_forward_endpoint`, `skip_audit_log_database`)",
            ));
        }
        Ok(())
    }

    fn of(&self, name: &str) -> &str {
        find(name).map_or("", |setting| self.text(setting))
    }

    fn is(&self, name: &str) -> bool {
        self.of(name) == "true"
    }

    fn number(&self, name: &str) -> i64 {
        self.of(name).parse().unwrap_or_default()
    }

    fn period(&self, name: &str, seconds: u64) -> Duration {
        let count = u64::try_from(self.number(name)).unwrap_or_default();
        Duration::from_secs(count.saturating_mul(seconds))
    }

    pub fn auth_mode(&self) -> AuthMode {
        match self.of("auth_mode") {
            "ldap_auth" => AuthMode::Ldap,
            "oidc_auth" => AuthMode::Oidc,
            "uaa_auth" => AuthMode::Uaa,
            "http_auth" => AuthMode::Http,
            _ => AuthMode::Database,
        }
    }

    pub fn primary_auth_mode(&self) -> bool {
        self.is("primary_auth_mode")
    }

    pub fn self_registration(&self) -> bool {
        self.is("self_registration")
    }

    /// Whether only administrators may create projects.
    pub fn restricts_project_creation(&self) -> bool {
        self.of("project_creation_restriction") == "adminonly"
    }

    pub fn read_only(&self) -> bool {
        self.is("read_only")
    }

    /// The life of a bearer token.
    pub fn token_expiration(&self) -> Duration {
        self.period("token_expiration", 60)
    }

    /// How long a browser's session lasts without a request.
    pub fn session_timeout(&self) -> Duration {
        self.period("session_timeout", 60)
    }

    /// The life in days of a robot whose maker names none.
    pub fn robot_token_duration(&self) -> i64 {
        self.number("robot_token_duration")
    }

    pub fn robot_name_prefix(&self) -> &str {
        self.of("robot_name_prefix")
    }

    pub fn quota_per_project_enable(&self) -> bool {
        self.is("quota_per_project_enable")
    }

    /// The bytes that a new project may use; none without a limit.
    pub fn storage_per_project(&self) -> Option<i64> {
        Some(self.number("storage_per_project")).filter(|&bytes| bytes > 0)
    }

    pub fn notification_enable(&self) -> bool {
        self.is("notification_enable")
    }

    /// JSON, as the portal wrote it.
    pub fn banner_message(&self) -> &str {
        self.of("banner_message")
    }

    /// Where the audit is forwarded to: `HOST:PORT`, which is TCP, or with `udp://`, `tcp://` or `tls://` before it.
    pub fn audit_log_forward_endpoint(&self) -> Option<&str> {
        Some(self.of("audit_log_forward_endpoint")).filter(|endpoint| !endpoint.is_empty())
    }

    pub fn pull_audit_log_disable(&self) -> bool {
        self.is("pull_audit_log_disable")
    }

    pub fn pull_time_update_disable(&self) -> bool {
        self.is("pull_time_update_disable")
    }

    pub fn pull_count_update_disable(&self) -> bool {
        self.is("pull_count_update_disable")
    }

    pub fn scanner_skip_update_pulltime(&self) -> bool {
        self.is("scanner_skip_update_pulltime")
    }

    /// None where no server is named. Its password is `email_password`.
    pub fn mail(&self) -> Option<Mail<'_>> {
        let host = Some(self.of("email_host")).filter(|host| !host.is_empty())?;
        Some(Mail {
            host,
            port: u16::try_from(self.number("email_port")).unwrap_or(25),
            username: self.of("email_username"),
            from: self.of("email_from"),
            tls: self.is("email_ssl"),
            insecure: self.is("email_insecure"),
            identity: self.of("email_identity"),
        })
    }
}

fn fitting(values: impl IntoIterator<Item = (String, String)>) -> Changes {
    let values = values.into_iter().filter_map(|(name, text)| {
        let setting = find(&name)?;
        Some((setting.name, setting.check(&text).ok()?))
    });
    values.collect()
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("kept", &self.kept.keys())
            .field("pinned", &self.pinned.keys())
            .finish_non_exhaustive()
    }
}
