//! Sign-in without a token: name and password, or a client certificate.
//!
//! A password's check is remembered for a minute, under a hash keyed anew by each process, for this state of the row alone:
//! a changed password ends it at once. Many requests with the same password wait for one check. A name that nobody has is
//! checked and remembered just so, or the time of a second answer would tell who exists. Other nodes may be told (checked.rs).

use std::{net::IpAddr, sync::Arc, time::Duration};

use aws_lc_rs::hmac;
use db::{robots, users};
use model::{Result, time::Timestamp};
use quick_cache::sync::Cache;

use crate::{
    Auth, Caller, Via, attempts,
    caller::Identity,
    password::{self, Verdict},
    random,
    subjects::Login,
};

const REMEMBERED_FOR: Duration = Duration::from_mins(1);
/// A wrong password stays wrong for this state of the row. So a machine that goes on with an old one guesses no more.
const WRONG_FOR: Duration = Duration::from_mins(10);
/// No name in the database is longer (255 characters); a robot's full one holds two and a prefix.
const MAX_NAME: usize = 4 * 255 + 256;

/// What a password is compared with when nobody has the name, so that the answer takes as long as for a wrong password.
pub(crate) const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$c2Vhd2FsbC1ub2JvZHkhIQ$9GQ6wJ0m7rNq1v5oXk3cT8yLpHsZaEuBdRiFgWxYjKM";

pub(crate) struct Checks {
    key: hmac::Key,
    done: Cache<[u8; 32], Check>,
}

#[derive(Clone, Copy)]
struct Check {
    at: Timestamp,
    outcome: Outcome,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Right,
    Wrong,
    /// Right, and kept in a stronger form since: the row has changed and must be read again.
    Replaced,
}

impl Checks {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, &random::bytes::<32>()?),
            done: Cache::new(10_000),
        })
    }

    /// Nothing is known of anybody's password any more.
    pub(crate) fn forget(&self) {
        self.done.clear();
    }

    fn key(&self, identity: Identity, version: i64, password: &str) -> [u8; 32] {
        let (kind, id) = match identity {
            Identity::Anonymous => (0, 0),
            Identity::User(id) => (1, id.0),
            Identity::Robot(id) => (2, id.0),
        };
        self.sign(&[
            &[kind],
            &id.to_be_bytes(),
            &version.to_be_bytes(),
            password.as_bytes(),
        ])
    }

    fn key_of_nobody(&self, name: &str, password: &str) -> [u8; 32] {
        let length = (name.len() as u64).to_be_bytes();
        self.sign(&[&[3], &length, name.as_bytes(), password.as_bytes()])
    }

    fn key_of_place(&self, key: &[u8; 32], from: IpAddr) -> [u8; 32] {
        let from = attempts::household(from).to_string();
        self.sign(&[&[4], key, from.as_bytes()])
    }

    fn sign(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.key);
        for part in parts {
            context.update(part);
        }
        context
            .sign()
            .as_ref()
            .try_into()
            .expect("HMAC-SHA-256 gives 32 bytes")
    }
}

impl Check {
    /// One from a time that is still to come was made before the clock was set back.
    /// `away` is how long a right one holds while the database, which must be asked before another is tried, is away.
    fn holds(&self, now: Timestamp, away: Option<Duration>) -> bool {
        let holds = match (self.outcome, away) {
            (Outcome::Wrong, _) => WRONG_FOR,
            (_, Some(away)) => away.max(REMEMBERED_FOR),
            (_, None) => REMEMBERED_FOR,
        };
        self.at <= now && now.since(self.at) < holds
    }
}

impl Auth {
    /// Whoever has this name (or e-mail address, or robot's full name) and this password; none for anybody else. Attempts
    /// that come from an address are braked (see attempts.rs).
    pub async fn basic(
        &self,
        name: &str,
        password: &str,
        from: Option<IpAddr>,
    ) -> Result<Option<Caller>> {
        if password.is_empty() || password.len() > password::MAX_LEN || name.len() > MAX_NAME {
            return Ok(None);
        }
        // Read again after the password was kept in a stronger form; a second time only if it was changed meanwhile.
        for _ in 0..3 {
            let login = self
                .login(name)
                .await?
                .filter(|login| !login.subject.is_expired(self.now()));
            let Some((login, secret)) = login
                .as_ref()
                .and_then(|login| Some((login, login.secret.as_deref()?)))
            else {
                return self.refuse_slowly(name, password, from).await;
            };
            match self.check(login, secret, password, from).await? {
                Outcome::Right => return Ok(Some(Caller::new(login.subject.clone(), Via::Basic))),
                Outcome::Wrong => return Ok(None),
                Outcome::Replaced => {}
            }
        }
        Ok(None)
    }

    /// Whoever a client certificate names: exactly a user's name or a robot's full one.
    pub async fn certified(&self, name: &str) -> Result<Option<Caller>> {
        let subject = self
            .named(name)
            .await?
            .filter(|subject| !subject.is_expired(self.now()));
        Ok(subject.map(|subject| Caller::new(subject, Via::Certificate)))
    }

    /// Robots' names are no secret, and their checks are quick: only people's names are worth the time.
    async fn refuse_slowly(
        &self,
        name: &str,
        password: &str,
        from: Option<IpAddr>,
    ) -> Result<Option<Caller>> {
        let settings = self.1.settings().await?;
        if !name.starts_with(settings.robot_name_prefix()) {
            let (key, password) = (
                self.0.checks.key_of_nobody(name, password),
                password.to_owned(),
            );
            let work = async move || {
                self.0
                    .hashing
                    .run(move || password::verify(NOBODY, &password))
                    .await?;
                Ok(Outcome::Wrong)
            };
            self.remembered(key, &attempts::nobody(name), from, work)
                .await?;
        }
        Ok(None)
    }

    async fn check(
        &self,
        login: &Arc<Login>,
        secret: &str,
        password: &str,
        from: Option<IpAddr>,
    ) -> Result<Outcome> {
        if !password::is_slow(secret) {
            let good = password::verify(secret, password) == Verdict::Good;
            return Ok(if good { Outcome::Right } else { Outcome::Wrong });
        }
        let subject = &login.subject;
        let key = self
            .0
            .checks
            .key(subject.identity(), subject.version(), password);
        let work = async || {
            let checked = &self.0.checked;
            let proof = checked.proof(subject.identity(), subject.version(), secret, password);
            if let Some(proof) = &proof
                && checked.is_right(proof).await
            {
                return Ok(Outcome::Right);
            }
            let outcome = self.check_slowly(login, secret, password).await?;
            if let (Some(proof), Outcome::Right) = (&proof, outcome) {
                checked.tell_right(proof);
            }
            Ok(outcome)
        };
        let account = subject.identity().to_string();
        self.remembered(key, &account, from, work).await
    }

    /// The check that this key stands for, made when it is not remembered. Whoever comes meanwhile waits for it.
    async fn remembered(
        &self,
        key: [u8; 32],
        account: &str,
        from: Option<IpAddr>,
        work: impl AsyncFnOnce() -> Result<Outcome>,
    ) -> Result<Outcome> {
        let done = &self.0.checks.done;
        let away = self.1.away_for();
        let guard = loop {
            match done.get_value_or_guard_async(&key).await {
                Ok(check) if check.holds(self.now(), away) => {
                    self.admit(&key, check.outcome, account, from).await?;
                    return Ok(check.outcome);
                }
                Ok(_) => drop(done.remove_if(&key, |check| !check.holds(self.now(), away))),
                Err(guard) => break guard,
            }
        };
        let attempt = match from {
            Some(from) => {
                let begun = self.0.attempts.begin(&self.1, account, from, self.now());
                Some(begun.await?)
            }
            None => None,
        };
        let outcome = work().await?;
        let at = self.now();
        if let (Some(from), true) = (from, outcome != Outcome::Wrong) {
            let here = self.0.checks.key_of_place(&key, from);
            self.0.checks.done.insert(here, Check { at, outcome });
        }
        let _ = guard.insert(Check { at, outcome });
        match (outcome, attempt) {
            (Outcome::Wrong, Some(attempt)) => attempt.failed(&self.1, at).await,
            (_, Some(attempt)) => attempt.succeeded(&self.1, at).await,
            (_, None) => {}
        }
        Ok(outcome)
    }

    /// A right password that was checked for another address holds where the brake lets somebody try: or whoever is braked would
    /// learn from the answer that he guessed right. That it does is remembered too.
    async fn admit(
        &self,
        key: &[u8; 32],
        outcome: Outcome,
        account: &str,
        from: Option<IpAddr>,
    ) -> Result<()> {
        let (Some(from), true) = (from, outcome != Outcome::Wrong) else {
            return Ok(());
        };
        let checks = &self.0.checks;
        let away = self.1.away_for();
        let here = checks.key_of_place(key, from);
        let guard = loop {
            match checks.done.get_value_or_guard_async(&here).await {
                Ok(check) if check.holds(self.now(), away) => return Ok(()),
                Ok(_) => drop(
                    checks
                        .done
                        .remove_if(&here, |check| !check.holds(self.now(), away)),
                ),
                Err(guard) => break guard,
            }
        };
        let begun = self.0.attempts.begin(&self.1, account, from, self.now());
        let (attempt, at) = (begun.await?, self.now());
        attempt.succeeded(&self.1, at).await;
        let _ = guard.insert(Check { at, outcome });
        Ok(())
    }

    async fn check_slowly(&self, login: &Login, secret: &str, password: &str) -> Result<Outcome> {
        let (kept, typed) = (secret.to_owned(), password.to_owned());
        let verified = self.0.hashing.run(move || {
            let verdict = password::verify(&kept, &typed);
            let better = (verdict == Verdict::GoodButUpgrade)
                .then(|| password::hash(&typed))
                .transpose();
            better.map(|better| (verdict, better))
        });
        match verified.await?? {
            (Verdict::Wrong, _) => Ok(Outcome::Wrong),
            (_, None) => Ok(Outcome::Right),
            (_, Some(better)) => Ok(self.upgrade(login, secret, better, password).await),
        }
    }

    /// Keeps the better hash. A database that cannot be written just now is no reason to refuse a right password.
    async fn upgrade(&self, login: &Login, old: &str, better: String, password: &str) -> Outcome {
        let (identity, old) = (login.subject.identity(), old.to_owned());
        let full_name = Caller::new(login.subject.clone(), Via::Basic)
            .name()
            .to_owned();
        let replaced = self.1.write(move |tx| {
            let (old, better, full_name) = (old.clone(), better.clone(), full_name.clone());
            Box::pin(async move { replace(tx, identity, &full_name, &old, &better).await })
        });
        match replaced.await {
            Ok(version) => {
                if let Some(version) = version {
                    let check = Check {
                        at: self.now(),
                        outcome: Outcome::Right,
                    };
                    self.0
                        .checks
                        .done
                        .insert(self.0.checks.key(identity, version, password), check);
                }
                Outcome::Replaced
            }
            Err(error) => {
                tracing::warn!(caller = %identity, %error, "a password could not be kept in a stronger form");
                Outcome::Right
            }
        }
    }
}

/// Answers the row's new version; none when the secret is another one by now, which must not be overwritten.
async fn replace(
    tx: &mut db::Tx,
    identity: Identity,
    full_name: &str,
    old: &str,
    better: &str,
) -> Result<Option<i64>> {
    let now = tx.now().await?;
    match identity {
        Identity::User(id) => {
            let Some(user) = users::find(tx, id)
                .await?
                .filter(|user| user.password.as_deref() == Some(old))
            else {
                return Ok(None);
            };
            users::set_password(tx, &user, better, now).await?;
            Ok(users::find(tx, id).await?.map(|user| user.version))
        }
        Identity::Robot(id) => {
            let Some(robot) = robots::find(tx, id)
                .await?
                .filter(|robot| robot.secret == old)
            else {
                return Ok(None);
            };
            robots::set_secret(tx, &robot, full_name, better, now).await?;
            Ok(robots::find(tx, id).await?.map(|robot| robot.version))
        }
        Identity::Anonymous => Ok(None),
    }
}
