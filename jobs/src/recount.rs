//! Counts anew what projects use and hold, one project a transaction. Whoever pushes meanwhile waits for nothing: what was wrong
//! is put right by the difference.

#[cfg(test)]
mod tests;

use db::{
    projects::{self, Project},
    recount,
};
use model::Result;

use crate::{Context, Outcome};

/// Projects looked at in one query.
const BATCH: i64 = 200;

pub(crate) async fn run(cx: &Context) -> Result<Outcome> {
    let (mut after, mut counted, mut wrong) = (String::new(), 0_u64, 0_u64);
    loop {
        let batch = projects::list(&mut *cx.db().reader().await?, &after, BATCH).await?;
        let Some(last) = batch.last() else { break };
        after.clone_from(&last.name);
        for project in batch {
            if cx.is_cancelled() {
                return Ok(Outcome::Interrupted);
            }
            counted += 1;
            wrong += u64::from(!mend(cx, &project).await?);
        }
    }
    let db = cx.db();
    let audit = db.write(|tx| Box::pin(async move { recount::mend_audit(tx, None).await }));
    let audit = audit.await?;
    if audit != 0 {
        cx.log(format!(
            "the audit: {audit:+} rows were shown than were counted"
        ))
        .await;
    }
    Ok(Outcome::Done(format!(
        "projects counted: {counted}, put right: {wrong}"
    )))
}

/// Answers whether everything was as it should be.
async fn mend(cx: &Context, project: &Project) -> Result<bool> {
    let id = project.id;
    let found = cx
        .db()
        .write(move |tx| Box::pin(async move { recount::mend(tx, id).await }))
        .await?;
    if !found.is_exact() {
        cx.log(format!("{}: {found}", project.name)).await;
    }
    Ok(found.is_exact())
}
