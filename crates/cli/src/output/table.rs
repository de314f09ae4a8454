//! Tables for people: aligned columns, headings, no borders.

use comfy_table::{Attribute, CellAlignment, Color, ContentArrangement, presets};

use super::Tone;
use crate::human;

/// A column's heading and which way its cells lean.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Column {
    /// Text: leans left.
    Text(&'static str),
    /// A number or an amount: leans right.
    Number(&'static str),
}

/// One cell: a text and what it means.
#[derive(Clone, Debug)]
pub(crate) struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    /// A text in a tone; what would disturb a terminal is escaped.
    pub(crate) fn toned(tone: Tone, text: impl AsRef<str>) -> Self {
        Self {
            text: human::printable(text.as_ref()),
            tone,
        }
    }

    /// A count, in `tone` unless it is zero.
    pub(crate) fn count(tone: Tone, count: usize) -> Self {
        let tone = if count == 0 { Tone::Dim } else { tone };
        Self::toned(tone, human::count(count as u64))
    }
}

impl<T: AsRef<str>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::toned(Tone::Plain, text)
    }
}

/// Rows under headings.
#[derive(Debug)]
pub(crate) struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    pub(crate) fn new(columns: &[Column]) -> Self {
        Self {
            columns: columns.to_vec(),
            rows: Vec::new(),
        }
    }

    pub(crate) fn empty() -> Self {
        Self::new(&[])
    }

    /// Adds a row: one cell per column.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// The terminal's width, if stdout is one.
    pub(super) fn terminal_width(&self) -> Option<u16> {
        comfy_table::Table::new().width()
    }

    pub(super) fn render(self, has_color: bool) -> String {
        let mut table = comfy_table::Table::new();
        table.load_style(presets::NOTHING);
        // Only a terminal has an edge to wrap at; a file or a pipe keeps one row a line.
        table.set_content_arrangement(match table.width() {
            Some(_) => ContentArrangement::Dynamic,
            None => ContentArrangement::Disabled,
        });
        table.set_header(self.columns.iter().map(|column| {
            let (Column::Text(heading) | Column::Number(heading)) = column;
            styled(heading, Tone::Dim, has_color)
        }));
        for row in &self.rows {
            table.add_row(
                row.iter()
                    .map(|cell| styled(&cell.text, cell.tone, has_color)),
            );
        }
        for (drawn, column) in table.column_iter_mut().zip(&self.columns) {
            drawn.set_padding((0, 2));
            if let Column::Number(_) = column {
                drawn.set_cell_alignment(CellAlignment::Right);
            }
        }
        table.trim_fmt()
    }
}

fn styled(text: &str, tone: Tone, has_color: bool) -> comfy_table::Cell {
    let cell = comfy_table::Cell::new(text);
    match tone {
        _ if !has_color => cell,
        Tone::Plain => cell,
        Tone::Strong => cell.add_attribute(Attribute::Bold),
        Tone::Dim => cell.add_attribute(Attribute::Dim),
        Tone::Good => cell.fg(Color::DarkGreen),
        Tone::Warn => cell.fg(Color::DarkYellow),
        Tone::Bad => cell.fg(Color::DarkRed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_align_without_borders_or_trailing_spaces() {
        let mut table = Table::new(&[Column::Text("NAME"), Column::Number("EVENTS")]);
        table.row(["orders".into(), "1,204".into()]);
        table.row(["a".into(), "7".into()]);
        assert_eq!(
            table.render(false),
            "NAME    EVENTS\norders   1,204\na            7"
        );
    }

    #[test]
    fn a_cell_cannot_command_the_terminal() {
        let mut table = Table::new(&[Column::Text("KEY")]);
        table.row(["\x1b[31mred\nnext".into()]);
        assert_eq!(table.render(false), "KEY\n\\u{1b}[31mred\\nnext");
    }
}
