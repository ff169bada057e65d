//! `DATA/moved.toml`: where a registry has gone, for as long as its configuration still says where it was. It holds what the sections
//! `database` and `storage` of a configuration do, secrets too.

use std::{
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::config::{Config, Database, MovedTo, Sources, Storage, sources::ConfigFile};

const NAME: &str = "moved.toml";
const HEAD: &str = "# Written by `seawall move`. It counts before the configuration once the move has come to its end (`seawall move --status`): then put these sections there, and delete this file.\n";

/// The two sections as they were given.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// The move that brought the contents: without this fact in the database they are where they were.
    pub contents_moved_by: Option<String>,
    /// The place that they left, as it was shown then.
    pub contents_left: Option<String>,
    pub database: Option<toml::Table>,
    pub storage: Option<toml::Table>,
    /// What counted before the last move, which may have been interrupted at its end.
    pub before: Option<Box<Record>>,
}

/// The same, understood.
pub struct Place {
    pub database: Option<Database>,
    pub storage: Option<Storage>,
}

impl Record {
    /// Of a whole configuration the two sections are read.
    pub fn parse(text: &str) -> Result<Self> {
        let whole: toml::Table = text
            .parse()
            .map_err(|error: toml::de::Error| anyhow::anyhow!("{}", error.message()))?;
        let section = |name: &str| match whole.get(name) {
            None => Ok(None),
            Some(toml::Value::Table(table)) => Ok(Some(table.clone())),
            Some(_) => bail!("`{name}` is not a section"),
        };
        Ok(Self {
            database: section("database")?,
            storage: section("storage")?,
            ..Self::default()
        })
    }

    /// Reads the sections as a configuration's, with paths below this data directory.
    pub fn place(&self, data: &Path) -> Result<Place> {
        let sections = Self {
            database: self.database.clone(),
            storage: self.storage.clone(),
            ..Self::default()
        };
        let text = toml::to_string(&sections).context("writing down where to move to")?;
        let read = Config::load(Sources::of_text("the place to move to", text, data)?)?;
        Ok(Place {
            database: self.database.is_some().then_some(read.database),
            storage: self.storage.is_some().then_some(read.storage),
        })
    }

    pub fn find(data: &Path) -> Result<Option<Self>> {
        let path = file(data);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => bail!("cannot read `{}`: {error}", path.display()),
        };
        let record = toml::from_str(&text).map_err(|error: toml::de::Error| {
            anyhow::anyhow!(
                "`{}` cannot be understood: {}",
                path.display(),
                error.message()
            )
        })?;
        Ok(Some(record))
    }

    /// What of it counts where the database names this move as the last that brought contents.
    pub fn in_force(mut self, moved_by: Option<&str>) -> Self {
        let before = self.before.take().map(|before| *before);
        let is_done =
            |record: &Self| moved_by.is_some() && record.contents_moved_by.as_deref() == moved_by;
        if !is_done(&self) {
            let before = before.filter(is_done).unwrap_or_default();
            self.contents_moved_by = before.contents_moved_by;
            (self.contents_left, self.storage) = (before.contents_left, before.storage);
        }
        self
    }

    /// As it was before, durably.
    pub fn put_back(before: Option<Self>, data: &Path) -> Result<()> {
        if let Some(before) = before {
            return before.write(data);
        }
        let path = file(data);
        match fs::remove_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed.and_then(|()| File::open(data)?.sync_all()),
        }
        .with_context(|| format!("cannot remove `{}`", path.display()))
    }

    /// Writes the file, durably; nobody but its owner may read it.
    pub fn write(&self, data: &Path) -> Result<()> {
        let (path, draft) = (file(data), data.join(format!(".{NAME}")));
        let text = toml::to_string(self).context("writing down where the registry is")?;
        let _ = fs::remove_file(&draft); // what an interrupted attempt has left
        let written = File::options()
            .create_new(true)
            .write(true)
            .mode(0o600)
            .open(&draft)
            .and_then(|mut file| {
                file.write_all(HEAD.as_bytes())?;
                file.write_all(text.as_bytes())?;
                file.sync_all()
            })
            .and_then(|()| fs::rename(&draft, &path))
            .and_then(|()| File::open(data)?.sync_all());
        written.with_context(|| format!("cannot write `{}`", path.display()))
    }
}

fn file(data: &Path) -> PathBuf {
    data.join(NAME)
}

/// The configuration of a registry that may have been moved. Whether its contents have gone, the database says: see `settled`.
pub fn apply(mut config: Config) -> Result<Config> {
    let Some(record) = Record::find(&config.server.data)? else {
        return Ok(config);
    };
    let data = config.server.data.clone();
    let place = record.place(&data)?;
    let is_there = place
        .storage
        .as_ref()
        .is_none_or(|storage| storage.shown() == config.storage.shown());
    let configured = place
        .database
        .map(|database| std::mem::replace(&mut config.database, database))
        .filter(|configured| configured.url != config.database.url);
    let moved = &mut config.moved;
    moved.is_known = is_there && configured.is_none();
    moved.from = configured.map(Box::new);
    moved.storages.extend(moved_to(&record, place.storage));
    if let Some(before) = &record.before {
        let place = before.place(&data)?;
        let database = place
            .database
            .filter(|database| database.url != config.database.url);
        moved.before = database.map(Box::new);
        moved.storages.extend(moved_to(before, place.storage));
    }
    Ok(config)
}

fn moved_to(record: &Record, storage: Option<Storage>) -> Option<MovedTo> {
    Some(MovedTo {
        by: record.contents_moved_by.clone()?,
        storage: storage?,
        left: record.contents_left.clone(),
    })
}

/// What somebody gave as the place to move to.
pub fn given(
    file: Option<&ConfigFile>,
    database: Option<&str>,
    storage: Option<&str>,
) -> Result<Record> {
    let mut record = match file {
        Some(file) => Record::parse(&file.text)
            .with_context(|| format!("`{}` cannot be understood", file.name))?,
        None => Record::default(),
    };
    for (section, url) in [
        (&mut record.database, database),
        (&mut record.storage, storage),
    ] {
        if let Some(url) = url {
            let section = section.get_or_insert_default();
            section.insert("url".to_owned(), url.into());
        }
    }
    if record.database.is_none() && record.storage.is_none() {
        bail!(
            "say where to: --database-to URL, --storage-to URL, or --to-config FILE with the sections `database` and `storage`"
        );
    }
    Ok(record)
}

impl Record {
    /// As it goes over the socket.
    pub fn text(&self) -> Result<String> {
        toml::to_string(self).context("writing down where to move to")
    }
}
