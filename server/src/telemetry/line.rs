//! One log line being written: bounded, on one line, and without a character that could forge another line or steer a terminal.

use std::{
    cell::Cell,
    fmt::{self, Write},
};

use model::time::Timestamp;

/// No line is longer, whatever a client sends.
pub(super) const MAX_LINE: usize = 16 * 1024;

/// Room that is kept for what closes a line that was cut.
const CLOSING: usize = 64;

/// Where one line is written to. What does not fit is left out, and the line says so.
pub(super) struct Line<'a> {
    buf: &'a mut Vec<u8>,
    end: usize,
    cut: bool,
}

impl<'a> Line<'a> {
    pub(super) fn new(buf: &'a mut Vec<u8>) -> Self {
        let end = buf.len() + MAX_LINE - CLOSING;
        Self {
            buf,
            end,
            cut: false,
        }
    }

    /// Whether something was left out.
    pub(super) fn is_cut(&self) -> bool {
        self.cut
    }

    /// Whether there is room for another field with a short value. Once a line is cut nothing more is put on it.
    pub(super) fn has_room(&mut self, name: &str) -> bool {
        self.cut |= self.buf.len() + name.len() + CLOSING > self.end;
        !self.cut
    }

    /// Text of our own, which is short and needs no escape.
    pub(super) fn raw(&mut self, text: &str) {
        self.buf.extend_from_slice(text.as_bytes());
    }

    pub(super) fn time(&mut self, time: Timestamp) {
        self.buf.extend_from_slice(&rfc3339(time));
    }

    pub(super) fn number(&mut self, mut number: u64) {
        let mut digits = [0; 20];
        let mut at = digits.len();
        loop {
            at -= 1;
            digits[at] = b'0' + (number % 10) as u8;
            number /= 10;
            if number == 0 {
                break;
            }
        }
        self.buf.extend_from_slice(&digits[at..]);
    }

    /// Microseconds as milliseconds with three decimals.
    pub(super) fn millis(&mut self, micros: u64) {
        self.number(micros / 1000);
        let rest = micros % 1000;
        let digit = |n: u64| b'0' + (n % 10) as u8;
        self.buf
            .extend_from_slice(&[b'.', digit(rest / 100), digit(rest / 10), digit(rest)]);
    }

    /// Text from outside, in double quotes; the escapes are JSON's, in both formats.
    pub(super) fn quoted(&mut self, text: &str) {
        self.buf.push(b'"');
        self.escaped(text, true);
        self.buf.push(b'"');
    }

    /// Text from outside: as it is where it is one word, else in quotes.
    pub(super) fn word(&mut self, text: &str) {
        let plain = |b: u8| b.is_ascii_graphic() && !matches!(b, b'"' | b'=' | b'\\');
        if !text.is_empty() && text.bytes().all(plain) {
            self.escaped(text, false);
        } else {
            self.quoted(text);
        }
    }

    /// Text from outside without quotes around it: escapes all control characters, and quotes and backslashes when asked.
    pub(super) fn escaped(&mut self, text: &str, quotes: bool) {
        if self.cut {
            return;
        }
        let mut rest = text;
        while !rest.is_empty() {
            let clean = rest
                .bytes()
                .position(|b| needs_escape(b, quotes))
                .unwrap_or(rest.len());
            let room = self.end.saturating_sub(self.buf.len());
            if clean > room {
                self.buf
                    .extend_from_slice(&rest.as_bytes()[..rest.floor_char_boundary(room)]);
                self.cut = true;
                return;
            }
            self.buf.extend_from_slice(&rest.as_bytes()[..clean]);
            rest = &rest[clean..];
            let mut chars = rest.chars();
            if let Some(special) = chars.next() {
                if self.buf.len() + 6 > self.end {
                    self.cut = true;
                    return;
                }
                self.special(special, quotes);
                rest = chars.as_str();
            }
        }
    }

    fn special(&mut self, special: char, quotes: bool) {
        let short = match special {
            '\n' => b'n',
            '\r' => b'r',
            '\t' => b't',
            '"' if quotes => b'"',
            '\\' if quotes => b'\\',
            // C1 controls steer terminals as escape sequences do; what else begins with the same byte is a letter.
            '\0'..='\x1f' | '\x7f'..='\u{9f}' => {
                let code = special as usize;
                let digit = |n: usize| b"0123456789abcdef"[n & 15];
                self.buf.extend_from_slice(&[
                    b'\\',
                    b'u',
                    b'0',
                    b'0',
                    digit(code >> 4),
                    digit(code),
                ]);
                return;
            }
            letter => {
                self.buf
                    .extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
                return;
            }
        };
        self.buf.extend_from_slice(&[b'\\', short]);
    }
}

/// For `write!` of text from outside; escapes as inside of quotes.
impl Write for Line<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.escaped(text, true);
        // The error ends a `Debug` that would go on for megabytes.
        if self.cut { Err(fmt::Error) } else { Ok(()) }
    }
}

/// What a byte needs: 1 an escape anywhere, 2 an escape within quotes. A table, since this is asked for every byte of every line.
const ESCAPES: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 0x20 {
        table[byte] = 1;
        byte += 1;
    }
    table[0x7f] = 1;
    // Begins the C1 controls (and some letters, which `special` lets pass).
    table[0xc2] = 1;
    table[b'"' as usize] = 2;
    table[b'\\' as usize] = 2;
    table
};

fn needs_escape(byte: u8, quotes: bool) -> bool {
    let asked = if quotes { 1 | 2 } else { 1 };
    ESCAPES[usize::from(byte)] & asked != 0
}

/// RFC 3339 in UTC with milliseconds. Lines come in bunches, so the text of the second is remembered.
pub(super) fn rfc3339(time: Timestamp) -> [u8; 24] {
    thread_local! {
        static LAST: Cell<(i64, [u8; 24])> = const { Cell::new((i64::MIN, [0; 24])) };
    }
    let (second, mut text) = LAST.get();
    if second != time.seconds() {
        // A year past 9999 would be longer; it cannot come from a clock that means what it says.
        text = time
            .rfc3339()
            .as_bytes()
            .try_into()
            .unwrap_or(*b"9999-12-31T23:59:59.999Z");
        LAST.set((time.seconds(), text));
    }
    let milli = (time.0.rem_euclid(1_000_000) / 1000) as u16;
    let digit = |n: u16| b'0' + (n % 10) as u8;
    text[20..23].copy_from_slice(&[digit(milli / 100), digit(milli / 10), digit(milli)]);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(write: impl FnOnce(&mut Line<'_>)) -> String {
        let mut buf = Vec::new();
        write(&mut Line::new(&mut buf));
        String::from_utf8(buf).unwrap()
    }

    #[test]
    fn quoted_text_is_json_and_stays_on_its_line() {
        for text in [
            "",
            "plain",
            "a\"b\\c",
            "two\nlines\r\n",
            "\0\x1b[31m\x7f",
            "\u{9b}31m\u{85}",
            "é ü 漢字 ¢ 🦀",
            "\u{a0}x",
        ] {
            let written = line(|line| line.quoted(text));
            assert_eq!(serde_json::from_str::<String>(&written).unwrap(), text);
            assert!(!written.chars().any(char::is_control), "{written:?}");
        }
    }

    #[test]
    fn a_word_is_quoted_only_when_it_must_be() {
        for (text, written) in [
            ("alice", "alice"),
            ("robot$a+b", "robot$a+b"),
            ("", "\"\""),
            ("two words", "\"two words\""),
            ("a=b", "\"a=b\""),
            ("x\ny", "\"x\\ny\""),
        ] {
            assert_eq!(line(|line| line.word(text)), written);
        }
    }

    #[test]
    fn a_line_is_cut_between_characters_and_says_so() {
        for text in [
            "x".repeat(100_000),
            "漢".repeat(100_000),
            "\n".repeat(100_000),
            "\u{1}".repeat(100_000),
        ] {
            let mut buf = b"before".to_vec();
            let mut line = Line::new(&mut buf);
            line.quoted(&text);
            assert!(line.is_cut());
            assert!(!line.has_room("more"));
            assert!(buf.len() <= 6 + MAX_LINE, "{}", buf.len());
            assert!(buf.len() > MAX_LINE - 200, "{}", buf.len());
            let kept: String = serde_json::from_slice(&buf[6..]).unwrap();
            assert!(text.starts_with(&kept));
        }
    }

    #[test]
    fn numbers_and_times() {
        for number in [0, 7, 10, 12_345, u64::MAX] {
            assert_eq!(line(|line| line.number(number)), number.to_string());
        }
        for (micros, written) in [
            (0, "0.000"),
            (1, "0.001"),
            (1_234_567, "1234.567"),
            (60, "0.060"),
        ] {
            assert_eq!(line(|line| line.millis(micros)), written);
        }
        // The same second twice, a later one, an earlier one.
        for micros in [
            1_767_323_045_678_900,
            1_767_323_045_001_000,
            1_767_323_046_000_000,
            0,
            -1,
        ] {
            assert_eq!(
                rfc3339(Timestamp(micros)),
                Timestamp(micros).rfc3339().as_bytes()
            );
        }
    }
}
