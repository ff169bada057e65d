//! Lines on their way to a syslog server: tried again, with growing pauses, while the bounded queue fills. It runs on the sink's own
//! thread, which may wait for as long as it takes.

use std::time::Duration;

use model::time::Timestamp;
use outbound::{
    Trust,
    syslog::{Address, Facility, Header, Sender, Severity},
};

use super::{
    line::rfc3339,
    sink::{Shared, count_lines},
};

const FIRST_PAUSE: Duration = Duration::from_millis(250);

const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// What stands before each line of a node.
pub(super) fn header(host: &str) -> Header {
    Header::new(Facility::Daemon, host, "seawall")
}

pub(super) fn write_header(
    header: &Header,
    line: &mut Vec<u8>,
    severity: Severity,
    now: Timestamp,
) {
    header.write(line, severity, &rfc3339(now), "-");
    // No structured data.
    line.extend_from_slice(b"- ");
}

/// The way to a syslog server.
pub(super) struct Syslog(Sender);

impl Syslog {
    pub(super) fn new(address: Address, trust: Trust) -> Self {
        Self(Sender::new(address, trust))
    }

    /// Sends whole lines, trying again until they are sent or the process stops. Returns how many lines were lost.
    pub(super) fn write(&mut self, lines: &[u8], shared: &Shared) -> u64 {
        let mut rest = lines;
        let mut pause = FIRST_PAUSE;
        if self.0.was_closed() {
            self.0.disconnect();
        }
        while !rest.is_empty() {
            let before = rest.len();
            if self.0.send(&mut rest, &|| shared.gave_up()).is_err() {
                if shared.gave_up() {
                    return count_lines(rest);
                }
                pause = if rest.len() < before {
                    FIRST_PAUSE
                } else {
                    (pause * 2).min(LONGEST_PAUSE)
                };
                shared.pause(pause);
            }
        }
        0
    }
}
