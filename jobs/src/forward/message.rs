//! A row of the audit as a syslog message. Its program is `audit` and its text is Harbor's, so that a site's old rules fit; all of it
//! stands in the structured data once more.

use db::audit::Entry;
use outbound::syslog::{Facility, Header, Severity, write_param, write_text};

/// The number of examples (RFC 5612): we have none of our own.
const STRUCTURED: &str = "[audit@32473";

pub(super) fn header(node: &str) -> Header {
    Header::new(Facility::Audit, node, "audit")
}

/// Writes one message with a line's end behind it.
pub(super) fn write(header: &Header, line: &mut Vec<u8>, entry: &Entry) {
    let severity = if entry.succeeded {
        Severity::Info
    } else {
        Severity::Warning
    };
    let time = entry.at.rfc3339();
    header.write(line, severity, time.as_bytes(), msgid(&entry.event));
    line.extend_from_slice(STRUCTURED.as_bytes());
    write_param(line, "operator", &entry.actor);
    write_param(line, "time", &time);
    write_param(line, "resourceType", &entry.resource_type);
    write_param(line, "operation", &entry.operation);
    write_param(line, "resource", &entry.resource);
    let result = if entry.succeeded { "true" } else { "false" };
    write_param(line, "result", result);
    write_param(line, "client", entry.address.as_deref().unwrap_or_default());
    line.extend_from_slice(b"] ");
    write_text(line, &text(entry));
    line.push(b'\n');
}

fn text(entry: &Entry) -> String {
    format!(
        "action:{}, resource:{}, operation_description:{}",
        entry.operation,
        entry.resource,
        entry.description.as_deref().unwrap_or_default()
    )
}

/// RFC 5424: 32 characters of ASCII at most.
fn msgid(event: &str) -> &str {
    let fits = (1..=32).contains(&event.len()) && event.bytes().all(|byte| byte.is_ascii_graphic());
    if fits { event } else { "-" }
}
