//! The settings that Harbor keeps in its database and people edit while the server runs: which there are, and what each may be.
//! A setting's value is kept as text, as Harbor keeps it; `parse` makes that text from JSON and refuses what does not fit.

mod snapshot;
mod table;

use std::collections::BTreeMap;

use serde_json::Value;

pub use self::{
    snapshot::{AuthMode, Mail, Pinned, Settings},
    table::{ALL, NAMES},
};
use crate::{Error, Result, What};

/// One setting.
#[derive(Debug, PartialEq, Eq)]
pub struct Setting {
    pub name: &'static str,
    pub kind: Kind,
    /// As the database would keep it.
    pub default: &'static str,
    /// Kept and shown, and read by nothing yet.
    pub later: bool,
}

/// What a setting may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Bool,
    Int {
        least: i64,
        most: i64,
    },
    /// Bytes: -1 for no limit, or 1 to 1 PiB.
    Limit,
    Text,
    NonEmpty,
    /// The head of robots' names: what Basic authentication cannot carry is no part of it.
    Prefix,
    /// Empty, or a host and a port.
    Endpoint,
    /// Encrypted in the database, and never shown.
    Password,
    OneOf(&'static [&'static str]),
    /// A JSON object.
    Map,
    /// A JSON object of texts, which Harbor shows as text.
    TextMap,
}

/// Harbor's bound on quotas: 1 PiB.
pub const MOST_BYTES: i64 = 1 << 50;
/// Longer texts are no settings; a certificate fits.
const LONGEST: usize = 64 << 10;

/// Values that were checked, as the database keeps them.
pub type Changes = BTreeMap<&'static str, String>;

/// The setting of this name.
pub fn find(name: &str) -> Option<&'static Setting> {
    ALL.iter().find(|setting| setting.name == name)
}

/// What a request wants to be changed. Names that are no settings, and `null`, are passed over, as Harbor does.
pub fn parse(wanted: &serde_json::Map<String, Value>) -> Result<Changes> {
    let mut changes = Changes::new();
    for (name, value) in wanted {
        if let Some(setting) = find(name).filter(|_| !value.is_null()) {
            let text = setting
                .parse(value)
                .map_err(|why| Error::invalid(What::Setting, format!("`{name}` {why}")))?;
            changes.insert(setting.name, text);
        }
    }
    Ok(changes)
}

impl Setting {
    /// The text that the database keeps for a value; else what the value must be. Numbers and truths may come as texts, as
    /// they do from variables and from old clients.
    pub fn parse(&self, value: &Value) -> Result<String, String> {
        let form = || self.kind.form();
        let text = match (self.kind, value) {
            (Kind::Map | Kind::TextMap, Value::Object(map)) => {
                Value::Object(map.clone()).to_string()
            }
            (Kind::Bool, Value::Bool(truth)) => truth.to_string(),
            (Kind::Int { .. } | Kind::Limit, Value::Number(number)) => whole(number)
                .map(|number| number.to_string())
                .ok_or_else(form)?,
            (_, Value::String(text)) => text.clone(),
            _ => return Err(form()),
        };
        self.check(&text)
    }

    /// The same for a text.
    pub fn check(&self, text: &str) -> Result<String, String> {
        if text.len() > LONGEST || text.contains('\0') {
            return Err(format!(
                "must be a text of at most {LONGEST} bytes without NUL"
            ));
        }
        self.kind.normal(text).ok_or_else(|| self.kind.form())
    }

    /// As Harbor's API shows a value: with its type; none for passwords, and for a map that was never set.
    pub fn shown(&self, text: &str) -> Option<Value> {
        match self.kind {
            Kind::Password => None,
            Kind::Bool => Some((text == "true").into()),
            Kind::Int { .. } | Kind::Limit => text.parse::<i64>().ok().map(Into::into),
            Kind::Map => serde_json::from_str(text).ok(),
            Kind::Text
            | Kind::NonEmpty
            | Kind::Prefix
            | Kind::Endpoint
            | Kind::OneOf(_)
            | Kind::TextMap => Some(text.into()),
        }
    }

    pub fn is_password(&self) -> bool {
        self.kind == Kind::Password
    }
}

impl Kind {
    /// The one way to write a value that fits.
    fn normal(self, text: &str) -> Option<String> {
        let own = || text.to_owned();
        match self {
            Self::Bool => match text.trim() {
                "true" | "True" | "TRUE" | "t" | "T" | "1" => Some("true".to_owned()),
                "false" | "False" | "FALSE" | "f" | "F" | "0" => Some("false".to_owned()),
                _ => None,
            },
            Self::Int { least, most } => text
                .trim()
                .parse()
                .ok()
                .filter(|number| (least..=most).contains(number))
                .map(|number: i64| number.to_string()),
            Self::Limit => text
                .trim()
                .parse()
                .ok()
                .filter(|&number| number == -1 || (1..=MOST_BYTES).contains(&number))
                .map(|number: i64| number.to_string()),
            Self::Text | Self::Password => Some(own()),
            Self::NonEmpty => (!text.trim().is_empty()).then(own),
            Self::Prefix => {
                let text = text.trim();
                let fits = (1..=64).contains(&text.chars().count())
                    && !text.chars().any(|c| c.is_control() || c == ':');
                fits.then(|| text.to_owned())
            }
            Self::Endpoint => (text.is_empty() || is_endpoint(text)).then(own),
            Self::OneOf(words) => words.contains(&text).then(own),
            Self::Map => serde_json::from_str::<serde_json::Map<String, Value>>(text)
                .ok()
                .map(|_| own()),
            Self::TextMap => serde_json::from_str::<BTreeMap<String, String>>(text)
                .ok()
                .map(|_| own()),
        }
    }

    /// What a value must be, in the words of a message.
    fn form(self) -> String {
        match self {
            Self::Bool => "must be true or false".to_owned(),
            Self::Int { least, most } => {
                format!("must be a whole number from {least} to {most}")
            }
            Self::Limit => {
                format!("must be -1 (no limit) or a whole number from 1 to {MOST_BYTES}")
            }
            Self::Text | Self::Password => "must be a text".to_owned(),
            Self::NonEmpty => "must be a text that is not empty".to_owned(),
            Self::Prefix => {
                "must be a text of 1 to 64 characters without `:` and control characters".to_owned()
            }
            Self::Endpoint => "must be empty or `HOST:PORT`, with `udp://`, `tcp://` or `tls://` before it if wanted".to_owned(),
            Self::OneOf(words) => format!("must be one of {}", words.join(", ")),
            Self::Map => "must be a JSON object".to_owned(),
            Self::TextMap => "must be a JSON object whose values are texts".to_owned(),
        }
    }
}

/// Harbor takes `30.0` and `3e1` for 30.
fn whole(number: &serde_json::Number) -> Option<i64> {
    number.as_i64().or_else(|| {
        let float = number.as_f64()?;
        (float.fract() == 0.0 && float.abs() < 9e15).then_some(float as i64)
    })
}

/// `HOST:PORT`, with or without `udp://`, `tcp://` or `tls://` before it.
fn is_endpoint(text: &str) -> bool {
    let text = match text.split_once("://") {
        Some(("udp" | "tcp" | "tls", peer)) => peer,
        Some(_) => return false,
        None => text,
    };
    let Some((host, port)) = text.rsplit_once(':') else {
        return false;
    };
    let bracketed = host.starts_with('[') && host.ends_with(']');
    let plain = |c: char| c.is_ascii_graphic() && !"/@?#[]:".contains(c);
    let host_fits = if bracketed {
        host[1..host.len() - 1]
            .parse::<std::net::Ipv6Addr>()
            .is_ok()
    } else {
        (1..=253).contains(&host.len()) && host.chars().all(plain)
    };
    host_fits && port.parse::<u16>().is_ok_and(|port| port > 0)
}

#[cfg(test)]
mod tests;
