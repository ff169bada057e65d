//! Leases: what only one node may do at a time. Judged by the database's clock. Where that was ahead for a while, ends were
//! written which lie too far off to have been meant: those count as over.

use std::time::Duration;

use model::Result;

use crate::Tx;

/// Takes or renews a lease. True when `holder` has it until `length` from now.
pub async fn hold(tx: &mut Tx, name: &str, holder: &str, length: Duration) -> Result<bool> {
    let now = tx.now().await?;
    let held = tx
        .execute(
            "INSERT INTO leases (name, holder, until, term) VALUES ($1, $2, $3, 1)
             ON CONFLICT (name) DO UPDATE SET
                 holder = excluded.holder,
                 until  = excluded.until,
                 term   = leases.term + CASE WHEN leases.holder = excluded.holder THEN 0 ELSE 1 END
              WHERE leases.holder = excluded.holder OR leases.until < $4 OR leases.until > $5",
            &[
                name.into(),
                holder.into(),
                now.plus(length).into(),
                now.into(),
                now.plus(length * 2).into(),
            ],
        )
        .await?;
    Ok(held > 0)
}

/// Gives a lease back, so that another need not wait for its end.
pub async fn release(tx: &mut Tx, name: &str, holder: &str) -> Result<()> {
    tx.execute(
        "DELETE FROM leases WHERE name = $1 AND holder = $2",
        &[name.into(), holder.into()],
    )
    .await
    .map(|_| ())
}

/// Whether something that happens every so often is due, and if so, notes that it is not until `every` from now: of all nodes
/// that ask one hears yes, and what was missed while nobody asked is due once. What lies more than two intervals off was
/// written by a clock that was ahead, or when the interval was longer. One interval off is ordinary: of two who ask at once
/// the second may have read the clock first.
pub async fn is_due(tx: &mut Tx, name: &str, every: Duration) -> Result<bool> {
    let now = tx.now().await?;
    let node = tx.node();
    let due = tx
        .execute(
            "INSERT INTO leases (name, holder, until, term) VALUES ($1, $2, $3, 1)
             ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, until = excluded.until, term = leases.term + 1
              WHERE leases.until <= $4 OR leases.until > $5",
            &[
                name.into(),
                (&*node).into(),
                now.plus(every).into(),
                now.into(),
                now.plus(every * 2).into(),
            ],
        )
        .await?;
    Ok(due > 0)
}
