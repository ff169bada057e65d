//! What must not outlive this program: the servers it started and the directories it filled.
//! Guards (`Running`, `Workspace`) give back what they hold when they drop, a panic included; this list is for
//! the signals, after which nothing drops.

use std::{
    fs,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::signal::unix::{SignalKind, signal};

#[derive(Clone, Default)]
pub struct Cleanup {
    held: Arc<Mutex<Held>>,
}

#[derive(Default)]
struct Held {
    groups: Vec<Pid>,
    directories: Vec<PathBuf>,
}

impl Cleanup {
    /// Ends the program with status 130 on Ctrl-C, SIGTERM and SIGHUP, after everything held was killed and removed.
    pub fn on_signals(&self) -> anyhow::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()
            .context("the runtime that waits for signals")?;
        let cleanup = self.clone();
        thread::spawn(move || {
            runtime.block_on(async {
                let ends = [
                    SignalKind::interrupt(),
                    SignalKind::terminate(),
                    SignalKind::hangup(),
                ];
                let [Ok(mut interrupt), Ok(mut terminate), Ok(mut hangup)] = ends.map(signal)
                else {
                    return;
                };
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                    _ = hangup.recv() => {}
                }
                cleanup.run_and_exit();
            });
        });
        Ok(())
    }

    /// Starts a program as the leader of a process group that is held from its first moment on.
    pub fn spawn(&self, command: &mut Command) -> std::io::Result<Child> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let child = command.process_group(0).spawn()?;
        held.groups.push(Pid::from_child(&child));
        Ok(child)
    }

    pub fn release_group(&self, group: Pid) {
        self.with(|held| held.groups.retain(|other| *other != group));
    }

    /// A directory to be removed with all that is in it.
    pub fn hold_directory(&self, directory: &Path) {
        self.with(|held| held.directories.push(directory.to_owned()));
    }

    /// Keeps the lock to the end, so that nothing is started meanwhile.
    fn run_and_exit(&self) -> ! {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        for group in &held.groups {
            // A group that has ended by itself is what we want.
            let _ = kill_process_group(*group, Signal::KILL);
        }
        for directory in &held.directories {
            // A server that is just being killed may still create a file: the second pass takes it.
            let _ = fs::remove_dir_all(directory).or_else(|_| fs::remove_dir_all(directory));
        }
        std::process::exit(130)
    }

    fn with(&self, change: impl FnOnce(&mut Held)) {
        change(&mut self.held.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// The directory of one run, removed at its end.
pub struct Workspace {
    pub path: PathBuf,
}

impl Workspace {
    pub fn create(parent: &Path, cleanup: &Cleanup) -> anyhow::Result<Self> {
        let path = parent.join(format!("run-{}", std::process::id()));
        cleanup.hold_directory(&path);
        fs::create_dir_all(&path).with_context(|| format!("cannot create `{}`", path.display()))?;
        let path = path.canonicalize()?;
        Ok(Self { path })
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        // Nothing depends on it; what is left is plain to see in the directory that the person named.
        let _ = fs::remove_dir_all(&self.path);
    }
}
