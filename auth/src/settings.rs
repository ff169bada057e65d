//! Passwords among the settings: the database has them encrypted with the key file, the configuration in clear.

use db::Tx;
use model::{
    Error, Result,
    settings::{Changes, Settings, find},
};

use crate::{Auth, rotation};

impl Auth {
    /// Changes as the database keeps them: passwords encrypted. An empty one takes the password away.
    pub async fn sealed(&self, tx: &mut Tx, mut changes: Changes) -> Result<Changes> {
        let is_password = model::settings::Setting::is_password;
        let passwords = changes
            .iter_mut()
            .filter(|(name, text)| !text.is_empty() && find(name).is_some_and(is_password));
        let mut key = None;
        for (_, text) in passwords {
            let key = match &mut key {
                Some(key) => key,
                none => none.insert(rotation::hold(tx, &self.0.keys).await?),
            };
            *text = key.encrypt(text.as_bytes());
        }
        Ok(changes)
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
        let plain = self.0.keys.decrypt(text)?;
        let plain = String::from_utf8(plain)
            .map_err(model::error::internal("a password of the settings"))?;
        Ok(Some(plain))
    }
}
