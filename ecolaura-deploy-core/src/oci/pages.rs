//! Lists that a registry gives page by page.

use std::collections::BTreeSet;

use reqwest::{Method, Response, StatusCode, Url, header::LINK};
use serde::de::DeserializeOwned;

use super::call::{Ask, Call, DOCUMENT};
use crate::{Error, ErrorKind, Result, image::parse};

/// The most pages of a list that are read.
const PAGES: usize = 1000;

impl Call<'_> {
    /// The pages of the list that begins at `first`; `what` names it. `None` if the first answer's status is one of
    /// `absent`.
    pub(super) async fn pages<T: DeserializeOwned>(
        &self,
        what: &str,
        first: Url,
        absent: &[StatusCode],
    ) -> Result<Option<Vec<T>>> {
        let (mut pages, mut seen, mut next) = (Vec::new(), BTreeSet::new(), Some(first));
        while let Some(url) = next {
            if seen.len() == PAGES {
                let message = format!("{what} has more than {PAGES} pages");
                return Err(Error::new(ErrorKind::LimitExceeded, self.operation, message));
            }
            let absent = if pages.is_empty() { absent } else { &[] };
            let Some((page, after)) = self.retried(|| self.page(what, &url, absent)).await? else { return Ok(None) };
            pages.push(page);
            seen.insert(url);
            next = after;
            if next.as_ref().is_some_and(|next| seen.contains(next)) {
                return Err(self.misled(what, "to one that was read already"));
            }
        }
        Ok(Some(pages))
    }

    /// A page, and where the next one is.
    async fn page<T: DeserializeOwned>(
        &self,
        what: &str,
        url: &Url,
        absent: &[StatusCode],
    ) -> Result<Option<(T, Option<Url>)>> {
        let response = self.send(&Ask::document(Method::GET, url.clone())).await?;
        match response.status() {
            StatusCode::OK => {}
            status if absent.contains(&status) => return Ok(None),
            _ => return Err(self.refused(response).await),
        }
        let next = self.next(what, url, &response)?;
        let page = parse(self.operation, what, &self.bytes(response, DOCUMENT).await?)?;
        Ok(Some((page, next)))
    }

    /// Where the page after the one at `url` is: in the same list, as logins are sent there.
    fn next(&self, what: &str, url: &Url, response: &Response) -> Result<Option<Url>> {
        let mut links = response.headers().get_all(LINK).iter().filter_map(|value| value.to_str().ok());
        let Some(link) = links.find_map(next_page) else { return Ok(None) };
        let next = url.join(&link).ok();
        match next.filter(|next| next.origin() == url.origin() && next.path() == url.path()) {
            Some(next) => Ok(Some(next)),
            None => Err(self.misled(what, "to an address of something else")),
        }
    }

    fn misled(&self, what: &str, whereto: &str) -> Error {
        let message = format!("{what} is not read: a page leads {whereto} as the next one");
        Error::new(ErrorKind::Unsupported, self.operation, message)
            .with("repository", &self.access.repository)
            .advice("look at the `Link` headers of the registry, and of a proxy before it")
    }
}

/// The address in `<address>; rel="next"`.
fn next_page(link: &str) -> Option<String> {
    let next = link.split(',').find(|part| part.contains("rel=\"next\"") || part.contains("rel=next"))?;
    let (start, end) = (next.find('<')?, next.find('>')?);
    next.get(start + 1..end).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_found() {
        assert_eq!(next_page("</v2/a/referrers/x?n=2>; rel=\"next\"").as_deref(), Some("/v2/a/referrers/x?n=2"));
        assert_eq!(next_page("<a>; rel=\"prev\", <b>; rel=next").as_deref(), Some("b"));
        assert_eq!(next_page("a; rel=\"next\""), None);
    }
}
