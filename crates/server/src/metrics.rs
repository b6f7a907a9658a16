//! The server in numbers, for Prometheus: what there is and what it is called.
//!
//! Owns the table of metrics and the reading of everything that is counted elsewhere, at the moment of a scrape. Counts nothing itself.
//! No label has a user name or an address of a client, and each has few values, so that a series is never made by a stranger.

mod exposition;
mod families;
mod process;
mod scrape;

pub(crate) use exposition::{Format, Samples};
pub(crate) use families::drops;
pub(crate) use process::ProcessFigures;
pub(crate) use scrape::{Scrape, Source};

use exposition::Exposition;

/// One metric: adding one is adding a row to [`families`].
pub(crate) struct Family {
    /// The name; that of a counter ends in `_total` besides, that of an info in `_info`.
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) labels: &'static [&'static str],
    /// One line, without a full stop.
    pub(crate) help: &'static str,
    /// The metrics of coturn that tell the same; empty if there are none.
    #[cfg_attr(not(test), allow(dead_code, reason = "it is for the document"))]
    pub(crate) coturn: &'static str,
    /// What it is in this scrape.
    pub(crate) samples: fn(&Scrape, &mut Samples<'_>),
}

/// What a metric does with time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It grows, and starts anew with the server.
    Counter,
    /// It goes up and down.
    Gauge,
    /// Always 1; what it says is in its labels.
    Info,
    /// A counter under the name that coturn has for it, which does not end as names of counters do.
    Unknown,
}

impl Family {
    /// The name before the brace.
    pub(crate) fn sample_name(&self) -> String {
        let ending = match self.kind {
            Kind::Counter => "_total",
            Kind::Info => "_info",
            Kind::Gauge | Kind::Unknown => "",
        };
        format!("{}{ending}", self.name)
    }

    /// The unit, which is the last word of the name.
    pub(crate) fn unit(&self) -> Option<&'static str> {
        let last = self.name.rsplit('_').next()?;
        UNITS.into_iter().find(|unit| *unit == last)
    }
}

/// Everything about this moment.
pub(crate) fn render(scrape: &Scrape, format: Format) -> String {
    let mut text = Exposition::new(format);
    for family in families::all() {
        text.family(family, |out| (family.samples)(scrape, out));
    }
    text.finish()
}

const UNITS: [&str; 3] = ["seconds", "bytes", "ratio"];

#[cfg(test)]
pub(crate) mod tests;
