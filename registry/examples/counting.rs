//! What counting a pull costs: `cargo run --release -p registry --example counting`. All threads pull the same, which is the worst
//! case for the locks; then each something of its own.

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use auth::Subject;
use db::{artifacts::Artifact, blobs::State};
use model::{
    id::{ArtifactId, ProjectId},
    time::Timestamp,
};
use registry::activity::{Activity, Pull};

const PULLS: u32 = 1_000_000;

fn main() {
    let threads = thread::available_parallelism().map_or(2, usize::from);
    for (what, of_its_own) in [("the same artifact", false), ("one each", true)] {
        for threads in [1, threads] {
            let took = run(threads, of_its_own);
            tell(&format!("{threads} threads pull {what}: {took:?} a pull"));
        }
    }
}

#[expect(clippy::print_stdout, reason = "an example tells a person")]
fn tell(line: &str) {
    println!("{line}");
}

/// Each thread's time for one pull.
fn run(threads: usize, of_its_own: bool) -> Duration {
    let activity = Arc::new(Activity::default());
    let began = Instant::now();
    let all: Vec<_> = (0..threads)
        .map(|thread| {
            let activity = activity.clone();
            let number = if of_its_own { thread as i64 } else { 1 };
            thread::spawn(move || pull(&activity, number))
        })
        .collect();
    for one in all {
        one.join().expect("a thread that counts");
    }
    began.elapsed() / PULLS
}

fn pull(activity: &Activity, number: i64) {
    let artifact = Artifact {
        id: ArtifactId(number),
        digest: blob::digest_of(oci::Algorithm::Sha256, b"manifest"),
        media_type: String::new(),
        size: 1,
        location: String::new(),
        state: State::Live,
    };
    let pull = Pull {
        repository: "library/some-application",
        project: ProjectId(1),
        artifact: &artifact,
        bytes: 1000,
        tag: Some("v1.2.3"),
        caller: &Subject::Anonymous,
        address: Some([10, 0, 0, 1].into()),
        is_scanner: false,
        is_head: false,
        at: Timestamp(1),
    };
    for _ in 0..PULLS {
        activity.pulled(&pull);
    }
}
