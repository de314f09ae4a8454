//! The Prometheus text exposition format.

use std::fmt::{Display, Write as _};

/// A text in the Prometheus exposition format 0.0.4, being written: families of samples, one after the
/// other.
///
/// ```
/// let mut text = ensue::PrometheusText::default();
/// text.family("orders_total", "counter", "Orders that were taken.");
/// text.sample("orders_total", &[("shop", "north")], 3);
/// assert!(text.finish().ends_with("orders_total{shop=\"north\"} 3\n"));
/// ```
#[derive(Clone, Debug, Default)]
pub struct PrometheusText(String);

impl PrometheusText {
    /// The content type that the text is served as.
    pub const CONTENT_TYPE: &'static str = "text/plain; version=0.0.4; charset=utf-8";

    /// Begins a family: its name, its kind (`counter`, `gauge`, `histogram`) and what it means.
    pub fn family(&mut self, name: &str, kind: &str, help: &str) {
        // Writing into a String cannot fail.
        let help = help.replace('\\', r"\\").replace('\n', r"\n");
        let _ = writeln!(self.0, "# HELP {name} {help}");
        let _ = writeln!(self.0, "# TYPE {name} {kind}");
    }

    /// Adds a sample to the family that was begun last.
    pub fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.0.push_str(name);
        for (index, (label, text)) in labels.iter().enumerate() {
            self.0.push(if index == 0 { '{' } else { ',' });
            let _ = write!(self.0, "{label}=\"{}\"", escaped(text));
        }
        if !labels.is_empty() {
            self.0.push('}');
        }
        let _ = writeln!(self.0, " {value}");
    }

    /// The text.
    pub fn finish(self) -> String {
        self.0
    }
}

/// The value of a label, in which three characters have to be escaped.
fn escaped(text: &str) -> String {
    let text = text.replace('\\', r"\\").replace('"', "\\\"");
    text.replace('\n', r"\n")
}
