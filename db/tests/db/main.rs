//! Every table and both engines, on real databases. One program, so that one PostgreSQL server serves all of it.

#![expect(
    clippy::unwrap_used,
    reason = "in a test an error is a failure, wherever it comes up"
)]

/// One writing transaction. What it uses of its surroundings is named and cloned, since it may run more than once.
macro_rules! transact {
    ($db:expr, [$($name:ident),*], |$tx:ident| $body:expr) => {{
        $(let $name = $name.clone();)*
        $db.write(move |$tx| {
            $(let $name = $name.clone();)*
            Box::pin(async move { $body })
        })
        .await
    }};
    ($db:expr, |$tx:ident| $body:expr) => {
        transact!($db, [], |$tx| $body)
    };
}

mod activity;
mod adopted;
mod audit;
mod blobs;
mod consistency;
mod content;
mod content_lists;
mod deletion;
mod fixtures;
mod given;
mod group_commit;
mod jobs;
mod lists;
mod log;
mod migrations;
mod moving;
mod nodes;
mod people;
mod pgbouncer;
mod plans;
mod project_rows;
mod quotas;
mod races;
mod replicas;
mod robots;
mod scale;
mod schema;
mod settings;
mod store_id;
mod tags;
mod tls;
mod transactions;
mod uploads;
