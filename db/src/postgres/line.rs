//! One connection to PostgreSQL, and how long it may take to answer.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use model::{Result, error::internal, time::Timestamp};
use tokio::task::JoinHandle;
use tokio_postgres::{
    NoTls, SimpleQueryMessage,
    types::{ToSql, Type},
};
use tokio_postgres_rustls::MakeRustlsConnect;
use tokio_util::task::TaskTracker;

use super::no_answer;
use crate::{
    errors::postgres_error,
    value::{Row, Value},
};

/// The server ends a writer's statement that takes too long, and says so; only when it is silent do we.
const GRACE: Duration = Duration::from_secs(1);

pub(crate) struct Line {
    client: tokio_postgres::Client,
    task: JoinHandle<()>,
    patience: Duration,
    /// An answer did not come in time, so that nobody should wait behind it; or a transaction was left open.
    broken: AtomicBool,
    /// Which of a counter's rows it adds to.
    pub(super) slot: i64,
    tls: Option<MakeRustlsConnect>,
    tasks: TaskTracker,
}

impl Line {
    pub(super) fn new(
        client: tokio_postgres::Client,
        task: JoinHandle<()>,
        patience: Duration,
        tls: Option<MakeRustlsConnect>,
        tasks: TaskTracker,
        slot: i64,
    ) -> Self {
        Self {
            client,
            task,
            patience: patience + GRACE,
            broken: AtomicBool::new(false),
            slot,
            tls,
            tasks,
        }
    }

    pub(super) fn is_usable(&self) -> bool {
        !self.client.is_closed() && !self.broken.load(Ordering::Relaxed)
    }

    /// From now on it is closed rather than used again.
    pub(super) fn give_up(&self) {
        self.broken.store(true, Ordering::Relaxed);
    }

    pub(crate) async fn rows<T: Send>(
        &self,
        sql: &str,
        params: &[Value<'_>],
        most: usize,
        read: impl Fn(&Row<'_>) -> Result<T> + Send,
    ) -> Result<Vec<T>> {
        let params = typed(params);
        let rows = self.within(self.client.query_typed(sql, &params)).await?;
        rows.iter()
            .take(most)
            .map(|row| read(&Row::Postgres(row)))
            .collect()
    }

    pub(crate) async fn execute(&self, sql: &str, params: &[Value<'_>]) -> Result<u64> {
        let params = typed(params);
        self.within(self.client.execute_typed(sql, &params)).await
    }

    /// Several statements, which take as long as they take.
    pub(crate) async fn batch(&self, sql: &str) -> Result<()> {
        self.client.batch_execute(sql).await.map_err(postgres_error)
    }

    /// Several statements, the last of which tells the time.
    pub(super) async fn begin(&self, sql: &str) -> Result<Timestamp> {
        let told = self.within(self.client.simple_query(sql)).await?;
        let row = told.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0),
            _ => None,
        });
        row.unwrap_or_default()
            .parse()
            .map(Timestamp)
            .map_err(internal("PostgreSQL did not tell the time"))
    }

    pub(super) async fn end(&self, sql: &'static str) -> Result<()> {
        if !self.is_usable() {
            return Err(no_answer(self.patience));
        }
        self.within(self.client.batch_execute(sql)).await
    }

    async fn within<T>(
        &self,
        answer: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T> {
        if let Ok(answer) = tokio::time::timeout(self.patience, answer).await {
            return answer.map_err(postgres_error);
        }
        self.give_up();
        self.cancel();
        Err(no_answer(self.patience))
    }

    /// Asks the server to stop what nobody waits for any more: it does not notice a closed connection while it computes.
    fn cancel(&self) {
        let (token, tls, patience) = (self.client.cancel_token(), self.tls.clone(), self.patience);
        self.tasks.spawn(async move {
            let cancelled = async {
                match tls {
                    Some(tls) => token.cancel_query(tls).await,
                    None => token.cancel_query(NoTls).await,
                }
            };
            // A server that cannot be reached for this either has nothing to stop.
            let _ = tokio::time::timeout(patience, cancelled).await;
        });
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        // An unbroken connection says good-bye by itself once its client is gone.
        if self.broken.load(Ordering::Relaxed) {
            self.task.abort();
        }
    }
}

fn typed<'a>(params: &'a [Value<'a>]) -> Vec<(&'a (dyn ToSql + Sync), Type)> {
    params
        .iter()
        .map(|value| (value as &(dyn ToSql + Sync), value.postgres_type()))
        .collect()
}
