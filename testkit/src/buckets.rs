//! A real S3 server, as `with-s3.sh` starts one.

use std::time::Duration;

pub use object_store::signer::Method;
use object_store::{
    aws::AmazonS3Builder,
    path::Path,
    signer::{SignedUrlOptions, Signer},
};
use outbound::{Limits, Outbound, Proxy, Trust};

use crate::left_out;

/// A server on which tests may make buckets.
#[derive(Debug, Clone)]
pub struct S3 {
    pub endpoint: String,
    pub id: String,
    pub secret: String,
}

/// The server that `TEST_S3` names, as `ENDPOINT ID SECRET`; `None` (said loudly) without one.
pub fn s3() -> Option<S3> {
    let told = std::env::var("TEST_S3").unwrap_or_default();
    let mut parts = told.split_whitespace().map(str::to_owned);
    let (Some(endpoint), Some(id), Some(secret)) = (parts.next(), parts.next(), parts.next())
    else {
        left_out(
            "s3",
            "no S3 server (`testkit/with-s3.sh` starts one where Ceph is installed)",
        );
        return None;
    };
    Some(S3 {
        endpoint,
        id,
        secret,
    })
}

impl S3 {
    /// Makes a bucket with a name of its own.
    pub async fn fresh_bucket(&self) -> String {
        let name = format!("test-{}", uuid::Uuid::new_v4().simple());
        self.call(Method::PUT, &name, "", "").await;
        name
    }

    /// Does something to a bucket beside the server: a call without a body that must go well. `query` is a name without a value.
    pub async fn call(&self, method: Method, bucket: &str, key: &str, query: &str) {
        self.send(method, bucket, key, query, None).await;
    }

    /// Writes an object beside the server.
    pub async fn put(&self, bucket: &str, key: &str, bytes: &'static [u8]) {
        self.send(Method::PUT, bucket, key, "", Some(bytes)).await;
    }

    async fn send(
        &self,
        method: Method,
        bucket: &str,
        key: &str,
        query: &str,
        body: Option<&'static [u8]>,
    ) {
        let signer = AmazonS3Builder::new()
            .with_endpoint(&self.endpoint)
            .with_region("us-east-1")
            .with_bucket_name(bucket)
            .with_access_key_id(&self.id)
            .with_secret_access_key(&self.secret)
            .with_http_connector(NoHttp)
            .build()
            .expect("a client");
        let path = Path::parse(key).expect("a key");
        let mut options = SignedUrlOptions::new();
        if !query.is_empty() {
            options = options.with_query([(query, "")]);
        }
        let lasts = Duration::from_mins(1);
        let signed = signer.signed_url_opts(method.clone(), &path, lasts, &options);
        let url = signed.await.expect("an address");
        let outbound = Outbound::new(Trust::new(&[]), Proxy::default());
        let client = outbound.client(Limits::QUESTION).await.expect("a client");
        let mut request = client.request(method, url);
        if let Some(bytes) = body {
            request = request.body(bytes);
        }
        let answer = request.send().await;
        let answer = answer.expect("the S3 server answers");
        assert!(answer.status().is_success(), "{:?}", answer.text().await);
    }
}

/// For signing alone.
#[derive(Debug)]
struct NoHttp;

impl object_store::client::HttpConnector for NoHttp {
    fn connect(
        &self,
        _: &object_store::ClientOptions,
    ) -> object_store::Result<object_store::client::HttpClient> {
        Ok(object_store::client::HttpClient::new(Self))
    }
}

#[async_trait::async_trait]
impl object_store::client::HttpService for NoHttp {
    async fn call(
        &self,
        _: object_store::client::HttpRequest,
    ) -> Result<object_store::client::HttpResponse, object_store::client::HttpError> {
        unreachable!("signing asks nobody")
    }
}
