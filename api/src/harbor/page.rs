//! Pages of a list: which one was asked for, and the headers that lead to its neighbours.

use db::{Conn, query::Selection};
use futures_util::{StreamExt, future::BoxFuture, stream};
use http::{HeaderName, HeaderValue, Response, header};
use model::{
    Error as Cause,
    listing::{Listing, Page},
};
use oci::query;

use super::{
    answer::{Listed, Rest},
    call::Call,
    error::{Error, Result},
};
use crate::{admission::Room, body::Body, request::Ask};

const TOTAL: HeaderName = HeaderName::from_static("x-total-count");
/// The page of who asks for none.
const SIZE: i64 = 10;
/// Rows of a short list where all were asked for.
const MOST_AT_ONCE: i64 = 20_000;

/// What a request asks of a list.
pub(crate) struct Wanted {
    pub(crate) listing: Listing,
    pub(crate) page: Page,
}

impl Wanted {
    pub(super) fn of(asked: &str) -> Result<Self> {
        let text = |key| query::first(asked, key).unwrap_or_default();
        Ok(Self {
            listing: Listing::parse(&text("q"), &text("sort"))?,
            page: page(asked)?,
        })
    }
}

impl Call {
    /// What the request asks of a list: `q`, `sort`, `page`, `page_size`.
    pub(crate) fn wanted(&self) -> Result<Wanted> {
        Wanted::of(self.ask().query())
    }

    /// The same of a list that comes whole unless a size is asked for, which may be any.
    pub(crate) fn wanted_whole(&self) -> Result<Wanted> {
        let asked = self.ask().query();
        let (number, size) = (number(asked, "page", 1)?, number(asked, "page_size", 0)?);
        let page = if size > 0 {
            let count = size.min(MOST_AT_ONCE);
            let before = (number.max(1) - 1).saturating_mul(count).min(1 << 53);
            Page::Rows { before, count }
        } else {
            Page::All
        };
        let listing = Listing::parse(
            query::first(asked, "q").as_deref().unwrap_or_default(),
            query::first(asked, "sort").as_deref().unwrap_or_default(),
        )?;
        Ok(Wanted { listing, page })
    }

    /// How many rows come before the page and how many it has, of a list that is short by its nature.
    pub(crate) fn rows(&self) -> Result<(i64, i64)> {
        Ok(match page(self.ask().query())? {
            Page::Rows { before, count } => (before, count),
            Page::All => (0, MOST_AT_ONCE),
        })
    }

    /// The rows of a list that were asked for. `known` is what a counter says of the unfiltered one.
    pub(crate) async fn listed<T: Send + 'static, U: Send + 'static>(
        &self,
        selection: Selection<T>,
        page: Page,
        known: Option<i64>,
        show: impl Fn(T) -> U + Send + Sync + 'static,
    ) -> Result<Listed<U>> {
        self.listed_by(selection, page, known, move |_, rows| {
            let shown = rows.into_iter().map(&show).collect();
            Box::pin(async move { Ok(shown) })
        })
        .await
    }

    /// The same where rows are shown with more that is read. All of a long list is sent as it is read, some rows at a time.
    pub(crate) async fn listed_by<T: Send + 'static, U: Send + 'static>(
        &self,
        selection: Selection<T>,
        page: Page,
        known: Option<i64>,
        show: impl for<'c> Fn(&'c mut Conn, Vec<T>) -> BoxFuture<'c, Result<Vec<U>, Cause>>
        + Send
        + Sync
        + 'static,
    ) -> Result<Listed<U>> {
        let mut reader = self.reader().await?;
        let total = selection.total(&mut reader, known).await?;
        if let Page::Rows { before, count } = page {
            let rows = selection.page(&mut reader, before, count).await?;
            return Ok(Listed::whole(show(&mut reader, rows).await?, total));
        }
        let mut batches = selection.all(total)?;
        let first = batches.next(&mut reader).await?;
        let rows = show(&mut reader, first).await?;
        drop(reader);
        if batches.is_over() {
            return Ok(Listed::whole(rows, total));
        }
        let db = self.app().registry.db().clone();
        let further = stream::try_unfold((batches, show), move |(mut batches, show)| {
            let db = db.clone();
            async move {
                if batches.is_over() {
                    return Ok(None);
                }
                let mut reader = db.reader().await?;
                let rows = batches.next(&mut reader).await?;
                let rows = show(&mut reader, rows).await?;
                Ok(Some((rows, (batches, show))))
            }
        });
        let rest = Rest {
            rows: further.boxed(),
            room: self.app().admission.enter(Room::Download)?,
        };
        Ok(Listed {
            rows,
            total,
            rest: Some(rest),
        })
    }
}

fn page(asked: &str) -> Result<Page> {
    let (number, size) = numbers(asked)?;
    Page::new(number, size).map_err(|refused| Error::Unprocessable(refused.to_string()))
}

fn numbers(asked: &str) -> Result<(i64, i64)> {
    Ok((number(asked, "page", 1)?, number(asked, "page_size", SIZE)?))
}

fn number(asked: &str, key: &str, default: i64) -> Result<i64> {
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

    /// Whether a size of a page is asked for.
    pub(super) fn names_size(&self) -> bool {
        query::first(&self.query, "page_size").is_some_and(|size| !size.is_empty())
    }

    /// Where something new is to be found: the request's path and its name there.
    pub(super) fn location(&self, name: &str) -> HeaderValue {
        let text = format!("{}/{name}", self.path.trim_end_matches('/'));
        HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static("/"))
    }

    /// The same beside the request's path: its last part gives way to the name.
    pub(super) fn beside(&self, name: &str) -> HeaderValue {
        let path = self.path.trim_end_matches('/');
        let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
        let text = format!("{parent}/{name}");
        HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static("/"))
    }

    /// `X-Total-Count`, and `Link` to the neighbours that exist. Its addresses begin with the path: Harbor's own client puts
    /// scheme and host before it.
    pub(super) fn add_pages(&self, total: i64, response: &mut Response<Body>) {
        let headers = response.headers_mut();
        headers.insert(TOTAL, HeaderValue::from(total));
        let Ok((number, size @ 1..)) = numbers(&self.query) else {
            return;
        };
        let (number, pages) = (number.max(1), total.saturating_add(size - 1) / size);
        let mut links = Vec::new();
        if number > 1 && number - 1 <= pages {
            links.push(self.link(number - 1, size, "prev"));
        }
        if number < pages {
            links.push(self.link(number + 1, size, "next"));
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
        let first = Page::Rows {
            before: 0,
            count: 10,
        };
        assert_eq!(page("").expect("a page"), first);
        assert_eq!(page("page=0").expect("a page"), first);
        assert_eq!(page("page_size=-1").expect("all"), Page::All);
        for refused in ["page_size=101", "page=x", "page_size=1.5"] {
            assert!(
                matches!(page(refused), Err(Error::Unprocessable(_))),
                "{refused}"
            );
        }
    }
}
