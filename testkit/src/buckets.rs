//! Object stores: a real S3 server, as `with-s3.sh` starts one, and what stands in for Azure (`with-azure.sh`) and Google
//! (`with-gcs.sh`).

use std::time::Duration;

use http::HeaderMap;
pub use object_store::signer::Method;
use object_store::{
    aws::AmazonS3Builder,
    azure::{AzureAccessKey, AzureAuthorizer, AzureCredential},
    client::HttpRequestBody,
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

/// A blob service of Azure's on which tests may make containers.
#[derive(Debug, Clone)]
pub struct Azure {
    /// Without the account.
    pub endpoint: String,
    pub account: String,
    pub key: String,
}

/// The service that `TEST_AZURE` names, as `ENDPOINT ACCOUNT KEY`; `None` (said loudly) without one.
pub fn azure() -> Option<Azure> {
    let told = std::env::var("TEST_AZURE").unwrap_or_default();
    let mut parts = told.split_whitespace().map(str::to_owned);
    let (Some(endpoint), Some(account), Some(key)) = (parts.next(), parts.next(), parts.next())
    else {
        left_out(
            "azure",
            "no blob service of Azure's (`testkit/with-azure.sh` starts one where Azurite is installed)",
        );
        return None;
    };
    Some(Azure {
        endpoint,
        account,
        key,
    })
}

impl Azure {
    /// Makes a container with a name of its own.
    pub async fn fresh_container(&self) -> String {
        let name = format!("test-{}", uuid::Uuid::new_v4().simple());
        self.call(Method::PUT, &format!("{name}?restype=container"))
            .await;
        name
    }

    /// Does something beside the server: a call without a body that must go well. `what` is what stands behind the account.
    pub async fn call(&self, method: Method, what: &str) {
        let url = format!("{}/{}/{what}", self.endpoint, self.account);
        let mut request = object_store::client::HttpRequest::new(HttpRequestBody::empty());
        *request.method_mut() = method.clone();
        *request.uri_mut() = url.parse().expect("an address");
        let key = AzureAccessKey::try_new(&self.key).expect("a key");
        let credential = AzureCredential::AccessKey(key);
        AzureAuthorizer::new(&credential, &self.account)
            .try_authorize(&mut request)
            .expect("signs");
        call(method, url, request.headers().clone(), b"").await;
    }
}

/// A server with the XML interface of Google Cloud Storage, which asks for no credentials.
#[derive(Debug, Clone)]
pub struct Gcs {
    pub endpoint: String,
}

/// The server that `TEST_GCS` names by its address; `None` (said loudly) without one.
pub fn gcs() -> Option<Gcs> {
    match std::env::var("TEST_GCS") {
        Ok(endpoint) if !endpoint.is_empty() => Some(Gcs { endpoint }),
        _ => {
            left_out(
                "gcs",
                "nothing stands in for Google Cloud Storage (`testkit/with-gcs.sh` starts moto where it is installed)",
            );
            None
        }
    }
}

impl Gcs {
    /// Makes a bucket with a name of its own, of letters alone: moto takes escaped ones as they stand.
    pub async fn fresh_bucket(&self) -> String {
        let name = format!("test{}", uuid::Uuid::new_v4().simple());
        let url = format!("{}/{name}", self.endpoint);
        call(Method::PUT, url, HeaderMap::new(), b"").await;
        name
    }
}

/// A call that must go well.
async fn call(method: Method, url: String, headers: HeaderMap, body: &'static [u8]) {
    let outbound = Outbound::new(Trust::new(&[]), Proxy::default());
    let client = outbound.client(Limits::QUESTION).await.expect("a client");
    let request = client.request(method, url).headers(headers);
    let answer = request.body(body).send().await;
    let answer = answer.expect("the server answers");
    assert!(answer.status().is_success(), "{:?}", answer.text().await);
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
        self.send(method, bucket, key, query, b"").await;
    }

    /// Writes an object beside the server.
    pub async fn put(&self, bucket: &str, key: &str, bytes: &'static [u8]) {
        self.send(Method::PUT, bucket, key, "", bytes).await;
    }

    async fn send(
        &self,
        method: Method,
        bucket: &str,
        key: &str,
        query: &str,
        body: &'static [u8],
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
        call(method, url.into(), HeaderMap::new(), body).await;
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
