//! Patterns as Harbor matches them: those of Go's `bmatcuk/doublestar` v1, with its edges. `*` and `?` stay within a part between
//! slashes, `**` alone in a part stands for any number of parts, `[a-z]` and `[^a-z]` are classes, `{a,b/c}` alternatives, and a
//! backslash takes the meaning from what follows it. (No crate does the same: globset's `a/**` has `a` in it or not by other rules,
//! its `**` mixes with letters, and none agrees on what a star may leave over.)
//!
//! A pattern can take time that grows with a power of the name's length, so that each look takes a bounded number of steps.

/// Why it is not known whether a name matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unclear {
    #[error("the pattern is malformed")]
    Malformed,
    #[error("the pattern is too complex")]
    TooComplex,
}

/// The longest pattern.
pub const LONGEST: usize = 1024;
/// A name of 255 letters and an ordinary pattern need a few hundred.
const STEPS: u32 = 50_000;
/// Deep enough for a part between slashes on each level, and for alternatives within alternatives.
const DEPTH: u32 = 400;

/// Whether the whole name is like the pattern.
pub fn matches(pattern: &str, name: &str) -> Result<bool, Unclear> {
    if pattern.len() > LONGEST {
        return Err(Unclear::TooComplex);
    }
    let parts: Vec<&str> = name.split('/').collect();
    Search {
        left: STEPS,
        depth: 0,
    }
    .path(pattern, &parts)
}

/// Whether a pattern is well formed, whatever it is compared with. Stricter than a look at a name, which may end before the
/// mistake.
pub fn is_well_formed(pattern: &str) -> bool {
    let (mut rest, mut open) = (pattern, 0_u32);
    while let Some(first) = rest.chars().next() {
        rest = &rest[first.len_utf8()..];
        match first {
            '\\' => match rest.chars().next() {
                Some(escaped) => rest = &rest[escaped.len_utf8()..],
                None => return false,
            },
            '[' => {
                let Some(end) = unescaped(rest, ']') else {
                    return false;
                };
                let class = &rest[..end];
                // Alternatives are told apart before classes are.
                let torn = open > 0 && class.contains(['{', '}', ',']);
                if torn || in_class(class, 'a').is_err() {
                    return false;
                }
                rest = &rest[end + 1..];
            }
            '{' => open += 1,
            '}' => open = open.saturating_sub(1),
            _ => {}
        }
    }
    open == 0 && pattern.len() <= LONGEST
}

/// One look, and how much it may still cost.
struct Search {
    left: u32,
    depth: u32,
}

/// What a pattern leaves for the parts that follow: one pattern for each way it matched this one. Empty where it ended here.
type Rest = Vec<String>;

impl Search {
    fn enter(&mut self) -> Result<(), Unclear> {
        if self.left == 0 || self.depth == DEPTH {
            return Err(Unclear::TooComplex);
        }
        self.left -= 1;
        self.depth += 1;
        Ok(())
    }

    fn path(&mut self, pattern: &str, parts: &[&str]) -> Result<bool, Unclear> {
        self.enter()?;
        let outcome = self.path_inner(pattern, parts);
        self.depth -= 1;
        outcome
    }

    fn path_inner(&mut self, pattern: &str, parts: &[&str]) -> Result<bool, Unclear> {
        let Some((first, others)) = parts.split_first() else {
            return Ok(pattern.is_empty());
        };
        let slash = unescaped(pattern, '/');
        if &pattern[..slash.unwrap_or(pattern.len())] == "**" {
            return match slash {
                // At the end it takes what is left.
                None => Ok(true),
                Some(slash) => self.anywhere(&pattern[slash + 1..], parts),
            };
        }
        let Some(rest) = self.part(pattern, first)? else {
            return Ok(false);
        };
        if others.is_empty() {
            return Ok(rest.is_empty());
        }
        for pattern in rest {
            if self.path(&pattern, others)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// A pattern after `**/`. A mistake in it counts as no match here.
    fn anywhere(&mut self, pattern: &str, parts: &[&str]) -> Result<bool, Unclear> {
        for start in 0..parts.len() {
            match self.path(pattern, &parts[start..]) {
                Ok(true) => return Ok(true),
                Ok(false) | Err(Unclear::Malformed) => {}
                Err(Unclear::TooComplex) => return Err(Unclear::TooComplex),
            }
        }
        Ok(false)
    }

    /// Compares the head of a pattern with one whole part of a name.
    fn part(&mut self, pattern: &str, name: &str) -> Result<Option<Rest>, Unclear> {
        self.enter()?;
        let outcome = self.part_inner(pattern, name);
        self.depth -= 1;
        outcome
    }

    fn part_inner(&mut self, pattern: &str, name: &str) -> Result<Option<Rest>, Unclear> {
        let (mut pattern, mut name) = (pattern, name);
        while let (Some(sign), Some(letter)) = (pattern.chars().next(), name.chars().next()) {
            self.left = self.left.checked_sub(1).ok_or(Unclear::TooComplex)?;
            let after = &pattern[sign.len_utf8()..];
            match sign {
                '/' => return Ok(None),
                '*' => return self.star(after, name),
                '{' => return self.alternatives(after, name),
                '[' => {
                    let end = unescaped(after, ']').ok_or(Unclear::Malformed)?;
                    if !in_class(&after[..end], letter)? {
                        return Ok(None);
                    }
                    pattern = &after[end + 1..];
                }
                '\\' => {
                    let escaped = after.chars().next().ok_or(Unclear::Malformed)?;
                    if escaped != letter {
                        return Ok(None);
                    }
                    pattern = &after[escaped.len_utf8()..];
                }
                _ if sign == '?' || sign == letter => pattern = after,
                _ => return Ok(None),
            }
            name = &name[letter.len_utf8()..];
        }
        if name.is_empty() {
            at_end(pattern)
        } else {
            Ok(None)
        }
    }

    /// The first way in which what follows the star matches decides, also about the parts that come after.
    fn star(&mut self, after: &str, name: &str) -> Result<Option<Rest>, Unclear> {
        if after.is_empty() {
            return Ok(Some(Vec::new()));
        }
        if let Some(rest) = after.strip_prefix('/') {
            return Ok(Some(vec![rest.to_owned()]));
        }
        for (start, _) in name.char_indices() {
            let found = self.part(after, &name[start..])?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    fn alternatives(&mut self, after: &str, name: &str) -> Result<Option<Rest>, Unclear> {
        let (options, rest) = alternatives(after).ok_or(Unclear::Malformed)?;
        let mut all: Option<Rest> = None;
        for option in options {
            if let Some(found) = self.part(&format!("{option}{rest}"), name)? {
                all.get_or_insert_default().extend(found);
            }
        }
        Ok(all)
    }
}

/// What is left of a pattern where a part of a name has ended: nothing, or what may stand for nothing up to the slash.
fn at_end(pattern: &str) -> Result<Option<Rest>, Unclear> {
    if pattern.is_empty() {
        return Ok(Some(Vec::new()));
    }
    let slash = unescaped(pattern, '/');
    if !may_be_nothing(&pattern[..slash.unwrap_or(pattern.len())])? {
        return Ok(None);
    }
    Ok(Some(slash.map_or_else(Vec::new, |slash| {
        vec![pattern[slash + 1..].to_owned()]
    })))
}

fn may_be_nothing(pattern: &str) -> Result<bool, Unclear> {
    if ["", "*", "**"].contains(&pattern) {
        return Ok(true);
    }
    let Some(after) = pattern.strip_prefix('{') else {
        return Ok(false);
    };
    let (options, rest) = alternatives(after).ok_or(Unclear::Malformed)?;
    if !may_be_nothing(rest)? {
        return Ok(false);
    }
    for option in options {
        if may_be_nothing(option)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The alternatives of a brace that was opened, and what follows its end; none where it has no end.
fn alternatives(after: &str) -> Option<(Vec<&str>, &str)> {
    let (mut options, mut start, mut open, mut escaped) = (Vec::new(), 0, 1_u32, false);
    for (at, sign) in after.char_indices() {
        match sign {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '{' => open += 1,
            '}' if open == 1 => {
                options.push(&after[start..at]);
                return Some((options, &after[at + 1..]));
            }
            '}' => open -= 1,
            ',' if open == 1 => {
                options.push(&after[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    None
}

/// The first such letter that has no backslash before it.
fn unescaped(text: &str, letter: char) -> Option<usize> {
    let mut from = 0;
    loop {
        let at = text[from..].find(letter)?;
        if at == 0 || text.as_bytes()[from + at - 1] != b'\\' {
            return Some(from + at);
        }
        from += at + letter.len_utf8();
    }
}

/// Whether a letter is in a class, of which this is what stands between the brackets.
fn in_class(class: &str, letter: char) -> Result<bool, Unclear> {
    let mut signs = class.chars().peekable();
    let excluded = signs.next_if_eq(&'^').is_some();
    if class.is_empty() {
        return Err(Unclear::Malformed);
    }
    let mut found = false;
    while let Some(sign) = signs.next() {
        let low = bound(sign, &mut signs)?;
        let mut high = low;
        if signs.next_if_eq(&'-').is_some() {
            let sign = signs.next().ok_or(Unclear::Malformed)?;
            high = bound(sign, &mut signs)?;
        }
        found |= (low..=high).contains(&letter);
    }
    Ok(found != excluded)
}

/// One end of a range. A dash is one only after a backslash.
fn bound(sign: char, signs: &mut impl Iterator<Item = char>) -> Result<char, Unclear> {
    match sign {
        '-' => Err(Unclear::Malformed),
        '\\' => signs.next().ok_or(Unclear::Malformed),
        sign => Ok(sign),
    }
}

#[cfg(test)]
mod tests;
