//! Tokens and manifests, against a server that answers as Keystone and Swift do: what real ones do only when they fail or are old.

use std::{
    collections::BTreeSet,
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use ::http::{Request, Response};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use oci::digest::Algorithm;
use outbound::{Outbound, Proxy, Trust};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::{
    config::{AuthVersion, Name, Secret},
    *,
};
use crate::{
    hash::Hasher,
    objects::{
        Objects,
        bucket::{Backend, Bucket},
        config::Vendor,
        keys,
        progress::{Multipart, Part, Progress, Tail},
        stored::BusyKeys,
    },
};

/// How the server behaves.
#[derive(Default)]
struct Behaviour {
    /// Tokens given, and asked for in vain.
    given: AtomicU32,
    failed: AtomicU32,
    is_away: Mutex<bool>,
    /// Whether who asks for a token never hears anything.
    is_silent: AtomicBool,
    /// Seconds that tokens last.
    lasts: Mutex<u32>,
    /// Tokens up to this one are refused.
    refused: AtomicU32,
    /// What was asked last.
    asked: Mutex<Value>,
    /// Paths of manifests.
    manifests: Mutex<BTreeSet<String>>,
    /// So many more answers to manifests are lost on their way.
    lost: AtomicU32,
    /// What is said of a manifest that is taken, if not what Swift says.
    said: Mutex<Option<&'static str>>,
}

type Answer = Response<Full<Bytes>>;

fn answer(status: u16, headers: &[(&str, &str)], body: &Value) -> Answer {
    let mut answer = Response::builder().status(status);
    for (name, value) in headers {
        answer = answer.header(*name, *value);
    }
    let body = Full::new(body.to_string().into());
    answer.body(body).expect("an answer")
}

/// As a Keystone of 2023 answered, shortened.
fn v3(behaviour: &Behaviour, host: &str, token: &str) -> Answer {
    let lasts = *behaviour.lasts.lock();
    let endpoint = |interface: &str, host: &str| {
        json!({
            "id": "8bfc846841ab441ca38471be6d164ced", "interface": interface,
            "region": "one", "region_id": "one",
            "url": format!("http://{host}/v1/AUTH_6f70656e737461636b20342065766572"),
        })
    };
    let body = json!({ "token": {
        "methods": ["password"],
        "issued_at": "2015-11-06T14:00:00.000000Z",
        "expires_at": format!("2015-11-06T14:{:02}:{:02}.000000Z", lasts / 60, lasts % 60),
        "catalog": [
            { "type": "identity", "name": "keystone", "endpoints": [] },
            { "type": "object-store", "name": "swift", "endpoints": [
                endpoint("admin", "admin.lab"), endpoint("public", host),
            ]},
        ],
    }});
    answer(201, &[("X-Subject-Token", token)], &body)
}

/// As a Keystone of 2014 answered, shortened.
fn v2(host: &str, token: &str) -> Answer {
    let body = json!({ "access": {
        "token": { "issued_at": "2014-01-30T15:30:58.819584", "expires": "2014-01-31T15:30:58Z",
            "id": token, "tenant": { "id": "fc394f2ab2df4114bde39905f800dc57", "name": "demo" } },
        "serviceCatalog": [
            { "type": "object-store", "name": "swift", "endpoints_links": [], "endpoints": [{
                "adminURL": format!("http://{host}/v1"), "region": "one",
                "internalURL": format!("http://{host}/v1/AUTH_fc394f2ab2df4114bde39905f800dc57"),
                "publicURL": format!("http://{host}/v1/AUTH_fc394f2ab2df4114bde39905f800dc57"),
                "id": "2dad48f09e2a447a9bf852bcd93543fc",
            }]},
        ],
    }});
    answer(200, &[], &body)
}

/// Takes a manifest; none when the answer is lost.
fn manifest(behaviour: &Behaviour, head: &::http::request::Parts) -> Option<Answer> {
    let is_new = behaviour
        .manifests
        .lock()
        .insert(head.uri.path().to_owned());
    if !is_new && head.headers.contains_key("if-none-match") {
        return Some(answer(412, &[], &Value::Null));
    }
    let lost = behaviour.lost.load(Ordering::SeqCst);
    behaviour
        .lost
        .store(lost.saturating_sub(1), Ordering::SeqCst);
    let said = behaviour
        .said
        .lock()
        .unwrap_or(r#"{"Response Status": "201 Created", "Etag": "\"0123\"", "Errors": []}"#);
    let taken = Response::builder()
        .status(202)
        .body(Full::new(said.into()))
        .expect("an answer");
    (lost == 0).then_some(taken)
}

async fn serve(behaviour: &Behaviour, host: &str, request: Request<Incoming>) -> Option<Answer> {
    if request.method() == Method::PUT && request.uri().query().is_some() {
        let (head, body) = request.into_parts();
        body.collect().await.expect("a body");
        return manifest(behaviour, &head);
    }
    Some(serve_other(behaviour, host, request).await)
}

async fn serve_other(behaviour: &Behaviour, host: &str, request: Request<Incoming>) -> Answer {
    let (head, body) = request.into_parts();
    let path = head.uri.path().to_owned();
    if path == "/info" {
        return answer(
            200,
            &[],
            &json!({ "slo": { "max_manifest_segments": 1000 } }),
        );
    }
    if path.starts_with("/v1/") {
        let token = head.headers.get("x-auth-token").expect("a token");
        let number = token.to_str().expect("a text").trim_start_matches("token-");
        let number: u32 = number.parse().expect("a number");
        let is_refused = number <= behaviour.refused.load(Ordering::SeqCst);
        return answer(if is_refused { 401 } else { 204 }, &[], &Value::Null);
    }
    if behaviour.is_silent.load(Ordering::SeqCst) {
        std::future::pending::<()>().await;
    }
    if *behaviour.is_away.lock() {
        behaviour.failed.fetch_add(1, Ordering::SeqCst);
        return answer(503, &[], &json!({ "error": { "message": "away" } }));
    }
    let body = body.collect().await.expect("a body").to_bytes();
    *behaviour.asked.lock() = serde_json::from_slice(&body).unwrap_or_default();
    let token = format!(
        "token-{}",
        behaviour.given.fetch_add(1, Ordering::SeqCst) + 1
    );
    match path.as_str() {
        "/v3/auth/tokens" => v3(behaviour, host, &token),
        "/v2.0/tokens" => v2(host, &token),
        path => panic!("{path}"),
    }
}

/// The server, until the runtime ends; its address.
#[expect(clippy::disallowed_methods, reason = "it ends with the test's runtime")]
async fn start(behaviour: Arc<Behaviour>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let host = listener.local_addr().expect("an address").to_string();
    let address = host.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (behaviour, host) = (behaviour.clone(), host.clone());
            tokio::spawn(async move {
                let service = service_fn(async |request| {
                    let answer = serve(&behaviour, &host, request).await;
                    answer.ok_or_else(|| io::Error::other("lost"))
                });
                let _ = http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    });
    address
}

fn config(host: &str, path: &str) -> Config {
    let outbound = Outbound::new(Trust::new(&[]), Proxy::default());
    let named = |text: &str| Some(Name::Name(text.to_owned()));
    Config {
        swift: super::config::Config {
            auth_url: Some(format!("http://{host}{path}")),
            user: named("alice"),
            password: Some(Secret("geheim".to_owned())),
            project: named("demo"),
            ..super::config::Config::default()
        },
        ..Config::new(Vendor::Swift, "container".to_owned(), outbound)
    }
}

fn behaviour(lasts: u32) -> Arc<Behaviour> {
    let behaviour = Behaviour::default();
    *behaviour.lasts.lock() = lasts;
    Arc::new(behaviour)
}

#[tokio::test]
async fn one_token_does_for_all_and_a_refused_one_is_replaced_once() {
    let keystone = behaviour(3000);
    let host = start(keystone.clone()).await;
    let swift = Swift::open(&config(&host, "/v3")).await.expect("opens");
    assert_eq!(keystone.given.load(Ordering::SeqCst), 1);
    keystone.refused.store(1, Ordering::SeqCst);
    let call = Call::new("look at", Method::HEAD, To::Container);
    let calls: Vec<_> = (0..8).map(|_| swift.client.send(&call)).collect();
    for answered in futures_util::future::join_all(calls).await {
        answered.expect("goes through");
    }
    assert_eq!(keystone.given.load(Ordering::SeqCst), 2);
    // Whom Swift lets in never is told so, after one more token.
    keystone.refused.store(99, Ordering::SeqCst);
    let refused = swift.client.send(&call).await.map(drop);
    assert!(
        matches!(refused, Err(Error::Remote { is_ours: true, .. })),
        "{refused:?}"
    );
    assert_eq!(keystone.given.load(Ordering::SeqCst), 3);
}

/// The token is to be renewed now, and ends then.
fn is_due(swift: &Swift, ends: Instant) {
    let mut held = swift.client.session.held.lock();
    let held = held.as_mut().expect("a token");
    (held.renew, held.ends) = (Some(Instant::now()), Some(ends));
}

#[tokio::test]
async fn a_keystone_that_is_away_hurts_nobody_while_the_token_holds() {
    let keystone = behaviour(3000);
    let host = start(keystone.clone()).await;
    let swift = Swift::open(&config(&host, "")).await.expect("opens");
    *keystone.is_away.lock() = true;
    let hour = Instant::now() + Duration::from_hours(1);
    is_due(&swift, hour);
    // One asks, and then nobody for a while.
    for _ in 0..3 {
        let granted = swift.client.session.granted().await;
        assert_eq!(granted.expect("still holds").token.0, "token-1");
    }
    assert_eq!(keystone.failed.load(Ordering::SeqCst), 1);
    is_due(&swift, Instant::now());
    assert!(swift.client.session.granted().await.is_err());
    *keystone.is_away.lock() = false;
    let granted = swift.client.session.granted().await.expect("a token");
    assert_eq!(granted.token.0, "token-2");
}

#[tokio::test]
async fn nobody_waits_long_for_a_keystone_that_is_silent() {
    let keystone = behaviour(3000);
    let host = start(keystone.clone()).await;
    let swift = Swift::open(&config(&host, "/v3")).await.expect("opens");
    keystone.is_silent.store(true, Ordering::SeqCst);
    // The one is refused, so that another is asked for; all wait at once.
    keystone.refused.store(1, Ordering::SeqCst);
    let call = Call {
        patience: Duration::ZERO,
        ..Call::new("look at", Method::HEAD, To::Container)
    };
    let begun = Instant::now();
    let calls: Vec<_> = (0..4).map(|_| swift.client.send(&call)).collect();
    for answered in futures_util::future::join_all(calls).await {
        let error = answered.map(drop).expect_err("no token");
        assert!(error.to_string().contains("no answer"), "{error}");
    }
    let waited = begun.elapsed();
    assert!(waited < 2 * crate::objects::exchange::QUICK, "{waited:?}");
    keystone.is_silent.store(false, Ordering::SeqCst);
    swift.client.send(&call).await.expect("goes through");
}

#[tokio::test]
async fn a_token_is_renewed_before_it_ends() {
    let keystone = behaviour(3000);
    let host = start(keystone.clone()).await;
    let swift = Swift::open(&config(&host, "/v3/")).await.expect("opens");
    is_due(&swift, Instant::now() + Duration::from_hours(1));
    let granted = swift.client.session.granted().await.expect("a token");
    assert_eq!(granted.token.0, "token-2");
    let asked = keystone.asked.lock().clone();
    assert_eq!(asked["auth"]["scope"]["project"]["name"], "demo");
    assert_eq!(
        asked["auth"]["identity"]["password"]["user"]["domain"]["id"],
        "default"
    );
}

#[tokio::test]
async fn keystones_second_version_is_spoken_too() {
    let keystone = behaviour(0);
    let host = start(keystone.clone()).await;
    let mut config = config(&host, "/v2.0");
    config.swift.interface = Some(super::config::Interface::Internal);
    let swift = Swift::open(&config).await.expect("opens");
    let granted = swift.client.session.granted().await.expect("a token");
    let account = format!("http://{host}/v1/AUTH_fc394f2ab2df4114bde39905f800dc57");
    assert_eq!(
        (granted.storage.as_str(), granted.public.as_str()),
        (account.as_str(), account.as_str())
    );
    let asked = keystone.asked.lock().clone();
    let expected = json!({ "auth": { "tenantName": "demo",
        "passwordCredentials": { "username": "alice", "password": "geheim" } } });
    assert_eq!(asked, expected);
    // Where it does not end so, it has to be said.
    config.swift.auth_url = Some(format!("http://{host}/v2.0/"));
    config.swift.auth_version = Some(AuthVersion::KeystoneV2);
    Swift::open(&config).await.expect("opens");
}

#[tokio::test]
async fn the_store_may_have_another_address_than_the_catalog_says() {
    let keystone = behaviour(3000);
    let host = start(keystone.clone()).await;
    let mut config = config(&host, "/v3");
    // The admin's address leads nowhere from here.
    config.swift.interface = Some(super::config::Interface::Admin);
    config.endpoint = Some(format!("http://{host}"));
    let swift = Swift::open(&config).await.expect("opens");
    let granted = swift.client.session.granted().await.expect("a token");
    assert!(
        granted
            .storage
            .starts_with(&format!("http://{host}/v1/AUTH_"))
    );
}

const LARGE: &str = "objects/up/upload.0123456789abcdef";

fn parts(number: u32) -> Vec<Part> {
    let part = |number| Part {
        number,
        size: 10,
        tag: "fedcba9876543210/0123".to_owned(),
    };
    (1..=number).map(part).collect()
}

#[tokio::test]
async fn a_manifest_of_some_parts_whose_answer_was_lost_is_sent_again() {
    let keystone = behaviour(3000);
    let host = start(keystone.clone()).await;
    let mut swift = Swift::open(&config(&host, "/v3")).await.expect("opens");
    (swift.info.segments, swift.info.nests) = (2, true);
    keystone.lost.store(1, Ordering::SeqCst);
    swift.complete(LARGE, "id", &parts(3)).await.expect("ends");
    assert_eq!(keystone.manifests.lock().len(), 3);
    // Of the last one nobody knows then whose it is: the caller looks.
    keystone.lost.store(1, Ordering::SeqCst);
    keystone.manifests.lock().clear();
    let ended = swift.complete(LARGE, "id", &parts(2)).await;
    assert!(matches!(ended, Err(Error::NotFound)), "{ended:?}");
    assert_eq!(keystone.manifests.lock().len(), 1);
}

#[tokio::test]
async fn an_upload_with_more_parts_than_the_store_takes_is_refused_before_the_last_is_sent() {
    let keystone = behaviour(3000);
    let host = start(keystone.clone()).await;
    let config = config(&host, "/v3");
    let mut swift = Swift::open(&config).await.expect("opens");
    (swift.info.segments, swift.info.nests) = (2, true);
    assert_eq!(swift.most_parts(), 18);
    let objects = Arc::new(Objects {
        bucket: Bucket::new(&config, Backend::Swift(swift)),
        part_size: 10,
        busy: BusyKeys::default(),
    });
    let mut sent = Hasher::new(Algorithm::Sha256);
    sent.update(&[0; 180]);
    let mut whole = sent.clone();
    whole.update(b"more");
    let progress = Progress {
        hash: sent.state(),
        multipart: Some(Multipart {
            name: keys::new_name(),
            id: keys::new_name(),
            parts: parts(18),
        }),
        tail: Tail::Inline(Bytes::from_static(b"more")),
        asides: 0,
        is_doubtful: false,
    };
    let resumed = objects.resume("upload", 184, Some(&progress)).await;
    let (mut writer, digest) = (resumed.expect("goes on"), whole.digest());
    let ended = writer.finish_at(&digest, "data").await.err();
    let is_told = matches!(ended, Some(Error::TooLarge { len: 184, max: 180 }));
    assert!(is_told, "{ended:?}");
    assert!(keystone.manifests.lock().is_empty());
}

#[tokio::test]
async fn a_manifest_of_which_nothing_is_said_was_not_taken() {
    let keystone = behaviour(3000);
    let host = start(keystone.clone()).await;
    let swift = Swift::open(&config(&host, "/v3")).await.expect("opens");
    for said in [
        "",
        "   \r\n",
        "<html>all is well</html>",
        r#"{"Response Status": "201 Created", "Errors": []}"#,
    ] {
        *keystone.said.lock() = Some(said);
        keystone.manifests.lock().clear();
        let ended = swift.complete(LARGE, "id", &parts(1)).await;
        assert!(matches!(ended, Err(Error::Remote { .. })), "{ended:?}");
    }
}
