//! What kinds of jobs there are, and how many of each may run at once.

use std::fmt;

/// Names a kind once: as its rows have it, and as Harbor's API calls its queue.
macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident: $text:literal $vendor:literal),+ $(,)?) => {
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Kind {
            $($(#[$doc])* $name),+
        }

        impl Kind {
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// As rows have it.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text),+
                }
            }

            /// The queue it belongs to, as Harbor's API names it; what Harbor has no name for is named in its manner.
            pub fn vendor(self) -> &'static str {
                match self {
                    $(Self::$name => $vendor),+
                }
            }
        }
    };
}

kinds!(
    Collect: "collect" "GARBAGE_COLLECTION",
    Gc: "gc" "GARBAGE_COLLECTION",
    Scrub: "scrub" "SCRUB",
    ExpireUploads: "expire-uploads" "UPLOAD_EXPIRY",
    TrimHistory: "trim-history" "EXECUTION_SWEEP",
    FoldActivity: "fold-activity" "STATISTICS_FOLDING",
    PurgeAudit: "purge-audit" "PURGE_AUDIT_LOG",
    Describe: "describe" "ARTIFACT_DESCRIPTION",
    Recount: "recount" "QUOTA_RECONCILIATION",
    Fsck: "fsck" "STORE_RECONCILIATION",
    MeasureSpace: "measure-space" "SPACE_REPORT",
    EmptyTrash: "empty-trash" "TRASH",
    Retention: "retention" "RETENTION",
    Retain: "retain" "RETENTION",
    ForgetUser: "forget-user" "AUDIT_LOGS_GDPR_COMPLIANT",
    Mail: "mail" "MAIL",
);

/// The queues, each once, in the order in which people see them.
pub const VENDORS: &[&str] = &[
    "GARBAGE_COLLECTION",
    "RETENTION",
    "PURGE_AUDIT_LOG",
    "EXECUTION_SWEEP",
    "AUDIT_LOGS_GDPR_COMPLIANT",
    "MAIL",
    "SCRUB",
    "TRASH",
    "UPLOAD_EXPIRY",
    "STATISTICS_FOLDING",
    "ARTIFACT_DESCRIPTION",
    "QUOTA_RECONCILIATION",
    "STORE_RECONCILIATION",
    "SPACE_REPORT",
];

impl Kind {
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.as_str() == text)
    }

    /// The kinds of a queue, by its name in Harbor's API; none for a name that is none.
    pub fn of_vendor(vendor: &str) -> impl Iterator<Item = Self> + '_ {
        let all = Self::ALL.iter().copied();
        all.filter(move |kind| kind.vendor() == vendor)
    }

    /// How many of the kind a node runs at once, of the `workers` that it has: a kind of which there may be thousands leaves
    /// room for others. Of most there is one at a time.
    pub fn limit(self, workers: usize) -> usize {
        match self {
            Self::Retain | Self::Mail | Self::ForgetUser => (workers / 2).max(1),
            _ => 1,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_kind_has_its_name_and_a_queue() {
        let names: BTreeSet<&str> = Kind::ALL.iter().map(|kind| kind.as_str()).collect();
        assert_eq!(names.len(), Kind::ALL.len());
        for kind in Kind::ALL {
            assert_eq!(Kind::parse(kind.as_str()), Some(*kind));
            assert!(Kind::of_vendor(kind.vendor()).any(|one| one == *kind));
        }
        let vendors: BTreeSet<&str> = Kind::ALL.iter().map(|kind| kind.vendor()).collect();
        assert_eq!(vendors, VENDORS.iter().copied().collect());
        assert_eq!(vendors.len(), VENDORS.len());
        assert_eq!(Kind::parse("nothing"), None);
    }

    #[test]
    fn no_kind_takes_all_workers() {
        for kind in Kind::ALL {
            assert!(kind.limit(10) < 10 && kind.limit(1) == 1, "{kind}");
        }
    }
}
