//! Settings that the configuration pins, so that nobody changes them in the portal: `[settings]`, Harbor's variable
//! `CONFIG_OVERWRITE_JSON`, and `auth.token_expiration`, which is older than the setting.

use std::fmt;

use model::settings::{self, NAMES, Pinned, Setting};
use serde::{
    Deserialize, Deserializer,
    de::{self, DeserializeSeed, MapAccess, Visitor},
};
use serde_json::Value;

use super::{Config, ConfigError, sources::OVERWRITE, values::Secret};

/// For `#[serde(deserialize_with = "…")]` on `[settings]`. An empty text leaves the setting to the portal.
pub(super) fn pinned<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Pinned, D::Error> {
    deserializer.deserialize_struct("Settings", &NAMES, Section)
}

struct Section;

impl<'de> Visitor<'de> for Section {
    type Value = Pinned;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Pinned, A::Error> {
        let mut pinned = Pinned::default();
        while let Some(name) = entries.next_key::<String>()? {
            let Some(setting) = settings::find(&name) else {
                // Read, so that the message can say where it stands.
                return Err(entries
                    .next_value_seed(Unknown(&name))
                    .err()
                    .unwrap_or_else(|| de::Error::unknown_field(&name, &NAMES)));
            };
            if let Some(text) = entries.next_value_seed(Pin(setting))? {
                pinned.values.insert(name, text);
            }
        }
        Ok(pinned)
    }
}

struct Unknown<'a>(&'a str);

impl<'de> DeserializeSeed<'de> for Unknown<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, _: D) -> Result<(), D::Error> {
        Err(de::Error::unknown_field(self.0, &NAMES))
    }
}

struct Pin(&'static Setting);

impl<'de> DeserializeSeed<'de> for Pin {
    type Value = Option<String>;

    fn deserialize<D: Deserializer<'de>>(
        self,
        deserializer: D,
    ) -> Result<Option<String>, D::Error> {
        // A secret says so before it is read, so that no message shows it.
        let value = if self.0.is_password() {
            Value::String(Secret::deserialize(deserializer)?.expose().to_owned())
        } else {
            Value::deserialize(deserializer)?
        };
        if value == "" {
            return Ok(None);
        }
        self.0.parse(&value).map(Some).map_err(de::Error::custom)
    }
}

/// Adds what the other two say. The variable counts before everything else, as with Harbor.
pub(super) fn complete(config: &mut Config, overwrite: Option<&str>) -> Result<(), ConfigError> {
    if let Some(life) = config.auth.token_expiration {
        let minutes = life.as_secs().div_ceil(60);
        let pinned = &mut config.settings.values;
        if pinned
            .insert("token_expiration".to_owned(), minutes.to_string())
            .is_some()
        {
            return Err(ConfigError::new(
                "`auth.token_expiration` and `settings.token_expiration` say the same thing: leave one of them out"
                    .to_owned(),
            ));
        }
    }
    let Some(text) = overwrite else {
        return Ok(());
    };
    // Its text may hold secrets: only places are named.
    let wanted: serde_json::Map<String, Value> = serde_json::from_str(text).map_err(|error| {
        refused(&format!(
            "no JSON object (line {}, column {})",
            error.line(),
            error.column()
        ))
    })?;
    config.settings.all = true;
    for (name, value) in wanted {
        let setting =
            settings::find(&name).ok_or_else(|| refused(&format!("unknown setting `{name}`")))?;
        let text = setting
            .parse(&value)
            .map_err(|why| refused(&format!("`{name}` {why}")))?;
        if name == "token_expiration" {
            config.auth.token_expiration = None;
        }
        config.settings.values.insert(name, text);
    }
    Ok(())
}

fn refused(why: &str) -> ConfigError {
    ConfigError::new(format!("variable {OVERWRITE}: {why}"))
}
