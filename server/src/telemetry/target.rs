//! Where log lines go, as it is written in the configuration.

use std::{path::PathBuf, str::FromStr};

use serde::{
    Deserialize, Deserializer,
    de::{self, Unexpected},
};

/// Where log lines go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Target {
    #[default]
    Stderr,
    File(PathBuf),
    Syslog(SyslogAddress),
}

/// How a syslog server is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SyslogAddress {
    /// A socket such as `/dev/log`, of datagrams or of a stream.
    Unix(PathBuf),
    /// `HOST:PORT`
    Udp(String),
    /// `HOST:PORT`
    Tcp(String),
}

impl FromStr for Target {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        if text == "stderr" {
            return Ok(Self::Stderr);
        }
        match text.split_once(':') {
            Some(("file", path)) if !path.is_empty() => Ok(Self::File(PathBuf::from(path))),
            Some(("syslog", address)) => match address.split_once(':') {
                Some(("unix", path)) if !path.is_empty() => {
                    Ok(Self::Syslog(SyslogAddress::Unix(PathBuf::from(path))))
                }
                Some(("udp", peer)) if is_peer(peer) => {
                    Ok(Self::Syslog(SyslogAddress::Udp(peer.to_owned())))
                }
                Some(("tcp", peer)) if is_peer(peer) => {
                    Ok(Self::Syslog(SyslogAddress::Tcp(peer.to_owned())))
                }
                _ => Err(()),
            },
            _ => Err(()),
        }
    }
}

/// `HOST:PORT`, where an IPv6 address stands in brackets.
fn is_peer(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else {
        return false;
    };
    let bracketed = host.starts_with('[') && host.ends_with(']');
    !host.is_empty()
        && (bracketed || !host.contains(':'))
        && port.parse::<u16>().is_ok_and(|port| port > 0)
}

impl<'de> Deserialize<'de> for Target {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let form = "`stderr`, `file:PATH`, `syslog:unix:/dev/log`, `syslog:udp:HOST:514` or `syslog:tcp:HOST:514`";
        text.parse()
            .map_err(|()| de::Error::invalid_value(Unexpected::Str(&text), &form))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_forms_are_read() {
        let peer = |text: &str| text.to_owned();
        for (text, target) in [
            ("stderr", Target::Stderr),
            (
                "file:/var/log/seawall.log",
                Target::File("/var/log/seawall.log".into()),
            ),
            (
                "syslog:unix:/dev/log",
                Target::Syslog(SyslogAddress::Unix("/dev/log".into())),
            ),
            (
                "syslog:udp:logs.example.com:514",
                Target::Syslog(SyslogAddress::Udp(peer("logs.example.com:514"))),
            ),
            (
                "syslog:tcp:[::1]:6514",
                Target::Syslog(SyslogAddress::Tcp(peer("[::1]:6514"))),
            ),
        ] {
            assert_eq!(text.parse(), Ok(target));
        }
    }

    #[test]
    fn other_forms_are_refused() {
        for text in [
            "",
            "stdout",
            "file:",
            "syslog:",
            "syslog:udp:host",
            "syslog:udp:host:0",
            "syslog:tcp:::1:514",
            "syslog:unix:",
        ] {
            assert_eq!(text.parse::<Target>(), Err(()), "{text}");
        }
    }
}
