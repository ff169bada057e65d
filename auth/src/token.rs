//! Tokens of Docker's token protocol: JWTs that say who asks and narrow what he may do. A token grants nothing by itself: the
//! bearer's row and rights are read at each request.

use std::{
    hash::{Hash, Hasher},
    sync::Arc,
};

use jsonwebtoken::{Algorithm, Validation};
use model::{
    Error, Result, What,
    permission::{Action, Resource},
    time::Timestamp,
};
use oci::Scope;
use quick_cache::{Equivalent, Weighter, sync::Cache};
use serde::{Deserialize, Serialize};

use crate::{Auth, Caller, Via, caller::Identity, random};

const ISSUER: &str = "harbor-token-issuer";
const AUDIENCE: &str = "harbor-registry";
/// How far the clocks of two nodes may be apart.
const LEEWAY: i64 = 60;
/// Longer ones are not looked at, and not issued.
const MAX_LEN: usize = 16 * 1024;
/// Bytes of tokens whose signatures are remembered.
const REMEMBERED: u64 = 16 * 1024 * 1024;

/// A fresh token.
#[derive(Debug, Clone)]
pub struct Issued {
    pub token: String,
    /// Its life in seconds.
    pub expires_in: u64,
    pub issued_at: Timestamp,
}

#[derive(Serialize, Deserialize)]
struct Claims {
    iss: String,
    /// The caller's name, for those who read logs; `caller` counts.
    sub: String,
    /// A string, not a list: Harbor's own clients read it so.
    aud: String,
    exp: i64,
    nbf: i64,
    iat: i64,
    jti: String,
    access: Option<Vec<Access>>,
    /// Who it was issued to (see `Identity`) and which version of his row that was.
    caller: String,
    version: i64,
}

#[derive(Serialize, Deserialize)]
struct Access {
    #[serde(rename = "type")]
    kind: String,
    class: String,
    name: String,
    actions: Vec<String>,
}

/// What a token with a good signature says.
struct Verified {
    identity: Identity,
    version: i64,
    /// Seconds since 1970, leeway included.
    until: i64,
    scopes: Arc<[Scope]>,
}

pub(crate) struct Tokens(Cache<Text, Arc<Verified>, Length>);

impl Tokens {
    /// A key is gone: what it signed counts no more.
    pub(crate) fn forget(&self) {
        self.0.clear();
    }
}

impl Default for Tokens {
    fn default() -> Self {
        Self(Cache::with_weighter(16_000, REMEMBERED, Length))
    }
}

/// A remembered token. Its end is a signature and as random as any hash of the whole, so the end alone is hashed; then the
/// whole text is compared. Only a token with a good signature is ever remembered, so nobody chooses these bytes.
#[derive(PartialEq, Eq)]
struct Text(Box<str>);

struct TextRef<'a>(&'a str);

impl Hash for Text {
    fn hash<H: Hasher>(&self, state: &mut H) {
        TextRef(&self.0).hash(state);
    }
}

impl Hash for TextRef<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let bytes = self.0.as_bytes();
        state.write(&bytes[bytes.len().saturating_sub(32)..]);
    }
}

impl Equivalent<Text> for TextRef<'_> {
    fn equivalent(&self, key: &Text) -> bool {
        *self.0 == *key.0
    }
}

#[derive(Clone)]
struct Length;

impl Weighter<Text, Arc<Verified>> for Length {
    fn weight(&self, text: &Text, _: &Arc<Verified>) -> u64 {
        // What its scopes hold is about as long as the text they were read from.
        2 * text.0.len() as u64
    }
}

impl Auth {
    /// Who comes with this token. Nobody when its time is over, when the account is gone or has changed since (a new password,
    /// another rank), and when we did not sign it.
    pub async fn bearer(&self, token: &str, now: Timestamp) -> Result<Option<Caller>> {
        if token.len() > MAX_LEN {
            return Ok(None);
        }
        let verified = match self.0.tokens.0.get(&TextRef(token)) {
            Some(verified) => verified,
            None => match self.verify(token).await? {
                Some(verified) => verified,
                None => return Ok(None),
            },
        };
        if verified.until < now.seconds() {
            self.0.tokens.0.remove(&TextRef(token));
            return Ok(None);
        }
        let subject = self.subject(verified.identity).await?;
        let subject = subject
            .filter(|subject| !subject.is_expired(now) && subject.version() == verified.version);
        Ok(subject.map(|subject| Caller {
            subject,
            via: Via::Bearer,
            scopes: Some(verified.scopes.clone()),
        }))
    }

    /// Checks signature and form, once per token.
    async fn verify(&self, token: &str) -> Result<Option<Arc<Verified>>> {
        let Ok(header) = jsonwebtoken::decode_header(token) else {
            return Ok(None);
        };
        let (Algorithm::ES256, Some(kid)) = (header.alg, header.kid) else {
            return Ok(None);
        };
        let Some(key) = self.0.signing.verifying(&self.1, &kid).await? else {
            return Ok(None);
        };
        let mut validation = Validation::new(Algorithm::ES256);
        validation.set_audience(&[AUDIENCE]);
        validation.set_issuer(&[ISSUER]);
        validation.set_required_spec_claims(&["aud", "iss"]);
        validation.validate_exp = false; // by our own clock, at each use
        let Ok(data) = jsonwebtoken::decode::<Claims>(token, &key, &validation) else {
            return Ok(None);
        };
        let (claims, soon) = (data.claims, self.now().seconds() + LEEWAY);
        let Ok(identity) = claims.caller.parse() else {
            return Ok(None);
        };
        if claims.nbf > soon || claims.iat > soon {
            return Ok(None);
        }
        let scopes = claims
            .access
            .unwrap_or_default()
            .into_iter()
            .map(|access| Scope {
                kind: access.kind,
                name: access.name,
                actions: access.actions,
            });
        let verified = Arc::new(Verified {
            identity,
            version: claims.version,
            until: claims.exp.saturating_add(LEEWAY),
            scopes: scopes.collect(),
        });
        self.0.tokens.0.insert(Text(token.into()), verified.clone());
        Ok(Some(verified))
    }

    /// A token for what was asked for, as far as the caller may do it now. What he may not do, and what does not exist, stands
    /// in it without actions.
    pub async fn issue(&self, caller: &Caller, requested: &[Scope]) -> Result<Issued> {
        if caller.via == Via::Bearer {
            return Err(Error::Denied(
                "a token cannot be exchanged for another: sign in with a password".to_owned(),
            ));
        }
        let access = if requested.is_empty() {
            None
        } else {
            Some(self.access(caller, requested).await?)
        };
        let life = match self.0.config.token_expiration {
            Some(exact) => exact,
            None => self.1.settings().await?.token_expiration(),
        };
        let now = self.now();
        let token = self.0.signing.sign(&Claims {
            iss: ISSUER.to_owned(),
            sub: caller.name().to_owned(),
            aud: AUDIENCE.to_owned(),
            exp: now.plus(life).seconds(),
            nbf: now.seconds(),
            iat: now.seconds(),
            jti: random::text(16)?,
            access,
            caller: caller.identity(),
            version: caller.subject.version(),
        })?;
        if token.len() > MAX_LEN {
            return Err(Error::invalid(
                What::Request,
                "the token would be too long: ask for fewer scopes at once",
            ));
        }
        Ok(Issued {
            token,
            expires_in: life.as_secs(),
            issued_at: now,
        })
    }

    /// One entry for each thing that was asked for, however often.
    async fn access(&self, caller: &Caller, requested: &[Scope]) -> Result<Vec<Access>> {
        let mut access: Vec<Access> = Vec::new();
        for scope in requested {
            let mut actions = self.granted(caller, scope).await?;
            match access
                .iter_mut()
                .find(|known| known.kind == scope.kind && known.name == scope.name)
            {
                Some(known) => {
                    actions.retain(|action| !known.actions.contains(action));
                    known.actions.append(&mut actions);
                }
                None => access.push(Access {
                    kind: scope.kind.clone(),
                    class: String::new(),
                    name: scope.name.clone(),
                    actions,
                }),
            }
        }
        Ok(access)
    }

    async fn granted(&self, caller: &Caller, scope: &Scope) -> Result<Vec<String>> {
        match scope.kind.as_str() {
            "repository" => self.granted_on_repository(caller, scope).await,
            "registry" if scope.name == "catalog" && caller.is_admin() => Ok(scope.actions.clone()),
            _ => Ok(Vec::new()),
        }
    }

    async fn granted_on_repository(&self, caller: &Caller, scope: &Scope) -> Result<Vec<String>> {
        let Some((project, _)) = scope.name.split_once('/') else {
            return Ok(Vec::new());
        };
        let Some(rights) = self.standing(caller, project).await? else {
            return Ok(Vec::new());
        };
        let granted = [Action::Pull, Action::Push, Action::Delete]
            .into_iter()
            .filter(|&action| {
                scope.allows(action.as_str()) && rights.may(Resource::Repository, action)
            });
        Ok(granted.map(|action| action.as_str().to_owned()).collect())
    }
}
