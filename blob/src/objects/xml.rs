//! Lists as vendors write them.

use serde::Deserialize;

use crate::{Error, Result};

/// What a list is called in XML: without a look at it anything would read as an empty one.
pub(crate) trait Root {
    const ROOT: &'static str;
}

pub(crate) fn read<'a, T: Deserialize<'a> + Root>(
    what: &'static str,
    key: &str,
    answer: &'a [u8],
) -> Result<T> {
    let failed = |why: String| Error::Remote {
        what,
        key: key.to_owned(),
        why,
        is_ours: false,
    };
    let text = std::str::from_utf8(answer).map_err(|error| failed(error.to_string()))?;
    let text = text.trim_start_matches('\u{feff}');
    if !text.contains(&format!("<{}", T::ROOT)) {
        return Err(failed(format!("the answer is no {}", T::ROOT)));
    }
    quick_xml::de::from_str(text).map_err(|error| failed(error.to_string()))
}
