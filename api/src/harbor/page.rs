//! Pages of a list: which one was asked for, and the headers that lead to its neighbours.

use http::{HeaderName, HeaderValue, Response, header};
use oci::query;

use super::error::{Error, Result};
use crate::{body::Body, request::Ask};

const TOTAL: HeaderName = HeaderName::from_static("x-total-count");
/// The longest page.
const MOST: i64 = 100;

/// `page` and `page_size`: 1 and 10 when they are not told; a size of 0 or less asks for everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Page {
    pub(crate) number: i64,
    pub(crate) size: i64,
}

impl Page {
    pub(super) fn of(asked: &str) -> Result<Self> {
        let number = number(asked, "page", 1)?;
        let size = number_of(asked, "page_size", 10)?;
        if size > MOST {
            return Err(Error::Unprocessable(format!(
                "page_size in query should be less than or equal to {MOST}"
            )));
        }
        Ok(Self { number, size })
    }

    /// Rows before this page; none when everything is asked for.
    pub(crate) fn offset(self) -> Option<i64> {
        (self.size > 0).then(|| (self.number - 1).saturating_mul(self.size))
    }
}

fn number(asked: &str, key: &str, default: i64) -> Result<i64> {
    Ok(number_of(asked, key, default)?.max(1))
}

fn number_of(asked: &str, key: &str, default: i64) -> Result<i64> {
    match query::first(asked, key) {
        None => Ok(default),
        Some(text) if text.is_empty() => Ok(default),
        Some(text) => text
            .parse()
            .map_err(|_| Error::Unprocessable(format!("{key} in query must be of type int64"))),
    }
}

/// What an answer must know of its request, after the handler took the call.
pub(crate) struct Asked {
    path: String,
    query: String,
}

impl Asked {
    pub(super) fn new(ask: &Ask) -> Self {
        Self {
            path: ask.head.uri.path().to_owned(),
            query: ask.query().to_owned(),
        }
    }

    /// Where something new is to be found: the request's path and its name there.
    pub(super) fn location(&self, name: &str) -> HeaderValue {
        let text = format!("{}/{name}", self.path.trim_end_matches('/'));
        HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static("/"))
    }

    /// `X-Total-Count`, and `Link` to the neighbours that exist. Its addresses begin with the path: Harbor's own client puts
    /// scheme and host before it.
    pub(super) fn add_pages(&self, total: i64, response: &mut Response<Body>) {
        let headers = response.headers_mut();
        headers.insert(TOTAL, HeaderValue::from(total));
        let Ok(page) = Page::of(&self.query) else {
            return;
        };
        if page.size <= 0 {
            return;
        }
        let pages = total.div_euclid(page.size) + i64::from(total % page.size > 0);
        let mut links = Vec::new();
        if page.number > 1 && page.number - 1 <= pages {
            links.push(self.link(page.number - 1, page.size, "prev"));
        }
        if page.number < pages {
            links.push(self.link(page.number + 1, page.size, "next"));
        }
        if let Ok(link) = HeaderValue::from_str(&links.join(" , "))
            && !links.is_empty()
        {
            headers.insert(header::LINK, link);
        }
    }

    fn link(&self, number: i64, size: i64, relation: &str) -> String {
        let mut pairs: Vec<String> = query::pairs(&self.query)
            .filter(|(key, _)| key != "page" && key != "page_size")
            .map(|(key, value)| format!("{}={}", query::encode(&key), query::encode(&value)))
            .collect();
        pairs.push(format!("page={number}"));
        pairs.push(format!("page_size={size}"));
        format!("<{}?{}>; rel=\"{relation}\"", self.path, pairs.join("&"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(query: &str, total: i64) -> Option<String> {
        let asked = Asked {
            path: "/api/v2.0/projects".to_owned(),
            query: query.to_owned(),
        };
        let mut response = Response::new(Body::empty());
        asked.add_pages(total, &mut response);
        assert_eq!(response.headers()[TOTAL], total.to_string());
        let link = response.headers().get(header::LINK)?;
        Some(link.to_str().expect("a text").to_owned())
    }

    #[test]
    fn a_page_links_to_the_neighbours_that_exist() {
        for (query, total, expected) in [
            ("", 5, None),
            ("", 11, Some("<P?page=2&page_size=10>; rel=\"next\"")),
            (
                "page=2&page_size=10&q=name%3D~a",
                30,
                Some(
                    "<P?q=name%3D~a&page=1&page_size=10>; rel=\"prev\" , <P?q=name%3D~a&page=3&page_size=10>; rel=\"next\"",
                ),
            ),
            ("page=9", 11, None),
            ("page=3", 11, Some("<P?page=2&page_size=10>; rel=\"prev\"")),
            ("page_size=0", 50, None),
            ("page_size=-1", 50, None),
        ] {
            let expected = expected.map(|text| text.replace('P', "/api/v2.0/projects"));
            assert_eq!(link(query, total), expected, "{query}");
        }
    }

    #[test]
    fn pages_are_bounded() {
        assert_eq!(
            Page::of("").expect("a page"),
            Page {
                number: 1,
                size: 10
            }
        );
        assert_eq!(Page::of("page=0").expect("a page").number, 1);
        assert_eq!(
            Page::of("page=3&page_size=20").expect("a page").offset(),
            Some(40)
        );
        assert_eq!(Page::of("page_size=-1").expect("all").offset(), None);
        for refused in ["page_size=101", "page=x", "page_size=1.5"] {
            assert!(
                matches!(Page::of(refused), Err(Error::Unprocessable(_))),
                "{refused}"
            );
        }
    }
}
