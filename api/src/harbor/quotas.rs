//! Quotas: how much each project may hold, and how much it does. Only storage is limited.

use db::{
    query::Within,
    quotas::{self, LIST, Quota as Row, UNLIMITED},
};
use model::{
    Error as Cause, What,
    id::{ProjectId, QuotaId},
    job::Job,
    settings::MOST_BYTES,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    answer::{Done, Listed},
    call::Call,
    error::Result,
    input::{Json, Query},
    page::Wanted,
    projects::Storage,
};

#[derive(Serialize, JsonSchema)]
pub(super) struct Quota {
    id: i64,
    #[serde(rename = "ref")]
    of: QuotaRefObject,
    /// -1 without a limit.
    hard: Storage,
    used: Storage,
    creation_time: String,
    update_time: String,
}

/// The project.
#[derive(Serialize, JsonSchema)]
pub(super) struct QuotaRefObject {
    id: i64,
    name: String,
    owner_name: String,
}

impl From<Row> for Quota {
    fn from(row: Row) -> Self {
        Self {
            id: row.id.0,
            of: QuotaRefObject {
                id: row.project.0,
                name: row.project_name,
                owner_name: row.owner_name.unwrap_or_default(),
            },
            hard: Storage { storage: row.hard },
            used: Storage { storage: row.used },
            creation_time: row.created_at.rfc3339(),
            update_time: row.updated_at.rfc3339(),
        }
    }
}

#[derive(Deserialize, JsonSchema)]
pub(super) struct ListQuotas {
    /// `project`, or nothing: there are no others.
    #[serde(default)]
    reference: String,
    /// The project's number.
    #[serde(default)]
    reference_id: String,
}

/// `q` and `sort` know `hard.storage` and `used.storage`.
pub(super) async fn list(call: Call, Query(asked): Query<ListQuotas>) -> Result<Listed<Quota>> {
    let Wanted { listing, page } = call.wanted()?;
    let project = asked.reference_id.parse().map(ProjectId);
    let within = match (
        asked.reference.as_str(),
        asked.reference_id.as_str(),
        project,
    ) {
        ("" | "project", "", _) => Within::all(),
        ("" | "project", _, Ok(project)) => quotas::of(project),
        _ => Within::all().and("FALSE", []),
    };
    let selection = LIST.select(&listing, within)?;
    call.listed(selection, page, None, Quota::from).await
}

pub(super) async fn get(call: Call) -> Result<Json<Quota>> {
    let id = QuotaId(call.number("id")?);
    let row = quotas::get(&mut *call.reader().await?, id).await?;
    Ok(Json(row.into()))
}

#[derive(Deserialize, JsonSchema)]
pub(super) struct QuotaUpdateReq {
    hard: Storage,
}

pub(super) async fn update(call: Call, Json(asked): Json<QuotaUpdateReq>) -> Result<Done> {
    let id = QuotaId(call.number("id")?);
    let hard = asked.hard.storage;
    if hard != UNLIMITED && !(1..=MOST_BYTES).contains(&hard) {
        return Err(Cause::invalid(
            What::Quota,
            format!("`hard.storage` must be -1 for no limit, or 1 to {MOST_BYTES} bytes"),
        )
        .into());
    }
    let db = call.db();
    let updated = db.write(move |tx| {
        Box::pin(async move {
            let quota = quotas::get(tx, id).await?;
            let now = tx.now().await?;
            quotas::set_hard(tx, &quota, hard, now).await
        })
    });
    updated.await?;
    Ok(Done)
}

/// What all projects use is counted anew by a job. Nothing needs to be read-only meanwhile, as it is with Harbor.
pub(super) async fn recount(call: Call) -> Result<Done> {
    if !call.caller.is_admin() {
        return Err(super::access::refused(&call));
    }
    let db = call.db();
    let enqueued = db.write(|tx| {
        Box::pin(async move {
            let now = tx.now().await?;
            db::jobs::enqueue(tx, &Job::Recount {}, now, now).await
        })
    });
    enqueued.await?;
    Ok(Done)
}
