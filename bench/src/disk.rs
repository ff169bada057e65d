//! What the disk alone can do: small files, each on it with its name before the next. The limit of a durable push.

use std::{
    fs::{self, File},
    io::Write,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::Context;

const WRITERS: usize = 16;
const BYTES: [u8; 4096] = [7; 4096];

/// Files of 4 KiB a second that 16 writers bring to the disk: written, flushed, put under a name in a directory of its own,
/// and both directories flushed, as a registry does.
pub fn durable_files(workspace: &Path, window: Duration) -> anyhow::Result<f64> {
    let directory = workspace.join("scratch/disk");
    fs::create_dir_all(&directory)?;
    let began = Instant::now();
    let written = thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let directory = directory.join(writer.to_string());
                scope.spawn(move || write(&directory, began, window))
            })
            .collect();
        let counts = writers.into_iter().map(|writer| {
            let count = writer.join();
            count.map_err(|_| anyhow::anyhow!("a writer panicked"))?
        });
        counts.sum::<anyhow::Result<usize>>()
    });
    let written = written.with_context(|| format!("writing below {}", directory.display()))?;
    fs::remove_dir_all(&directory)?;
    Ok(written as f64 / began.elapsed().as_secs_f64())
}

fn write(directory: &Path, began: Instant, window: Duration) -> anyhow::Result<usize> {
    fs::create_dir(directory)?;
    let mut count = 0;
    while began.elapsed() < window {
        let (upload, content) = (
            directory.join("upload"),
            directory.join(format!("content-{count}")),
        );
        let mut file = File::create(&upload)?;
        file.write_all(&BYTES)?;
        file.sync_data()?;
        fs::create_dir(&content)?;
        fs::rename(&upload, content.join("data"))?;
        File::open(&content)?.sync_all()?;
        File::open(directory)?.sync_all()?;
        count += 1;
    }
    Ok(count)
}
