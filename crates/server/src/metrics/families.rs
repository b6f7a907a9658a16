//! The table of metrics. Order is that of the document and of what is served.

use super::Family;

mod clients;
mod coturn;
mod limits;
mod process;
mod traffic;

pub(crate) use traffic::drops;

/// Every metric.
pub(crate) fn all() -> impl Iterator<Item = &'static Family> {
    SECTIONS.iter().flat_map(|(_, families)| *families)
}

/// Those that belong together, under a heading.
pub(crate) const SECTIONS: [(&str, &[Family]); 5] = [
    ("Traffic", traffic::FAMILIES),
    ("Clients", clients::FAMILIES),
    ("Limits", limits::FAMILIES),
    ("Process", process::FAMILIES),
    ("Names that coturn has", coturn::FAMILIES),
];
