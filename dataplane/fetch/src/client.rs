//! One client for each set of roots.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::header::{HOST, LOCATION};
use http::uri::{PathAndQuery, Scheme};
use http::{HeaderValue, Method, Request, Response, Uri};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::timeout;

use crate::FetchError;
use crate::roots::{InvalidRoots, config};

/// Redirects of one request that are followed.
const MAX_REDIRECTS: usize = 3;
/// How long a connection without a request is kept.
const IDLE: Duration = Duration::from_secs(30);
const MAX_IDLE_PER_HOST: usize = 4;
/// Bytes of a head; hyper's own default bounds the number of headers at 100.
const MAX_HEAD: usize = 64 * 1024;

type Connector = HttpsConnector<HttpConnector>;

/// Which addresses are spoken to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Security {
    #[default]
    HttpsOnly,
    /// `http:` too, where somebody has said that this is meant.
    HttpAllowed,
}

/// Of one request with all that follows from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// From the name's look-up to the last byte of the answer.
    pub timeout: Duration,
    /// Bytes of the answer's body.
    pub body: usize,
}

/// Keeps connections; cloning shares them.
#[derive(Clone)]
pub struct Client {
    inner: legacy::Client<Connector, Full<Bytes>>,
    security: Security,
}

impl Client {
    /// Believes the given roots (DER), or the system's if there are none.
    ///
    /// # Errors
    /// [`InvalidRoots`] when there is nobody to believe.
    pub fn new(roots: &[Box<[u8]>], security: Security) -> Result<Self, InvalidRoots> {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        let connector = hyper_rustls::HttpsConnectorBuilder::new()
            .with_tls_config(config(roots)?)
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        let inner = legacy::Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(MAX_IDLE_PER_HOST)
            .pool_timer(TokioTimer::new())
            .http1_max_buf_size(MAX_HEAD)
            .build(connector);
        Ok(Self { inner, security })
    }

    /// The answer as a whole, whatever its status.
    ///
    /// # Errors
    /// [`FetchError`] when there is none within the bounds.
    pub async fn send(&self, request: Request<Bytes>, bounds: Bounds) -> Result<Response<Bytes>, FetchError> {
        timeout(bounds.timeout, self.follow(request, bounds.body)).await.unwrap_or(Err(FetchError::Timeout))
    }

    /// As [`Client::send`], of a GET without any headers of its own.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn get(&self, address: &str, bounds: Bounds) -> Result<Response<Bytes>, FetchError> {
        let mut request = Request::new(Bytes::new());
        *request.uri_mut() = address.parse().map_err(|_| FetchError::Address)?;
        self.send(request, bounds).await
    }

    async fn follow(&self, mut request: Request<Bytes>, max_body: usize) -> Result<Response<Bytes>, FetchError> {
        for _ in 0..=MAX_REDIRECTS {
            let again = (request.method() == Method::GET).then(|| {
                let mut again = Request::new(Bytes::new());
                *again.uri_mut() = request.uri().clone();
                *again.headers_mut() = request.headers().clone();
                again
            });
            let response = self.exchange(request, max_body).await?;
            match again {
                Some(mut again) if is_redirect(&response) => {
                    let next = redirected(again.uri(), &response)?;
                    *again.uri_mut() = next;
                    request = again;
                }
                _ => return Ok(response),
            }
        }
        Err(FetchError::Redirected)
    }

    async fn exchange(&self, mut request: Request<Bytes>, max_body: usize) -> Result<Response<Bytes>, FetchError> {
        self.check(request.uri())?;
        let authority = request.uri().authority().ok_or(FetchError::Address)?;
        let host = HeaderValue::from_str(authority.as_str()).map_err(|_| FetchError::Address)?;
        request.headers_mut().insert(HOST, host);
        let response = self.inner.request(request.map(Full::new)).await.map_err(|error| unanswered(&error))?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, max_body).collect().await.map_err(|error| {
            if error.is::<LengthLimitError>() {
                FetchError::TooLarge(max_body)
            } else {
                FetchError::Broken(innermost(&*error))
            }
        })?;
        Ok(Response::from_parts(head, body.to_bytes()))
    }

    fn check(&self, uri: &Uri) -> Result<(), FetchError> {
        let authority = uri.authority().ok_or(FetchError::Address)?;
        if authority.host().is_empty() || authority.as_str().contains('@') {
            return Err(FetchError::Address);
        }
        match (uri.scheme(), self.security) {
            (Some(scheme), _) if *scheme == Scheme::HTTPS => Ok(()),
            (Some(scheme), Security::HttpAllowed) if *scheme == Scheme::HTTP => Ok(()),
            (Some(scheme), Security::HttpsOnly) if *scheme == Scheme::HTTP => Err(FetchError::Insecure),
            _ => Err(FetchError::Address),
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("security", &self.security).finish_non_exhaustive()
    }
}

fn is_redirect(response: &Response<Bytes>) -> bool {
    matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// Where an answer leads, if that is on the same server.
fn redirected(from: &Uri, response: &Response<Bytes>) -> Result<Uri, FetchError> {
    let to = response.headers().get(LOCATION).and_then(|to| to.to_str().ok()).ok_or(FetchError::Redirected)?;
    // `//host` would be another server (RFC 3986, 4.2).
    if to.starts_with('/') && !to.starts_with("//") {
        let path: PathAndQuery = to.parse().map_err(|_| FetchError::Redirected)?;
        let mut parts = from.clone().into_parts();
        parts.path_and_query = Some(path);
        return Uri::from_parts(parts).map_err(|_| FetchError::Redirected);
    }
    let to: Uri = to.parse().map_err(|_| FetchError::Redirected)?;
    let same = to.scheme() == from.scheme() && to.authority() == from.authority();
    if same { Ok(to) } else { Err(FetchError::Redirected) }
}

fn unanswered(error: &legacy::Error) -> FetchError {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(one) = cause {
        if let Some(tls) = tls_of(one) {
            return FetchError::Tls(tls.to_string());
        }
        cause = one.source();
    }
    if error.is_connect() { FetchError::Connect(innermost(error)) } else { FetchError::Broken(innermost(error)) }
}

/// A TLS error, also one that I/O errors carry: these are no source of each other.
fn tls_of<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e rustls::Error> {
    let mut inner = error;
    loop {
        if let Some(tls) = inner.downcast_ref() {
            return Some(tls);
        }
        inner = inner.downcast_ref::<std::io::Error>()?.get_ref()?;
    }
}

/// What happened in the end; outer errors say the same in more general words.
fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn leads(from: &str, to: &str) -> Result<String, FetchError> {
        let response = Response::builder().status(302).header(LOCATION, to).body(Bytes::new()).unwrap();
        redirected(&from.parse().unwrap(), &response).map(|uri| uri.to_string())
    }

    #[test]
    fn a_redirect_is_followed_on_the_same_server_alone() {
        assert_eq!(leads("https://a.example/x?y", "/z?q=1").as_deref(), Ok("https://a.example/z?q=1"));
        assert_eq!(leads("https://a.example/x", "https://a.example/z").as_deref(), Ok("https://a.example/z"));
        for elsewhere in
            ["https://b.example/", "http://a.example/", "https://a.example:444/", "//b.example/", "z", "", "\u{1}"]
        {
            let response = Response::builder().status(302).header(LOCATION, elsewhere).body(Bytes::new());
            let Ok(response) = response else { continue };
            let led = redirected(&"https://a.example/x".parse().unwrap(), &response);
            assert_eq!(led, Err(FetchError::Redirected), "{elsewhere}");
        }
    }

    #[test]
    fn only_the_addresses_that_were_asked_for_are_spoken_to() {
        let roots = [rcgen::generate_simple_self_signed(["a".to_owned()]).unwrap().cert.der().to_vec().into()];
        let secure = Client::new(&roots, Security::HttpsOnly).unwrap();
        let open = Client::new(&roots, Security::HttpAllowed).unwrap();
        let http: Uri = "http://a.example/".parse().unwrap();
        assert_eq!(secure.check(&http), Err(FetchError::Insecure));
        assert_eq!(open.check(&http), Ok(()));
        assert_eq!(secure.check(&"https://a.example".parse().unwrap()), Ok(()));
        for wrong in ["/path", "ftp://a.example/", "https://user@a.example/", "a.example"] {
            assert_eq!(open.check(&wrong.parse().unwrap()), Err(FetchError::Address), "{wrong}");
        }
        assert_eq!(Client::new(&[Box::from(*b"x")], Security::HttpsOnly).unwrap_err(), InvalidRoots::Root(0));
    }
}
