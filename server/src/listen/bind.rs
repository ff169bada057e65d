//! Sockets that listen, and errors that say what to do when they cannot.

use std::{
    fs::{self, File},
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::{
            fs::{FileTypeExt, PermissionsExt},
            net::UnixStream,
        },
    },
    path::{Path, PathBuf},
};

use anyhow::{Context, anyhow, bail};
use rustix::{
    net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with, sockopt},
    process::{Resource, Rlimit, getrlimit, setrlimit},
};
use tokio::net::{TcpListener, UnixListener};

use super::config::{Config, ListenerConfig};

/// Connections that the kernel keeps until they are accepted (it cuts this down to `net.core.somaxconn`).
const BACKLOG: i32 = 4096;

/// A listener whose socket is open.
#[derive(Debug)]
pub struct Bound {
    pub(super) socket: TcpListener,
    pub(super) config: ListenerConfig,
    /// The address it really has: the port where 0 was asked for, IPv4 on a machine without IPv6.
    pub address: SocketAddr,
}

impl Bound {
    /// Whether clients speak TLS to it.
    pub fn is_tls(&self) -> bool {
        self.config.tls
    }
}

/// Opens the sockets of all listeners. Needs a tokio runtime.
pub fn bind_all(config: &Config) -> anyhow::Result<Vec<Bound>> {
    config.check()?;
    config
        .listeners
        .iter()
        .map(|listener| bind_one(listener, config))
        .collect()
}

fn bind_one(listener: &ListenerConfig, config: &Config) -> anyhow::Result<Bound> {
    let asked = listener.address.0;
    let on_ipv4 = SocketAddr::from((Ipv4Addr::UNSPECIFIED, asked.port()));
    let shared = asked.ip() == Ipv6Addr::UNSPECIFIED && asked.port() != 0;
    let shared = shared
        && config
            .listeners
            .iter()
            .any(|other| other.address.0 == on_ipv4);
    let ipv6_only = listener.ipv6_only || shared;
    let socket = match open(asked, ipv6_only) {
        Err(error) if asked.ip() == Ipv6Addr::UNSPECIFIED && !ipv6_only && lacks_ipv6(&error) => {
            tracing::info!("this machine has no IPv6, listening on `{on_ipv4}`");
            open(on_ipv4, false)
        }
        socket => socket,
    };
    let socket = socket.map_err(|error| advice(asked, &error))?;
    let address = socket.local_addr()?;
    Ok(Bound {
        socket,
        config: listener.clone(),
        address,
    })
}

fn open(address: SocketAddr, ipv6_only: bool) -> io::Result<TcpListener> {
    let family = if address.is_ipv6() {
        AddressFamily::INET6
    } else {
        AddressFamily::INET
    };
    let socket = new_socket(family)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    if address.is_ipv6() {
        // Said either way: the system's own default can be both.
        sockopt::set_ipv6_v6only(&socket, ipv6_only)?;
    }
    bind(&socket, &address)?;
    listen(&socket, BACKLOG)?;
    TcpListener::from_std(socket.into())
}

fn new_socket(family: AddressFamily) -> rustix::io::Result<OwnedFd> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    socket_with(family, SocketType::STREAM, flags, None)
}

fn lacks_ipv6(error: &io::Error) -> bool {
    let code = error
        .raw_os_error()
        .map(rustix::io::Errno::from_raw_os_error);
    matches!(
        code,
        Some(rustix::io::Errno::AFNOSUPPORT | rustix::io::Errno::ADDRNOTAVAIL)
    )
}

fn advice(address: SocketAddr, error: &io::Error) -> anyhow::Error {
    let port = address.port();
    let what = match error.kind() {
        io::ErrorKind::AddrInUse => format!(
            "the port is in use; stop the other program (`ss -ltnp 'sport = :{port}'` names it), or choose another address \
             (`--listen` or `[[listen]]`)"
        ),
        io::ErrorKind::PermissionDenied => format!(
            "not allowed; ports below 1024 need root or the capability CAP_NET_BIND_SERVICE, so take one above such as 8080 \
             instead of {port}"
        ),
        io::ErrorKind::AddrNotAvailable => {
            "this machine does not have that address; `0.0.0.0` or `[::]` listens on all that it has".to_owned()
        }
        _ => error.to_string(),
    };
    anyhow!("cannot listen on `{address}`: {what}")
}

/// Opens a unix socket that only its owner may use. One left behind by a process that died is replaced.
pub(super) fn bind_unix(path: &Path) -> anyhow::Result<UnixListener> {
    let failed = || format!("cannot listen on the unix socket `{}`", path.display());
    let place = Place::of(path).with_context(failed)?;
    remove_stale(&place.path).with_context(failed)?;
    let socket = new_socket(AddressFamily::UNIX).with_context(failed)?;
    let address = rustix::net::SocketAddrUnix::new(&place.path).with_context(failed)?;
    bind(&socket, &address).with_context(failed)?;
    // Before `listen`, so that nobody connects while the mode is still the umask's.
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).with_context(failed)?;
    listen(&socket, BACKLOG).with_context(failed)?;
    UnixListener::from_std(socket.into()).with_context(failed)
}

/// Connects to a unix socket, however long its path is.
pub async fn connect_unix(path: &Path) -> io::Result<tokio::net::UnixStream> {
    let place = Place::of(path)?;
    tokio::net::UnixStream::connect(&place.path).await
}

/// A name for a socket's path that an address has room for, which takes about 100 bytes.
struct Place {
    path: PathBuf,
    /// The name goes through it.
    _folder: Option<File>,
}

impl Place {
    const LONGEST: usize = 100;

    fn of(path: &Path) -> io::Result<Self> {
        let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        if path.as_os_str().len() <= Self::LONGEST {
            return Ok(Self {
                path: path.to_owned(),
                _folder: None,
            });
        }
        let folder = File::open(folder)?;
        let path = Path::new("/proc/self/fd")
            .join(folder.as_raw_fd().to_string())
            .join(name);
        Ok(Self {
            path,
            _folder: Some(folder),
        })
    }
}

fn remove_stale(path: &Path) -> anyhow::Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error.into()),
        Ok(metadata) if !metadata.file_type().is_socket() => {
            bail!("something that is not a socket has that name")
        }
        Ok(_) => match UnixStream::connect(path) {
            Ok(_) => bail!("another server is answering there"),
            Err(_) => Ok(fs::remove_file(path)?),
        },
    }
}

/// Lets the process open as many files as it may, since each connection is one and shells start programs with 1,024.
pub(super) fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::debug!(%error, "the limit of open files stays as it is");
    }
}
