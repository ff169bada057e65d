//! Reads over a server that answers as S3 does and cuts its connections.

use std::{
    io,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use ::http::{Request, Response};
use futures_util::{TryStreamExt, stream};
use http_body_util::StreamBody;
use hyper::{
    body::{Frame, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use object_store::aws::AmazonS3Builder;
use outbound::{Outbound, Proxy, Trust};
use parking_lot::Mutex;
use tokio::net::TcpListener;

use super::*;
use crate::objects::{
    config::{Config, Keys, Vendor},
    library, s3,
    wire::Wire,
};

const SIZE: usize = 1_000_000;

/// How the server behaves.
struct Behaviour {
    asked: AtomicU32,
    /// Bytes of an answer's body before its connection breaks.
    lasts: Mutex<usize>,
    tag: Mutex<&'static str>,
}

type Body = StreamBody<BoxStream<'static, io::Result<Frame<Bytes>>>>;

fn content() -> Vec<u8> {
    (0..SIZE).map(|n| (n / 7) as u8).collect()
}

fn serve(behaviour: &Behaviour, request: &Request<Incoming>) -> Response<Body> {
    behaviour.asked.fetch_add(1, Ordering::SeqCst);
    let asked = request.headers().get("range");
    let range = match asked {
        None => 0..SIZE,
        Some(range) => {
            let range = range.to_str().expect("a text");
            let range = range.strip_prefix("bytes=").expect("bytes");
            let (begin, last) = range.split_once('-').expect("two");
            let last: usize = last.parse().expect("a number");
            begin.parse().expect("a number")..last + 1
        }
    };
    let whole = &content()[range.clone()];
    let some = Bytes::copy_from_slice(&whole[..whole.len().min(*behaviour.lasts.lock())]);
    let is_short = some.len() < whole.len();
    let broken = stream::once(async {
        // Or the head would not get through either.
        tokio::task::yield_now().await;
        Err(io::ErrorKind::BrokenPipe.into())
    });
    let frames = stream::iter([Ok(Frame::data(some))])
        .chain(broken.filter(move |_| std::future::ready(is_short)));
    let mut answer = Response::builder()
        .status(if asked.is_some() { 206 } else { 200 })
        .header("etag", *behaviour.tag.lock())
        .header("last-modified", "Mon, 30 Nov 2026 07:36:49 GMT")
        .header("content-length", whole.len());
    if asked.is_some() {
        let told = format!("bytes {}-{}/{SIZE}", range.start, range.end - 1);
        answer = answer.header("content-range", told);
    }
    let body = StreamBody::new(frames.boxed());
    answer.body(body).expect("an answer")
}

/// The server, until the runtime ends; its address.
#[expect(clippy::disallowed_methods, reason = "it ends with the test's runtime")]
async fn start(behaviour: Arc<Behaviour>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let behaviour = behaviour.clone();
            tokio::spawn(async move {
                let service = service_fn(async |request| {
                    Ok::<_, std::convert::Infallible>(serve(&behaviour, &request))
                });
                let _ = http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    });
    format!("http://{address}")
}

/// A bucket there. The crate `object_store` gives up at once, as it does with every read that has lasted long.
async fn backend(behaviour: &Arc<Behaviour>) -> Arc<Backend> {
    let endpoint = start(behaviour.clone()).await;
    let outbound = Outbound::new(Trust::new(&[]), Proxy::default());
    let config = Config {
        endpoint: Some(endpoint.clone()),
        keys: Some(Keys {
            id: "id".to_owned(),
            secret: "secret".to_owned(),
            session_token: None,
        }),
        ..Config::new(Vendor::S3, "bucket".to_owned(), outbound)
    };
    let mut library = s3::open(&config).expect("a client");
    let reads = AmazonS3Builder::new()
        .with_bucket_name("bucket")
        .with_endpoint(endpoint)
        .with_access_key_id("id")
        .with_secret_access_key("secret")
        .with_allow_http(true)
        .with_http_connector(Wire::new(config.outbound.clone()))
        .with_retry(library::retry(Duration::ZERO));
    library.reads = Arc::new(reads.build().expect("a client"));
    Arc::new(Backend::Library(library))
}

fn behaviour(lasts: usize) -> Arc<Behaviour> {
    Arc::new(Behaviour {
        asked: AtomicU32::new(0),
        lasts: Mutex::new(lasts),
        tag: Mutex::new("\"0123\""),
    })
}

async fn whole(backend: &Arc<Backend>, range: Option<Range<u64>>) -> Result<Vec<u8>> {
    let (key, shown) = ("key".to_owned(), "s3://bucket/key".to_owned());
    let (size, bytes) = read(backend.clone(), key, shown, range).await?;
    assert_eq!(size, SIZE as u64);
    Ok(bytes.try_collect::<Vec<_>>().await?.concat())
}

#[tokio::test]
async fn a_read_goes_on_wherever_its_connection_breaks() {
    let behaviour = behaviour(90_000);
    let backend = backend(&behaviour).await;
    assert!(whole(&backend, None).await.unwrap() == content());
    assert_eq!(behaviour.asked.load(Ordering::SeqCst), 12);
    let range = 100_001..500_000;
    let part = whole(&backend, Some(range)).await.unwrap();
    assert!(part == content()[100_001..500_000]);
}

#[tokio::test]
async fn a_read_that_gets_nowhere_ends_with_an_error() {
    let behaviour = behaviour(0);
    let backend = backend(&behaviour).await;
    let read = whole(&backend, None).await;
    assert!(matches!(read, Err(Error::Remote { .. })), "{read:?}");
    assert_eq!(behaviour.asked.load(Ordering::SeqCst), TRIES + 1);
}

#[tokio::test]
async fn the_rest_of_another_object_is_never_taken_for_this_ones() {
    let behaviour = behaviour(90_000);
    let backend = backend(&behaviour).await;
    let (key, shown) = ("key".to_owned(), "s3://bucket/key".to_owned());
    let (_, bytes) = read(backend, key, shown, None).await.unwrap();
    *behaviour.tag.lock() = "\"4567\"";
    let read: Result<Vec<_>> = bytes.try_collect().await;
    let error = read.unwrap_err().to_string();
    assert!(error.contains("replaced"), "{error}");
}
