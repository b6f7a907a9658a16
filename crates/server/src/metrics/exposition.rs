//! The text that Prometheus reads, in both of its forms. Owns the syntax; knows no metric.

use std::fmt::{Display, Write};

use super::{Family, Kind};

/// Which of the two forms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// `text/plain; version=0.0.4`, for everybody who does not ask for the other.
    Text,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

impl Format {
    /// What the Accept header of a request asks for.
    pub(crate) fn wanted(accept: Option<&str>) -> Self {
        match accept.is_some_and(|accept| accept.contains("application/openmetrics-text")) {
            true => Self::OpenMetrics,
            false => Self::Text,
        }
    }

    pub(crate) const fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// The text while it is being written.
pub(super) struct Exposition {
    format: Format,
    text: String,
}

/// The samples of one family.
pub(crate) struct Samples<'a> {
    text: &'a mut String,
    name: String,
    labels: &'static [&'static str],
    begun: bool,
    head: String,
}

impl Exposition {
    pub(super) fn new(format: Format) -> Self {
        Self {
            format,
            text: String::with_capacity(CAPACITY_BYTES),
        }
    }

    /// Writes one family; nothing where it has no samples.
    pub(super) fn family(&mut self, family: &'static Family, write: impl FnOnce(&mut Samples<'_>)) {
        let name = family.name;
        let sample = family.sample_name();
        let (family_name, kind) = match self.format {
            Format::Text => (
                sample.as_str(),
                match family.kind {
                    Kind::Counter => "counter",
                    Kind::Gauge | Kind::Info => "gauge",
                    Kind::Unknown => "untyped",
                },
            ),
            Format::OpenMetrics => (
                name,
                match family.kind {
                    Kind::Counter => "counter",
                    Kind::Gauge => "gauge",
                    Kind::Info => "info",
                    Kind::Unknown => "unknown",
                },
            ),
        };
        let mut head = format!("# HELP {family_name} {}\n", family.help);
        head += &format!("# TYPE {family_name} {kind}\n");
        if self.format == Format::OpenMetrics
            && let Some(unit) = family.unit()
        {
            head += &format!("# UNIT {family_name} {unit}\n");
        }
        write(&mut Samples {
            text: &mut self.text,
            name: sample,
            labels: family.labels,
            begun: false,
            head,
        });
    }

    pub(super) fn finish(mut self) -> String {
        if self.format == Format::OpenMetrics {
            self.text.push_str("# EOF\n");
        }
        self.text
    }
}

impl Samples<'_> {
    /// The one sample of a family without labels.
    pub(crate) fn set(&mut self, value: impl Display) {
        self.add(&[], value);
    }

    /// A sample with these values of the family's labels, in their order.
    pub(crate) fn add(&mut self, values: &[&str], value: impl Display) {
        debug_assert_eq!(values.len(), self.labels.len(), "{}", self.name);
        if !self.begun {
            self.begun = true;
            self.text.push_str(&self.head);
        }
        self.text.push_str(&self.name);
        for (i, (label, value)) in self.labels.iter().zip(values).enumerate() {
            self.text.push(if i == 0 { '{' } else { ',' });
            self.text.push_str(label);
            self.text.push_str("=\"");
            for character in value.chars() {
                match character {
                    '\\' => self.text.push_str("\\\\"),
                    '"' => self.text.push_str("\\\""),
                    '\n' => self.text.push_str("\\n"),
                    other => self.text.push(other),
                }
            }
            self.text.push('"');
        }
        if !self.labels.is_empty() {
            self.text.push('}');
        }
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, " {value}");
    }
}

/// What a small server's figures take.
const CAPACITY_BYTES: usize = 16 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    const COUNTED: Family = Family {
        name: "turnbuckle_things",
        kind: Kind::Counter,
        labels: &["name"],
        help: "Things",
        coturn: "",
        samples: |_, _| {},
    };
    const SECONDS: Family = Family {
        name: "process_cpu_seconds",
        kind: Kind::Counter,
        labels: &[],
        help: "CPU time",
        coturn: "",
        samples: |_, _| {},
    };

    #[test]
    fn the_form_is_that_of_the_accept_header() {
        let scraper = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5";
        assert_eq!(Format::wanted(Some(scraper)), Format::OpenMetrics);
        assert_eq!(Format::wanted(Some("text/plain")), Format::Text);
        assert_eq!(Format::wanted(None), Format::Text);
    }

    #[test]
    fn values_of_labels_are_escaped() {
        let mut text = Exposition::new(Format::Text);
        text.family(&COUNTED, |out| out.add(&["a\"b\\c\nd"], 1));
        assert_eq!(
            text.finish(),
            "# HELP turnbuckle_things_total Things\n# TYPE turnbuckle_things_total counter\n\
             turnbuckle_things_total{name=\"a\\\"b\\\\c\\nd\"} 1\n"
        );
    }

    #[test]
    fn open_metrics_names_families_without_their_ending_and_says_the_unit() {
        let mut text = Exposition::new(Format::OpenMetrics);
        text.family(&SECONDS, |out| out.set(1.5));
        text.family(&COUNTED, |_| {});
        assert_eq!(
            text.finish(),
            "# HELP process_cpu_seconds CPU time\n# TYPE process_cpu_seconds counter\n\
             # UNIT process_cpu_seconds seconds\nprocess_cpu_seconds_total 1.5\n# EOF\n"
        );
    }
}
