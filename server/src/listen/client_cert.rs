//! What a client certificate says of its owner, and which user or robot that is. Pure: certificate and mapping in, name out. The
//! certificate was verified before; here nothing is.

use std::fmt::Write;

use api::connection::ClientCertificate;
use x509_parser::{
    certificate::X509Certificate,
    extensions::GeneralName,
    prelude::FromDer,
    x509::{AttributeTypeAndValue, X509Name},
};

use super::config::{ClientMap, NameSource};

/// The longest name that is taken over.
const NAME_MAX: usize = 255;

/// Reads the certificate. None when it cannot be parsed, which a verified one can.
pub fn read(der: &[u8], map: &ClientMap) -> Option<ClientCertificate> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let subject = rfc4514(certificate.subject());
    let name = mapped(&certificate, &subject, map);
    Some(ClientCertificate {
        der: der.to_vec(),
        subject,
        name,
    })
}

/// When the certificate ends, in seconds since 1970.
pub fn not_after(der: &[u8]) -> Option<i64> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    Some(certificate.validity().not_after.timestamp())
}

fn mapped(certificate: &X509Certificate<'_>, subject: &str, map: &ClientMap) -> Option<String> {
    if let Some(name) = map.names.get(subject) {
        return Some(name.clone());
    }
    let value = match map.from {
        NameSource::Subject => subject.to_owned(),
        NameSource::Cn => {
            // The last is the most specific one.
            let common_name = certificate.subject().iter_common_name().last()?;
            common_name.as_str().ok()?.to_owned()
        }
        NameSource::SanDns | NameSource::SanEmail | NameSource::SanUri => {
            alternative(certificate, map.from)?
        }
    };
    if let Some(name) = map.names.get(&value) {
        return Some(name.clone());
    }
    let name = match &map.strip_suffix {
        Some(suffix) => value.strip_suffix(suffix.as_str())?.to_owned(),
        None => value,
    };
    let usable = !name.is_empty() && name.len() <= NAME_MAX && !name.contains(char::is_control);
    usable.then_some(name)
}

/// The first alternative name of that kind.
fn alternative(certificate: &X509Certificate<'_>, kind: NameSource) -> Option<String> {
    let names = certificate.subject_alternative_name().ok()??;
    names
        .value
        .general_names
        .iter()
        .find_map(|name| match (name, kind) {
            (GeneralName::DNSName(text), NameSource::SanDns)
            | (GeneralName::RFC822Name(text), NameSource::SanEmail)
            | (GeneralName::URI(text), NameSource::SanUri) => Some((*text).to_owned()),
            _ => None,
        })
}

/// The name as RFC 4514 writes it: the most specific part first, `CN=ci,OU=build,O=example`.
pub fn rfc4514(name: &X509Name<'_>) -> String {
    let mut parts: Vec<String> = name
        .iter_rdn()
        .map(|rdn| rdn.iter().map(attribute).collect::<Vec<_>>().join("+"))
        .collect();
    parts.reverse();
    parts.join(",")
}

fn attribute(attribute: &AttributeTypeAndValue<'_>) -> String {
    let oid = attribute.attr_type().to_id_string();
    if let (Some(short), Ok(value)) = (short_name(&oid), attribute.as_str()) {
        return format!("{short}={}", escaped(value));
    }
    let mut text = format!("{oid}=#");
    for byte in attribute_der(attribute) {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// Tag, length and value again, as section 2.4 wants it for values without a text form.
fn attribute_der(attribute: &AttributeTypeAndValue<'_>) -> Vec<u8> {
    let value = attribute.attr_value();
    let data = value.data;
    let mut der = vec![value.header.tag().0 as u8];
    match data.len() {
        short @ 0..=127 => der.push(short as u8),
        long => {
            let length = long.to_be_bytes();
            let length = &length[length.iter().take_while(|byte| **byte == 0).count()..];
            der.push(0x80 | length.len() as u8);
            der.extend(length);
        }
    }
    der.extend(data);
    der
}

/// The table of RFC 4514, section 3, and what `openssl` writes for the others that are in use.
fn short_name(oid: &str) -> Option<&'static str> {
    Some(match oid {
        "2.5.4.3" => "CN",
        "2.5.4.4" => "SN",
        "2.5.4.5" => "serialNumber",
        "2.5.4.6" => "C",
        "2.5.4.7" => "L",
        "2.5.4.8" => "ST",
        "2.5.4.9" => "street",
        "2.5.4.10" => "O",
        "2.5.4.11" => "OU",
        "2.5.4.12" => "title",
        "2.5.4.42" => "GN",
        "0.9.2342.19200300.100.1.1" => "UID",
        "0.9.2342.19200300.100.1.25" => "DC",
        "1.2.840.113549.1.9.1" => "emailAddress",
        _ => return None,
    })
}

/// Section 2.4: what would end or change the value gets a backslash.
fn escaped(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    let last = value.chars().count().saturating_sub(1);
    for (i, c) in value.chars().enumerate() {
        let special = matches!(c, '"' | '+' | ',' | ';' | '<' | '>' | '\\')
            || (c == '#' && i == 0)
            || (c == ' ' && (i == 0 || i == last));
        if c.is_ascii_control() {
            let _ = write!(text, "\\{:02x}", c as u32);
        } else {
            if special {
                text.push('\\');
            }
            text.push(c);
        }
    }
    text
}

#[cfg(test)]
mod tests;
