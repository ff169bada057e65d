//! Whose the tree is, from the first step of an import to its end: database and store belong together, the import's repository
//! holds what was adopted, and a fact says how far all that is.

use blob::Store;
use db::{
    Db, Tx,
    blobs::{self, State, adopted},
    facts, projects,
    repositories::{self, Repository},
    store_id, trash,
};
use model::{
    Error, Result, What,
    error::internal,
    id::{BlobId, UserId, new_uid},
};
use oci::name::RepoName;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::{NO_TREE, PROJECT, REPOSITORY, Rules, Source};
use crate::{Registry, fsck::expect_unserved, moving::refuse_left, store_error};

/// Links that are let go of in one transaction, and contents asked about in one query.
const BATCH: i64 = 500;
/// Who owns projects that an import makes: the first administrator.
pub(super) const OWNER: UserId = UserId(1);

/// What the database says of the import.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Import {
    pub source: Source,
    pub begun_at: String,
    /// When a run last came to its end and had seen everything.
    pub complete_at: Option<String>,
    /// It was declared finished, and what it holds is being let go of: nothing is added any more.
    #[serde(default)]
    pub is_ending: bool,
    pub finished_at: Option<String>,
}

/// How an import stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportStatus {
    #[serde(flatten)]
    pub import: Import,
    /// Contents that the import holds, and their bytes.
    pub held: u64,
    pub held_bytes: u64,
    /// Of these, what nothing else keeps: it goes with the first collection after the end of the import.
    pub unneeded: u64,
    pub unneeded_bytes: u64,
    /// Contents that nobody has read yet.
    pub unread: u64,
    pub unread_bytes: u64,
    /// Contents that are missing or damaged, and are not served.
    pub lost: u64,
}

/// Before the first step: a tree that is nobody's is to belong to this database. Refuses a store without a tree, another's, one that cannot be
/// written, and a database that has contents in another store or is served from it. Answers the identity that the store has.
pub async fn prepare(db: &Db, store: &Store) -> Result<Option<String>> {
    let found = store.identity().await.map_err(store_error)?;
    if found.is_none() && !store.holds_tree().await.map_err(store_error)? {
        return Err(Error::Precondition(NO_TREE.to_owned()));
    }
    let identity = found.clone();
    let checked = db.write(move |tx| {
        let found = found.clone();
        Box::pin(async move { to_become(tx, found).await.map(|_| ()) })
    });
    checked.await?;
    store.try_write().await.map_err(store_error)?;
    Ok(identity)
}

/// The identity that the database is to get with the store, which carries this one; none where it has it already.
async fn to_become(tx: &mut Tx, found: Option<String>) -> Result<Option<String>> {
    let known = store_id::lock(tx).await?;
    if let Some(found) = &found {
        if known.id.as_ref() == Some(found) {
            return Ok(None);
        }
        refuse_left(found)?;
        if !known.tried.contains(found) {
            return Err(Error::Precondition(format!(
                "the store belongs to another database (`{found}`): correct storage.url or database.url"
            )));
        }
    }
    if blobs::any(tx).await? {
        return Err(Error::Precondition(
            "this registry has contents in another store already: a tree is taken over by a registry that has none (a new data directory or database)".to_owned(),
        ));
    }
    expect_unserved(tx).await?;
    // The mark of a run that was killed, or of a start, stays.
    Ok(Some(found.unwrap_or_else(new_uid)))
}

impl Registry {
    /// What the database says of an import, if there was one.
    pub async fn import(&self) -> Result<Option<Import>> {
        let text = facts::find(&mut *self.db().reader().await?, facts::IMPORT).await?;
        read(text)
    }

    /// Whether an import has begun and was not declared finished.
    pub async fn is_importing(&self) -> Result<bool> {
        let import = self.import().await?;
        Ok(import.is_some_and(|import| import.finished_at.is_none()))
    }

    /// Projects that the rules name must be there, before anything is done.
    pub(super) async fn check_rules(&self, rules: &Rules) -> Result<()> {
        let mut reader = self.db().reader().await?;
        for name in rules.projects().filter(|_| !rules.create_projects) {
            if projects::find_name(&mut reader, name.as_str())
                .await?
                .is_none()
            {
                return Err(Error::not_found(
                    What::Project,
                    format!(
                        "project `{name}` not found: create it, or let --create-projects do so"
                    ),
                ));
            }
        }
        Ok(())
    }

    /// Begins an import, or goes on with it: the import's repository, and the store's identity.
    pub(super) async fn begin_import(&self, source: Source) -> Result<Repository> {
        let found = self.store().identity().await.map_err(store_error)?;
        let begun = self.db().write(move |tx| {
            let found = found.clone();
            Box::pin(async move {
                let id = to_become(tx, found).await?;
                let now = tx.now().await?;
                let before = read(facts::find(tx, facts::IMPORT).await?)?;
                let is_open = before.as_ref().is_some_and(|one| one.finished_at.is_none());
                if before.as_ref().is_some_and(|one| is_open && one.is_ending) {
                    return Err(Error::Precondition(
                        "an import is being finished: `seawall import finish` goes on with that"
                            .to_owned(),
                    ));
                }
                if let Some(other) = before.filter(|one| is_open && one.source != source) {
                    return Err(Error::Precondition(format!(
                        "an import of another kind ({}) is open: `seawall import finish` ends it",
                        other.source.as_str()
                    )));
                }
                let known = projects::find_name(tx, PROJECT).await?;
                let project = match known {
                    Some(project) if is_open => project.id,
                    Some(_) => {
                        return Err(Error::Conflict(format!(
                            "the import needs a project `{PROJECT}` of its own, and there is one: delete it first"
                        )));
                    }
                    None => {
                        let new = projects::NewProject::named(PROJECT.parse()?, OWNER);
                        projects::insert(tx, &new, now).await?
                    }
                };
                if !is_open {
                    let import = Import {
                        source,
                        begun_at: now.rfc3339(),
                        complete_at: None,
                        is_ending: false,
                        finished_at: None,
                    };
                    write(tx, &import).await?;
                }
                if let Some(id) = &id {
                    store_id::set(tx, id).await?;
                }
                let repository = repositories::ensure(tx, project, &holder(), now).await?;
                Ok((repository, id))
            })
        });
        let (repository, id) = begun.await?;
        if let Some(id) = id {
            self.store().adopt(&id).await.map_err(store_error)?;
            self.set_store_id(&id);
        }
        self.check_store().await?;
        Ok(repository)
    }

    /// A run has seen all there is.
    pub(super) async fn note_complete(&self) -> Result<()> {
        self.db()
            .write(|tx| {
                Box::pin(async move {
                    let now = tx.now().await?;
                    if let Some(mut import) = read(facts::lock(tx, facts::IMPORT).await?)? {
                        import.complete_at = Some(now.rfc3339());
                        write(tx, &import).await?;
                    }
                    Ok(())
                })
            })
            .await
    }

    /// How the import stands. Looks at each content that it holds: for a person who asks. None when there was no import.
    pub async fn import_status(&self) -> Result<Option<ImportStatus>> {
        let Some(import) = self.import().await? else {
            return Ok(None);
        };
        let mut status = ImportStatus {
            import,
            held: 0,
            held_bytes: 0,
            unneeded: 0,
            unneeded_bytes: 0,
            unread: 0,
            unread_bytes: 0,
            lost: 0,
        };
        for (state, count, bytes) in blobs::totals(&mut *self.db().reader().await?).await? {
            match state {
                State::Adopted => (status.unread, status.unread_bytes) = (count, bytes),
                State::Lost => status.lost = count,
                _ => {}
            }
        }
        let repository = repositories::find(&mut *self.db().reader().await?, REPOSITORY).await?;
        let Some(repository) = repository else {
            return Ok(Some(status));
        };
        let mut after = BlobId(0);
        loop {
            let some = {
                let mut reader = self.db().reader().await?;
                adopted::held(&mut reader, repository.id, after, BATCH).await?
            };
            let Some(last) = some.last() else {
                return Ok(Some(status));
            };
            after = last.id;
            for content in some {
                status.held += 1;
                status.held_bytes += content.size;
                if !content.is_needed {
                    status.unneeded += 1;
                    status.unneeded_bytes += content.size;
                }
            }
        }
    }

    /// Declares the import finished: what nothing names is the collector's from now on. What a run that was stopped has not let go of
    /// yet, the next one does. `progress` is told of how many contents were let go of.
    pub async fn finish_import(
        &self,
        cancel: &CancellationToken,
        progress: impl Fn(u64) + Send + Sync,
    ) -> Result<()> {
        if !self.is_importing().await? {
            return Err(Error::Precondition(
                "no import is open: there is nothing to finish".to_owned(),
            ));
        }
        self.end_import().await?;
        let mut steps = 0;
        while !self.let_go().await? {
            steps += 1;
            progress(steps * repositories::STEP as u64);
            if cancel.is_cancelled() {
                return Err(Error::Precondition(
                    "it was stopped; run it again to go on".to_owned(),
                ));
            }
        }
        Ok(())
    }

    async fn end_import(&self) -> Result<()> {
        self.db()
            .write(|tx| {
                Box::pin(async move {
                    if let Some(mut import) = read(facts::lock(tx, facts::IMPORT).await?)? {
                        import.is_ending = true;
                        write(tx, &import).await?;
                    }
                    Ok(())
                })
            })
            .await
    }

    /// One step of ending the import's repository; true after the last, with which the import is finished.
    async fn let_go(&self) -> Result<bool> {
        self.db()
            .write(|tx| {
                Box::pin(async move {
                    let now = tx.now().await?;
                    if let Some(repository) = repositories::find(tx, REPOSITORY).await?
                        && !repositories::delete_some(tx, &repository, None, now, now).await?
                    {
                        return Ok(false);
                    }
                    // Last, so that nothing is let go of before the import is over but for this.
                    if adopted::release(tx, BATCH, now).await? > 0 {
                        return Ok(false);
                    }
                    if let Some(project) = projects::find_name(tx, PROJECT).await? {
                        trash::projects::end_things(tx, project.id, now).await?;
                        projects::delete(tx, &project, now).await?;
                    }
                    if let Some(mut import) = read(facts::lock(tx, facts::IMPORT).await?)? {
                        import.finished_at = Some(now.rfc3339());
                        write(tx, &import).await?;
                    }
                    Ok(true)
                })
            })
            .await
    }

    /// The import's repository is not deleted, nor what it holds: the import would be over without anybody having said so.
    pub(crate) async fn check_not_importing(&self, name: &RepoName) -> Result<()> {
        if name.as_str() == REPOSITORY && self.is_importing().await? {
            return Err(Error::Precondition(format!(
                "`{REPOSITORY}` holds what was imported until `seawall import finish`"
            )));
        }
        Ok(())
    }
}

/// Called first by whoever adds to what the import holds: somebody else may have declared it finished. That ends the run, so it is no
/// refusal of one thing.
pub(super) async fn expect_open(tx: &mut Tx) -> Result<()> {
    let import = read(facts::hold(tx, facts::IMPORT).await?)?;
    if import.is_some_and(|import| !import.is_ending && import.finished_at.is_none()) {
        return Ok(());
    }
    Err(Error::Unavailable(anyhow::anyhow!(
        "the import was declared finished meanwhile: start it again when that has ended"
    )))
}

impl Source {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Harbor => "harbor",
        }
    }
}

fn holder() -> RepoName {
    REPOSITORY.parse().expect("a repository's name")
}

fn read(text: Option<String>) -> Result<Option<Import>> {
    text.map(|text| serde_json::from_str(&text).map_err(internal("reading how an import stands")))
        .transpose()
}

async fn write(tx: &mut Tx, import: &Import) -> Result<()> {
    let text = serde_json::to_string(import).map_err(internal("writing how an import stands"))?;
    facts::set(tx, facts::IMPORT, &text).await
}
