//! `/livez`, `/readyz` and `/metrics`. Readiness is answered from a state that a task checks every few seconds, so a hung
//! disk or database holds up no answer.

use std::{fmt::Display, future::Future, sync::Arc, time::Duration};

use auth::Via;
use db::facts;
use http::{HeaderValue, Response, StatusCode, header};
use model::time::Timestamp;
use parking_lot::RwLock;
use registry::Registry;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::{
    body::Body,
    error::{self, Dialect},
    headers,
    notes::Notes,
    request::Ask,
};

/// Between two looks.
const EVERY: Duration = Duration::from_secs(2);
/// A part that does not answer in this time is taken as away.
const PATIENCE: Duration = Duration::from_secs(5);
/// How far this node's clock may be off the database's.
const MOST_OFF: Duration = Duration::from_secs(5);
/// The part's name, as Harbor's health has it.
pub(crate) const CACHE: &str = "redis";

/// What this node knows of itself.
#[derive(Debug, Default)]
pub struct Health {
    state: RwLock<State>,
}

#[derive(Debug, Clone, Default)]
struct State {
    /// Parts of this node alone that do not work: it should get no requests.
    failed: Vec<Fault>,
    /// Parts that all nodes share and that are away: another node would fare no better.
    degraded: Vec<Fault>,
    /// What keeps this node from holding the virtual address, though it may serve.
    unfit: Vec<Fault>,
    starting: bool,
    /// The process was told to stop.
    draining: bool,
    /// An operator wants no new work here.
    drained: bool,
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct Fault {
    pub(crate) part: &'static str,
    /// Paths and addresses of the house, so strangers do not hear it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) why: String,
}

#[derive(Serialize)]
struct Readiness {
    status: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    failed: Vec<Fault>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    degraded: Vec<Fault>,
}

impl Health {
    /// Not ready before the first look.
    pub fn new() -> Self {
        Self {
            state: RwLock::new(State {
                starting: true,
                ..State::default()
            }),
        }
    }

    /// From now on this node asks to be left alone.
    pub fn drain(&self) {
        self.state.write().draining = true;
    }

    /// An operator wants no new work here, or wants it again.
    pub fn set_drained(&self, drained: bool) {
        self.state.write().drained = drained;
    }

    /// As `/readyz` says it: `ready`, `degraded`, `failed`, `draining`, `starting`.
    pub fn status(&self) -> &'static str {
        self.state.read().status().1
    }

    /// Looks once.
    pub async fn look(&self, registry: &Registry) {
        let (database, clock, unwritable, store) = tokio::join!(
            database_fault(registry),
            clock_fault(registry),
            unwritable(registry),
            store_fault(registry)
        );
        let mut found = State::default();
        // A PostgreSQL server is shared by all nodes, an SQLite file and a directory belong to this one.
        if registry.db().is_exclusive() {
            found.failed.extend(database);
        } else {
            found.degraded.extend(database);
        }
        found.failed.extend(clock);
        found.degraded.extend(cache_fault(registry));
        match store {
            Some((fault, Whose::Nodes)) => found.failed.push(fault),
            Some((fault, Whose::All)) => found.degraded.push(fault),
            None => {}
        }
        found.unfit.extend(unwritable);
        let mut state = self.state.write();
        found.draining = state.draining;
        found.drained = state.drained;
        tell_changes(&state, &found);
        let is_ready = found.status().0 == StatusCode::OK;
        metrics::gauge!("seawall_ready").set(if is_ready { 1.0 } else { 0.0 });
        *state = found;
    }

    /// Looks again and again until told to end.
    pub async fn watch(self: Arc<Self>, registry: Registry, end: CancellationToken) {
        loop {
            self.look(&registry).await;
            tokio::select! {
                () = end.cancelled() => return,
                () = tokio::time::sleep(EVERY) => {}
            }
        }
    }

    /// What does not work.
    pub(crate) fn faults(&self) -> Vec<Fault> {
        self.state.read().faults().cloned().collect()
    }

    /// Whether the store may be written: not when its identity is missing or another's.
    pub fn store_works(&self) -> bool {
        !self
            .state
            .read()
            .failed
            .iter()
            .any(|fault| fault.part == "storage")
    }
}

impl State {
    fn status(&self) -> (StatusCode, &'static str) {
        match self {
            Self {
                draining, drained, ..
            } if *draining || *drained => (StatusCode::SERVICE_UNAVAILABLE, "draining"),
            Self { starting: true, .. } => (StatusCode::SERVICE_UNAVAILABLE, "starting"),
            Self { failed, .. } if !failed.is_empty() => {
                (StatusCode::SERVICE_UNAVAILABLE, "failed")
            }
            Self { degraded, .. } if degraded.is_empty() => (StatusCode::OK, "ready"),
            _ => (StatusCode::OK, "degraded"),
        }
    }

    fn faults(&self) -> impl Iterator<Item = &Fault> {
        self.failed.iter().chain(&self.degraded).chain(&self.unfit)
    }
}

fn tell_changes(before: &State, now: &State) {
    let stands_in = |state: &State, part| state.faults().any(|fault| fault.part == part);
    // The cache tells of itself, at once.
    let told = |fault: &&Fault| fault.part != CACHE;
    for fault in now.faults().filter(told) {
        if !stands_in(before, fault.part) {
            tracing::error!(part = fault.part, why = %fault.why, "a part of this node does not work");
        }
    }
    for fault in before.faults().filter(told) {
        if !stands_in(now, fault.part) {
            tracing::info!(part = fault.part, "works again");
        }
    }
}

/// The fault of a part that does not answer well within the time it is given.
async fn fault_of<T, E: Display>(
    part: &'static str,
    answer: impl Future<Output = Result<T, E>>,
) -> Result<T, Fault> {
    let why = match tokio::time::timeout(PATIENCE, answer).await {
        Ok(Ok(answer)) => return Ok(answer),
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("no answer within {} s", PATIENCE.as_secs()),
    };
    Err(Fault { part, why })
}

async fn database_fault(registry: &Registry) -> Option<Fault> {
    fault_of("database", registry.db().ping()).await.err()
}

/// Requests go on without it.
fn cache_fault(registry: &Registry) -> Option<Fault> {
    let why = registry.cache().fault()?;
    Some(Fault { part: CACHE, why })
}

/// Who has a fault.
enum Whose {
    /// This node: another may do better.
    Nodes,
    /// A part that all share.
    All,
}

/// A bucket that does not answer is away for all nodes; one that is another's, or that does not let this node in, is its own mistake.
async fn store_fault(registry: &Registry) -> Option<(Fault, Whose)> {
    let store = registry.store();
    let mut whose = match store.bucket().as_deref() {
        Some(_) => Whose::All,
        None => Whose::Nodes,
    };
    let probe = async {
        let id = registry.store_id();
        let mut answer = store.probe(&id).await;
        let now = registry.store_id();
        if now != id {
            // A move has ended meanwhile.
            answer = store.probe(&now).await;
        }
        match answer {
            // Full is no reason to send clients elsewhere: pulls and deletes go on.
            Err(blob::Error::Full) => Ok(()),
            Err(
                error @ (blob::Error::Foreign { .. }
                | blob::Error::Unusable { .. }
                | blob::Error::Remote { is_ours: true, .. }),
            ) => {
                whose = Whose::Nodes;
                Err(error)
            }
            answer => answer,
        }
    };
    let fault = fault_of("storage", probe).await.err();
    fault.map(|fault| (fault, whose))
}

/// Tokens, leases and expiry go by it. SQLite has no clock but ours.
async fn clock_fault(registry: &Registry) -> Option<Fault> {
    let db = registry.db();
    if db.is_exclusive() {
        return None;
    }
    let before = db.clock().now();
    // A database that does not answer is told of already.
    let told = fault_of("database", db.now()).await.ok()?;
    let off = off_by(before, told, db.clock().now());
    (off > MOST_OFF).then(|| Fault {
        part: "clock",
        why: format!(
            "this node's clock is {} s off the database's",
            off.as_secs()
        ),
    })
}

/// How far a clock is off that told this time at some moment between the two.
fn off_by(before: Timestamp, told: Timestamp, after: Timestamp) -> Duration {
    before.since(told).max(told.since(after))
}

/// A database of this node's own on a disk that takes nothing more. (A shared one is the other nodes' matter too.)
async fn unwritable(registry: &Registry) -> Option<Fault> {
    let db = registry.db();
    if !db.is_exclusive() {
        return None;
    }
    let written = db.write(|tx| {
        Box::pin(async move {
            let now = tx.now().await?.rfc3339();
            facts::set(tx, "health.written", &now).await
        })
    });
    fault_of("database.write", written).await.err()
}

/// The process answers.
pub(crate) fn live(_: &Ask) -> Response<Body> {
    Response::new(Body::whole("ok\n"))
}

/// This node can serve. `role=vip`: it may hold the virtual address, so its own database must take writes too.
pub(crate) fn ready(ask: &Ask) -> Response<Body> {
    let vip = oci::query::first(ask.query(), "role").is_some_and(|role| role == "vip");
    let mut state = ask.app.health.state.read().clone();
    if vip {
        state.failed.append(&mut state.unfit);
    }
    let (code, status) = state.status();
    if !is_from_here(ask) {
        for fault in state.failed.iter_mut().chain(&mut state.degraded) {
            fault.why.clear();
        }
    }
    let body = Readiness {
        status,
        failed: state.failed,
        degraded: state.degraded,
    };
    let mut response = Response::new(Body::whole(serde_json::to_vec(&body).unwrap_or_default()));
    *response.status_mut() = code;
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// For a listener of its own, for this machine, and for administrators.
pub(crate) async fn metrics(ask: &Ask, notes: &mut Notes) -> Response<Body> {
    match may_read_metrics(ask, notes).await {
        Ok(true) => {}
        Ok(false) => {
            let mut response = error::plain(
                StatusCode::UNAUTHORIZED,
                "UNAUTHORIZED",
                "metrics are for administrators: sign in, or ask from this machine",
            );
            response.headers_mut().insert(
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static("Basic realm=\"harbor\""),
            );
            return response;
        }
        Err(failed) => return error::answer(&failed, Dialect::Harbor, ask.request_id.as_str()),
    }
    let Some(render) = &ask.app.metrics else {
        return error::plain(
            StatusCode::NOT_FOUND,
            "NOT_FOUND",
            "metrics are switched off",
        );
    };
    let mut response = Response::new(Body::whole(render()));
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8"),
    );
    response
}

async fn may_read_metrics(ask: &Ask, notes: &mut Notes) -> model::Result<bool> {
    if is_from_here(ask) {
        return Ok(true);
    }
    let (caller, _) = ask.identify(notes).await?;
    Ok(caller.is_admin() && caller.via != Via::Bearer)
}

/// From the listener for metrics or from this machine. What a proxy on this machine passes on is not, though nobody declared
/// the proxy.
fn is_from_here(ask: &Ask) -> bool {
    ask.connection.as_ref().is_some_and(|connection| {
        let is_local = connection
            .remote
            .is_some_and(|remote| remote.ip().to_canonical().is_loopback());
        let is_passed_on = connection.trusted
            || headers::OF_PROXIES
                .iter()
                .any(|name| ask.head.headers.contains_key(name));
        connection.metrics_only || is_local && !is_passed_on
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_off_by_what_the_way_to_it_does_not_explain() {
        for (before, told, after, off) in [
            (100, 100, 100, 0),
            (100, 103, 105, 0),
            (100, 94, 105, 6),
            (100, 112, 105, 7),
        ] {
            let [before, told, after] = [before, told, after].map(|s| Timestamp(s * 1_000_000));
            assert_eq!(off_by(before, told, after), Duration::from_secs(off));
        }
    }
}
