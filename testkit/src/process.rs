//! Programs that run beside a test and end with it, also when the test is killed: each is watched by a shell that waits
//! for the end of its standard input, whose other end only the test holds.

use std::{
    ffi::OsStr,
    io,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
};

/// A program that runs until this is dropped.
pub struct Companion {
    shell: Child,
    stdin: Option<ChildStdin>,
}

impl Companion {
    /// Starts `program`; what it prints goes to the file `log`.
    pub fn start<S: AsRef<OsStr>>(
        program: &Path,
        arguments: impl IntoIterator<Item = S>,
        log: &Path,
    ) -> io::Result<Self> {
        let log = std::fs::File::create(log)?;
        let mut shell = Command::new("sh")
            .args([
                "-c",
                "\"$@\" </dev/null & child=$!; cat >/dev/null; kill $child; wait $child",
                "sh",
            ])
            .arg(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        let stdin = shell.stdin.take();
        Ok(Self { shell, stdin })
    }
}

impl Drop for Companion {
    fn drop(&mut self) {
        drop(self.stdin.take());
        let _ = self.shell.wait();
    }
}

/// Where a program is, when it is installed; also looked for where daemons live.
pub fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .map(|dir| dir.join(name))
        .find(|path| path.is_file())
}

/// The user that programs run as which refuse to be root; none when the test is not root itself.
pub fn unprivileged() -> Option<&'static str> {
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let ours = Command::new("id").arg("-u").output().ok()?;
    if ours.stdout.trim_ascii() != b"0" {
        return None;
    }
    ["postgres", "nobody"].into_iter().find(|user| {
        passwd
            .lines()
            .any(|line| line.starts_with(&format!("{user}:")))
    })
}

/// A directory that goes when it is dropped, and that unprivileged programs may read and write.
pub fn scratch_directory() -> io::Result<tempfile::TempDir> {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir()?;
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o777))?;
    Ok(dir)
}

/// A port of the loopback address that nobody listens on just now.
pub fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// A port of the loopback address for a server that comes back to it: outside of the range that the kernel takes ports from by itself,
/// and of those of the servers beside the tests (`testkit/beside.sh`).
pub fn lasting_port() -> u16 {
    let mut ports = std::iter::repeat_with(|| {
        let random = uuid::Uuid::new_v4().as_u128();
        12_500 + u16::try_from(random % 2_500).expect("small")
    });
    ports
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .expect("without an end")
}
