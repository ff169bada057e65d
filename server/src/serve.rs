//! `seawall serve`: everything that runs until the process is told to stop, and how it stops.

use std::{io::Write, sync::Arc, time::Duration};

use anyhow::{Context, Result, bail};
use api::{Api, App, Measures, admission::Admission, health::Health};
use http::HeaderValue;
use jobs::forward::Forwarder;
use outbound::{Outbound, Trust};
use registry::Registry;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
    task::JoinHandle,
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    boot::{self, DataDir, Opened},
    config::Config,
    control::Control,
    listen::{self, Bound, Stop, Tls},
    moving::Mover,
    presence::{self, Own, Presence, Told, Verdict},
    starting::Front,
    telemetry::Telemetry,
};

/// For requests that were cut at the end of the drain, and for everything when a person asks twice.
const SETTLE: Duration = Duration::from_secs(2);
/// For all that still runs after the last answer: such requests, jobs, the database's last rows.
const LAST_WORK: Duration = Duration::from_secs(5);

/// Runs the server. Answers when it has drained.
pub async fn run(config: Config, outbound: Outbound, telemetry: Arc<Telemetry>) -> Result<()> {
    let data = DataDir::open(&config)?;
    let listening = config.listening();
    if let Some(what) = listening.without_effect() {
        tracing::warn!("{what}");
    }
    // Before anything is made: a first start that fails must not keep the password to itself.
    let mut listeners = listen::open(listening)?;
    listeners.tell(telemetry.access_log());
    let first = listeners.bound().first().map(url);
    let addresses = addresses(listeners.bound());
    let stop = Stop {
        shutdown: CancellationToken::new(),
        cut: CancellationToken::new(),
    };
    let health = Arc::new(Health::new());
    let signals = TaskTracker::new();
    let reload = Reload {
        telemetry: telemetry.clone(),
        tls: listeners.tls().cloned(),
        trust: outbound.trust().clone(),
    };
    signals.spawn(watch_signals(
        stop.clone(),
        health.clone(),
        Arc::new(reload),
        signals.clone(),
    )?);
    let front = Front::default();
    let serving = signals.spawn(listeners.serve(front.clone(), stop.clone()));
    // A drain may begin meanwhile: a migration that is not over by then is undone with the process.
    let opening = stop
        .shutdown
        .run_until_cancelled(Box::pin(boot::open(&config, data, &outbound)))
        .await;
    let Some(opened) = opening.transpose()? else {
        tracing::info!("asked to stop before the registry was open");
        return Ok(());
    };
    if let Some(password) = &opened.new_password {
        show(&format!(
            "First start: sign in as user `{}` with password `{password}`. It is not shown again.",
            boot::ADMIN
        ));
    }
    let config = opened.config.clone();
    let mover = Arc::new(Mover::new(&opened, outbound.clone(), true));
    let app = Arc::new(app(&config, &opened, outbound, &telemetry, health));
    let own = Own {
        addresses,
        workers: config.jobs.workers,
        settings: config.shared(),
    };
    let background = opened.registry.in_background();
    let entering = Presence::enter(&background, &opened.data.path, own);
    let Some(presence) = stop.shutdown.run_until_cancelled(entering).await else {
        tracing::info!("asked to stop before this node had its name");
        return Ok(());
    };
    let verdict = Verdict::default();
    let background = Background::start(&config, &opened, &app, presence?, &verdict, mover).await?;
    signals.spawn(end_at_once(verdict.clone(), stop.clone()));
    front.open(Api::new(app.clone()));
    show(&format!(
        "Seawall {} is ready at {}",
        env!("CARGO_PKG_VERSION"),
        first.as_deref().unwrap_or("no address")
    ));

    serving.await.context("the listeners ended in a panic")?;
    tracing::info!("drained, stopping");
    // A dead disk or database must not keep the process, nor a person who asks twice.
    let patience = async {
        tokio::select! {
            () = sleep(LAST_WORK) => {}
            () = async { stop.cut.cancelled().await; sleep(SETTLE).await } => {}
        }
    };
    tokio::select! {
        biased;
        () = background.end(&app.writes, &opened.registry) => {}
        () = patience => tracing::warn!("stopped before all work in the background had ended"),
    }
    if let Some(why) = verdict.why() {
        bail!("{why}");
    }
    Ok(())
}

/// Nothing is waited for.
async fn end_at_once(verdict: Verdict, stop: Stop) {
    verdict.passed().await;
    tracing::error!(why = verdict.why(), "this process has to end");
    stop.shutdown.cancel();
    stop.cut.cancel();
}

/// What runs beside the requests.
struct Background {
    tasks: TaskTracker,
    end: CancellationToken,
}

impl Background {
    async fn start(
        config: &Config,
        opened: &Opened,
        app: &App,
        presence: Presence,
        verdict: &Verdict,
        mover: Arc<Mover>,
    ) -> Result<Self> {
        let (tasks, end) = (TaskTracker::new(), CancellationToken::new());
        tasks.spawn(opened.registry.cache().clone().keep(end.clone()));
        app.health.look(&opened.registry).await;
        tasks.spawn(
            app.health
                .clone()
                .watch(opened.registry.clone(), end.clone()),
        );
        let post = jobs::Post {
            auth: opened.auth.clone(),
            trust: app.outbound.trust().clone(),
            external_url: app.config.external_url.clone(),
        };
        let (drain, drained) = watch::channel(false);
        let told = Told {
            auth: opened.auth.clone(),
            registry: opened.registry.in_background(),
            health: app.health.clone(),
            drained: drain,
            verdict: verdict.clone(),
        };
        tasks.spawn(presence.keep(told, end.clone()));
        let jobs = job_config(config);
        jobs::Runner::start(&opened.registry, post, &tasks, end.clone(), drained, jobs);
        tasks.spawn(opened.registry.in_background().tell_activity(end.clone()));
        Forwarder::start(
            opened.registry.db(),
            app.outbound.trust(),
            &tasks,
            end.clone(),
        );
        let control = Control::open(
            DataDir::socket(&opened.data.path),
            opened.registry.clone(),
            opened.auth.clone(),
            opened.forget,
            mover.clone(),
        )?;
        tasks.spawn(mover.run(end.clone()));
        tasks.spawn(control.serve(end.clone()));
        Ok(Self { tasks, end })
    }

    /// Uploads that were cut put aside what came, jobs give their leases back; then the database is closed.
    async fn end(self, writes: &TaskTracker, registry: &Registry) {
        self.end.cancel();
        writes.close();
        if timeout(SETTLE, writes.wait()).await.is_err() {
            tracing::warn!(
                requests = writes.len(),
                "requests that write did not come to their end"
            );
        }
        self.tasks.close();
        self.tasks.wait().await;
        if let Err(error) = registry.flush_activity().await {
            tracing::warn!(%error, "the last pulls and pushes were not counted");
        }
        registry.db().close().await;
    }
}

fn app(
    config: &Config,
    opened: &Opened,
    outbound: Outbound,
    telemetry: &Arc<Telemetry>,
    health: Arc<Health>,
) -> App {
    let metrics = telemetry.clone();
    App {
        registry: opened.registry.clone(),
        auth: opened.auth.clone(),
        outbound,
        config: api::Config {
            external_url: config.server.external_url.as_ref().map(ToString::to_string),
            body_idle: config.limits.body_idle,
            forget: opened.forget,
            redirect_clients: config.storage.redirect_clients.clone(),
            node: config
                .server
                .node_header
                .then(|| HeaderValue::from_str(&config.server.node).ok())
                .flatten(),
        },
        admission: Admission::new(
            config.limits.uploads,
            config.limits.downloads,
            config.limits.requests,
        ),
        health,
        writes: TaskTracker::new(),
        measures: Measures::default(),
        access: telemetry.access_log(),
        metrics: config
            .metrics
            .enabled
            .then(|| -> Box<dyn Fn() -> String + Send + Sync> {
                Box::new(move || metrics.metrics.render())
            }),
        authority: listen::authority(&config.tls),
    }
}

fn job_config(config: &Config) -> jobs::Config {
    let intervals = jobs::schedule::Intervals {
        collect: config.gc.interval,
        scrub: (config.scrub.rate > 0).then_some(jobs::schedule::SCRUB),
        ..jobs::schedule::Intervals::default()
    };
    jobs::Config {
        workers: config.jobs.workers,
        intervals,
        audit_keep: (!config.audit.keep.is_zero()).then_some(config.audit.keep),
        ..jobs::Config::default()
    }
}

/// What SIGHUP brings up to date.
struct Reload {
    telemetry: Arc<Telemetry>,
    tls: Option<Arc<Tls>>,
    trust: Trust,
}

impl Reload {
    /// Log files are opened anew; certificates are read again, and broken ones leave the old in use.
    async fn run(&self) {
        self.telemetry.reopen();
        let trust = self.trust.clone();
        if let Err(error) = tokio::task::spawn_blocking(move || trust.reload()).await {
            tracing::error!(%error, "certificate authorities were not reloaded");
        }
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

/// The first SIGTERM or SIGINT begins the drain, a second one ends it at once; SIGHUP reloads. Heard until the process ends.
fn watch_signals(
    stop: Stop,
    health: Arc<Health>,
    reload: Arc<Reload>,
    tasks: TaskTracker,
) -> Result<impl Future<Output = ()> + Send> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot watch SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot watch SIGINT")?;
    let mut hangup = signal(SignalKind::hangup()).context("cannot watch SIGHUP")?;
    Ok(async move {
        let mut reloading: Option<JoinHandle<()>> = None;
        loop {
            tokio::select! {
                _ = hangup.recv() => {
                    // Beside this loop, and one at a time: certificates may lie on a mount that hangs.
                    if reloading.as_ref().is_none_or(JoinHandle::is_finished) {
                        let reload = reload.clone();
                        reloading = Some(tasks.spawn(async move { reload.run().await }));
                    } else {
                        tracing::warn!("still reloading: SIGHUP is passed over");
                    }
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

/// Tells the person, or script, that started the server. Whoever has closed the pipe does not want to know.
fn show(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// Where others reach this node, as far as it can tell: the wildcard addresses are shown as this machine's name.
fn addresses(bound: &[Bound]) -> Vec<String> {
    let host = presence::host();
    let shown = bound.iter().map(|bound| {
        let scheme = if bound.is_tls() { "https" } else { "http" };
        let address = bound.address;
        if address.ip().is_unspecified() {
            format!("{scheme}://{host}:{}", address.port())
        } else {
            format!("{scheme}://{address}")
        }
    });
    shown.collect()
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
