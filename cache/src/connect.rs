//! A connection to the place: to the server, to the master that the Sentinels name now, or to a Cluster's nodes. Files are read for each
//! connection: certificates are renewed, passwords change.

use std::{
    fmt,
    path::{Path, PathBuf},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use outbound::{Trust, trust::Roots};
use redis::{
    AsyncConnectionConfig, Client, ClientTlsConfig, Cmd, ConnectionAddr, ConnectionInfo,
    FromRedisValue, IntoConnectionInfo, RedisConnectionInfo, RedisResult, TlsCertificates, TlsMode,
    aio::MultiplexedConnection,
    cluster::ClusterClient,
    cluster_async::ClusterConnection,
    io::tcp::TcpSettings,
    sentinel::{SentinelClientBuilder, SentinelServerType},
};

use crate::place::{Kind, Login, Place};

/// For each step on the way: a name, a host, a TLS session.
const STEP: Duration = Duration::from_secs(1);
/// For an answer on a connection that stands. Whoever asks for a request waits less, see lib.rs.
pub(crate) const ANSWER: Duration = Duration::from_millis(500);
/// For all steps together.
const WHOLE: Duration = Duration::from_secs(4);

/// How Redis is reached.
#[derive(Clone, Debug)]
pub struct Config {
    pub place: Place,
    pub login: Login,
    /// Holds the password, read again for each connection.
    pub password_file: Option<PathBuf>,
    /// Who we are to the Sentinels, which may have other users than Redis.
    pub sentinel_login: Login,
    /// The authorities that the certificates must come from; those that all of Seawall trusts without it.
    pub ca_file: Option<PathBuf>,
    /// Our own certificate and its key.
    pub client: Option<(PathBuf, PathBuf)>,
    /// The head of all keys' names.
    pub prefix: String,
    pub trust: Trust,
}

/// A connection that stands. A clone shares it.
#[derive(Clone)]
pub(crate) enum Line {
    One(MultiplexedConnection),
    Many(ClusterConnection),
}

impl Line {
    pub(crate) async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> RedisResult<T> {
        match self.clone() {
            Self::One(mut line) => command.query_async(&mut line).await,
            Self::Many(mut line) => command.query_async(&mut line).await,
        }
    }

    /// Whether it mends itself when one of its connections breaks.
    pub(crate) fn is_cluster(&self) -> bool {
        matches!(self, Self::Many(_))
    }
}

/// Why there is no connection, in words.
#[derive(Debug)]
pub(crate) struct Unreachable(String);

impl fmt::Display for Unreachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Config {
    pub(crate) async fn connect(&self) -> Result<Line, Unreachable> {
        let connecting = async {
            let login = self.login().await?;
            let tls = if self.place.tls {
                Some(self.certificates().await?)
            } else {
                None
            };
            let line = match &self.place.kind {
                Kind::Single => self.single(login, tls).await,
                Kind::Sentinel(master) => self.master(master, login, tls).await,
                Kind::Cluster => self.cluster(login, tls).await,
            };
            line.map_err(|error| Unreachable(error.to_string()))
        };
        let late = |_| Unreachable(format!("no connection within {} s", WHOLE.as_secs()));
        tokio::time::timeout(WHOLE, connecting)
            .await
            .map_err(late)?
    }

    async fn single(&self, login: Login, tls: Option<TlsCertificates>) -> RedisResult<Line> {
        let client = match tls {
            None => Client::open(self.first_host(login)?)?,
            Some(tls) => Client::build_with_tls(self.first_host(login)?, tls)?,
        };
        open(&client).await
    }

    async fn master(
        &self,
        master: &str,
        login: Login,
        tls: Option<TlsCertificates>,
    ) -> RedisResult<Line> {
        let sentinels = self.addresses();
        let mut builder =
            SentinelClientBuilder::new(sentinels, master, SentinelServerType::Master)?
                .set_client_to_redis_db(self.place.database)
                .set_client_to_redis_tcp_settings(tcp())
                .set_client_to_sentinel_tcp_settings(tcp());
        if let Some(user) = login.user {
            builder = builder.set_client_to_redis_username(user);
        }
        if let Some(password) = login.password {
            builder = builder.set_client_to_redis_password(password);
        }
        if let Some(user) = &self.sentinel_login.user {
            builder = builder.set_client_to_sentinel_username(user);
        }
        if let Some(password) = &self.sentinel_login.password {
            builder = builder.set_client_to_sentinel_password(password);
        }
        if let Some(tls) = tls {
            builder = builder
                .set_client_to_redis_tls_mode(TlsMode::Secure)
                .set_client_to_redis_certificates(tls.clone())
                .set_client_to_sentinel_tls_mode(TlsMode::Secure)
                .set_client_to_sentinel_certificates(tls);
        }
        open(&builder.build()?.async_get_client().await?).await
    }

    async fn cluster(&self, login: Login, tls: Option<TlsCertificates>) -> RedisResult<Line> {
        let nodes = self.addresses();
        let nodes: Vec<ConnectionInfo> = nodes
            .into_iter()
            .map(ConnectionAddr::into_connection_info)
            .collect::<RedisResult<_>>()?;
        // What breaks is asked of the store, not asked again.
        let mut builder = ClusterClient::builder(nodes)
            .connection_timeout(STEP)
            .response_timeout(ANSWER)
            .retries(1)
            .tcp_settings(tcp());
        if let Some(user) = login.user {
            builder = builder.username(user);
        }
        if let Some(password) = login.password {
            builder = builder.password(password);
        }
        if let Some(tls) = tls {
            builder = builder.tls(TlsMode::Secure).certs(tls);
        }
        Ok(Line::Many(builder.build()?.get_async_connection().await?))
    }

    fn first_host(&self, login: Login) -> RedisResult<ConnectionInfo> {
        let mut us = RedisConnectionInfo::default()
            .set_db(self.place.database)
            .set_skip_set_lib_name();
        if let Some(user) = login.user {
            us = us.set_username(user);
        }
        if let Some(password) = login.password {
            us = us.set_password(password);
        }
        let address = self.addresses().swap_remove(0);
        let info = address.into_connection_info()?;
        Ok(info.set_redis_settings(us).set_tcp_settings(tcp()))
    }

    fn addresses(&self) -> Vec<ConnectionAddr> {
        let hosts = self.place.hosts.iter().cloned();
        let address = |(host, port)| {
            if !self.place.tls {
                return ConnectionAddr::Tcp(host, port);
            }
            ConnectionAddr::TcpTls {
                host,
                port,
                insecure: false,
                tls_params: None,
            }
        };
        hosts.map(address).collect()
    }

    async fn login(&self) -> Result<Login, Unreachable> {
        let Some(file) = &self.password_file else {
            return Ok(self.login.clone());
        };
        let text = String::from_utf8(read("redis.password_file", file).await?);
        let text = text.map_err(|error| unusable("redis.password_file", file, &error))?;
        Ok(Login {
            user: self.login.user.clone(),
            password: Some(text.trim_end_matches(['\r', '\n']).to_owned()),
        })
    }

    async fn certificates(&self) -> Result<TlsCertificates, Unreachable> {
        let authorities = match &self.ca_file {
            Some(file) => read("redis.ca_file", file).await?,
            None => pem(self.trust.roots_soon().await.as_ref()),
        };
        let client_tls = match &self.client {
            None => None,
            Some((certificate, key)) => Some(ClientTlsConfig {
                client_cert: read("redis.client_certificate", certificate).await?,
                client_key: read("redis.client_key", key).await?,
            }),
        };
        Ok(TlsCertificates {
            client_tls,
            root_cert: Some(authorities),
        })
    }
}

async fn open(client: &Client) -> RedisResult<Line> {
    let bounds = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(STEP))
        .set_response_timeout(Some(ANSWER));
    let line = client.get_multiplexed_async_connection_with_config(&bounds);
    Ok(Line::One(line.await?))
}

/// Small questions must not wait for more of them.
fn tcp() -> TcpSettings {
    TcpSettings::default().set_nodelay(true)
}

/// As the client takes authorities.
fn pem(roots: &Roots) -> Vec<u8> {
    let mut text = String::new();
    for certificate in &roots.certificates {
        text.push_str("-----BEGIN CERTIFICATE-----\n");
        let encoded = STANDARD.encode(certificate);
        for line in encoded.as_bytes().chunks(64) {
            text.push_str(&String::from_utf8_lossy(line));
            text.push('\n');
        }
        text.push_str("-----END CERTIFICATE-----\n");
    }
    text.into_bytes()
}

async fn read(key: &str, file: &Path) -> Result<Vec<u8>, Unreachable> {
    let content = tokio::fs::read(file).await;
    content.map_err(|error| unusable(key, file, &error))
}

fn unusable(key: &str, file: &Path, error: &dyn fmt::Display) -> Unreachable {
    Unreachable(format!("reading `{}` ({key}): {error}", file.display()))
}
