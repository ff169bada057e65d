//! Settings that are edited while the server runs, as Harbor keeps them in its database. What each may be stands in
//! `model::settings`; passwords are encrypted before they come here (`auth::settings`).

use std::sync::Arc;

use model::{
    Result,
    change::Kind,
    settings::{Changes, Pinned, Settings},
    time::Timestamp,
};
use parking_lot::Mutex;
use serde_json::json;

use crate::{Conn, Tx, changes, generations::Touch};

/// All settings, in one query; what the configuration pins counts before what the database keeps.
pub async fn load(conn: &mut Conn, pinned: &Pinned) -> Result<Settings> {
    let kept = conn
        .rows(
            "SELECT name, value FROM settings ORDER BY name LIMIT 1000",
            &[],
            |row| Ok((row.text(0)?, row.text(1)?)),
        )
        .await?;
    Ok(Settings::new(kept, pinned))
}

/// Keeps what [`model::settings::parse`] and [`Settings::check`] let pass. What does not change leaves no trace.
pub async fn set_all(tx: &mut Tx, wanted: &Changes, now: Timestamp) -> Result<()> {
    for (name, value) in wanted {
        let changed = tx
            .execute(
                "INSERT INTO settings (name, value, updated_at) VALUES ($1, $2, $3)
                 ON CONFLICT (name) DO UPDATE SET value = excluded.value, updated_at = excluded.updated_at
                  WHERE settings.value <> excluded.value",
                &[(*name).into(), value.into(), now.into()],
            )
            .await?;
        if changed == 0 {
            continue;
        }
        tx.touch(Touch::Rights);
        let payload = json!({ "value": value });
        changes::append(tx, Kind::SettingChanged, name, None, &payload, now).await?;
    }
    Ok(())
}

/// The settings as they were read under a generation of rights.
#[derive(Default)]
pub(crate) struct Remembered(Mutex<Option<(u64, Arc<Settings>)>>);

impl Remembered {
    pub(crate) fn get(&self, generation: u64) -> Option<Arc<Settings>> {
        let kept = self.0.lock();
        let (seen, settings) = kept.as_ref()?;
        (*seen == generation).then(|| settings.clone())
    }

    pub(crate) fn keep(&self, generation: u64, settings: &Arc<Settings>) {
        *self.0.lock() = Some((generation, settings.clone()));
    }
}
