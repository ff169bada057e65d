//! How lines look: JSON, or text with or without colours.

/// The form of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    Json,
    Text {
        /// Whether the line begins with its time; syslog's own header has it.
        time: bool,
        colours: bool,
    },
}

/// Colours of a terminal.
#[derive(Clone, Copy, Debug)]
pub(super) enum Colour {
    Dim,
    Red,
    Yellow,
    Green,
    Blue,
    Magenta,
}

impl Colour {
    pub(super) const OFF: &str = "\x1b[0m";

    pub(super) fn on(self) -> &'static str {
        match self {
            Self::Dim => "\x1b[2m",
            Self::Red => "\x1b[31m",
            Self::Yellow => "\x1b[33m",
            Self::Green => "\x1b[32m",
            Self::Blue => "\x1b[34m",
            Self::Magenta => "\x1b[35m",
        }
    }
}
