//! From a configuration to an open registry: the data directory and its lock, the database and its schema, the key file,
//! the store and its identity, the first rows. Everything that does not fit is refused here, by name and with what to do.

mod data_dir;
mod store;

use std::{path::Path, time::Duration};

use anyhow::{Context, Result, bail};
use auth::{Auth, Keyring};
use blob::Store;
use cache::Cache;
use db::{
    Db, facts, migrate, nodes, projects,
    users::{self, Forget},
};
use model::{name, time::Clock};
use outbound::{Outbound, Trust};
use registry::Registry;

use self::store::{Start, has_contents, open_known_store, settle_identity};
pub use self::{
    data_dir::{DataDir, InUse},
    store::open_store,
};
use crate::{
    config::{Config, DatabaseUrl},
    moving,
    presence::UPLOADS,
};

const DAY: Duration = Duration::from_hours(24);
/// The variables that give the administrator's first password; Harbor's name works too.
const PASSWORD_VARIABLES: [&str; 2] = ["SEAWALL_ADMIN_PASSWORD", "HARBOR_ADMIN_PASSWORD"];
/// The administrator, as with Harbor.
pub const ADMIN: &str = "admin";

/// An open registry, and what its server needs beside it.
pub struct Opened {
    pub registry: Registry,
    pub auth: Auth,
    /// What of a deleted user does not stay.
    pub forget: Forget,
    /// The administrator's password, when it was made up just now: nobody else knows it.
    pub new_password: Option<String>,
    /// Kept as long as the registry is open.
    pub data: DataDir,
    /// As it was opened: after a move not where the operator's file says.
    pub config: Config,
}

/// Opens everything for a server. The schema is brought up to date and first rows are made.
pub async fn open(config: &Config, data: DataDir, outbound: &Outbound) -> Result<Opened> {
    let db = open_database(config, outbound.trust()).await?;
    moving::refuse_moved(&db).await?;
    migrate_schema(&db).await?;
    let (config, is_moved) = moving::settled(config, &db).await?;
    let config = &*config;
    let key = open_key(&db, &config.server.secret_key_file).await?;
    let store = open_known_store(config, &db, outbound).await?;
    let start = Start {
        is_moved,
        may_leave: db.is_exclusive(),
    };
    let store_id = settle_identity(config, &db, &store, start).await?;
    let cache = match config.redis.cache(outbound.trust()) {
        Some(config) => Cache::new(config, &store_id),
        None => Cache::default(),
    };
    let mut opened = put_together(config, data, db, store, (&key, cache), store_id).await?;
    opened.new_password = first_rows(opened.registry.db(), &opened.auth).await?;
    Ok(opened)
}

/// Opens for a command what a server has made: a mistyped directory must not become a registry.
pub async fn open_made(config: &Config) -> Result<Opened> {
    let path = &config.server.data;
    if !path.is_dir() {
        bail!(
            "there is no registry at `{}`: name its data directory with --data, or its configuration with --config",
            path.display()
        );
    }
    let data = DataDir::open(config)?;
    if let DatabaseUrl::Sqlite(file) = &config.database.url
        && !file.exists()
    {
        bail!(
            "there is no registry at `{}` yet (no database `{}`): `seawall serve` makes it at its first start",
            path.display(),
            file.display()
        );
    }
    let outbound = config.outbound();
    let db = open_database(config, outbound.trust()).await?;
    let status = migrate::status(&db, migrate::ALL).await?;
    if status.version == 0 {
        bail!("the database is empty: `seawall serve` makes a registry in it at its first start");
    }
    if !status.pending.is_empty() {
        bail!(
            "the database has schema version {}, which this binary has to bring up to date first: run `seawall migrate`, or start the server",
            status.version
        );
    }
    moving::refuse_moved(&db).await?;
    let (config, is_moved) = moving::settled(config, &db).await?;
    let config = &*config;
    let key = open_key(&db, &config.server.secret_key_file).await?;
    let store = open_known_store(config, &db, &outbound).await?;
    let start = Start {
        is_moved,
        may_leave: false,
    };
    let store_id = settle_identity(config, &db, &store, start).await?;
    put_together(config, data, db, store, (&key, Cache::default()), store_id).await
}

/// Opens a new database for the store of one that was lost.
pub async fn open_to_rebuild(config: &Config) -> Result<Opened> {
    let data = DataDir::open(config)?;
    let outbound = config.outbound();
    let db = open_database(config, outbound.trust()).await?;
    moving::refuse_moved(&db).await?;
    migrate_schema(&db).await?;
    // One that was interrupted goes on; a database that has lost nothing is not for this.
    let in_use = has_contents(&db).await?
        && projects::find_name(&mut *db.reader().await?, registry::rebuild::PROJECT)
            .await?
            .is_none();
    if in_use {
        bail!(
            "the database is not a new one: only a database that was lost is rebuilt. `seawall fsck --repair` mends what differs from the store"
        );
    }
    let key = open_key(&db, &config.server.secret_key_file).await?;
    let store = open_store(config, &outbound).await?;
    let store_id = registry::fsck::adopt_store(&db, &store).await?;
    let mut opened =
        put_together(config, data, db, store, (&key, Cache::default()), store_id).await?;
    opened.new_password = first_rows(opened.registry.db(), &opened.auth).await?;
    Ok(opened)
}

/// Opens for an import: a registry that is there, or a new one for the tree. The store itself is not changed yet.
pub async fn open_to_import(config: &Config) -> Result<Opened> {
    let outbound = config.outbound();
    // Before anything is made: a mistyped address must not leave a registry behind.
    let store = open_store(config, &outbound).await?;
    if !store.holds_tree().await? {
        bail!(registry::import::NO_TREE);
    }
    let data = DataDir::open(config)?;
    let db = open_database(config, outbound.trust()).await?;
    moving::refuse_moved(&db).await?;
    migrate_schema(&db).await?;
    let key = open_key(&db, &config.server.secret_key_file).await?;
    // One that is nobody's gets its identity with the first step.
    let store_id = registry::import::prepare(&db, &store).await?;
    let store_id = store_id.unwrap_or_default();
    let mut opened =
        put_together(config, data, db, store, (&key, Cache::default()), store_id).await?;
    opened.new_password = first_rows(opened.registry.db(), &opened.auth).await?;
    Ok(opened)
}

/// For a look at a tree: the store, and the database where there is one, with its lock. Makes none of them.
pub async fn open_to_survey(config: &Config) -> Result<(Store, Option<Db>, Option<DataDir>)> {
    let outbound = config.outbound();
    let store = open_store(config, &outbound).await?;
    if !store.holds_tree().await? {
        bail!(registry::import::NO_TREE);
    }
    let mut held = None;
    if let DatabaseUrl::Sqlite(file) = &config.database.url {
        if !file.exists() {
            return Ok((store, None, None));
        }
        held = Some(DataDir::hold(config)?);
    }
    let db = open_database(config, outbound.trust()).await?;
    let is_made = migrate::status(&db, migrate::ALL).await?.pending.is_empty();
    Ok((store, is_made.then_some(db), held))
}

async fn put_together(
    config: &Config,
    data: DataDir,
    db: Db,
    store: Store,
    (keys, cache): (&Keyring, Cache),
    store_id: String,
) -> Result<Opened> {
    let auth = auth_config(config, cache.clone());
    let auth = Auth::open(db.clone(), keys.clone(), auth).await?;
    let registry = registry_config(config, cache);
    let registry = Registry::new(db, store, registry, &keys.derive(UPLOADS));
    registry.set_store_id(&store_id);
    Ok(Opened {
        registry,
        auth,
        forget: Forget {
            account: config.gdpr.delete_user,
            audit: config.gdpr.audit_logs,
        },
        new_password: None,
        data,
        config: config.clone(),
    })
}

/// The database as it is, without migrating it.
pub async fn open_database(config: &Config, trust: &Trust) -> Result<Db> {
    let config = database_config(config, trust)?;
    Ok(Db::open(&config, Clock::default()).await?)
}

/// As `db` takes it.
pub fn database_config(config: &Config, trust: &Trust) -> Result<db::Config> {
    let engine = match &config.database.url {
        DatabaseUrl::Sqlite(path) => {
            refuse_network(path)?;
            db::Engine::Sqlite(path.clone())
        }
        DatabaseUrl::Postgres(url) => db::Engine::Postgres(url.expose().to_owned()),
    };
    Ok(db::Config {
        engine,
        node: config.server.node.clone(),
        pool_size: config.database.pool_size,
        timeout: config.database.timeout,
        pinned: config.settings.clone(),
        trust: trust.clone(),
        ways: db::Ways {
            direct: config
                .database
                .direct_url
                .as_ref()
                .map(|url| url.expose().to_owned()),
            password_file: config.database.password_file.clone(),
            stale: config.cache.stale,
        },
    })
}

/// SQLite's locks and its shared memory do not hold on a network.
fn refuse_network(path: &Path) -> Result<()> {
    let folder = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or_else(|| Path::new("."));
    let network = blob::network::network_of(folder)
        .with_context(|| format!("cannot look at `{}`", folder.display()))?;
    if let Some(kind) = network {
        bail!(
            "the SQLite database `{}` would lie on {kind}, where its locks do not hold: put it on a local disk (database.url), or use PostgreSQL",
            path.display()
        );
    }
    Ok(())
}

async fn migrate_schema(db: &Db) -> Result<()> {
    for migration in migrate::up(db, migrate::ALL).await? {
        tracing::info!(
            version = migration.version,
            name = migration.name,
            "database schema migrated"
        );
    }
    Ok(())
}

/// The key file of this database. It is never made anew beside a database that has one.
async fn open_key(db: &Db, path: &Path) -> Result<Keyring> {
    let expected = facts::find(&mut *db.reader().await?, facts::KEY_FINGERPRINT).await?;
    let key = match Keyring::load(path.to_owned(), expected.clone()).await {
        Ok(key) => key,
        Err(error) => {
            let right = who_runs(db)
                .await
                .map(|named| format!("; {named} has the right one"));
            bail!("{error:#}{}", right.unwrap_or_default());
        }
    };
    let fingerprint = key.fingerprint();
    let settled = if let Some(expected) = expected {
        expected
    } else {
        let fingerprint = fingerprint.clone();
        db.write(move |tx| {
            let fingerprint = fingerprint.clone();
            Box::pin(async move { facts::settle(tx, facts::KEY_FINGERPRINT, &fingerprint).await })
        })
        .await?
    };
    if settled != fingerprint {
        bail!(
            "the key file `{}` is not the one this database was encrypted with: copy the right file there from a backup or another node{} (server.secret_key_file)",
            path.display(),
            who_runs(db)
                .await
                .map(|named| format!(", such as {named}"))
                .unwrap_or_default()
        );
    }
    Ok(key)
}

/// The first of the other nodes that run, which have what fits: `node `a` on host-a`. None when none runs.
async fn who_runs(db: &Db) -> Option<String> {
    let running = nodes::alive(db).await.ok()?;
    let named = running.iter().filter(|node| node.name != db.node());
    let named: Vec<String> = named
        .take(3)
        .map(|node| format!("`{}` on {}", node.name, node.host))
        .collect();
    (!named.is_empty()).then(|| format!("node {}", named.join(", ")))
}

/// On a fresh database: the administrator (user 1) and the public project `library` (project 1).
async fn first_rows(db: &Db, auth: &Auth) -> Result<Option<String>> {
    if !users::list(&mut *db.reader().await?, "", 1)
        .await?
        .is_empty()
    {
        return Ok(None);
    }
    let given = PASSWORD_VARIABLES.iter().find_map(|name| {
        std::env::var(name)
            .ok()
            .filter(|value| !value.is_empty())
            .map(|value| (name, value))
    });
    if let Some((variable, password)) = &given {
        name::check_password(password)
            .with_context(|| format!("the administrator's password in {variable} is refused"))?;
    }
    let made_up = given.is_none();
    let password = match given {
        Some((_, password)) => password,
        None => auth::robots::new_secret()?.text,
    };
    let hash = auth.hash_password(password.clone()).await?;
    let made = match db
        .write(move |tx| {
            let hash = hash.clone();
            Box::pin(async move {
                if !users::is_first(tx).await? {
                    return Ok(false);
                }
                let now = tx.now().await?;
                let admin = users::NewUser {
                    name: ADMIN.parse()?,
                    email: None,
                    realname: Some("system admin".to_owned()),
                    comment: None,
                    password: Some(hash),
                    admin: true,
                };
                let owner = users::insert(tx, &admin, now).await?;
                let library = projects::NewProject {
                    public: true,
                    ..projects::NewProject::named("library".parse()?, owner)
                };
                projects::insert(tx, &library, now).await?;
                Ok(true)
            })
        })
        .await
    {
        // Of several nodes that start at once one is first.
        Err(model::Error::Conflict(_)) => false,
        made => made?,
    };
    Ok((made && made_up).then_some(password))
}

fn auth_config(config: &Config, cache: Cache) -> auth::Config {
    auth::Config {
        token_expiration: config.auth.token_expiration,
        password_hashing: config.limits.password_hashing,
        anonymous: config.auth.anonymous,
        // What began last before the change, and what nodes and clients whose clocks differ make of it.
        key_kept: config.uploads.expire + DAY,
        cache,
    }
}

fn registry_config(config: &Config, cache: Cache) -> registry::Config {
    registry::Config {
        uploads_expire: config.uploads.expire,
        gc_grace: config.gc.grace,
        gc_untagged_grace: config.gc.untagged_grace,
        trash_keep: config.trash.keep,
        trash_keep_retention: config.trash.keep_retention,
        failover_window: config.database.failover_window,
        manifest_cache: config.cache.manifests,
        cache,
        scrub_rate: (config.scrub.rate > 0).then_some(config.scrub.rate),
        scrub_interval: config.scrub.interval,
    }
}
