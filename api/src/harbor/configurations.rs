//! The settings that administrators change while the server runs.

use std::{borrow::Cow, collections::BTreeMap};

use db::users;
use model::{
    Error as Cause, What,
    settings::{self, ALL, Changes, Kind, Setting, Settings},
};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{
    answer::Done,
    call::Call,
    error::{Error, Result},
    input::Json,
};

/// By name the value and whether it may be changed. Passwords are not among them.
#[derive(Serialize)]
#[serde(transparent)]
pub(super) struct ConfigurationsResponse(Map<String, Value>);

pub(super) async fn get(call: Call) -> Result<Json<ConfigurationsResponse>> {
    let settings = call.settings().await?;
    let shown = shown().filter_map(|setting| {
        let value = setting.shown(settings.text(setting))?;
        let item = json!({ "value": value, "editable": settings.is_editable(setting) });
        Some((setting.name.to_owned(), item))
    });
    Ok(Json(ConfigurationsResponse(shown.collect())))
}

/// What is to change, by name. Names that are no settings are passed over.
#[derive(Deserialize)]
#[serde(transparent)]
pub(super) struct Configurations(Map<String, Value>);

pub(super) async fn update(
    call: Call,
    Json(Configurations(wanted)): Json<Configurations>,
) -> Result<Done> {
    let settings = call.settings().await?;
    // Where nothing may be changed that is said first, whatever the body holds.
    settings.check(&Changes::new())?;
    let changes = settings::parse(&wanted)?;
    settings.check(&changes)?;
    check_endpoint(&call, &settings, &changes).await?;
    let moves_auth_mode = differs(&settings, &changes, "auth_mode");
    let (now, auth) = (call.now(), call.app().auth.clone());
    call.db()
        .write(move |tx| {
            let (changes, auth) = (changes.clone(), auth.clone());
            Box::pin(async move {
                if moves_auth_mode && users::is_somebody_beside_admin(tx).await? {
                    return Err(Cause::invalid(
                        What::Setting,
                        "the auth mode cannot be modified as new users have been inserted into database",
                    ));
                }
                let changes = auth.sealed(tx, changes).await?;
                db::settings::set_all(tx, &changes, now).await
            })
        })
        .await?;
    Ok(Done)
}

/// Where the audit is to be forwarded to somebody must listen.
async fn check_endpoint(call: &Call, settings: &Settings, changes: &Changes) -> Result<()> {
    const NAME: &str = "audit_log_forward_endpoint";
    let endpoint = changes.get(NAME).filter(|endpoint| !endpoint.is_empty());
    let Some(endpoint) = endpoint.filter(|_| differs(settings, changes, NAME)) else {
        return Ok(());
    };
    let trust = call.app().outbound.trust();
    outbound::syslog::check_endpoint(endpoint, trust)
        .await
        .map_err(|fault| Cause::invalid(What::Setting, fault.to_string()).into())
}

fn differs(settings: &Settings, changes: &Changes, name: &str) -> bool {
    let now = settings::find(name).map(|setting| settings.text(setting));
    changes.get(name).is_some_and(|wanted| now != Some(wanted))
}

/// Harbor's own services read their configuration here; nobody else ever may, and here there are none.
pub(super) async fn internal(_: Call) -> Result<Json<BTreeMap<String, StringConfigItem>>> {
    Err(Error::Unauthorized(
        "only internal service is allowed to call this API",
    ))
}

/// What a scan of everything does is kept with its schedule.
fn shown() -> impl Iterator<Item = &'static Setting> {
    ALL.iter()
        .filter(|setting| !setting.is_password() && setting.name != "scan_all_policy")
}

impl JsonSchema for ConfigurationsResponse {
    fn schema_name() -> Cow<'static, str> {
        "ConfigurationsResponse".into()
    }

    fn json_schema(schemas: &mut SchemaGenerator) -> Schema {
        let properties: Map<String, Value> = shown()
            .map(|setting| (setting.name.to_owned(), item(schemas, setting.kind)))
            .collect();
        json_schema!({ "type": "object", "properties": properties })
    }
}

impl JsonSchema for Configurations {
    fn schema_name() -> Cow<'static, str> {
        "Configurations".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let properties: Map<String, Value> = ALL
            .iter()
            .map(|setting| (setting.name.to_owned(), plain(setting.kind)))
            .collect();
        json_schema!({ "type": "object", "properties": properties })
    }
}

fn item(schemas: &mut SchemaGenerator, kind: Kind) -> Value {
    match kind {
        Kind::Bool => schemas.subschema_for::<BoolConfigItem>(),
        Kind::Int { .. } | Kind::Limit => schemas.subschema_for::<IntegerConfigItem>(),
        _ => schemas.subschema_for::<StringConfigItem>(),
    }
    .into()
}

/// Numbers and truths may also come as texts, which is no business of the document.
fn plain(kind: Kind) -> Value {
    match kind {
        Kind::Bool => json!({ "type": "boolean" }),
        Kind::Int { least, most } => {
            json!({ "type": "integer", "format": "int64", "minimum": least, "maximum": most })
        }
        Kind::Limit => json!({ "type": "integer", "format": "int64", "minimum": -1 }),
        Kind::OneOf(words) => json!({ "type": "string", "enum": words }),
        Kind::NonEmpty => json!({ "type": "string", "minLength": 1 }),
        Kind::Prefix => json!({ "type": "string", "minLength": 1, "maxLength": 64 }),
        Kind::Map => json!({ "type": "object" }),
        Kind::Text | Kind::Endpoint | Kind::Password | Kind::TextMap => {
            json!({ "type": "string" })
        }
    }
}

macro_rules! items {
    ($($name:ident $value:ty),+) => {$(
        /// A setting's value, and whether it may be changed.
        #[derive(Serialize, JsonSchema)]
        pub(super) struct $name {
            value: $value,
            editable: bool,
        }
    )+};
}

items!(BoolConfigItem bool, IntegerConfigItem i64, StringConfigItem String);
