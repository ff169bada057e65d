//! Where a configuration comes from: the file, the environment, the flags.

use std::{
    env,
    ffi::OsString,
    fmt, fs, io,
    path::{Path, PathBuf},
};

use super::{
    ConfigError,
    tree::{self, Kind, Node, Origin, Table},
};

/// Read when no other file is named, and only if it exists.
const DEFAULT_FILE: &str = "/etc/seawall/seawall.toml";

/// Harbor's variable that says settings for good (see `pins.rs`).
pub(super) const OVERWRITE: &str = "CONFIG_OVERWRITE_JSON";

/// Where object stores' own programs look for credentials: what their variables begin with, and single ones.
const STORES: [&str; 4] = ["AWS_", "AZURE_", "OS_", "ST_"];
const OF_STORES: [&str; 3] = [
    "GOOGLE_APPLICATION_CREDENTIALS",
    "IDENTITY_ENDPOINT",
    "HOME",
];

fn is_of_stores(name: &str) -> bool {
    STORES.iter().any(|begin| name.starts_with(begin)) || OF_STORES.contains(&name)
}

/// Where other programs look for a proxy, and which of our keys it stands for. The first that is set counts.
const PROXY_VARIABLES: [(&str, [&str; 2]); 3] = [
    ("http", ["HTTP_PROXY", "http_proxy"]),
    ("https", ["HTTPS_PROXY", "https_proxy"]),
    ("no_proxy", ["NO_PROXY", "no_proxy"]),
];

/// The flags that every command which needs the configuration understands.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Flags {
    /// The configuration file [default: /etc/seawall/seawall.toml, if it exists]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The data directory [default: ./seawall-data]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Listen here, in plain HTTP, and on no address of the configuration; may be repeated [default: `[::]:8080`]
    #[arg(long, value_name = "ADDR")]
    pub listen: Vec<String>,
}

/// A configuration file that was read.
#[derive(Clone)]
pub struct ConfigFile {
    /// How messages name it.
    pub name: String,
    pub text: String,
}

/// All that a configuration is made of. Its text may hold secrets, so `Debug` shows the names alone.
#[derive(Clone, Default)]
pub struct Sources {
    pub file: Option<ConfigFile>,
    /// The environment; names that are no key are passed over.
    pub variables: Vec<(String, String)>,
    pub flags: Flags,
    /// The default of `server.node`.
    pub host_name: String,
}

impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&String> = self.variables.iter().map(|(name, _)| name).collect();
        f.debug_struct("Sources")
            .field("file", &self.file.as_ref().map(|file| &file.name))
            .field("variables", &names)
            .field("flags", &self.flags)
            .finish_non_exhaustive()
    }
}

impl Sources {
    /// Reads the file that the flags or `SEAWALL_CONFIG` name, and the environment of this process.
    pub fn of_process(flags: Flags) -> Result<Self, ConfigError> {
        let variables = variables(env::vars_os(), is_known)?;
        let named = flags.config.clone().or_else(|| {
            env::var_os("SEAWALL_CONFIG")
                .filter(|v| !v.is_empty())
                .map(Into::into)
        });
        let path = named.clone().unwrap_or_else(|| PathBuf::from(DEFAULT_FILE));
        let file = match fs::read_to_string(&path) {
            Ok(text) => Some(ConfigFile {
                name: path.display().to_string(),
                text,
            }),
            Err(error) if named.is_none() && error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                return Err(ConfigError::new(format!(
                    "cannot read the configuration `{}`: {error}",
                    path.display()
                )));
            }
        };
        Ok(Self {
            file,
            variables,
            flags,
            host_name: host_name(),
        })
    }

    /// A text alone, with what object stores' own programs find in the environment.
    pub fn of_text(name: &str, text: String, data: &Path) -> Result<Self, ConfigError> {
        Ok(Self {
            file: Some(ConfigFile {
                name: name.to_owned(),
                text,
            }),
            variables: variables(env::vars_os(), is_of_stores)?,
            flags: Flags {
                data: Some(data.to_owned()),
                ..Flags::default()
            },
            host_name: host_name(),
        })
    }

    /// The text of [`OVERWRITE`].
    pub(super) fn overwrite(&self) -> Option<String> {
        let found = self.variables.iter().find(|(name, _)| name == OVERWRITE);
        found
            .map(|(_, value)| value.clone())
            .filter(|value| !value.trim().is_empty())
    }

    /// What object stores' own programs look for in the environment.
    pub(super) fn of_stores(&self) -> Vec<(String, String)> {
        let variables = self.variables.iter();
        let known = variables.filter(|(name, value)| is_of_stores(name) && !value.is_empty());
        known.cloned().collect()
    }

    /// One tree of all sources.
    pub(super) fn merged(self) -> Result<Table, ConfigError> {
        let mut root = match &self.file {
            Some(file) => tree::from_file(&file.name, &file.text)?,
            None => Table::new(),
        };
        let mut variables = self.variables;
        lay_proxies_under(&mut root, &variables)?;
        // In the order of their names the whole comes before its parts, and messages are the same at each start.
        variables.sort();
        for (name, value) in variables {
            // An empty variable is as none: compose files and charts write `NAME=` for what they leave out.
            if let Some(path) = key_of(&name).filter(|_| !value.is_empty()) {
                tree::overlay(
                    &mut root,
                    &path,
                    Node::new(Kind::Text(value), Origin::Variable(name.into())),
                )?;
            }
        }
        if let Some(data) = &self.flags.data {
            let data = data
                .to_str()
                .ok_or_else(|| ConfigError::new("flag --data: the path is not UTF-8".to_owned()))?;
            let node = Node::new(Kind::Text(data.to_owned()), Origin::Flag("--data"));
            tree::overlay(&mut root, &["server".to_owned(), "data".to_owned()], node)?;
        }
        if !self.flags.listen.is_empty() {
            let origin = Origin::Flag("--listen");
            let listener = |address: &String| {
                let address = Node::new(Kind::Text(address.clone()), origin.clone());
                Node::new(
                    Kind::Table(Table::from([("address".to_owned(), address)])),
                    origin.clone(),
                )
            };
            let listeners = Kind::List(self.flags.listen.iter().map(listener).collect());
            tree::overlay(
                &mut root,
                &["listen".to_owned()],
                Node::new(listeners, origin.clone()),
            )?;
        }
        Ok(root)
    }
}

/// What the environment says of proxies counts where the file and our own variables say nothing, not even "none".
fn lay_proxies_under(root: &mut Table, variables: &[(String, String)]) -> Result<(), ConfigError> {
    let value = |wanted: &str| {
        variables
            .iter()
            .find(|(name, value)| name == wanted && !value.is_empty())
    };
    for (key, names) in PROXY_VARIABLES {
        let said = match root.get("proxy").map(|section| &section.kind) {
            Some(Kind::Table(section)) => section.contains_key(key),
            Some(_) => true,
            None => false,
        };
        let in_file = format!("SEAWALL_PROXY__{}_FILE", key.to_ascii_uppercase());
        if said || value(&in_file).is_some() {
            continue;
        }
        if let Some((name, text)) = names.into_iter().find_map(value) {
            let node = Node::new(
                Kind::Text(text.clone()),
                Origin::Variable(name.as_str().into()),
            );
            tree::overlay(root, &["proxy".to_owned(), key.to_owned()], node)?;
        }
    }
    Ok(())
}

/// `SEAWALL_SECTION__KEY` as the parts of its key. Names without `__` are not ours: Kubernetes sets `SEAWALL_PORT` and its like
/// for a service called `seawall`.
fn key_of(name: &str) -> Option<Vec<String>> {
    let rest = name.strip_prefix("SEAWALL_")?;
    let parts: Vec<String> = rest.split("__").map(str::to_ascii_lowercase).collect();
    (parts.len() > 1 && parts.iter().all(|part| !part.is_empty())).then_some(parts)
}

/// Whether a variable of that name counts.
fn is_known(name: &str) -> bool {
    let mut proxies = PROXY_VARIABLES.iter();
    proxies.any(|(_, names)| names.contains(&name))
        || is_of_stores(name)
        || name == OVERWRITE
        || key_of(name).is_some()
}

/// The variables that are wanted, which have to be text. What the others are is nobody's business here.
pub(super) fn variables(
    all: impl Iterator<Item = (OsString, OsString)>,
    is_wanted: impl Fn(&str) -> bool,
) -> Result<Vec<(String, String)>, ConfigError> {
    let named = all.filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
    let wanted = named.filter(|(name, _)| is_wanted(name));
    wanted
        .map(|(name, value)| match value.into_string() {
            Ok(value) => Ok((name, value)),
            Err(_) => Err(ConfigError::new(format!(
                "variable {name}: the value is not UTF-8"
            ))),
        })
        .collect()
}

fn host_name() -> String {
    fs::read_to_string("/proc/sys/kernel/hostname")
        .ok()
        .or_else(|| env::var("HOSTNAME").ok())
        .map(|name| name.trim().to_owned())
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "localhost".to_owned())
}
