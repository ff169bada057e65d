//! Where a Redis is, as its URL says it: one server, a master that Sentinels know, or a Cluster; plain or over TLS. Sentinel's
//! form is Harbor's.

use std::{fmt, str::FromStr};

use percent_encoding::percent_decode_str;

/// Options that Harbor's URLs carry for its own client. Ours has fixed bounds, so they say nothing here.
const OF_HARBORS_CLIENT: [&str; 13] = [
    "idle_timeout_seconds",
    "idle_timeout",
    "max_retries",
    "min_retry_backoff",
    "max_retry_backoff",
    "dial_timeout",
    "read_timeout",
    "write_timeout",
    "pool_fifo",
    "pool_size",
    "pool_timeout",
    "min_idle_conns",
    "max_conn_age",
];

/// `redis.url`, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedisUrl {
    pub place: Place,
    pub login: Login,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub kind: Kind,
    /// Hosts with their ports: the server, the Sentinels, or some of the Cluster's.
    pub hosts: Vec<(String, u16)>,
    pub tls: bool,
    pub database: i64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    Single,
    /// The name of the master.
    Sentinel(String),
    Cluster,
}

/// Who we are there. Without a password nobody.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Login {
    pub user: Option<String>,
    pub password: Option<String>,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Single => f.write_str("Redis at")?,
            Kind::Sentinel(master) => write!(f, "Redis `{master}` of the Sentinels at")?,
            Kind::Cluster => f.write_str("the Redis Cluster at")?,
        }
        for (index, (host, port)) in self.hosts.iter().enumerate() {
            let between = if index == 0 { " " } else { ", " };
            write!(f, "{between}`{host}:{port}`")?;
        }
        Ok(())
    }
}

impl FromStr for RedisUrl {
    type Err = String;

    /// The error says what was expected, and shows nothing of the URL that may be secret.
    fn from_str(text: &str) -> Result<Self, String> {
        let (scheme, rest) = text.split_once("://").ok_or_else(form)?;
        let (kind, tls) = kind(scheme).ok_or_else(form)?;
        let (rest, options) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (login, hosts) = match authority.rsplit_once('@') {
            Some((login, hosts)) => (login_of(login)?, hosts),
            None => (Login::default(), authority),
        };
        let port = if matches!(kind, Kind::Sentinel(_)) {
            26_379
        } else {
            6379
        };
        let hosts: Vec<_> = hosts
            .split(',')
            .map(|host| host_of(host, port))
            .collect::<Result<_, _>>()?;
        if kind == Kind::Single && hosts.len() > 1 {
            return Err(format!(
                "one host, or `{scheme}+sentinel://` or `{scheme}-cluster://` for several"
            ));
        }
        let (kind, database) = path_of(kind, path)?;
        let database = options_of(options)?.unwrap_or(database);
        if kind == Kind::Cluster && database != 0 {
            return Err("no number of a database, since a Cluster has one alone".to_owned());
        }
        let place = Place {
            kind,
            hosts,
            tls,
            database,
        };
        Ok(Self { place, login })
    }
}

fn form() -> String {
    "`redis://[USER:PASSWORD@]HOST[:PORT][/DB]`, `redis+sentinel://…HOST:PORT,HOST:PORT/MASTER[/DB]` or `redis-cluster://…HOST:PORT,HOST:PORT`, each with `rediss` for TLS".to_owned()
}

fn kind(scheme: &str) -> Option<(Kind, bool)> {
    let sentinel = || Kind::Sentinel(String::new());
    Some(match scheme {
        "redis" | "valkey" => (Kind::Single, false),
        "rediss" | "valkeys" => (Kind::Single, true),
        "redis+sentinel" => (sentinel(), false),
        "rediss+sentinel" => (sentinel(), true),
        "redis-cluster" => (Kind::Cluster, false),
        "rediss-cluster" => (Kind::Cluster, true),
        _ => return None,
    })
}

/// `USER:PASSWORD`, `:PASSWORD`; what is not plain in a URL is percent-encoded.
fn login_of(text: &str) -> Result<Login, String> {
    let Some((user, password)) = text.split_once(':') else {
        return Err("a password behind the user, `USER:PASSWORD@` or `:PASSWORD@`".to_owned());
    };
    let plain = |text: &str| {
        let decoded = percent_decode_str(text).decode_utf8();
        let decoded = decoded.map_err(|_| "text in UTF-8 before the `@`".to_owned())?;
        Ok::<_, String>((!decoded.is_empty()).then(|| decoded.into_owned()))
    };
    Ok(Login {
        user: plain(user)?,
        password: plain(password)?,
    })
}

fn host_of(text: &str, otherwise: u16) -> Result<(String, u16), String> {
    let parts = match text.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map(|(host, after)| match after {
            "" => (host, None),
            after => (host, Some(after.strip_prefix(':').unwrap_or_default())),
        }),
        None => Some(match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        }),
    };
    let is_fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
    let read = parts.and_then(|(host, port)| {
        let port: u16 = match port {
            Some(port) => port.parse().ok()?,
            None => otherwise,
        };
        let is_host = !host.is_empty() && host.chars().all(is_fine) && port != 0;
        is_host.then(|| (host.to_owned(), port))
    });
    read.ok_or_else(|| "hosts as `HOST` or `HOST:PORT`, with commas between them".to_owned())
}

/// What stands behind the hosts: the number of a database, before it the name of the Sentinels' master.
fn path_of(kind: Kind, path: &str) -> Result<(Kind, i64), String> {
    let mut parts = path.split('/').filter(|part| !part.is_empty());
    let kind = match kind {
        Kind::Sentinel(_) => {
            let master = parts
                .next()
                .map(|name| percent_decode_str(name).decode_utf8());
            let Some(Ok(master)) = master else {
                return Err("the name of the master behind the Sentinels, `…/MASTER`".to_owned());
            };
            Kind::Sentinel(master.into_owned())
        }
        kind => kind,
    };
    let database = parts.next().map_or(Ok(0), number)?;
    match parts.next() {
        None => Ok((kind, database)),
        Some(_) => Err("nothing behind the number of the database".to_owned()),
    }
}

fn options_of(options: &str) -> Result<Option<i64>, String> {
    let mut database = None;
    for option in options.split('&').filter(|option| !option.is_empty()) {
        match option.split_once('=').unwrap_or((option, "")) {
            ("db", value) => database = Some(number(value)?),
            (name, _) if OF_HARBORS_CLIENT.contains(&name) => {}
            _ => return Err("no options but `db` behind `?`".to_owned()),
        }
    }
    Ok(database)
}

fn number(text: &str) -> Result<i64, String> {
    let number = text
        .parse()
        .ok()
        .filter(|number| (0..=9999).contains(number));
    number.ok_or_else(|| "the number of a database, such as `/1`".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(list: &[(&str, u16)]) -> Vec<(String, u16)> {
        list.iter()
            .map(|(host, port)| ((*host).to_owned(), *port))
            .collect()
    }

    #[test]
    fn every_form_of_the_url_is_read() {
        let sentinel = || Kind::Sentinel("mymaster".to_owned());
        for (url, kind, at, tls, database, login) in [
            (
                "redis://cache",
                Kind::Single,
                hosts(&[("cache", 6379)]),
                false,
                0,
                (None, None),
            ),
            (
                "valkeys://cache:7000/3",
                Kind::Single,
                hosts(&[("cache", 7000)]),
                true,
                3,
                (None, None),
            ),
            (
                "rediss://seawall:p%40ss%2F@[::1]:6380/1?idle_timeout_seconds=30",
                Kind::Single,
                hosts(&[("::1", 6380)]),
                true,
                1,
                (Some("seawall"), Some("p@ss/")),
            ),
            (
                "redis://:secret@[fd00::1]",
                Kind::Single,
                hosts(&[("fd00::1", 6379)]),
                false,
                0,
                (None, Some("secret")),
            ),
            // As Harbor writes them.
            (
                "redis+sentinel://anonymous:password@host1:26379,host2/mymaster/1?idle_timeout_seconds=30&max_retries=10",
                sentinel(),
                hosts(&[("host1", 26_379), ("host2", 26_379)]),
                false,
                1,
                (Some("anonymous"), Some("password")),
            ),
            (
                "rediss+sentinel://h/mymaster/?db=2",
                sentinel(),
                hosts(&[("h", 26_379)]),
                true,
                2,
                (None, None),
            ),
            (
                "redis-cluster://a:7000,b,c:7002/",
                Kind::Cluster,
                hosts(&[("a", 7000), ("b", 6379), ("c", 7002)]),
                false,
                0,
                (None, None),
            ),
        ] {
            let read: RedisUrl = url.parse().unwrap_or_else(|why| panic!("{url}: {why}"));
            let place = Place {
                kind,
                hosts: at,
                tls,
                database,
            };
            assert_eq!(read.place, place, "{url}");
            let (user, password) = login;
            assert_eq!(read.login.user.as_deref(), user, "{url}");
            assert_eq!(read.login.password.as_deref(), password, "{url}");
        }
    }

    #[test]
    fn nonsense_is_refused_with_what_was_expected_and_without_the_password() {
        for (url, words) in [
            ("geheim", "redis://"),
            ("http://:geheim@host", "redis://"),
            ("redis://", "hosts as"),
            ("redis://:geheim@", "hosts as"),
            ("redis://geheim@host", "a password behind the user"),
            ("redis://host:0", "hosts as"),
            ("redis://host:port", "hosts as"),
            ("redis://host name", "hosts as"),
            ("redis://[::1", "hosts as"),
            ("redis://[::1]6379", "hosts as"),
            ("redis://a,b", "`redis+sentinel://`"),
            ("redis://host/geheim", "the number of a database"),
            ("redis://host/-1", "the number of a database"),
            ("redis://host/1/2", "nothing behind"),
            ("redis://host?password=geheim", "no options"),
            ("redis+sentinel://host:26379", "the name of the master"),
            (
                "redis+sentinel://host/mymaster/x",
                "the number of a database",
            ),
            ("redis-cluster://host/1", "a Cluster has one alone"),
        ] {
            let why = url.parse::<RedisUrl>().expect_err(url);
            assert!(
                why.contains(words) && !why.contains("geheim"),
                "{url}: {why}"
            );
        }
        let login = "redis://u:geheim@host".parse::<RedisUrl>().expect("parses");
        assert!(!format!("{login:?}").contains("geheim"));
    }
}
