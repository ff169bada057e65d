//! Events of the program as log lines: a layer of `tracing` that writes each event, with the fields of the spans around it,
//! into the sink.

use std::fmt::{self, Write};

use model::time::{Clock, Timestamp};
use outbound::syslog::Severity;
use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};
use tracing_subscriber::{Layer, layer::Context, registry::LookupSpan};

use super::{
    line::Line,
    sink::Sink,
    style::{Colour, Style},
};

/// A span's or an event's field longer than this is cut, so that the line keeps the others.
const MAX_FIELD: usize = 4096;

/// The layer that feeds the sink.
pub(super) struct Events {
    sink: Sink,
    clock: Clock,
}

impl Events {
    pub(super) fn new(sink: Sink, clock: Clock) -> Self {
        Self { sink, clock }
    }
}

#[derive(Debug)]
enum Value {
    Text(String),
    /// A number or a truth value, as it is written in both formats.
    Bare(String),
}

/// The fields of an event or a span, in their order.
#[derive(Debug, Default)]
struct Fields {
    message: String,
    /// The part of the program, of an event that comes through the crate `log`: its own target is `log` then.
    target: Option<String>,
    others: Vec<(&'static str, Value)>,
}

impl Fields {
    fn put(&mut self, field: &Field, value: Value) {
        match (field.name(), value) {
            ("message", Value::Text(text) | Value::Bare(text)) => self.message = text,
            ("log.target", Value::Text(text)) => self.target = Some(text),
            // The place in a library's source.
            (name, _) if name.starts_with("log.") => {}
            // A span's field recorded again takes the place of the earlier one.
            (name, value) => match self.others.iter_mut().find(|(known, _)| *known == name) {
                Some(slot) => slot.1 = value,
                None => self.others.push((name, value)),
            },
        }
    }

    fn target<'a>(&'a self, metadata: &'a Metadata<'_>) -> &'a str {
        self.target.as_deref().unwrap_or(metadata.target())
    }

    fn has(&self, name: &str) -> bool {
        self.others.iter().any(|(known, _)| *known == name)
    }
}

/// Text that ends at a bound; the error stops what would write on and on.
#[derive(Default)]
struct Bounded(String);

impl Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = MAX_FIELD.saturating_sub(self.0.len());
        self.0.push_str(&text[..text.floor_char_boundary(room)]);
        if text.len() > room {
            self.0.push('…');
            return Err(fmt::Error);
        }
        Ok(())
    }
}

fn bounded(text: fmt::Arguments<'_>) -> String {
    let mut bounded = Bounded::default();
    // An error only says that the bound was met.
    let _ = bounded.write_fmt(text);
    bounded.0
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, Value::Text(bounded(format_args!("{value:?}"))));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, Value::Text(bounded(format_args!("{value}"))));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        let mut text = bounded(format_args!("{value}"));
        let mut cause = value.source();
        while let Some(error) = cause.filter(|_| text.len() < MAX_FIELD) {
            text.push_str(": ");
            text.push_str(&bounded(format_args!("{error}")));
            cause = error.source();
        }
        self.put(field, Value::Text(text));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, Value::Bare(value.to_string()));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, Value::Bare(value.to_string()));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, Value::Bare(value.to_string()));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        // JSON has no word for infinity or for what is no number.
        let text = format!("{value:?}");
        self.put(
            field,
            if value.is_finite() {
                Value::Bare(text)
            } else {
                Value::Text(text)
            },
        );
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Events {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        span.extensions_mut().insert(fields);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        if let Some(fields) = span.extensions_mut().get_mut::<Fields>() {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        // The innermost span first: what it says of a name counts.
        for span in context.event_scope(event).into_iter().flatten() {
            if let Some(around) = span.extensions().get::<Fields>() {
                for (name, value) in &around.others {
                    if !fields.has(name) {
                        let value = match value {
                            Value::Text(text) => Value::Text(text.clone()),
                            Value::Bare(text) => Value::Bare(text.clone()),
                        };
                        fields.others.push((name, value));
                    }
                }
            }
        }
        let now = self.clock.now();
        let metadata = event.metadata();
        self.sink
            .write(severity(*metadata.level()), now, |buf, style| {
                write(buf, style, now, metadata, &fields);
            });
    }
}

fn severity(level: Level) -> Severity {
    match level {
        Level::ERROR => Severity::Error,
        Level::WARN => Severity::Warning,
        Level::INFO => Severity::Info,
        Level::DEBUG | Level::TRACE => Severity::Debug,
    }
}

fn write(
    buf: &mut Vec<u8>,
    style: Style,
    now: Timestamp,
    metadata: &Metadata<'_>,
    fields: &Fields,
) {
    let line = &mut Line::new(buf);
    match style {
        Style::Json => json(line, now, metadata, fields),
        Style::Text { time, colours } => text(line, time.then_some(now), metadata, fields, colours),
    }
}

fn json(line: &mut Line<'_>, now: Timestamp, metadata: &Metadata<'_>, fields: &Fields) {
    line.raw("{\"time\":\"");
    line.time(now);
    line.raw("\",\"type\":\"event\",\"level\":\"");
    line.raw(match *metadata.level() {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        Level::DEBUG => "debug",
        Level::TRACE => "trace",
    });
    line.raw("\",\"target\":");
    line.quoted(fields.target(metadata));
    line.raw(",\"message\":");
    line.quoted(&fields.message);
    for (name, value) in &fields.others {
        if !line.has_room(name) {
            break;
        }
        // A field of these names would stand twice.
        let taken = matches!(*name, "time" | "type" | "level" | "target");
        line.raw(",\"");
        line.escaped(name, true);
        line.raw(if taken { "_\":" } else { "\":" });
        match value {
            Value::Text(text) => line.quoted(text),
            Value::Bare(text) => line.raw(text),
        }
    }
    line.raw(if line.is_cut() { ",\"cut\":true}" } else { "}" });
}

fn text(
    line: &mut Line<'_>,
    time: Option<Timestamp>,
    metadata: &Metadata<'_>,
    fields: &Fields,
    colours: bool,
) {
    let paint = |line: &mut Line<'_>, colour: Colour, text: &str| {
        colours.then(|| line.raw(colour.on()));
        line.raw(text);
        colours.then(|| line.raw(Colour::OFF));
    };
    if let Some(now) = time {
        colours.then(|| line.raw(Colour::Dim.on()));
        line.time(now);
        colours.then(|| line.raw(Colour::OFF));
        line.raw(" ");
    }
    let (colour, level) = match *metadata.level() {
        Level::ERROR => (Colour::Red, "ERROR"),
        Level::WARN => (Colour::Yellow, "WARN "),
        Level::INFO => (Colour::Green, "INFO "),
        Level::DEBUG => (Colour::Blue, "DEBUG"),
        Level::TRACE => (Colour::Magenta, "TRACE"),
    };
    paint(line, colour, level);
    line.raw(" ");
    colours.then(|| line.raw(Colour::Dim.on()));
    line.escaped(fields.target(metadata), false);
    colours.then(|| line.raw(Colour::OFF));
    line.raw(": ");
    line.escaped(&fields.message, false);
    for (name, value) in &fields.others {
        if !line.has_room(name) {
            break;
        }
        line.raw(" ");
        paint(line, Colour::Dim, name);
        line.raw("=");
        match value {
            Value::Text(text) => line.word(text),
            Value::Bare(text) => line.raw(text),
        }
    }
    if line.is_cut() {
        line.raw(" cut=true");
    }
}
