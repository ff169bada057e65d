//! `seawall serve`: everything that runs until the process is told to stop, and how it stops.

use std::sync::Arc;

use anyhow::{Context, Result};
use api::{Api, App, admission::Admission, health::Health};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    boot::{self, DataDir, Opened},
    config::Config,
    control::Control,
    listen::{self, Bound, Stop, Tls},
    telemetry::Telemetry,
};

/// Runs the server. Answers when it has drained.
pub async fn run(config: Config, telemetry: Arc<Telemetry>) -> Result<()> {
    let opened = boot::open(&config).await?;
    let listeners = listen::open(config.listening())?;
    let first = listeners.bound().first().map(url);
    let stop = Stop {
        shutdown: CancellationToken::new(),
        cut: CancellationToken::new(),
    };
    let tasks = TaskTracker::new();
    let background = CancellationToken::new();
    let app = Arc::new(app(&config, &opened, &telemetry));

    app.health.look(&opened.registry, &opened.store_id).await;
    tasks.spawn(app.health.clone().watch(
        opened.registry.clone(),
        opened.store_id.clone(),
        background.clone(),
    ));
    jobs::Runner::start(
        opened.registry.clone(),
        &tasks,
        background.clone(),
        job_config(&config),
    );
    let control = Control::open(
        DataDir::socket(&opened.data.path),
        opened.registry.clone(),
        opened.auth.clone(),
    )?;
    tasks.spawn(control.serve(background.clone()));
    let reload = Reload {
        telemetry,
        tls: listeners.tls().cloned(),
    };
    tasks.spawn(watch_signals(
        stop.clone(),
        background.clone(),
        app.health.clone(),
        reload,
    )?);

    announce(first.as_deref(), opened.new_password.as_deref());
    listeners.serve(Api::new(app), stop).await;

    tracing::info!("drained, stopping");
    background.cancel();
    tasks.close();
    tasks.wait().await;
    opened.registry.db().close().await;
    Ok(())
}

fn app(config: &Config, opened: &Opened, telemetry: &Arc<Telemetry>) -> App {
    let metrics = telemetry.clone();
    App {
        registry: opened.registry.clone(),
        auth: opened.auth.clone(),
        config: api::Config {
            external_url: config.server.external_url.as_ref().map(ToString::to_string),
            body_idle: config.limits.body_idle,
        },
        admission: Admission::new(
            config.limits.uploads,
            config.limits.downloads,
            config.limits.requests,
        ),
        health: Arc::new(Health::new()),
        access: telemetry.access_log(),
        metrics: config
            .metrics
            .enabled
            .then(|| -> Box<dyn Fn() -> String + Send + Sync> {
                Box::new(move || metrics.metrics.render())
            }),
    }
}

fn job_config(config: &Config) -> jobs::Config {
    let intervals = jobs::schedule::Intervals {
        collect: config.gc.interval,
        ..jobs::schedule::Intervals::default()
    };
    jobs::Config {
        intervals,
        ..jobs::Config::default()
    }
}

/// What SIGHUP brings up to date.
struct Reload {
    telemetry: Arc<Telemetry>,
    tls: Option<Arc<Tls>>,
}

impl Reload {
    /// Log files are opened anew; certificates are read again, and broken ones leave the old in use.
    async fn run(&self) {
        self.telemetry.reopen();
        let Some(tls) = self.tls.clone() else { return };
        match tokio::task::spawn_blocking(move || tls.reload()).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::error!(
                error = format!("{error:#}"),
                "certificates were not reloaded"
            ),
            Err(error) => tracing::error!(%error, "certificates were not reloaded"),
        }
    }
}

/// The first SIGTERM or SIGINT begins the drain, a second one ends it at once; SIGHUP reloads.
fn watch_signals(
    stop: Stop,
    end: CancellationToken,
    health: Arc<Health>,
    reload: Reload,
) -> Result<impl Future<Output = ()> + Send> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot watch SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot watch SIGINT")?;
    let mut hangup = signal(SignalKind::hangup()).context("cannot watch SIGHUP")?;
    Ok(async move {
        loop {
            tokio::select! {
                () = end.cancelled() => return,
                _ = hangup.recv() => {
                    reload.run().await;
                    continue;
                }
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if stop.shutdown.is_cancelled() {
                stop.cut.cancel();
            } else {
                tracing::info!("asked to stop: draining");
                health.drain();
                stop.shutdown.cancel();
            }
        }
    })
}

/// What a person who started the server waits for. The password is shown this once.
#[expect(
    clippy::print_stdout,
    reason = "the contract with scripts: one line with the URL when the server is ready"
)]
fn announce(url: Option<&str>, password: Option<&str>) {
    if let Some(password) = password {
        println!(
            "First start: sign in as user `{}` with password `{password}`. It is not shown again.",
            boot::ADMIN
        );
    }
    println!(
        "Seawall {} is ready at {}",
        env!("CARGO_PKG_VERSION"),
        url.unwrap_or("no address")
    );
}

/// An address that a person can click: the wildcard addresses are shown as this machine.
fn url(bound: &Bound) -> String {
    let scheme = if bound.is_tls() { "https" } else { "http" };
    let address = bound.address;
    if address.ip().is_unspecified() {
        format!("{scheme}://localhost:{}", address.port())
    } else {
        format!("{scheme}://{address}")
    }
}
