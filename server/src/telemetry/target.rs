//! Where log lines go, as it is written in the configuration.

use std::{path::PathBuf, str::FromStr};

use outbound::syslog::Address;
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
    Syslog(Address),
}

impl FromStr for Target {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        if text == "stderr" {
            return Ok(Self::Stderr);
        }
        match text.split_once(':') {
            Some(("file", path)) if !path.is_empty() => Ok(Self::File(PathBuf::from(path))),
            Some(("syslog", address)) => address.parse().map(Self::Syslog),
            _ => Err(()),
        }
    }
}

impl<'de> Deserialize<'de> for Target {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let form = "`stderr`, `file:PATH`, `syslog:unix:/dev/log`, `syslog:udp:HOST:514`, `syslog:tcp:HOST:514` or `syslog:tls:HOST:6514`";
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
                Target::Syslog(Address::Unix("/dev/log".into())),
            ),
            (
                "syslog:udp:logs.example.com:514",
                Target::Syslog(Address::Udp(peer("logs.example.com:514"))),
            ),
            (
                "syslog:tcp:[::1]:6514",
                Target::Syslog(Address::Tcp(peer("[::1]:6514"))),
            ),
            (
                "syslog:tls:logs.example.com:6514",
                Target::Syslog(Address::Tls(peer("logs.example.com:6514"))),
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
