//! What many operations of the document share: parameters, headers, errors.

use serde_json::{Value, json};

use super::said;
use crate::harbor::{access::Access, route::Route};
use http::{Method, StatusCode};

/// Headers that some operations take, and all of them their request's id.
pub(super) fn headers_taken(route: &'static Route) -> impl Iterator<Item = &'static str> {
    let by_name = route.names().any(|name| name == "project_name_or_id");
    let of_artifacts = matches!(
        route.operation,
        "listArtifacts" | "getArtifact" | "getVulnerabilitiesAddition" | "listArtifactsOfProject"
    );
    [
        ("X-Request-Id", true),
        ("X-Is-Resource-Name", by_name),
        (
            "X-Resource-Name-In-Location",
            route.operation == "createProject",
        ),
        ("X-Accept-Vulnerabilities", of_artifacts),
    ]
    .into_iter()
    .filter_map(|(name, taken)| taken.then_some(name))
}

/// What a variable of a path is, where its name does not say it.
pub(super) fn of_path(name: &str) -> Option<&'static str> {
    match name {
        "project_name_or_id" => Some(
            "A number is the project's id, unless `X-Is-Resource-Name` says that it is a name.",
        ),
        "repository_name" => Some(
            "Without the project. A slash in it is escaped twice (`a%252Fb`), or once where nothing decodes it on the way.",
        ),
        "reference" => Some("A tag or a digest."),
        _ => None,
    }
}

/// The statuses and errors that an operation may be answered with, besides what it is meant to answer.
pub(super) fn errors(
    route: &'static Route,
    takes_query: bool,
    takes_body: bool,
) -> impl Iterator<Item = (&'static str, &'static str)> {
    let writes = !matches!(route.method, Method::GET | Method::HEAD);
    let guarded = route.access != Access::Anybody;
    let takes_path = route.names().next().is_some();
    [
        ("400", "BadRequest", takes_query || takes_body || takes_path),
        ("401", "Unauthorized", guarded),
        ("403", "Forbidden", guarded || writes),
        ("404", "NotFound", takes_path),
        ("409", "Conflict", writes),
        ("412", "PreconditionFailed", writes),
        ("413", "PayloadTooLarge", takes_body),
        ("415", "UnsupportedMediaType", takes_body),
        (
            "422",
            "UnprocessableEntity",
            takes_query || takes_body || takes_path,
        ),
        ("default", "Error", true),
    ]
    .into_iter()
    .filter_map(|(status, name, may_come)| may_come.then_some((status, name)))
}

/// The document's `components`, before the handlers' schemas come to them.
pub(super) fn shared() -> Value {
    let error = |description: &str| {
        json!({
            "description": description,
            "headers": { "X-Request-Id": { "$ref": "#/components/headers/X-Request-Id" } },
            "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Errors" } } },
        })
    };
    let status = |status| error(said(status));
    json!({
        "schemas": { "Errors": {
            "type": "object",
            "required": ["errors"],
            "properties": { "errors": { "type": "array", "items": {
                "type": "object",
                "required": ["code", "message"],
                "properties": { "code": { "type": "string" }, "message": { "type": "string" } },
            } } },
        } },
        "parameters": parameters(),
        "headers": headers(),
        "responses": {
            "BadRequest": status(StatusCode::BAD_REQUEST),
            "Unauthorized": status(StatusCode::UNAUTHORIZED),
            "Forbidden": status(StatusCode::FORBIDDEN),
            "NotFound": status(StatusCode::NOT_FOUND),
            "Conflict": status(StatusCode::CONFLICT),
            "PreconditionFailed": status(StatusCode::PRECONDITION_FAILED),
            "PayloadTooLarge": status(StatusCode::PAYLOAD_TOO_LARGE),
            "UnsupportedMediaType": status(StatusCode::UNSUPPORTED_MEDIA_TYPE),
            "UnprocessableEntity": status(StatusCode::UNPROCESSABLE_ENTITY),
            "Error": error("What went wrong."),
        },
        "securitySchemes": {
            "basic": { "type": "http", "scheme": "basic", "description": "A user's name and password, or a robot's name and secret." },
            "bearer": { "type": "http", "scheme": "bearer", "description": "A token of `/service/token`." },
            "session": { "type": "apiKey", "in": "cookie", "name": "sid", "description": "From `/c/login`. What writes needs the CSRF token too." },
        },
    })
}

fn parameters() -> Value {
    let query = |name: &str, kind: Value, description: &str| json!({ "name": name, "in": "query", "required": false, "description": description, "schema": kind });
    let header = |name: &str, description: &str, kind: Value| json!({ "name": name, "in": "header", "required": false, "description": description, "schema": kind });
    let text = || json!({ "type": "string" });
    json!({
        "q": query("q", text(), "Filters: `k=v`, `k=~v`, `k=[min~max]`, `k={a b}`, `k=(a b)`, with commas between them."),
        "sort": query("sort", text(), "Fields with commas between them; `-` before one for descending."),
        "page": query("page", json!({ "type": "integer", "format": "int64", "default": 1 }), "Counts from 1."),
        "page_size": query("page_size", json!({ "type": "integer", "format": "int64", "default": 10, "maximum": 100 }), "At most 100; 0 or less for everything."),
        "X-Request-Id": header("X-Request-Id", "Names the request in the logs.", json!({ "type": "string", "minLength": 1 })),
        "X-Is-Resource-Name": header("X-Is-Resource-Name", "The project is named in the path, also when the name is a number.", json!({ "type": "boolean", "default": false })),
        "X-Resource-Name-In-Location": header("X-Resource-Name-In-Location", "`Location` ends in the project's name instead of its id.", json!({ "type": "boolean", "default": false })),
        "X-Accept-Vulnerabilities": header("X-Accept-Vulnerabilities", "Media types of the wanted report of vulnerabilities.", text()),
    })
}

fn headers() -> Value {
    let header = |description: &str, kind: &str| json!({ "description": description, "schema": { "type": kind } });
    json!({
        "X-Request-Id": header("The request's name in the logs.", "string"),
        "X-Total-Count": header("Rows on all pages.", "integer"),
        "Link": header("The pages before and after, where there are any: `</path?page=2>; rel=\"next\"`.", "string"),
        "Location": header("The path of the new thing.", "string"),
    })
}
