//! Where things lie in a bucket, below its prefix.
//!
//! ```text
//! store-id                                                       which database this store belongs to
//! docker/registry/v2/blobs/<alg>/<2 hex>/<hex>/data, data.1, …   content whose digest was known when it was stored
//! objects/<2 hex>/<key>.<16 hex>                                 what an upload stored before its digest was known
//! docker/registry/v2/blobs/<alg>/<2 hex>/<hex>/up.<key>.<16 hex>.<size>   a mark: that object is this content
//! begun/<name of one of these>/…                                 Azure, Swift: an upload in parts that has not ended
//! segments/<name of one of these>/…                              Swift: the parts of that object
//! ```
//! What comes in parts is an upload's own object, or a content that another store held (`data[.n]`).
//! No name below `objects/` is given twice, so that what a node sends late hits nothing that counts. The mark's name is the
//! content's location; it holds all that a database needs that lost its list.

use oci::digest::{Algorithm, Digest};

use crate::{Error, Result, names};

pub(crate) const IDENTITY: &str = "store-id";
/// Below which it is tried whether this node may write.
pub(crate) const TRIALS: &str = "trial/";
/// Below which uploads in parts are marked where the vendor does not list them.
pub(crate) const BEGUN: &str = "begun/";
pub(crate) const BLOBS: &str = "docker/registry/v2/blobs/";
const OBJECTS: &str = "objects/";

/// A location, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Location<'a> {
    /// `data`, `data.<n>`: below the digest.
    Digest(&'a str),
    /// An upload's own object: its upload's key, its name and its size.
    Own {
        key: &'a str,
        name: &'a str,
        size: u64,
    },
}

impl<'a> Location<'a> {
    pub(crate) fn parse(text: &'a str) -> Result<Self> {
        let invalid = || Error::Invalid(text.to_owned(), "location");
        let Some(own) = text.strip_prefix("up.") else {
            return names::check_location(text).map(|()| Self::Digest(text));
        };
        let (object, size) = own.rsplit_once('.').ok_or_else(invalid)?;
        let (key, name) = object.rsplit_once('.').ok_or_else(invalid)?;
        let is_plain = !size.is_empty() && size.bytes().all(|b| b.is_ascii_digit());
        if !names::is_key(key) || !is_name(name) || !is_plain {
            return Err(invalid());
        }
        let size = size.parse().map_err(|_| invalid())?;
        Ok(Self::Own { key, name, size })
    }

    /// The object that holds the bytes.
    pub(crate) fn object(&self, digest: &Digest) -> String {
        match self {
            Self::Digest(name) => format!("{}{name}", dir(digest)),
            Self::Own { key, name, .. } => own(key, name),
        }
    }
}

/// The location of an upload's own object.
pub(crate) fn own_location(key: &str, name: &str, size: u64) -> String {
    format!("up.{key}.{name}.{size}")
}

/// A name that no object of any upload has.
pub(crate) fn new_name() -> String {
    uuid::Uuid::new_v4().simple().to_string()[..16].to_owned()
}

fn is_name(name: &str) -> bool {
    name.len() == 16 && name.bytes().all(|b| b.is_ascii_hexdigit())
}

/// The directory of a digest, with a slash.
pub(crate) fn dir(digest: &Digest) -> String {
    let (algorithm, hex) = (digest.algorithm(), digest.hex());
    format!("{BLOBS}{algorithm}/{}/{hex}/", &hex[..2])
}

/// An object that an upload makes.
pub(crate) fn own(key: &str, name: &str) -> String {
    format!("{}{name}", owned_by(key))
}

/// What the names of all objects of an upload begin with.
pub(crate) fn owned_by(key: &str) -> String {
    let head = key.get(..2).unwrap_or(key);
    format!("{OBJECTS}{head}/{key}.")
}

/// Below which all objects of uploads lie.
pub(crate) fn all_owned() -> &'static str {
    OBJECTS
}

/// The upload's key and the name of an object below `objects/`.
pub(crate) fn owner(object: &str) -> Option<(&str, &str)> {
    let (head, rest) = object.strip_prefix(OBJECTS)?.split_once('/')?;
    let (key, name) = rest.rsplit_once('.')?;
    (names::is_key(key) && key.starts_with(head) && is_name(name)).then_some((key, name))
}

/// The digest and location that a key below [`BLOBS`] speaks of.
pub(crate) fn content(object: &str) -> Option<(Digest, &str)> {
    let mut parts = object.strip_prefix(BLOBS)?.split('/');
    let (algorithm, head, hex, name) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let algorithm: Algorithm = algorithm.parse().ok()?;
    if parts.next().is_some() || head.len() != 2 || !hex.starts_with(head) {
        return None;
    }
    let digest = Digest::from_hex(algorithm, hex).ok()?;
    Location::parse(name).ok().map(|_| (digest, name))
}

/// Whether that object is itself a content, at a location below its digest.
pub(crate) fn is_below_digest(object: &str) -> bool {
    let location = content(object).map(|(_, location)| Location::parse(location));
    matches!(location, Some(Ok(Location::Digest(_))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest() -> Digest {
        crate::digest_of(Algorithm::Sha256, b"x")
    }

    #[test]
    fn what_a_location_says_is_read_back() {
        let location = own_location("0190ab-2", "0123456789abcdef", 7);
        let read = Location::parse(&location).unwrap();
        assert_eq!(
            read,
            Location::Own {
                key: "0190ab-2",
                name: "0123456789abcdef",
                size: 7
            }
        );
        assert_eq!(
            read.object(&digest()),
            "objects/01/0190ab-2.0123456789abcdef"
        );
        assert_eq!(
            owner("objects/01/0190ab-2.0123456789abcdef"),
            Some(("0190ab-2", "0123456789abcdef"))
        );
        let mark = format!("{}{location}", dir(&digest()));
        assert_eq!(content(&mark), Some((digest(), location.as_str())));
        let data = Location::Digest("data.1").object(&digest());
        assert_eq!(content(&data), Some((digest(), "data.1")));
        assert!(is_below_digest(&data) && !is_below_digest(&mark));
        assert!(!is_below_digest(&read.object(&digest())));
    }

    #[test]
    fn what_is_no_location_is_refused() {
        for bad in [
            "",
            "up.",
            "up.k.0123456789abcdef",
            "up.k.0123456789abcdef.",
            "up.k.0123456789abcdef.-1",
            "up.k.0123456789abcdef.99999999999999999999999",
            "up.k.short.1",
            "up.K.0123456789abcdef.1",
            "up.../../x.0123456789abcdef.1",
            "data.x",
        ] {
            assert!(Location::parse(bad).is_err(), "{bad}");
        }
        for strange in [
            "docker/registry/v2/blobs/sha256/ab/link",
            "docker/registry/v2/repositories/a/_layers",
            "docker/registry/v2/blobs/sha256/00/x/data",
        ] {
            assert_eq!(content(strange), None, "{strange}");
        }
    }
}
