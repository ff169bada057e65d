//! The access log: one line for each request. The fields and their order are a promise (docs/logs.md); new ones are added
//! at the end.

use std::fmt::Write;

use api::access::AccessRecord;

use super::{
    line::Line,
    style::{Colour, Style},
};

/// The identity of a request without a login.
const ANONYMOUS: &str = "anonymous";

/// More of a path does not help a reader; the JSON form has all of it.
const MAX_PATH: usize = 1024;

/// Writes the line's text, without its end.
pub(super) fn write(buf: &mut Vec<u8>, style: Style, record: &AccessRecord<'_>) {
    let mut line = Line::new(buf);
    match style {
        Style::Json => json(&mut line, record),
        Style::Text { time, colours } => text(&mut line, record, time, colours),
    }
}

fn json(line: &mut Line<'_>, record: &AccessRecord<'_>) {
    line.raw("{\"time\":\"");
    line.time(record.time);
    line.raw("\",\"type\":\"access\",\"request_id\":");
    line.quoted(record.request_id);
    line.raw(",\"status\":");
    line.number(u64::from(record.status));
    line.raw(",\"bytes_in\":");
    line.number(record.bytes_in);
    line.raw(",\"bytes_out\":");
    line.number(record.bytes_out);
    line.raw(",\"duration_ms\":");
    line.millis(record.duration.as_micros() as u64);
    if let Some(client) = record.client {
        line.raw(",\"client\":\"");
        // An address writes nothing that needs an escape, and cannot fail to be written.
        let _ = write!(line, "{client}");
        line.raw("\"");
    }
    // What a client may make long stands last: where the line is cut, it is cut there.
    for (name, value) in [
        (",\"identity\":", Some(record.identity.unwrap_or(ANONYMOUS))),
        (",\"method\":", Some(record.method)),
        (",\"route\":", Some(record.route)),
        (",\"project\":", record.project),
        (",\"repository\":", record.repository),
        (",\"digest\":", record.digest),
        (",\"reference\":", record.reference),
        (",\"protocol\":", Some(record.protocol)),
        (",\"host\":", record.host),
        (",\"path\":", Some(record.path)),
        (",\"user_agent\":", record.user_agent),
    ] {
        if let Some(value) = value.filter(|_| line.has_room(name)) {
            line.raw(name);
            line.quoted(value);
        }
    }
    if record.aborted {
        line.raw(",\"aborted\":true");
    }
    line.raw(if line.is_cut() { ",\"cut\":true}" } else { "}" });
}

fn text(line: &mut Line<'_>, record: &AccessRecord<'_>, time: bool, colours: bool) {
    let colour = match record.status {
        ..400 => Colour::Green,
        400..500 => Colour::Yellow,
        500.. => Colour::Red,
    };
    if time {
        colours.then(|| line.raw(Colour::Dim.on()));
        line.time(record.time);
        colours.then(|| line.raw(Colour::OFF));
        line.raw(" ");
    }
    colours.then(|| line.raw(colour.on()));
    line.number(u64::from(record.status));
    colours.then(|| line.raw(Colour::OFF));
    line.raw("   ");
    line.escaped(record.method, false);
    line.raw(&"      "[record.method.len().min(6)..]);
    line.raw(" ");
    let path = &record.path[..record.path.floor_char_boundary(MAX_PATH)];
    line.word(path);
    line.raw(if path.len() < record.path.len() {
        "… "
    } else {
        " "
    });
    line.millis(record.duration.as_micros() as u64);
    line.raw("ms in=");
    line.number(record.bytes_in);
    line.raw(" out=");
    line.number(record.bytes_out);
    if let Some(client) = record.client {
        line.raw(" client=");
        let _ = write!(line, "{client}");
    }
    for (name, value) in [
        (" identity=", Some(record.identity.unwrap_or(ANONYMOUS))),
        (" route=", Some(record.route)),
        (" request_id=", Some(record.request_id)),
        (" host=", record.host),
        (" protocol=", Some(record.protocol)),
        (" user_agent=", record.user_agent),
    ] {
        if let Some(value) = value.filter(|_| line.has_room(name)) {
            line.raw(name);
            line.word(value);
        }
    }
    if record.aborted {
        line.raw(" aborted=true");
    }
    if line.is_cut() {
        line.raw(" cut=true");
    }
}
