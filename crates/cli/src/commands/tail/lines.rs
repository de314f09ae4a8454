//! Events, one a line.

use std::io;

use ensue::CloudEvent;
use ensue::engine::Recorded;

use crate::output::{Page, Tone};
use crate::{human, payload};

/// Prints events as they come. Columns widen to what they had to hold so far: the lines of a
/// stream align before its end is known.
pub(super) struct Lines {
    is_json: bool,
    with_payloads: bool,
    widths: [usize; 4],
}

/// A wider cell breaks out of its column instead of widening it for ever.
const COLUMN_CHARS_MAX: usize = 40;
/// How much of a payload is shown where no terminal has an edge.
const PAYLOAD_CHARS: usize = 120;
/// How much of a payload is shown however narrow the terminal is.
const PAYLOAD_CHARS_MIN: usize = 20;

impl Lines {
    pub(super) fn new(is_json: bool, with_payloads: bool) -> Self {
        Self {
            is_json,
            with_payloads,
            widths: [0; 4],
        }
    }

    pub(super) fn print(&mut self, page: &mut Page<'_>, events: &[Recorded]) -> io::Result<()> {
        if self.is_json {
            return events
                .iter()
                .try_for_each(|event| page.json_line(&to_json(event)));
        }
        for event in events {
            for (width, (_, text)) in self.widths.iter_mut().zip(cells(event)) {
                *width = text.chars().count().min(COLUMN_CHARS_MAX).max(*width);
            }
        }
        events
            .iter()
            .try_for_each(|event| self.print_line(page, event))
    }

    fn print_line(&self, page: &mut Page<'_>, event: &Recorded) -> io::Result<()> {
        let time = human::time(event.appended);
        let mut used = time.len();
        let mut line = page.paint(Tone::Dim, &time);
        for (width, (tone, text)) in self.widths.iter().zip(cells(event)) {
            let chars = text.chars().count();
            let padding = width.saturating_sub(chars);
            used += 2 + chars + padding;
            line.push_str("  ");
            line.push_str(&page.paint(tone, &text));
            line.extend(std::iter::repeat_n(' ', padding));
        }
        if self.with_payloads {
            page.line(line.trim_end())?;
            let text = payload::in_full(&event.envelope);
            let mut lines = text.lines();
            return lines.try_for_each(|text| page.line(format_args!("    {text}")));
        }
        let left = page.width().map_or(PAYLOAD_CHARS, |width| {
            width.saturating_sub(used + 2).max(PAYLOAD_CHARS_MIN)
        });
        let shown = payload::on_one_line(&event.envelope, left);
        page.line(format!("{line}  {shown}").trim_end())
    }
}

/// What stands between the time and the payload.
fn cells(event: &Recorded) -> [(Tone, String); 4] {
    let event = &event.envelope;
    let key = if event.key().is_empty() {
        "-"
    } else {
        event.key()
    };
    [
        (Tone::Plain, event.topic()),
        (Tone::Strong, event.event_type()),
        (Tone::Plain, key),
        (Tone::Dim, event.id()),
    ]
    .map(|(tone, text)| (tone, human::printable(text)))
}

/// A CloudEvent with where and when it was appended.
fn to_json(event: &Recorded) -> CloudEvent<'_> {
    let json = event.envelope.to_cloudevent().on_one_line();
    json.read_from(event.position, event.appended)
}
