//! Where PostgreSQL is: any number of hosts, of which the writable one is used, plain or with TLS.

use std::{
    borrow::Cow,
    future::poll_fn,
    path::{Path, PathBuf},
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::stream::{FuturesUnordered, StreamExt};
use model::{Error, Result, error::internal};
use outbound::Trust;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::mpsc,
};
use tokio_postgres::{
    AsyncMessage, Config, Connection, NoTls,
    config::{Host, SslMode, TargetSessionAttrs},
};
use tokio_postgres_rustls::MakeRustlsConnect;
use tokio_util::task::TaskTracker;

use super::{line::Line, no_answer};
use crate::counters::SLOTS;

/// A connection whose peer is silent is given up after this long: it may be a machine that is no more.
const SILENCE: Duration = Duration::from_secs(10);

/// Where it is told that somebody has told something.
pub(super) type Told = mpsc::Sender<String>;

pub(super) struct Address {
    /// One for each host.
    hosts: Vec<Config>,
    tls: Option<Tls>,
    password_file: Option<PathBuf>,
    patience: Duration,
    tasks: TaskTracker,
    /// Connections made so far, from a number of this node's own on: they take turns at the rows of counters.
    made: AtomicUsize,
}

/// How a connection is encrypted. Files are read for each connection: certificates are renewed.
struct Tls {
    /// The authorities that the server's certificate must come from: those of this file, or whom all of Seawall trusts.
    root: Option<PathBuf>,
    trust: Trust,
    /// Our own certificate and its key.
    own: Option<(PathBuf, PathBuf)>,
}

impl Address {
    /// `key` is the configuration's word for the URL.
    pub(super) fn parse(
        key: &str,
        url: &str,
        settings: &crate::Config,
        tasks: TaskTracker,
    ) -> Result<Self> {
        let refuse = |why: String| Error::Internal(anyhow::anyhow!("{key}: {why}"));
        let (url, root) = take_option(url, "sslrootcert");
        let (url, certificate) = take_option(&url, "sslcert");
        let (url, own_key) = take_option(&url, "sslkey");
        let (url, mode) = take_option(&url, "sslmode");
        let mut config = Config::from_str(&url).map_err(|error| {
            Error::Internal(
                anyhow::Error::new(error).context(format!("{key} is not a PostgreSQL URL")),
            )
        })?;
        let encrypted = match mode.as_deref() {
            // An unverified connection would only look safe, so it is plain or verified.
            None | Some("disable" | "allow" | "prefer") => false,
            Some("require" | "verify-ca" | "verify-full") => true,
            Some(other) => return Err(refuse(format!("unknown sslmode `{other}`"))),
        };
        let own = match (certificate, own_key) {
            (None, None) => None,
            (Some(certificate), Some(own_key)) if encrypted => {
                Some((certificate.into(), own_key.into()))
            }
            (Some(_), Some(_)) => {
                return Err(refuse("`sslcert` needs `sslmode=verify-full`".to_owned()));
            }
            _ => return Err(refuse("`sslcert` and `sslkey` go together".to_owned())),
        };
        config.ssl_mode(if encrypted {
            SslMode::Require
        } else {
            SslMode::Disable
        });
        config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        config.application_name(format!("seawall {}", settings.node));
        config.keepalives_idle(SILENCE);
        config.keepalives_interval(SILENCE / 4);
        config.keepalives_retries(4);
        config.tcp_user_timeout(SILENCE * 2);
        Ok(Self {
            hosts: one_each(&config)?,
            tls: encrypted.then(|| Tls {
                root: root.map(PathBuf::from),
                trust: settings.trust.clone(),
                own,
            }),
            password_file: settings.ways.password_file.clone(),
            patience: settings.timeout,
            tasks,
            made: AtomicUsize::new(settings.node.bytes().map(usize::from).sum()),
        })
    }

    pub(super) async fn connect(&self) -> Result<Line> {
        self.connect_with(None).await
    }

    /// Asks all hosts at once and takes the first that may be written to: one that is frozen holds up nobody. What the server tells
    /// those who listen goes to `told`.
    pub(super) async fn connect_with(&self, told: Option<Told>) -> Result<Line> {
        let first = async {
            let tls = match &self.tls {
                Some(tls) => Some(tls.connector().await?),
                None => None,
            };
            let password = self.password().await?;
            let mut asked: FuturesUnordered<_> = self
                .hosts
                .iter()
                .map(|host| self.open(host, password.as_deref(), tls.clone(), told.clone()))
                .collect();
            let mut why = anyhow::anyhow!("database.url names no host");
            while let Some(opened) = asked.next().await {
                match opened {
                    Ok(line) => return Ok(line),
                    Err(error) => {
                        why = anyhow::Error::new(error).context("connecting to PostgreSQL");
                    }
                }
            }
            Err(Error::Unavailable(why))
        };
        tokio::time::timeout(self.patience, first)
            .await
            .map_err(|_| no_answer(self.patience))?
    }

    /// As the file has it now.
    async fn password(&self) -> Result<Option<String>> {
        let Some(file) = &self.password_file else {
            return Ok(None);
        };
        let text = tokio::fs::read_to_string(file).await;
        let text = text.map_err(|error| unreadable("database.password_file", file, error))?;
        Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned()))
    }

    async fn open(
        &self,
        host: &Config,
        password: Option<&str>,
        tls: Option<MakeRustlsConnect>,
        told: Option<Told>,
    ) -> Result<Line, tokio_postgres::Error> {
        let mut host = Cow::Borrowed(host);
        if let Some(password) = password {
            host.to_mut().password(password);
        }
        let (client, task) = match &tls {
            None => {
                let (client, connection) = host.connect(NoTls).await?;
                (client, self.tasks.spawn(drive(connection, told)))
            }
            Some(tls) => {
                let (client, connection) = host.connect(tls.clone()).await?;
                (client, self.tasks.spawn(drive(connection, told)))
            }
        };
        Ok(Line::new(
            client,
            task,
            self.patience,
            tls,
            self.tasks.clone(),
            (self.made.fetch_add(1, Ordering::Relaxed) % SLOTS) as i64,
        ))
    }
}

/// Until its client is gone, or the server.
async fn drive<S, T>(mut connection: Connection<S, T>, told: Option<Told>)
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
{
    let Some(told) = told else {
        drop(connection.await);
        return;
    };
    while let Some(Ok(message)) = poll_fn(|cx| connection.poll_message(cx)).await {
        if let AsyncMessage::Notification(said) = message {
            // When so many were not read yet, they say the same.
            let _ = told.try_send(said.payload().to_owned());
        }
    }
}

/// The same address once for each of its hosts.
fn one_each(config: &Config) -> Result<Vec<Config>> {
    let (hosts, addresses, ports) = (
        config.get_hosts(),
        config.get_hostaddrs(),
        config.get_ports(),
    );
    let count = hosts.len().max(addresses.len());
    if count == 0 {
        return Err(Error::Internal(anyhow::anyhow!(
            "database.url names no host"
        )));
    }
    if ports.len() > 1 && ports.len() != count {
        return Err(Error::Internal(anyhow::anyhow!(
            "database.url names {count} hosts and {} ports",
            ports.len()
        )));
    }
    Ok((0..count)
        .map(|index| {
            let mut one = without_hosts(config);
            match hosts.get(index) {
                Some(Host::Tcp(name)) => drop(one.host(name)),
                Some(Host::Unix(path)) => drop(one.host_path(path)),
                None => {}
            }
            if let Some(address) = addresses.get(index) {
                one.hostaddr(*address);
            }
            if let Some(port) = ports.get(index).or(ports.first()) {
                one.port(*port);
            }
            one
        })
        .collect())
}

fn without_hosts(config: &Config) -> Config {
    let mut one = Config::new();
    if let Some(user) = config.get_user() {
        one.user(user);
    }
    if let Some(password) = config.get_password() {
        one.password(password);
    }
    if let Some(name) = config.get_dbname() {
        one.dbname(name);
    }
    if let Some(options) = config.get_options() {
        one.options(options);
    }
    if let Some(name) = config.get_application_name() {
        one.application_name(name);
    }
    if let Some(interval) = config.get_keepalives_interval() {
        one.keepalives_interval(interval);
    }
    if let Some(retries) = config.get_keepalives_retries() {
        one.keepalives_retries(retries);
    }
    if let Some(timeout) = config.get_tcp_user_timeout() {
        one.tcp_user_timeout(*timeout);
    }
    if let Some(timeout) = config.get_connect_timeout() {
        one.connect_timeout(*timeout);
    }
    one.ssl_mode(config.get_ssl_mode())
        .ssl_negotiation(config.get_ssl_negotiation())
        .channel_binding(config.get_channel_binding())
        .keepalives(config.get_keepalives())
        .keepalives_idle(config.get_keepalives_idle())
        .target_session_attrs(config.get_target_session_attrs());
    one
}

/// Takes an option that the driver does not know, or not all values of, out of a URL or a key-value string.
fn take_option(text: &str, name: &str) -> (String, Option<String>) {
    let (head, options, separator) = match text.split_once('?') {
        Some((head, options)) if text.contains("://") => (Some(head), options, '&'),
        _ if text.contains("://") => return (text.to_owned(), None),
        _ => (None, text, ' '),
    };
    let mut found = None;
    let kept: Vec<&str> = options
        .split(separator)
        .filter(|option| match option.split_once('=') {
            Some((key, value)) if key.trim() == name => {
                found = Some(value.trim().to_owned());
                false
            }
            _ => true,
        })
        .collect();
    let kept = kept.join(&separator.to_string());
    let text = match head {
        Some(head) if kept.is_empty() => head.to_owned(),
        Some(head) => format!("{head}?{kept}"),
        None => kept,
    };
    (text, found)
}

impl Tls {
    /// As the files are now.
    async fn connector(&self) -> Result<MakeRustlsConnect> {
        let mut roots = rustls::RootCertStore::empty();
        if let Some(file) = &self.root {
            for certificate in read_certificates("sslrootcert", file).await? {
                let added = roots.add(certificate);
                added.map_err(|error| unreadable("sslrootcert", file, error))?;
            }
        } else {
            let trusted = self.trust.roots_soon().await;
            if self.own.is_none() {
                return Ok(MakeRustlsConnect::new((*trusted.tls).clone()));
            }
            roots.add_parsable_certificates(trusted.certificates.iter().cloned());
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(internal("configuring TLS for PostgreSQL"))?
            .with_root_certificates(roots);
        let config = match &self.own {
            None => config.with_no_client_auth(),
            Some((certificate, key)) => {
                let chain = read_certificates("sslcert", certificate).await?;
                let text = tokio::fs::read(key).await;
                let text = text.map_err(|error| unreadable("sslkey", key, error))?;
                let parsed = PrivateKeyDer::from_pem_slice(&text);
                let parsed = parsed.map_err(|error| unreadable("sslkey", key, error))?;
                config
                    .with_client_auth_cert(chain, parsed)
                    .map_err(|error| unreadable("sslcert", certificate, error))?
            }
        };
        Ok(MakeRustlsConnect::new(config))
    }
}

async fn read_certificates(
    what: &'static str,
    file: &Path,
) -> Result<Vec<CertificateDer<'static>>> {
    let text = tokio::fs::read(file).await;
    let text = text.map_err(|error| unreadable(what, file, error))?;
    CertificateDer::pem_slice_iter(&text)
        .collect::<Result<_, _>>()
        .map_err(|error| unreadable(what, file, error))
}

/// A file that is being replaced may be right the next time.
fn unreadable(
    what: &'static str,
    file: &Path,
    error: impl std::error::Error + Send + Sync + 'static,
) -> Error {
    let context = format!("reading `{}` ({what})", file.display());
    Error::Unavailable(anyhow::Error::new(error).context(context))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_taken_out_of_urls_and_of_key_value_strings() {
        for (text, rest, found) in [
            (
                "postgres://u@h/d?sslmode=verify-full&application_name=x",
                "postgres://u@h/d?application_name=x",
                Some("verify-full"),
            ),
            (
                "postgres://u@h/d?sslmode=require",
                "postgres://u@h/d",
                Some("require"),
            ),
            ("postgres://u@h/d", "postgres://u@h/d", None),
            (
                "host=h sslmode=disable user=u",
                "host=h user=u",
                Some("disable"),
            ),
        ] {
            assert_eq!(
                take_option(text, "sslmode"),
                (rest.to_owned(), found.map(str::to_owned)),
                "{text}"
            );
        }
    }

    #[test]
    fn each_host_keeps_its_own_port() {
        let config = Config::from_str("postgres://u:p@a:1,b:2/d").expect("parses");
        let hosts = one_each(&config).expect("two hosts");
        let seen: Vec<_> = hosts
            .iter()
            .map(|host| (host.get_hosts().to_vec(), host.get_ports().to_vec()))
            .collect();
        assert_eq!(
            seen,
            [
                (vec![Host::Tcp("a".into())], vec![1]),
                (vec![Host::Tcp("b".into())], vec![2])
            ]
        );
        assert!(
            hosts
                .iter()
                .all(|host| host.get_password() == Some(b"p") && host.get_dbname() == Some("d"))
        );
    }
}
