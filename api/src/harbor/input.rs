//! What a handler takes of a request: its query and its body, as types.

use bytes::Bytes;
use http::header;
use oci::query;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::{
    call::Call,
    error::{Error, Result},
    openapi::Operation,
};
use crate::body::RequestBody;

/// The longest body of the API; what it carries are words and numbers.
const MOST: usize = 1 << 20;
/// The longest parameter of a query. What `q` compares has the same bound.
const LONGEST: usize = 2048;
/// The longest form: a few words.
const MOST_OF_FORM: usize = 16 << 10;
const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";

/// Something that a handler takes.
pub(crate) trait Input: Sized + Send {
    fn take(call: &Call, body: &mut RequestBody) -> impl Future<Output = Result<Self>> + Send;
    fn describe(operation: &mut Operation<'_>);
}

/// The query's parameters. A type with `Option` or `#[serde(default)]` fields of texts, numbers and [`flag`]s.
pub(crate) struct Query<T>(pub(crate) T);

impl<T: DeserializeOwned + JsonSchema + Send> Input for Query<T> {
    async fn take(call: &Call, _: &mut RequestBody) -> Result<Self> {
        Self::parse(call.ask().query())
    }

    fn describe(operation: &mut Operation<'_>) {
        operation.takes_query::<T>();
    }
}

impl<T: DeserializeOwned> Query<T> {
    /// The first of repeated parameters counts. An empty one is as none where it is no text.
    fn parse(asked: &str) -> Result<Self> {
        let fields = fields(asked);
        for (name, value) in fields.as_object().into_iter().flatten() {
            if value.as_str().is_some_and(|text| text.len() > LONGEST) {
                let shown: String = name.chars().take(100).collect();
                return Err(Error::Unprocessable(format!(
                    "{shown} in query should be at most {LONGEST} bytes long"
                )));
            }
        }
        serde_json::from_value(fields).map(Self).map_err(|error| {
            Error::Unprocessable(format!("the query is not as it should be: {error}"))
        })
    }
}

/// What a page's form brings, as a type of texts with `#[serde(default)]`.
pub(crate) struct Form<T>(pub(crate) T);

impl<T: DeserializeOwned + JsonSchema + Send> Input for Form<T> {
    async fn take(call: &Call, body: &mut RequestBody) -> Result<Self> {
        let bytes = body.rest(MOST_OF_FORM, "a form").await?;
        check_media_type(call, &bytes, FORM)?;
        let text = String::from_utf8_lossy(&bytes);
        serde_json::from_value(fields(&text))
            .map(Self)
            .map_err(|error| {
                Error::Unprocessable(format!("the form is not as it should be: {error}"))
            })
    }

    fn describe(operation: &mut Operation<'_>) {
        operation.takes_body::<T>(FORM);
    }
}

/// Names and texts. The first of repeated ones counts.
fn fields(pairs: &str) -> Value {
    let mut fields = Map::new();
    for (key, value) in query::pairs(pairs) {
        if !fields.contains_key(key.as_ref()) {
            fields.insert(key.into_owned(), Value::String(value.into_owned()));
        }
    }
    Value::Object(fields)
}

/// A flag of the query, as Go reads one: `true`, `1`, `t` …
pub(crate) fn flag<'de, D: serde::Deserializer<'de>>(
    from: D,
) -> std::result::Result<Option<bool>, D::Error> {
    let text: String = serde::Deserialize::deserialize(from)?;
    match text.as_str() {
        "" => Ok(None),
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(Some(true)),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(Some(false)),
        other => Err(serde::de::Error::custom(format!(
            "`{other}` is neither true nor false"
        ))),
    }
}

/// A number of the query.
pub(crate) fn number<'de, D: serde::Deserializer<'de>>(
    from: D,
) -> std::result::Result<Option<i64>, D::Error> {
    let text: String = serde::Deserialize::deserialize(from)?;
    if text.is_empty() {
        return Ok(None);
    }
    text.parse()
        .map(Some)
        .map_err(|_| serde::de::Error::custom(format!("`{text}` is no whole number")))
}

/// A body of JSON. A member that is `null` is as none, as with Harbor. `Option<T>` where the whole body may be missing or null.
pub(crate) struct Json<T>(pub(crate) T);

impl<T: DeserializeOwned + JsonSchema + Send> Input for Json<T> {
    async fn take(call: &Call, body: &mut RequestBody) -> Result<Self> {
        let bytes = body.rest(MOST, "a body of the API").await?;
        check_media_type(call, &bytes, JSON)?;
        Self::parse(&bytes)
    }

    fn describe(operation: &mut Operation<'_>) {
        operation.takes_body::<T>(JSON);
    }
}

impl<T: DeserializeOwned> Json<T> {
    fn parse(bytes: &Bytes) -> Result<Self> {
        let invalid = |error: serde_json::Error| {
            model::Error::invalid(
                model::What::Request,
                format!("the body is not as it should be: {error}"),
            )
        };
        let told = if bytes.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(bytes).map_err(invalid)?
        };
        let is_missing = told.is_null();
        serde_json::from_value(without_nulls(told))
            .map(Self)
            .map_err(|error| {
                if is_missing {
                    Error::Unprocessable("body in body is required".to_owned())
                } else {
                    invalid(error).into()
                }
            })
    }
}

/// A body that is there must be JSON by its header; browsers send no foreign form with that one.
fn check_media_type(call: &Call, bytes: &Bytes, expected: &str) -> Result<()> {
    let told = call.header(header::CONTENT_TYPE).unwrap_or_default();
    let media_type = told.split(';').next().unwrap_or_default().trim();
    if bytes.is_empty() || media_type.eq_ignore_ascii_case(expected) {
        return Ok(());
    }
    let shown: String = media_type.chars().take(100).collect();
    Err(Error::MediaType(format!(
        "unsupported media type \"{shown}\", only [{expected}] are allowed"
    )))
}

fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(fields) => Value::Object(
            fields
                .into_iter()
                .filter(|(_, value)| !value.is_null())
                .map(|(key, value)| (key, without_nulls(value)))
                .collect(),
        ),
        Value::Array(items) => Value::Array(items.into_iter().map(without_nulls).collect()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize, PartialEq)]
    struct Sample {
        name: Option<String>,
        #[serde(default, deserialize_with = "flag")]
        with_detail: Option<bool>,
        #[serde(default, deserialize_with = "number")]
        project_id: Option<i64>,
    }

    #[test]
    fn a_query_is_read_into_its_type() {
        let Query(sample) =
            Query::<Sample>::parse("name=a%2Bb&with_detail=1&project_id=&unknown=x&name=second")
                .expect("fits");
        let expected = Sample {
            name: Some("a+b".to_owned()),
            with_detail: Some(true),
            project_id: None,
        };
        assert_eq!(sample, expected);
        let long = format!("name={}", "x".repeat(LONGEST + 1));
        for refused in ["with_detail=maybe", "project_id=seven", &long] {
            let refusal = Query::<Sample>::parse(refused).err();
            assert!(
                matches!(refusal, Some(Error::Unprocessable(_))),
                "{refused}"
            );
        }
    }

    #[derive(Debug, Deserialize)]
    struct Body {
        #[serde(default)]
        name: String,
    }

    #[test]
    fn null_in_a_body_is_as_none() {
        let parse = |text: &'static str| Json::<Body>::parse(&Bytes::from_static(text.as_bytes()));
        assert_eq!(parse("{\"name\":null}").expect("fits").0.name, "");
        assert!(matches!(parse("null"), Err(Error::Unprocessable(_))));
        assert!(matches!(parse(""), Err(Error::Unprocessable(_))));
        assert!(matches!(
            parse("{\"name\":7}"),
            Err(Error::House(model::Error::Invalid(..)))
        ));
        assert!(matches!(
            parse("{"),
            Err(Error::House(model::Error::Invalid(..)))
        ));
        let optional = Json::<Option<Body>>::parse(&Bytes::from_static(b"null")).expect("fits");
        assert!(optional.0.is_none());
    }
}
