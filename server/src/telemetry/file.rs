//! A log file that is rotated by its size, and followed when somebody else moves it away (logrotate).

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use super::sink::{count_lines, write_fully};

/// How often the path is compared with the open file.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How often stderr hears of a file that cannot be written.
const COMPLAIN_EVERY: Duration = Duration::from_mins(1);

/// The open file and its rules.
pub(super) struct RotatingFile {
    path: PathBuf,
    /// No rotation with 0.
    max_size: u64,
    keep: usize,
    open: Option<Open>,
    complained: Option<Instant>,
}

struct Open {
    file: File,
    size: u64,
    /// Device and inode.
    identity: (u64, u64),
    looked: Instant,
    /// The last write ended within a line.
    torn: bool,
    /// Devices and pipes (`/dev/null`) stay where they are.
    rotates: bool,
}

impl Open {
    fn at(path: &Path) -> io::Result<Self> {
        if let Some(parent) = path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty())
        {
            fs::create_dir_all(parent)?;
        }
        let file = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o640)
            .open(path)?;
        let metadata = file.metadata()?;
        let identity = (metadata.dev(), metadata.ino());
        Ok(Self {
            file,
            size: metadata.len(),
            identity,
            looked: Instant::now(),
            torn: false,
            rotates: metadata.is_file(),
        })
    }

    fn is_still_at(&self, path: &Path) -> bool {
        fs::metadata(path).is_ok_and(|metadata| (metadata.dev(), metadata.ino()) == self.identity)
    }
}

impl RotatingFile {
    /// Opens the file for appending. A file that cannot be opened is an error here, so that a start with a wrong path fails.
    pub(super) fn open(path: PathBuf, max_size: u64, keep: usize) -> io::Result<Self> {
        let open = Some(Open::at(&path)?);
        Ok(Self {
            path,
            max_size,
            keep,
            open,
            complained: None,
        })
    }

    /// Lets go of the file; the next line opens what stands at the path then.
    pub(super) fn reopen(&mut self) {
        self.open = None;
    }

    /// Writes whole lines, rotating between them. Returns how many lines were lost.
    pub(super) fn write(&mut self, lines: &[u8]) -> u64 {
        let mut rest = lines;
        while !rest.is_empty() {
            match self.write_some(rest) {
                Ok(written) => rest = &rest[written..],
                Err(error) => {
                    self.complain(&error);
                    return count_lines(rest);
                }
            }
        }
        0
    }

    /// Writes as many lines as fit into the file, at least one.
    fn write_some(&mut self, lines: &[u8]) -> io::Result<usize> {
        let (path, max_size) = (self.path.clone(), self.max_size);
        let open = self.current()?;
        let room = if max_size == 0 || !open.rotates {
            u64::MAX
        } else {
            max_size.saturating_sub(open.size)
        };
        let fitting = if lines.len() as u64 <= room {
            lines.len()
        } else {
            after_last_line(&lines[..room as usize])
        };
        if fitting == 0 && open.size > 0 {
            rotate(&path, self.keep)?;
            self.open = None;
            return Ok(0);
        }
        let fitting = if fitting == 0 {
            after_first_line(lines)
        } else {
            fitting
        };
        if open.torn {
            open.file.write_all(b"\n")?;
            open.torn = false;
        }
        match write_fully(&mut open.file, &lines[..fitting]) {
            Ok(()) => {
                open.size += fitting as u64;
                Ok(fitting)
            }
            Err((written, error)) => {
                open.size += written as u64;
                open.torn = written > 0 && lines[written - 1] != b'\n';
                Err(error)
            }
        }
    }

    fn current(&mut self) -> io::Result<&mut Open> {
        let moved = match &mut self.open {
            Some(open) if open.looked.elapsed() >= LOOK_EVERY => {
                open.looked = Instant::now();
                !open.is_still_at(&self.path)
            }
            Some(_) => false,
            None => true,
        };
        if moved {
            self.open = None;
        }
        match &mut self.open {
            Some(open) => Ok(open),
            slot @ None => Ok(slot.insert(Open::at(&self.path)?)),
        }
    }

    /// Tells stderr, now and then: it is where a person looks when the log has stopped.
    fn complain(&mut self, error: &io::Error) {
        if self
            .complained
            .is_none_or(|last| last.elapsed() >= COMPLAIN_EVERY)
        {
            self.complained = Some(Instant::now());
            // Where stderr is gone too there is nobody left to tell.
            let _ = writeln!(
                io::stderr(),
                "cannot write the log file `{}`: {error}; its lines are dropped",
                self.path.display()
            );
        }
    }
}

fn after_last_line(bytes: &[u8]) -> usize {
    bytes
        .iter()
        .rposition(|&byte| byte == b'\n')
        .map_or(0, |at| at + 1)
}

fn after_first_line(bytes: &[u8]) -> usize {
    bytes
        .iter()
        .position(|&byte| byte == b'\n')
        .map_or(bytes.len(), |at| at + 1)
}

/// `log` becomes `log.1`, `log.1` becomes `log.2`, and so on; the oldest goes.
fn rotate(path: &Path, keep: usize) -> io::Result<()> {
    if keep == 0 {
        return fs::remove_file(path);
    }
    for number in (1..keep).rev() {
        match fs::rename(numbered(path, number), numbered(path, number + 1)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
    fs::rename(path, numbered(path, 1))
}

fn numbered(path: &Path, number: usize) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: &Path) -> String {
        fs::read_to_string(path).unwrap()
    }

    #[test]
    fn a_full_file_is_rotated_between_lines_and_the_oldest_goes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new/seawall.log");
        let mut file = RotatingFile::open(path.clone(), 8, 2).unwrap();
        assert_eq!(file.write(b"one\ntwo\n"), 0);
        assert_eq!(file.write(b"three\nfour\n"), 0);
        assert_eq!(read(&path), "four\n");
        assert_eq!(read(&numbered(&path, 1)), "three\n");
        assert_eq!(read(&numbered(&path, 2)), "one\ntwo\n");
        assert_eq!(file.write(b"longer than a file\nx\n"), 0);
        assert_eq!(read(&path), "x\n");
        assert_eq!(read(&numbered(&path, 1)), "longer than a file\n");
        assert_eq!(read(&numbered(&path, 2)), "four\n");
        assert!(!numbered(&path, 3).exists());
    }

    #[test]
    fn a_pipe_or_device_is_never_rotated() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&path).status();
        assert!(made.unwrap().success());
        let mut reader = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&path)
            .unwrap();
        let mut file = RotatingFile::open(path.clone(), 4, 1).unwrap();
        assert_eq!(file.write(b"one\ntwo\nthree\n"), 0);
        let mut read = [0; 14];
        io::Read::read_exact(&mut reader, &mut read).unwrap();
        assert_eq!(&read, b"one\ntwo\nthree\n");
        assert!(!numbered(&path, 1).exists());
    }

    #[test]
    fn the_size_counts_what_an_earlier_process_wrote() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("seawall.log");
        fs::write(&path, "before\n").unwrap();
        let mut file = RotatingFile::open(path.clone(), 10, 1).unwrap();
        assert_eq!(file.write(b"after\n"), 0);
        assert_eq!(
            (read(&path), read(&numbered(&path, 1))),
            ("after\n".to_owned(), "before\n".to_owned())
        );
    }

    #[test]
    fn a_moved_file_is_opened_anew() {
        let dir = tempfile::tempdir().unwrap();
        let (path, moved) = (dir.path().join("seawall.log"), dir.path().join("moved"));
        let mut file = RotatingFile::open(path.clone(), 0, 1).unwrap();
        assert_eq!(file.write(b"one\n"), 0);
        fs::rename(&path, &moved).unwrap();
        file.reopen();
        assert_eq!(file.write(b"two\n"), 0);
        // Without being told: at the next look.
        fs::remove_file(&path).unwrap();
        file.open.as_mut().unwrap().looked -= LOOK_EVERY;
        assert_eq!(file.write(b"three\n"), 0);
        assert_eq!(
            (read(&moved), read(&path)),
            ("one\n".to_owned(), "three\n".to_owned())
        );
    }

    #[test]
    fn what_cannot_be_written_is_counted_and_later_lines_go_on() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("logs/seawall.log");
        let mut file = RotatingFile::open(path.clone(), 0, 1).unwrap();
        file.reopen();
        fs::remove_dir_all(dir.path().join("logs")).unwrap();
        fs::write(dir.path().join("logs"), "in the way").unwrap();
        assert_eq!(file.write(b"one\ntwo\n"), 2);
        fs::remove_file(dir.path().join("logs")).unwrap();
        assert_eq!(file.write(b"three\n"), 0);
        assert_eq!(read(&path), "three\n");
    }

    #[test]
    fn a_full_disk_loses_lines_and_does_not_end_the_log() {
        let mut file = RotatingFile::open(PathBuf::from("/dev/full"), 0, 1).unwrap();
        assert_eq!(file.write(b"one\ntwo\n"), 2);
    }
}
