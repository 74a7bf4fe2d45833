//! From a request to a response: pure but for opening the object's file.

use std::{fs::File, io, sync::Arc};

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, Method, Request, Response, StatusCode, header, response::Builder};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::Frame;
use tokio::io::AsyncReadExt;

use super::{
    index::{Index, Site},
    store::blocking,
};
use crate::{Error, Result, backend::SiteObject, cdn::Encoding};

/// Bytes of an object read at a time.
const CHUNK: usize = 64 * 1024;

pub(super) type Body = UnsyncBoxBody<Bytes, io::Error>;

/// Answers `request`. What cannot be read is 500, with the cause in the log and not in the body.
pub(super) async fn respond<B>(site: Arc<Site>, request: Request<B>) -> Response<Body> {
    let method = request.method().clone();
    if method != Method::GET && method != Method::HEAD {
        let allow = Response::builder().status(StatusCode::METHOD_NOT_ALLOWED).header(header::ALLOW, "GET, HEAD");
        return text(allow, "only GET and HEAD\n", &method);
    }
    match object(site, &request).await {
        Ok(Some(found)) => found.into_response(request.headers(), &method),
        Ok(None) => text(Response::builder().status(StatusCode::NOT_FOUND), "not found\n", &method),
        Err(error) => {
            tracing::error!(error = %error.report(), "a request failed");
            text(Response::builder().status(StatusCode::INTERNAL_SERVER_ERROR), "the site cannot be read\n", &method)
        }
    }
}

struct Found {
    status: StatusCode,
    object: SiteObject,
    file: File,
    /// Whether others are answered with another encoding.
    varies: bool,
}

/// The object for the path, or the site's `404.html`. A path is looked up among keys and never becomes a file's name.
async fn object<B>(site: Arc<Site>, request: &Request<B>) -> Result<Option<Found>> {
    let key = key(request.uri().path());
    let accepted = request.headers().get_all(header::ACCEPT_ENCODING).iter();
    let accepted: Vec<&str> = accepted.filter_map(|value| value.to_str().ok()).collect();
    let accepted = accepted.join(",");
    let find = move || {
        let index = site.index()?;
        let page = key.as_deref().and_then(|key| Some((StatusCode::OK, chosen(&index, key, &accepted)?)));
        let missing = || Some((StatusCode::NOT_FOUND, chosen(&index, "404.html", &accepted)?));
        let Some((status, (object, varies))) = page.or_else(missing) else { return Ok(None) };
        let path = site.store().object(object.digest);
        let file = File::open(&path).map_err(|error| Error::io("cdn.serve", &path, error))?;
        Ok(Some(Found { status, object: object.clone(), file, varies }))
    };
    blocking(find).await
}

/// The object for `key`, or its variant in the best encoding of those that are `accepted`; and whether it has variants.
fn chosen<'a>(index: &'a Index, key: &str, accepted: &str) -> Option<(&'a SiteObject, bool)> {
    let original = index.get(key)?;
    let variants: Vec<(Encoding, &SiteObject)> = Encoding::ALL
        .into_iter()
        .filter_map(|encoding| {
            let variant = index.get(&format!("{key}{}", encoding.suffix()))?;
            let named = variant.headers.get("content-encoding").is_some_and(|name| name == encoding.token());
            (named && variant.content_type == original.content_type).then_some((encoding, variant))
        })
        .collect();
    let best = variants.iter().find(|(encoding, _)| encoding.is_accepted(accepted));
    Some((best.map_or(original, |(_, variant)| variant), !variants.is_empty()))
}

/// The key that a URL's path names; `index.html` for a folder. `None` if it is not UTF-8.
fn key(path: &str) -> Option<String> {
    let mut key = decode(path.strip_prefix('/').unwrap_or(path))?;
    if key.is_empty() || key.ends_with('/') {
        key.push_str("index.html");
    }
    Some(key)
}

fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        match (first, tail) {
            (b'%', [high, low, tail @ ..]) => {
                bytes.extend(hex::decode([*high, *low]).ok()?);
                rest = tail;
            }
            (b'%', _) => return None,
            _ => bytes.push(*first),
        }
    }
    String::from_utf8(bytes).ok()
}

impl Found {
    fn into_response(self, request: &HeaderMap, method: &Method) -> Response<Body> {
        let tag = format!("\"{}\"", self.object.digest.to_hex());
        let known = self.status == StatusCode::OK && knows(request, &tag);
        let mut builder = Response::builder()
            .status(if known { StatusCode::NOT_MODIFIED } else { self.status })
            .header(header::ETAG, tag)
            .header(header::CACHE_CONTROL, self.object.cache_control.to_string());
        for (name, value) in &self.object.headers {
            builder = builder.header(name, value);
        }
        if self.varies {
            builder = builder.header(header::VARY, "accept-encoding");
        }
        if known {
            return finish(builder, empty());
        }
        let builder = builder
            .header(header::CONTENT_TYPE, &self.object.content_type)
            .header(header::CONTENT_LENGTH, self.object.size);
        finish(builder, if method == Method::HEAD { empty() } else { content(self.file) })
    }
}

/// Whether the browser has this content: `If-None-Match`, compared weakly (RFC 9110 §13.1.2).
fn knows(request: &HeaderMap, tag: &str) -> bool {
    let values = request.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let mut tags = values.flat_map(|value| value.split(',')).map(str::trim);
    tags.any(|given| given == "*" || given.strip_prefix("W/").unwrap_or(given) == tag)
}

fn content(file: File) -> Body {
    let chunks = stream::try_unfold(tokio::fs::File::from_std(file), |mut file| async move {
        let mut buffer = Vec::with_capacity(CHUNK);
        let count = (&mut file).take(CHUNK as u64).read_to_end(&mut buffer).await?;
        Ok((count > 0).then(|| (Frame::data(Bytes::from(buffer)), file)))
    });
    StreamBody::new(chunks).boxed_unsync()
}

fn empty() -> Body {
    Full::default().map_err(|never| match never {}).boxed_unsync()
}

fn text(builder: Builder, message: &'static str, method: &Method) -> Response<Body> {
    let builder = builder
        .header(header::CONTENT_TYPE, "text/plain; charset=utf-8")
        .header(header::CACHE_CONTROL, "no-store")
        .header(header::CONTENT_LENGTH, message.len());
    let body = Full::new(Bytes::from_static(message.as_bytes())).map_err(|never| match never {}).boxed_unsync();
    finish(builder, if method == Method::HEAD { empty() } else { body })
}

/// A manifest that was written by hand may hold what is no header.
fn finish(builder: Builder, body: Body) -> Response<Body> {
    builder.body(body).unwrap_or_else(|error| {
        tracing::error!(%error, "a header in the site's manifest is not valid");
        let mut response = Response::new(empty());
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        response
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_keys() {
        assert_eq!(key("/").as_deref(), Some("index.html"));
        assert_eq!(key("/a/").as_deref(), Some("a/index.html"));
        assert_eq!(key("/a%20b.js").as_deref(), Some("a b.js"));
        for bad in ["/%", "/%zz", "/%ff"] {
            assert_eq!(key(bad), None, "{bad}");
        }
    }
}
