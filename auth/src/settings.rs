//! Passwords among the settings: the database has them encrypted with the key file, the configuration in clear.

use model::{
    Error, Result,
    settings::{Changes, Settings, find},
};

use crate::Auth;

impl Auth {
    /// Changes as the database keeps them: passwords encrypted. An empty one takes the password away.
    #[must_use]
    pub fn sealed(&self, mut changes: Changes) -> Changes {
        for (name, text) in &mut changes {
            if find(name).is_some_and(model::settings::Setting::is_password) && !text.is_empty() {
                *text = self.0.key.encrypt(text.as_bytes());
            }
        }
        changes
    }

    /// A password in clear; none where it was never set.
    pub fn password(&self, settings: &Settings, name: &str) -> Result<Option<String>> {
        let setting = find(name)
            .filter(|setting| setting.is_password())
            .ok_or_else(|| Error::Internal(anyhow::anyhow!("`{name}` is no password")))?;
        let text = settings.text(setting);
        if text.is_empty() {
            return Ok(None);
        }
        if settings.is_pinned(setting) {
            return Ok(Some(text.to_owned()));
        }
        let plain = self.0.key.decrypt(text)?;
        let plain = String::from_utf8(plain)
            .map_err(model::error::internal("a password of the settings"))?;
        Ok(Some(plain))
    }
}
