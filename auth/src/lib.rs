//! Who asks and may they: passwords, robots' secrets, tokens, and what a caller may do in a project.
//! A token or a remembered check only says who asks; his row and his rights are read at each request. On a database that
//! this process alone writes they are remembered until a write changes somebody's rights.

pub mod attempts;
pub mod caller;
pub mod password;
pub mod reset;
pub mod rights;
pub mod robots;
pub mod secret_key;
pub mod token;

mod basic;
mod checked;
mod csrf;
mod hashing;
mod key_files;
mod keyring;
mod random;
mod remembered;
mod rotation;
mod sessions;
mod settings;
mod signing;
mod subjects;

pub use caller::{Caller, RobotFacts, Subject, UserFacts, Via};
pub use csrf::CsrfSecret;
pub use key_files::beside as keys_beside;
pub use keyring::Keyring;
pub use rights::{Rights, scope_allows};
pub use rotation::Followed;
pub use secret_key::SecretKey;
pub use sessions::{Session, Signed};
pub use token::Issued;

use std::{sync::Arc, time::Duration};

use db::Db;
use model::{Result, time::Timestamp};

use crate::{
    attempts::Attempts, basic::Checks, checked::Checked, hashing::Hashing, rights::Standings,
    signing::Signing, subjects::Subjects, token::Tokens,
};

#[derive(Debug, Clone)]
pub struct Config {
    /// The life of a token; without it the setting says.
    pub token_expiration: Option<Duration>,
    /// Passwords hashed at once.
    pub password_hashing: usize,
    /// Whether callers without a name have the rights of everybody in public projects.
    pub anonymous: bool,
    /// For how long after the key file was changed what the key before signed counts: as long as uploads go on.
    pub key_kept: Duration,
    /// Where nodes tell each other which passwords were right.
    pub cache: cache::Cache,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            token_expiration: None,
            // The other half is for those who are signed in.
            password_hashing: std::thread::available_parallelism()
                .map_or(1, |cpus| cpus.get().div_ceil(2)),
            anonymous: true,
            key_kept: Duration::from_hours(48),
            cache: cache::Cache::default(),
        }
    }
}

/// Answers who asks and may they. A clone is another handle on the same.
#[derive(Clone)]
pub struct Auth(Arc<Inner>, Db);

struct Inner {
    keys: Keyring,
    config: Config,
    hashing: Hashing,
    attempts: Attempts,
    checks: Checks,
    checked: Checked,
    subjects: Subjects,
    standings: Standings,
    signing: Signing,
    tokens: Tokens,
}

impl Auth {
    /// Reads the signing keys, or makes the first one: of several nodes that start at once one decides.
    pub async fn open(db: Db, keys: Keyring, config: Config) -> Result<Self> {
        let signing = Signing::open(&db, keys.clone()).await?;
        let inner = Inner {
            hashing: Hashing::new(config.password_hashing),
            attempts: Attempts::default(),
            checks: Checks::new()?,
            checked: Checked::new(keys.clone(), config.cache.clone()),
            subjects: Subjects::default(),
            standings: Standings::default(),
            signing,
            tokens: Tokens::default(),
            keys,
            config,
        };
        Ok(Self(Arc::new(inner), db))
    }

    /// The same for whoever pulls: while the database is away, what was known of him last will do.
    #[must_use]
    pub fn or_last_known(&self) -> Self {
        Self(self.0.clone(), self.1.or_last_known())
    }

    /// Another key signs tokens from now on. What was signed until now still holds, unless it is revoked: then every client asks for a
    /// new token. Other nodes follow with their next [`Self::refresh_keys`]. Answers the key's name.
    pub async fn rotate_token_key(&self, revoke: bool) -> Result<String> {
        let id = self.0.signing.rotate(&self.1, revoke).await?;
        if revoke {
            self.0.tokens.forget();
        }
        Ok(id)
    }

    /// Follows what another node did to the keys that sign tokens.
    pub async fn refresh_keys(&self) -> Result<()> {
        if self.0.signing.refresh(&self.1).await? {
            self.0.tokens.forget();
        }
        Ok(())
    }

    /// The database lost its last commits: what was checked against them counts no more.
    pub fn forget_checks(&self) {
        self.0.checks.forget();
        self.0.tokens.forget();
    }

    /// Hashes a new password, waiting for its turn as checks do.
    pub async fn hash_password(&self, password: String) -> Result<String> {
        self.0
            .hashing
            .run(move || password::hash(&password))
            .await?
    }

    /// Whether a password fits what is kept of one, waiting for its turn as checks do.
    pub async fn is_password(&self, kept: String, password: String) -> Result<bool> {
        let verdict = self
            .0
            .hashing
            .run(move || password::verify(&kept, &password));
        Ok(verdict.await? != password::Verdict::Wrong)
    }

    /// Whether callers without a name may see what is public.
    pub fn allows_anonymous(&self) -> bool {
        self.0.config.anonymous
    }

    /// Under which generation something read now may be remembered; none where other processes write the database too.
    fn generation(&self) -> Option<u64> {
        self.1.is_exclusive().then(|| self.1.generations().rights())
    }

    fn now(&self) -> Timestamp {
        self.1.clock().now()
    }
}
