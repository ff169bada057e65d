//! Disks that fill up and machines that lose their power, on small file systems of their own. Needs root for the mounts.

use std::{
    path::PathBuf,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use tempfile::TempDir;

use crate::harness::{Client, Image, Seawall, digest, image::MANIFEST, image::content, until};

/// Pushes that do not come through in this time never will.
const PATIENCE: Duration = Duration::from_mins(1);

/// An ext4 file system in a file.
struct Disk {
    home: TempDir,
    mounted: bool,
}

impl Disk {
    /// `None`, said loudly, where this process may not mount.
    fn new(megabytes: u64) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            testkit::left_out("mount", "only root can mount the file systems of this test");
            return None;
        }
        let home = tempfile::tempdir().expect("a directory");
        let image = home.path().join("image");
        std::fs::File::create(&image)
            .and_then(|file| file.set_len(megabytes << 20))
            .expect("an image");
        run(Command::new("mkfs.ext4")
            .args(["-q", "-m", "0"])
            .arg(&image));
        std::fs::create_dir(home.path().join("mnt")).expect("a directory");
        let mut disk = Self {
            home,
            mounted: false,
        };
        disk.mount();
        Some(disk)
    }

    fn path(&self) -> PathBuf {
        self.home.path().join("mnt")
    }

    fn mount(&mut self) {
        run(Command::new("mount")
            .args(["-o", "loop"])
            .arg(self.home.path().join("image"))
            .arg(self.path()));
        self.mounted = true;
    }

    fn unmount(&mut self) {
        run(Command::new("umount").arg(self.path()));
        self.mounted = false;
    }

    /// What was not flushed is gone, and nothing more is written (EXT4_IOC_SHUTDOWN without flushing the log).
    fn lose_power(&self) {
        const SHUTDOWN: &str = "open(my $d, '<', $ARGV[0]) or die $!; my $how = pack('L', 2); ioctl($d, 0x8004587d, $how) or die $!;";
        run(Command::new("perl").args(["-e", SHUTDOWN]).arg(self.path()));
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if self.mounted {
            let _ = Command::new("umount").arg("-l").arg(self.path()).status();
        }
    }
}

fn run(command: &mut Command) {
    let output = command.output().expect("starts");
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(future)
}

#[test]
fn a_full_disk_refuses_uploads_and_room_is_made_through_the_server_alone() {
    let Some(disk) = Disk::new(64) else { return };
    let settings = [
        ("SEAWALL_STORAGE__RESERVE", "8MiB"),
        ("SEAWALL_GC__GRACE", "0s"),
        ("SEAWALL_UPLOADS__EXPIRE", "1h"),
    ];
    let mut seawall = Seawall::start_in(&disk.path().join("data"), &settings);
    block_on(async {
        let admin = seawall.admin();
        let mut pushed = Vec::new();
        let (location, size) = loop {
            let image = Image::with_layer("full", content(&pushed.len().to_string(), 5 << 20));
            let start = admin.post("/v2/library/full/blobs/uploads/").await;
            if start.status != 202 {
                break (None, start.refused(507, "DENIED").body.len());
            }
            let location = start.header("location").to_owned();
            let layer = admin
                .put(
                    &format!("{location}?digest={}", digest(&image.layer)),
                    image.layer.clone(),
                )
                .await;
            if layer.status != 201 {
                let size = layer.refused(507, "DENIED").body.len();
                break (Some(location), size);
            }
            admin.push_blob("library/full", &image.config).await;
            let tag = format!("t{}", pushed.len());
            let manifest = admin
                .put_manifest("library/full", &tag, MANIFEST, &image.manifest)
                .await
                .expect(201);
            pushed.push((
                tag,
                manifest.header("docker-content-digest").to_owned(),
                image,
            ));
            assert!(pushed.len() < 20, "the disk does not fill");
        };
        assert!(size > 0 && pushed.len() > 3);
        if let Some(location) = location {
            // The session is still there, with what it received.
            admin.get(&location).await.expect(204);
        }
        // Pulls, sign-in and deletes go on; collection makes room; pushes go on without a restart.
        let (tag, _, image) = &pushed[0];
        admin.pull("library/full", tag, image).await;
        for (_, manifest, _) in &pushed[1..] {
            admin
                .delete(&format!("/v2/library/full/manifests/{manifest}"))
                .await
                .expect(202);
        }
        tokio::task::block_in_place(|| seawall.run(&["gc"]));
        let again = Image::with_layer("again", content("again", 5 << 20));
        let mut attempts = 0;
        loop {
            // The room is looked at once a second at most.
            let start = admin.post("/v2/library/full/blobs/uploads/").await;
            if start.status == 202 {
                break;
            }
            attempts += 1;
            assert!(attempts < 5000, "no room was made: {}", start.text());
        }
        admin.push("library/full", "again", &again).await;
        admin.pull("library/full", "again", &again).await;
    });
    seawall.stop();
}

/// Whether it was acknowledged.
async fn try_push(
    client: &Client,
    repository: &str,
    tag: &str,
    image: &Image,
) -> anyhow::Result<bool> {
    for part in [&image.config, &image.layer] {
        let path = format!("/v2/{repository}/blobs/uploads/?digest={}", digest(part));
        let answer = client
            .request("POST", &path)
            .body(part.clone())
            .try_send()
            .await?;
        if answer.status != 201 {
            return Ok(false);
        }
    }
    let path = format!("/v2/{repository}/manifests/{tag}");
    let answer = client
        .request("PUT", &path)
        .header("content-type", MANIFEST)
        .body(image.manifest.clone())
        .try_send()
        .await?;
    Ok(answer.status == 201)
}

/// Pushes until something fails, and answers what was acknowledged before the power went: a machine without power
/// acknowledges nothing, while a process on a file system that was shut down under it may be told for a moment that a
/// flush has worked.
async fn push_until_the_end(
    client: Client,
    number: usize,
    round: usize,
    power: Arc<AtomicBool>,
) -> Vec<(String, String, Image)> {
    let mut acknowledged = Vec::new();
    for n in 0.. {
        let seed = format!("{round}-{number}-{n}");
        let image = Image::with_layer(&seed, content(&seed, 20_000));
        let repository = format!("library/power-{number}");
        let done = try_push(&client, &repository, &seed, &image).await;
        if !matches!(done, Ok(true)) || !power.load(Ordering::SeqCst) {
            break;
        }
        acknowledged.push((repository, seed, image));
    }
    acknowledged
}

#[test]
fn after_a_power_cut_every_acknowledged_push_is_whole() {
    let Some(mut disk) = Disk::new(256) else {
        return;
    };
    let mut acknowledged: Vec<(String, String, Image)> = Vec::new();
    for round in 0..3 {
        let mut seawall = Seawall::start_in(&disk.path().join("data"), &[]);
        block_on(async {
            let admin = seawall.admin();
            for (repository, tag, image) in &acknowledged {
                admin.pull(repository, tag, image).await;
            }
            let before = acknowledged.len();
            let power = Arc::new(AtomicBool::new(true));
            let clients: Vec<_> = (0..8)
                .map(|number| {
                    let power = power.clone();
                    tokio::spawn(push_until_the_end(admin.clone(), number, round, power))
                })
                .collect();
            // In the middle of everything, once each client has surely been acknowledged something.
            let begun = Instant::now();
            for number in 0..8 {
                let path = format!("/v2/library/power-{number}/manifests/{round}-{number}-2");
                while admin.head(&path).await.status != 200 {
                    assert!(begun.elapsed() < PATIENCE, "client {number} gets nowhere");
                }
            }
            power.store(false, Ordering::SeqCst);
            disk.lose_power();
            for client in clients {
                acknowledged.extend(client.await.expect("a client"));
            }
            assert!(acknowledged.len() >= before + 16);
        });
        seawall.kill();
        disk.unmount();
        disk.mount();
    }
    let mut seawall = Seawall::start_in(&disk.path().join("data"), &[]);
    block_on(async {
        let admin = seawall.admin();
        for (repository, tag, image) in &acknowledged {
            admin.pull(repository, tag, image).await;
        }
        admin
            .push_blob("library/power-0", &Bytes::from_static(b"on"))
            .await;
    });
    seawall.stop();
}

#[test]
fn a_node_whose_own_database_takes_no_writes_serves_but_does_not_hold_the_virtual_address() {
    let Some(disk) = Disk::new(64) else { return };
    let home = tempfile::tempdir().expect("a directory");
    let database = format!("sqlite:{}", disk.path().join("seawall.sqlite").display());
    let mut seawall = Seawall::start_in(
        &home.path().join("data"),
        &[("SEAWALL_DATABASE__URL", &database)],
    );
    block_on(async {
        let client = seawall.stranger();
        client.get("/readyz?role=vip").await.expect(200);
        disk.lose_power();
        // Reads that are remembered go on, so the node may serve; a slow disk elsewhere is given the time to settle.
        let began = std::time::Instant::now();
        loop {
            let vip = client.get("/readyz?role=vip").await;
            let plain = client.get("/readyz").await;
            let parts: Vec<_> = vip.json()["failed"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|fault| fault["part"].clone())
                .collect();
            if (vip.status.as_u16(), plain.status.as_u16()) == (503, 200)
                && parts == ["database.write"]
            {
                break;
            }
            assert!(began.elapsed().as_secs() < 60, "{}", vip.text());
        }
    });
    seawall.kill();
}

/// A directory that is mounted elsewhere too, as a share is; it goes away under whoever has it open.
struct Share {
    home: TempDir,
}

impl Share {
    fn new() -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            testkit::left_out("mount", "only root can mount the directories of this test");
            return None;
        }
        let share = Self {
            home: tempfile::tempdir().expect("a directory"),
        };
        for name in ["real", "mnt"] {
            std::fs::create_dir(share.home.path().join(name)).expect("a directory");
        }
        share.mount();
        Some(share)
    }

    fn path(&self) -> PathBuf {
        self.home.path().join("mnt")
    }

    fn mount(&self) {
        run(Command::new("mount")
            .arg("--bind")
            .arg(self.home.path().join("real"))
            .arg(self.path()));
    }

    fn go_away(&self) {
        run(Command::new("umount").arg("-l").arg(self.path()));
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}

#[test]
fn a_share_that_goes_away_under_two_nodes_or_before_a_start_gets_no_byte_beneath_it() {
    let (Some(share), Some(server)) = (Share::new(), testkit::postgres()) else {
        return;
    };
    let url = format!("file://{}", share.path().join("registry").display());
    let mut one = Seawall::start_on(
        server.fresh_database(),
        &[("SEAWALL_STORAGE__URL", url.as_str())],
    );
    let mut two = one.start_beside(&[]);
    block_on(async {
        let clients = [one.admin(), two.admin()];
        let first = Image::new("first");
        clients[0].push("library/share", "first", &first).await;
        let mut acknowledged = vec![("first".to_owned(), first)];
        let mut number = 0;
        for away in [true, false, true, false] {
            if away {
                share.go_away();
            } else {
                share.mount();
            }
            let status = if away { 503 } else { 200 };
            for client in &clients {
                until("each node sees it", async || {
                    // What is pushed before is acknowledged or refused, and nothing else.
                    let seed = format!("share-{number}");
                    number += 1;
                    let image = Image::with_layer(&seed, content(&seed, 20_000));
                    if matches!(
                        try_push(client, "library/share", &seed, &image).await,
                        Ok(true)
                    ) {
                        acknowledged.push((seed, image));
                    }
                    client.get("/readyz").await.status == status
                })
                .await;
                let image = Image::new(&format!("{away}-{number}"));
                let pushed = try_push(client, "library/share", "last", &image).await;
                assert_eq!(pushed.expect("an answer"), !away);
            }
            if away {
                let beneath = std::fs::read_dir(share.path()).expect("a directory");
                assert_eq!(beneath.count(), 0);
                // Nor does one start that has nowhere to write.
                let late = one.prepare_beside(&[("SEAWALL_SERVER__NODE", "late")]);
                let output = late.command().output().expect("runs");
                let told = String::from_utf8_lossy(&output.stderr);
                assert!(
                    !output.status.success() && told.contains("mounted?"),
                    "{told}"
                );
                let beneath = std::fs::read_dir(share.path()).expect("a directory");
                assert_eq!(beneath.count(), 0);
            }
        }
        for (tag, image) in &acknowledged {
            for client in &clients {
                client.pull("library/share", tag, image).await;
            }
        }
        let report = tokio::task::block_in_place(|| one.try_run(&["fsck", "--deep"], ""));
        assert!(
            report.status.success(),
            "{}",
            String::from_utf8_lossy(&report.stdout)
        );
    });
    two.stop();
    one.stop();
}
