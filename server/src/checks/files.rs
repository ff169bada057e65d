//! Directories, file systems, room, the key file, logs: what can be seen without opening the registry.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use auth::SecretKey;
use indicatif::HumanBytes;
use rustix::process::{Resource, getrlimit};

use super::{Finding, Keys};
use crate::telemetry::Target;

/// Below this part of a file system it is time to look.
const LITTLE: u64 = 10;

/// Local file systems by the kernel's magic numbers.
const LOCAL: &[(u32, &str)] = &[
    (0xEF53, "ext4"),
    (0x5846_5342, "xfs"),
    (0x9123_683E, "btrfs"),
    (0x2FC1_2FC1, "zfs"),
    (0xF2F5_2010, "f2fs"),
    (0xCA45_1A4E, "bcachefs"),
    (0x0102_1994, "tmpfs"),
    (0x8584_58F6, "ramfs"),
    (0x794C_7630, "overlay"),
];

/// That the data directory is there, or can be made, and that it can be written.
pub fn data_directory(path: &Path) -> Finding {
    let part = "data directory";
    let shown = path.display();
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let parent = existing(path);
            return match try_write(&parent) {
                Ok(()) if is_parent(&parent, path) => {
                    Finding::ok(part, format!("`{shown}` is made at the first start"))
                }
                Ok(()) => Finding::failed(
                    part,
                    format!("`{shown}` is not there, and neither is the directory above it"),
                    format!("`mkdir -p {shown}`, or name another directory (server.data)"),
                ),
                Err(error) => Finding::failed(
                    part,
                    format!("`{shown}` is not there and cannot be made: {error}"),
                    "make it, and give it to the user whom the server runs as",
                ),
            };
        }
        Err(error) => return Finding::error(part, &format!("cannot look at `{shown}`: {error}")),
    };
    if !metadata.is_dir() {
        return Finding::failed(
            part,
            format!("`{shown}` is not a directory"),
            "name another one (server.data)",
        );
    }
    if let Err(error) = try_write(path) {
        return Finding::failed(
            part,
            format!("`{shown}` cannot be written: {error}"),
            "give it to the user whom the server runs as, and run this command as that user",
        );
    }
    if metadata.mode() & 0o007 != 0 {
        return Finding::warning(
            part,
            format!("every user of this machine can look into `{shown}`"),
            format!("`chmod o= {shown}`"),
        );
    }
    Finding::ok(part, format!("`{shown}` can be written"))
}

/// The kind of file system below `path`; SQLite and network file systems do not go together.
pub fn file_system(part: &str, path: &Path, holds_sqlite: bool) -> Finding {
    let place = existing(path);
    let magic = match rustix::fs::statfs(&place) {
        Ok(stat) => stat.f_type as u32,
        Err(error) => {
            return Finding::error(
                part,
                &format!("cannot look at `{}`: {error}", place.display()),
            );
        }
    };
    if let Ok(Some(kind)) = blob::network::network_of(&place) {
        if holds_sqlite {
            return Finding::failed(
                part,
                format!(
                    "`{}` lies on {kind}, where SQLite's locks do not hold",
                    place.display()
                ),
                "put the database on a local disk (database.url), or use PostgreSQL",
            );
        }
        return Finding::ok(
            part,
            format!("{kind}, a network file system: files are read, not mapped"),
        );
    }
    let known = LOCAL
        .iter()
        .find(|(number, _)| *number == magic)
        .map(|(_, name)| *name);
    match known {
        Some(name @ ("tmpfs" | "ramfs")) => Finding::warning(
            part,
            format!("`{}` lies in memory ({name})", place.display()),
            "everything in it is gone when the machine restarts: use a disk for what should stay",
        ),
        Some(name @ "overlay") => Finding::warning(
            part,
            format!(
                "`{}` lies in a container's own layer ({name})",
                place.display()
            ),
            "everything in it goes with the container: mount a volume there",
        ),
        Some(name) => Finding::ok(part, format!("{name}, local")),
        None => Finding::ok(part, format!("local (kind {magic:#x})")),
    }
}

/// How much room is left below `path`, and for how many files.
pub fn space(part: &str, path: &Path, reserve: Option<u64>) -> Finding {
    let place = existing(path);
    let stat = match rustix::fs::statvfs(&place) {
        Ok(stat) => stat,
        Err(error) => {
            return Finding::error(
                part,
                &format!("cannot ask for the space of `{}`: {error}", place.display()),
            );
        }
    };
    let (total, free) = (stat.f_blocks * stat.f_frsize, stat.f_bavail * stat.f_frsize);
    let seen = format!("{} of {} are free", HumanBytes(free), HumanBytes(total));
    let reserve = reserve.unwrap_or_else(|| (total / 20).min(1 << 30));
    if free < reserve {
        return Finding::failed(
            part,
            format!(
                "{seen}, less than the reserve of {}: uploads are refused",
                HumanBytes(reserve)
            ),
            "delete what is not needed and run `seawall gc`, enlarge the file system, or set storage.reserve",
        );
    }
    // File systems that make inodes as they need them say 0 of 0.
    if stat.f_files > 0 && stat.f_favail < stat.f_files / 100 {
        return Finding::warning(
            part,
            format!("{seen}, but only {} more files fit", stat.f_favail),
            "the file system runs out of inodes: use one with more",
        );
    }
    if free < total / LITTLE {
        return Finding::warning(
            part,
            seen,
            "it will be full some day soon: make room or enlarge the file system",
        );
    }
    Finding::ok(part, seen)
}

/// Whether the key file can be used, and which keys are there.
pub fn key_file(path: &Path) -> (Finding, Keys) {
    let part = "key file";
    let shown = path.display();
    let mut keys = Keys {
        file: None,
        beside: auth::keys_beside(path),
    };
    if !path.exists() {
        let seen = format!("`{shown}` is made at the first start");
        return (Finding::ok(part, seen), keys);
    }
    match SecretKey::find(path) {
        Ok(key) => keys.file = key.map(|key| key.fingerprint()),
        Err(error) => return (Finding::error(part, &error), keys),
    }
    let mode = fs::metadata(path).map_or(0o600, |metadata| metadata.mode());
    let others = mode & 0o077;
    let finding = if others == 0 {
        Finding::ok(
            part,
            format!("`{shown}` can be read; keep a copy of it apart from the backups"),
        )
    } else {
        Finding::warning(
            part,
            format!(
                "others than its owner can reach `{shown}` (mode {:04o})",
                mode & 0o7777
            ),
            format!("`chmod 600 {shown}`"),
        )
    };
    (finding, keys)
}

/// Whether a log file can be written.
pub fn log_target(target: &Target) -> Option<Finding> {
    let Target::File(path) = target else {
        return None;
    };
    let part = "log file";
    let tried = if path.exists() {
        File::options().append(true).open(path).map(drop)
    } else {
        // Its directories are made when they are missing.
        try_write(&existing(path))
    };
    Some(match tried {
        Ok(()) => Finding::ok(part, format!("`{}` can be written", path.display())),
        Err(error) => Finding::failed(
            part,
            format!("`{}` cannot be written: {error}", path.display()),
            "give it to the user whom the server runs as, or name another one (log.target)",
        ),
    })
}

/// Whether as many files may be open as there may be connections.
pub fn open_files(connections: usize) -> Finding {
    let part = "open files";
    // Each transfer may have a file open beside its connection.
    let needed = 2 * connections as u64;
    match getrlimit(Resource::Nofile).maximum {
        Some(limit) if limit < needed => Finding::warning(
            part,
            format!(
                "this process may open {limit} files, and limits.max_connections is {connections}"
            ),
            format!(
                "raise the limit to {needed} (LimitNOFILE= of systemd, `ulimit -Hn`), or lower limits.max_connections"
            ),
        ),
        Some(limit) => Finding::ok(part, format!("up to {limit}")),
        None => Finding::ok(part, "no limit"),
    }
}

/// The path itself, or what is there of the directories above it.
fn existing(path: &Path) -> PathBuf {
    let here = || PathBuf::from(".");
    let mut ancestors = path
        .ancestors()
        .filter(|place| !place.as_os_str().is_empty());
    ancestors
        .find(|place| place.exists())
        .map_or_else(here, Path::to_owned)
}

fn is_parent(parent: &Path, path: &Path) -> bool {
    let above = path.parent().filter(|above| !above.as_os_str().is_empty());
    above.unwrap_or(Path::new(".")) == parent
}

/// Permission bits do not tell (root, read-only mounts, squashed ids), so it is tried.
fn try_write(directory: &Path) -> io::Result<()> {
    let trial = directory.join(format!(".seawall-check-{}", uuid::Uuid::new_v4().simple()));
    File::create_new(&trial)?;
    fs::remove_file(&trial)
}
