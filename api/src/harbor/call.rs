//! What a handler is given: who asks, where, and the house behind it.

use std::sync::Arc;

use auth::{Caller, Rights, attempts};
use db::{Db, Reader};
use http::HeaderName;
use model::{id::ProjectId, settings::Settings, time::Timestamp};
use oci::name::RepoName;
use registry::Registry;

use super::{
    error::{Error, Result},
    page::Asked,
    route::Params,
};
use crate::{app::App, request::Ask};

/// A request that may go on.
pub(crate) struct Call {
    ask: Arc<Ask>,
    pub(crate) caller: Caller,
    /// Where the path names a project.
    pub(super) place: Option<Place>,
    params: Params,
}

/// The project that the path names, and what the caller may do there.
pub(crate) struct Place {
    pub(crate) name: String,
    pub(crate) rights: Rights,
}

impl Call {
    pub(super) fn new(ask: Arc<Ask>, caller: Caller, params: Params) -> Self {
        Self {
            ask,
            caller,
            place: None,
            params,
        }
    }

    pub(crate) fn app(&self) -> &App {
        &self.ask.app
    }

    pub(crate) fn ask(&self) -> &Ask {
        &self.ask
    }

    /// The database, with the caller as whoever writes.
    pub(crate) fn db(&self) -> Db {
        self.app()
            .registry
            .db()
            .by(self.ask.actor(&self.caller.subject))
    }

    /// The registry, with the caller as whoever changes it.
    pub(crate) fn registry(&self) -> Registry {
        self.ask.registry(&self.caller.subject)
    }

    /// A connection to read with.
    pub(crate) async fn reader(&self) -> Result<Reader> {
        Ok(self.app().registry.db().reader().await?)
    }

    /// The settings as they are now. On PostgreSQL a query: for whoever needs one.
    pub(crate) async fn settings(&self) -> Result<Arc<Settings>> {
        Ok(self.app().registry.db().settings().await?)
    }

    /// When the request came.
    pub(crate) fn now(&self) -> Timestamp {
        self.ask.time
    }

    pub(crate) fn header(&self, name: HeaderName) -> Option<&str> {
        self.ask.header(name)
    }

    /// A variable of the path; the route has it.
    pub(crate) fn param(&self, name: &str) -> &str {
        self.find_param(name).unwrap_or_default()
    }

    pub(crate) fn find_param(&self, name: &str) -> Option<&str> {
        let found = self.params.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// A variable of the path that is a number.
    pub(crate) fn number(&self, name: &str) -> Result<i64> {
        let told = self.param(name);
        told.parse().map_err(|_| {
            let shown: String = told.chars().take(100).collect();
            Error::Unprocessable(format!("{name} in path must be of type int64: \"{shown}\""))
        })
    }

    /// The project of the path, on routes that ask for a right in it.
    pub(crate) fn place(&self) -> &Place {
        self.place
            .as_ref()
            .expect("a route with a right in a project names one in its path")
    }

    pub(crate) fn project(&self) -> ProjectId {
        self.place().rights.project
    }

    /// The full name of the repository of the path. Harbor's clients escape it twice; once suffices where nothing decodes it on the way.
    pub(crate) fn repository(&self) -> Result<RepoName> {
        let told = super::route::unescaped(self.param("repository_name"));
        let full = format!("{}/{told}", self.place().name);
        full.parse::<RepoName>().map_err(|error| {
            model::Error::invalid(
                model::What::Repository,
                format!("invalid repository name: {error}"),
            )
            .into()
        })
    }

    /// Counts what a stranger asks for by his address; an error tells him to wait.
    pub(crate) async fn count(&self, what: &'static str) -> Result<()> {
        let from = self.ask.client();
        let db = self.db();
        let counted = db.write(move |tx| {
            Box::pin(async move {
                let now = tx.now().await?;
                attempts::ask(tx, what, from, now).await
            })
        });
        Ok(counted.await?)
    }

    /// What the answer must know of the request.
    pub(super) fn asked(&self) -> Asked {
        Asked::new(&self.ask)
    }
}
