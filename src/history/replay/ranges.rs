use super::PathFilter;

/// A set of paths as sorted, disjoint byte ranges `[low, high)`; no `high` means to the end.
///
/// What row groups and pages are pruned by: their statistics are bytewise bounds of `path`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PathRanges {
    ranges: Vec<Range>,
    all: bool,
}

type Range = (Vec<u8>, Option<Vec<u8>>);

impl PathRanges {
    pub(crate) fn all() -> Self {
        Self { ranges: vec![(Vec::new(), None)], all: true }
    }

    /// The paths that a filter lets through.
    pub(crate) fn of(filter: &PathFilter) -> Self {
        match filter {
            PathFilter::All => Self::all(),
            PathFilter::Exact(paths) => Self::from_ranges(paths.iter().map(|path| exact(path)).collect()),
            PathFilter::Prefix(prefix) if prefix.is_empty() => Self::all(),
            PathFilter::Prefix(prefix) => Self::from_ranges(vec![starting_with(prefix)]),
        }
    }

    /// The paths that a filter lets through, and all that lies beneath them: what the children of those are among.
    pub(crate) fn with_children(filter: &PathFilter) -> Self {
        match filter {
            PathFilter::All | PathFilter::Prefix(_) => Self::of(filter),
            PathFilter::Exact(paths) => {
                let beneath = |path: &String| starting_with(&format!("{}/", path.trim_end_matches('/')));
                Self::from_ranges(paths.iter().flat_map(|path| [exact(path), beneath(path)]).collect())
            }
        }
    }

    fn from_ranges(mut ranges: Vec<Range>) -> Self {
        ranges.sort();
        let mut merged: Vec<Range> = Vec::with_capacity(ranges.len());
        for (low, high) in ranges {
            match merged.last_mut() {
                Some((_, last)) if last.as_ref().is_none_or(|last| *last >= low) => {
                    let longer = match (&*last, &high) {
                        (None, _) | (_, None) => None,
                        (Some(a), Some(b)) => Some(a.max(b).clone()),
                    };
                    *last = longer;
                }
                _ => merged.push((low, high)),
            }
        }
        Self { ranges: merged, all: false }
    }

    pub(crate) fn is_all(&self) -> bool {
        self.all
    }

    pub(crate) fn contains(&self, path: &[u8]) -> bool {
        self.all || self.overlaps(path, path)
    }

    /// Whether any path from `min` to `max`, both inclusive, is in the set.
    pub(crate) fn overlaps(&self, min: &[u8], max: &[u8]) -> bool {
        let after = self.ranges.partition_point(|(_, high)| high.as_ref().is_some_and(|high| high.as_slice() <= min));
        self.ranges.get(after).is_some_and(|(low, _)| low.as_slice() <= max)
    }

    /// Whether this path and every greater one lie beyond the set.
    pub(crate) fn ended_before(&self, path: &[u8]) -> bool {
        match self.ranges.last() {
            Some((_, Some(high))) => high.as_slice() <= path,
            Some((_, None)) => false,
            None => true,
        }
    }
}

fn exact(path: &str) -> Range {
    let mut high = path.as_bytes().to_vec();
    high.push(0);
    (path.as_bytes().to_vec(), Some(high))
}

fn starting_with(prefix: &str) -> Range {
    // The least string that is greater than all with this prefix: its last byte below 0xff, raised by one.
    let mut high = prefix.as_bytes().to_vec();
    while let Some(last) = high.pop() {
        if let Some(raised) = last.checked_add(1) {
            high.push(raised);
            return (prefix.as_bytes().to_vec(), Some(high));
        }
    }
    (prefix.as_bytes().to_vec(), None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_filters() {
        let exact = PathRanges::of(&PathFilter::Exact(vec!["/b".into(), "/a".into(), "/a".into()]));
        assert!(exact.contains(b"/a") && exact.contains(b"/b") && !exact.contains(b"/a/b") && !exact.contains(b"/aa"));
        assert!(exact.overlaps(b"/0", b"/a") && !exact.overlaps(b"/a0", b"/az") && exact.ended_before(b"/b\0"));
        let prefix = PathRanges::of(&PathFilter::Prefix("/a".into()));
        assert!(prefix.contains(b"/a") && prefix.contains(b"/aa/x") && !prefix.contains(b"/b"));
        assert!(prefix.ended_before(b"/b") && !prefix.ended_before(b"/az"));
        let children = PathRanges::with_children(&PathFilter::Exact(vec!["/".into()]));
        assert!(children.contains(b"/") && children.contains(b"/x/y"));
        let children = PathRanges::with_children(&PathFilter::Exact(vec!["/a".into()]));
        assert!(children.contains(b"/a/x") && !children.contains(b"/a-b"));
        let none = PathRanges::of(&PathFilter::Exact(Vec::new()));
        assert!(!none.contains(b"/") && none.ended_before(b"/"));
    }
}
