//! Pages of collections that are read whole: `limit` and `cursor`, as every collection has them.
//!
//! A cursor names the last item of the page before, so that a page stays right while items come and go. Pages of
//! sessions, of which there may be many, are cut by the datastore instead.

use wharf_protocol::api::Page;
use wharf_protocol::{ErrorCode, Problem};

use crate::extract::Query;

const DEFAULT: usize = 100;
const MOST: usize = 500;

/// Which page is wanted.
#[derive(Debug)]
pub(crate) struct Paging {
    limit: usize,
    after: Option<String>,
}

impl Paging {
    /// From a query that has nothing else.
    pub(crate) fn only(mut query: Query) -> Result<Self, Problem> {
        const WHAT: &str = "a number from 1 to 500";
        let limit = query.parse("limit", WHAT)?.unwrap_or(DEFAULT);
        if !(1..=MOST).contains(&limit) {
            return Err(Problem::field("limit", format!("has to be {WHAT}")));
        }
        let cursor = query.one("cursor");
        query.finish()?;
        let read = |cursor: String| {
            let bytes = wharf_protocol::signed::decode(&cursor)?;
            String::from_utf8(bytes).ok()
        };
        let after = cursor.map(|cursor| read(cursor).ok_or_else(bad)).transpose()?;
        Ok(Self { limit, after })
    }

    /// That page; `key` tells one item from all others.
    pub(crate) fn cut<T>(self, mut items: Vec<T>, key: impl Fn(&T) -> String) -> Result<Page<T>, Problem> {
        if let Some(after) = &self.after {
            let at = items.iter().position(|item| key(item) == *after).ok_or_else(bad)?;
            items.drain(..=at);
        }
        let more = items.len() > self.limit;
        items.truncate(self.limit);
        let last = items.last().filter(|_| more);
        let next_cursor = last.map(|item| wharf_protocol::signed::encode(key(item).as_bytes()));
        Ok(Page { items, next_cursor })
    }

    /// That page of a list that only grows, whose items are told apart by their place.
    pub(crate) fn cut_grown<T>(self, items: Vec<T>) -> Result<Page<T>, Problem> {
        let placed = items.into_iter().enumerate().collect();
        let page = self.cut(placed, |(at, _): &(usize, T)| at.to_string())?;
        let items = page.items.into_iter().map(|(_, item)| item).collect();
        Ok(Page { items, next_cursor: page.next_cursor })
    }
}

fn bad() -> Problem {
    Problem::new(ErrorCode::BadCursor, "the cursor is not one of this list, or what it names is gone")
        .hint("take next_cursor of the page before, or begin without one")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paging(limit: usize, cursor: Option<&str>) -> Paging {
        let after = cursor.map(|cursor| {
            String::from_utf8(wharf_protocol::signed::decode(cursor).expect("a cursor")).expect("a text")
        });
        Paging { limit, after }
    }

    #[test]
    fn pages_follow_each_other_whatever_comes_before_them() {
        let items = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        let first = paging(2, None).cut(items(&["a", "b", "c"]), Clone::clone).unwrap();
        assert_eq!(first.items, ["a", "b"]);
        let next = first.next_cursor.expect("there is more");
        let second = paging(2, Some(&next)).cut(items(&["a0", "a", "b", "c"]), Clone::clone).unwrap();
        assert_eq!((second.items, second.next_cursor), (items(&["c"]), None));
        let gone = paging(2, Some(&next)).cut(items(&["a", "c"]), Clone::clone).unwrap_err();
        assert_eq!(gone.code, ErrorCode::BadCursor);
        let grown = paging(1, None).cut_grown(items(&["x", "x"])).unwrap();
        let next = grown.next_cursor.expect("there is more");
        assert_eq!(paging(1, Some(&next)).cut_grown(items(&["x", "x"])).unwrap().items, ["x"]);
    }
}
