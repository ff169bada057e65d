//! `/livez`, `/readyz` and `/metrics`. Readiness is answered from a state that a task checks every few seconds, so a hung
//! disk or database holds up no answer.

use std::{sync::Arc, time::Duration};

use http::{HeaderValue, Response, StatusCode, header};
use model::Result;
use parking_lot::RwLock;
use registry::Registry;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::{
    body::Body,
    error::{self, Dialect},
    identity::identify,
    service::Ask,
};

/// Between two looks.
const EVERY: Duration = Duration::from_secs(2);
/// A part that does not answer in this time is taken as away.
const PATIENCE: Duration = Duration::from_secs(5);

/// What this node knows of itself.
#[derive(Debug, Default)]
pub struct Health {
    state: RwLock<State>,
}

#[derive(Debug, Clone, Default, Serialize)]
struct State {
    /// Parts of this node alone that do not work: it should get no requests.
    failed: Vec<Fault>,
    /// Parts that all nodes share and that are away: another node would fare no better.
    degraded: Vec<Fault>,
    starting: bool,
    draining: bool,
}

#[derive(Debug, Clone, Serialize)]
struct Fault {
    part: &'static str,
    why: String,
}

#[derive(Serialize)]
struct Readiness<'a> {
    status: &'static str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    failed: &'a [Fault],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    degraded: &'a [Fault],
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

    /// Looks once.
    pub async fn look(&self, registry: &Registry, store_id: &str) {
        let (database, store) =
            tokio::join!(database_fault(registry), store_fault(registry, store_id));
        let (mut failed, mut degraded) = (Vec::new(), Vec::new());
        // A PostgreSQL server is shared by all nodes, an SQLite file and a directory belong to this one.
        if let Some(fault) = database {
            if registry.db().is_exclusive() {
                failed.push(fault);
            } else {
                degraded.push(fault);
            }
        }
        failed.extend(store);
        let mut state = self.state.write();
        for fault in failed.iter().chain(&degraded) {
            let known = state
                .failed
                .iter()
                .chain(&state.degraded)
                .any(|before| before.part == fault.part);
            if !known {
                tracing::error!(part = fault.part, why = %fault.why, "a part of this node does not work");
            }
        }
        for before in state.failed.iter().chain(&state.degraded) {
            if !failed
                .iter()
                .chain(&degraded)
                .any(|fault| fault.part == before.part)
            {
                tracing::info!(part = before.part, "works again");
            }
        }
        metrics::gauge!("seawall_ready").set(if failed.is_empty() && !state.draining {
            1.0
        } else {
            0.0
        });
        *state = State {
            failed,
            degraded,
            starting: false,
            draining: state.draining,
        };
    }

    /// Looks again and again until told to end.
    pub async fn watch(
        self: Arc<Self>,
        registry: Registry,
        store_id: String,
        end: CancellationToken,
    ) {
        loop {
            self.look(&registry, &store_id).await;
            tokio::select! {
                () = end.cancelled() => return,
                () = tokio::time::sleep(EVERY) => {}
            }
        }
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

async fn database_fault(registry: &Registry) -> Option<Fault> {
    let why = match tokio::time::timeout(PATIENCE, registry.db().ping()).await {
        Ok(Ok(())) => return None,
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("no answer within {} s", PATIENCE.as_secs()),
    };
    Some(Fault {
        part: "database",
        why,
    })
}

async fn store_fault(registry: &Registry, store_id: &str) -> Option<Fault> {
    let why = match tokio::time::timeout(PATIENCE, registry.store().probe(store_id)).await {
        // Full is no reason to send clients elsewhere: pulls and deletes go on.
        Ok(Ok(()) | Err(blob::Error::Full)) => return None,
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("no answer within {} s", PATIENCE.as_secs()),
    };
    Some(Fault {
        part: "storage",
        why,
    })
}

/// The process answers.
pub(crate) fn live(_: &Ask) -> Response<Body> {
    Response::new(Body::whole("ok\n"))
}

/// This node can serve. `role=vip`: it may hold the virtual address, so a shared database must be there too.
pub(crate) fn ready(ask: &Ask) -> Response<Body> {
    let vip = oci::query::first(ask.query(), "role").is_some_and(|role| role == "vip");
    let state = ask.app.health.state.read().clone();
    let (code, status) = match &state {
        State { draining: true, .. } => (StatusCode::SERVICE_UNAVAILABLE, "draining"),
        State { starting: true, .. } => (StatusCode::SERVICE_UNAVAILABLE, "starting"),
        State { failed, .. } if !failed.is_empty() => (StatusCode::SERVICE_UNAVAILABLE, "failed"),
        State { degraded, .. } if degraded.is_empty() => (StatusCode::OK, "ready"),
        _ if vip && ask.app.registry.db().is_exclusive() => {
            (StatusCode::SERVICE_UNAVAILABLE, "degraded")
        }
        _ => (StatusCode::OK, "degraded"),
    };
    let body = Readiness {
        status,
        failed: &state.failed,
        degraded: &state.degraded,
    };
    let mut response = Response::new(Body::whole(serde_json::to_vec(&body).unwrap_or_default()));
    *response.status_mut() = code;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// For a listener of its own, for this machine, and for administrators.
pub(crate) async fn metrics(ask: &mut Ask) -> Response<Body> {
    match may_read_metrics(ask).await {
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

async fn may_read_metrics(ask: &mut Ask) -> Result<bool> {
    let here = ask.connection.as_ref().is_some_and(|connection| {
        connection.metrics_only
            || connection.remote.is_some_and(|remote| {
                remote.ip().to_canonical().is_loopback() && !connection.trusted
            })
    });
    if here {
        return Ok(true);
    }
    let (caller, _) = identify(
        &ask.app.auth,
        &ask.head.headers,
        ask.connection.as_ref(),
        ask.app.registry.db().clock().now(),
    )
    .await?;
    ask.identity = caller.is_authenticated().then(|| caller.name().into());
    Ok(caller.is_admin())
}
