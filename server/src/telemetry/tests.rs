use std::{fs, net::IpAddr, path::Path};

use ::api::access::AccessRecord;
use model::time::Timestamp;
use outbound::syslog::Address;
use serde_json::{Value, json};

use super::*;

mod delivery;

/// 2026-01-02T03:04:05.678Z
const TIME: Timestamp = Timestamp(1_767_323_045_678_900);

/// Far longer than anything here takes.
fn patience() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

fn pull() -> AccessRecord<'static> {
    AccessRecord {
        time: TIME,
        request_id: "4bf92f35",
        client: Some(IpAddr::from([192, 0, 2, 7])),
        identity: Some("alice"),
        method: "GET",
        host: Some("registry.example.com"),
        path: "/v2/library/app/manifests/1.0",
        route: "manifest.get",
        project: Some("library"),
        repository: Some("library/app"),
        digest: Some("sha256:44136fa3"),
        reference: Some("1.0"),
        status: 200,
        bytes_in: 0,
        bytes_out: 1523,
        duration: Duration::from_micros(1234),
        protocol: "HTTP/1.1",
        user_agent: Some("docker/28.2.2 go/go1.24"),
        aborted: false,
    }
}

fn written(style: Style, record: &AccessRecord<'_>) -> String {
    let mut buf = Vec::new();
    access::write(&mut buf, style, record);
    String::from_utf8(buf).unwrap()
}

const TEXT: Style = Style::Text {
    time: true,
    colours: false,
};

#[test]
fn the_access_log_has_its_fields_in_their_order() {
    assert_eq!(
        written(Style::Json, &pull()),
        r#"{"time":"2026-01-02T03:04:05.678Z","type":"access","request_id":"4bf92f35","status":200,"bytes_in":0,"bytes_out":1523,"duration_ms":1.234,"client":"192.0.2.7","identity":"alice","method":"GET","route":"manifest.get","project":"library","repository":"library/app","digest":"sha256:44136fa3","reference":"1.0","protocol":"HTTP/1.1","host":"registry.example.com","path":"/v2/library/app/manifests/1.0","user_agent":"docker/28.2.2 go/go1.24"}"#
    );
    assert_eq!(
        written(TEXT, &pull()),
        "2026-01-02T03:04:05.678Z 200   GET    /v2/library/app/manifests/1.0 1.234ms in=0 out=1523 client=192.0.2.7 \
         identity=alice route=manifest.get request_id=4bf92f35 host=registry.example.com protocol=HTTP/1.1 \
         user_agent=\"docker/28.2.2 go/go1.24\""
    );
}

#[test]
fn what_a_request_does_not_have_is_left_out() {
    let record = AccessRecord {
        client: None,
        identity: None,
        host: None,
        project: None,
        repository: None,
        digest: None,
        reference: None,
        user_agent: None,
        aborted: true,
        ..pull()
    };
    let line: Value = serde_json::from_str(&written(Style::Json, &record)).unwrap();
    assert_eq!(
        line,
        json!({
            "time": "2026-01-02T03:04:05.678Z", "type": "access", "request_id": "4bf92f35", "status": 200, "bytes_in": 0,
            "bytes_out": 1523, "duration_ms": 1.234, "identity": "anonymous", "method": "GET", "route": "manifest.get",
            "protocol": "HTTP/1.1", "path": "/v2/library/app/manifests/1.0", "aborted": true
        })
    );
}

#[test]
fn a_client_cannot_forge_a_line() {
    let evil = "x\"} \n{\"status\":200,\u{1b}[2J\u{9b}1m";
    let record = AccessRecord {
        user_agent: Some(evil),
        path: evil,
        host: Some(evil),
        ..pull()
    };
    for style in [Style::Json, TEXT] {
        let line = written(style, &record);
        assert!(!line.chars().any(char::is_control), "{line:?}");
    }
    let line: Value = serde_json::from_str(&written(Style::Json, &record)).unwrap();
    assert_eq!(line["user_agent"], evil);
}

#[test]
fn a_long_line_is_cut_and_stays_well_formed() {
    let long = "\u{1}".repeat(100_000);
    for record in [
        AccessRecord {
            path: &long,
            ..pull()
        },
        AccessRecord {
            user_agent: Some(&long),
            ..pull()
        },
    ] {
        let line = written(Style::Json, &record);
        assert!(line.len() <= line::MAX_LINE, "{}", line.len());
        let value: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(
            (&value["cut"], &value["status"], &value["reference"]),
            (&json!(true), &json!(200), &json!("1.0"))
        );
        let line = written(TEXT, &record);
        assert!(line.len() <= line::MAX_LINE, "{}", line.len());
        assert!(line.contains("request_id=4bf92f35"));
    }
}

fn config(target: &Path, format: Format) -> Config {
    Config {
        target: Target::File(target.to_owned()),
        format,
        ..Config::default()
    }
}

/// What a file holds after some events were logged to it.
fn logged(format: Format, log: impl FnOnce()) -> String {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("seawall.log");
    let (events, _) = open_sinks(&config(&path, format), "node", &Trust::default()).unwrap();
    let layer = Events::new(events.clone(), Clock::default());
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), log);
    assert!(events.flush(patience()));
    fs::read_to_string(path).unwrap()
}

#[test]
fn events_carry_their_fields_and_those_of_the_spans_around_them() {
    let log = || {
        let span = tracing::info_span!(
            "request",
            request_id = "abc",
            user = tracing::field::Empty,
            shared = "outer"
        );
        span.record("user", "alice");
        let _entered = span.enter();
        let _inner = tracing::info_span!("job", shared = "inner").entered();
        tracing::warn!(target: "db", attempts = 3, ratio = 0.5, ok = false, error = %"no \"luck\"", time = 1, "cannot write {}", "row");
    };
    let line = logged(Format::Json, log);
    let mut value: Value = serde_json::from_str(&line).unwrap();
    let time = value.as_object_mut().unwrap().remove("time").unwrap();
    assert_eq!(time.as_str().unwrap().len(), 24);
    assert_eq!(
        value,
        json!({
            "type": "event", "level": "warn", "target": "db", "message": "cannot write row", "attempts": 3, "ratio": 0.5,
            "ok": false, "error": "no \"luck\"", "time_": 1, "shared": "inner", "request_id": "abc", "user": "alice"
        })
    );
    let line = logged(Format::Text, log);
    assert_eq!(
        &line[24..],
        " WARN  db: cannot write row attempts=3 ratio=0.5 ok=false error=\"no \\\"luck\\\"\" time=1 shared=inner request_id=abc user=alice\n"
    );
}

#[test]
fn what_a_library_says_through_the_crate_log_is_said_by_that_library() {
    let log = || {
        tracing::event!(target: "log", tracing::Level::INFO, { n = 1, log.target = "library", log.file = "src/lib.rs", log.line = 3 }, "heard");
    };
    let line = logged(Format::Text, log);
    assert_eq!(&line[24..], " INFO  library: heard n=1\n");
    let value: Value = serde_json::from_str(&logged(Format::Json, log)).unwrap();
    assert_eq!(
        (&value["target"], &value["log.line"]),
        (&json!("library"), &Value::Null)
    );
}

#[test]
fn an_error_is_logged_with_its_causes() {
    let error = anyhow::anyhow!("disk full")
        .context("cannot write")
        .context("upload failed");
    let line = logged(Format::Json, || {
        tracing::error!(
            error = error.as_ref() as &(dyn std::error::Error + 'static),
            "no"
        );
    });
    let value: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(value["error"], "upload failed: cannot write: disk full");
}

#[test]
fn an_event_stays_on_one_line_of_bounded_length() {
    for format in [Format::Text, Format::Json] {
        let lines = logged(format, || {
            tracing::info!(name = "a\nb\u{1b}[1m", list = ?vec!["x\n"; 100_000], "message\n2026 ERROR forged\r");
            for _ in 0..3 {
                tracing::info!(a = %"x".repeat(9000), b = %"y".repeat(9000), c = %"z".repeat(9000), d = %"\n".repeat(9000), "long");
            }
        });
        assert_eq!(lines.lines().count(), 4);
        for line in lines.lines() {
            assert!(
                line.len() < line::MAX_LINE && !line.chars().any(char::is_control),
                "{line:?}"
            );
            if format == Format::Json {
                serde_json::from_str::<Value>(line).unwrap();
            }
        }
    }
}

#[test]
fn a_filter_names_levels_and_nothing_else() {
    let read =
        |text: &str| Filter::deserialize(de::value::StrDeserializer::<de::value::Error>::new(text));
    for text in [
        "info",
        "OFF",
        "warn,db=debug",
        "error, seawall::listen=trace",
    ] {
        read(text).unwrap();
    }
    for text in ["", "loud", "info,db", "db=loud", "info,,"] {
        read(text).unwrap_err();
    }
    // What PostgreSQL remarks is nobody's news.
    let usual = Config::default().level.0;
    assert!(!usual.would_enable("tokio_postgres::connection", &tracing::Level::INFO));
    assert!(usual.would_enable("seawall::serve", &tracing::Level::INFO));
    let filter = read("warn,db=debug").unwrap().0;
    assert!(filter.would_enable("db::uploads", &tracing::Level::DEBUG));
    assert!(!filter.would_enable("api", &tracing::Level::INFO));
    let libraries = |text: &str| {
        let filter = read(text).unwrap().0;
        filter.would_enable("object_store::client::retry", &tracing::Level::INFO)
    };
    assert!(!libraries("info") && !libraries("info,db=debug"));
    assert!(libraries("info,object_store=info") && libraries("debug"));
}

#[test]
fn both_logs_share_a_target_unless_told_otherwise() {
    let dir = tempfile::tempdir().unwrap();
    let (one, other) = (dir.path().join("one"), dir.path().join("other"));
    let shared = Config {
        access_target: Some(Target::File(one.clone())),
        ..config(&one, Format::Json)
    };
    let apart = Config {
        access_target: Some(Target::File(other.clone())),
        ..shared.clone()
    };
    let off = Config {
        access: false,
        ..apart.clone()
    };
    assert!(
        open_sinks(&off, "node", &Trust::default())
            .unwrap()
            .1
            .is_none()
    );
    assert!(!other.exists());
    for (config, in_one, in_other) in [(shared, 2, 0), (apart, 1, 1)] {
        let _ = fs::remove_file(&one);
        let (events, access) = open_sinks(&config, "node", &Trust::default()).unwrap();
        let access = access.unwrap();
        events.write(Severity::Info, TIME, |buf, _| {
            buf.extend_from_slice(b"an event");
        });
        access_log(access.clone())(&pull());
        assert!(events.flush(patience()) && access.flush(patience()));
        let lines = |path: &Path| fs::read_to_string(path).map_or(0, |text| text.lines().count());
        assert_eq!((lines(&one), lines(&other)), (in_one, in_other));
    }
}

#[test]
fn a_file_that_cannot_be_opened_is_an_error_at_the_start() {
    let error = open_sinks(
        &config(Path::new("/proc/nowhere/log"), Format::Text),
        "node",
        &Trust::default(),
    )
    .err()
    .unwrap();
    assert!(
        format!("{error:#}").starts_with("cannot open the log file `/proc/nowhere/log`: "),
        "{error:#}"
    );
}
