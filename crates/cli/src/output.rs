//! The only way to stdout: one value of JSON for programs, or text for people.
//!
//! Writes go to a locked handle. A reader that went away (`ensue tail | head`) is not an error:
//! it ends the command quietly.

mod table;

use std::fmt;
use std::io::{self, Write};

use serde::Serialize;

pub(crate) use self::table::{Cell, Column, Table};
use crate::failure::Failure;

/// What a command found out: serialized for programs, printed for people.
///
/// The names of its fields are the command's JSON interface: adding one is fine, renaming one
/// breaks a user's script.
pub(crate) trait Report: Serialize {
    /// Says it to a person.
    fn print(&self, page: &mut Page<'_>) -> io::Result<()>;
}

/// Where results go, and in which form.
#[derive(Debug)]
pub(crate) struct Output {
    is_json: bool,
    style: Style,
}

impl Output {
    pub(crate) fn new(is_json: bool) -> Self {
        Self {
            is_json,
            style: Style::of_stdout(),
        }
    }

    pub(crate) fn is_json(&self) -> bool {
        self.is_json
    }

    /// Shows a command's whole result.
    pub(crate) fn report(&self, report: &impl Report) -> Result<(), Failure> {
        self.write(|page| {
            if self.is_json {
                page.json_pretty(report)
            } else {
                report.print(page)
            }
        })
    }

    /// Writes and flushes part of a result; for commands that produce their result bit by bit.
    pub(crate) fn write(
        &self,
        print: impl FnOnce(&mut Page<'_>) -> io::Result<()>,
    ) -> Result<(), Failure> {
        let mut to = io::BufWriter::new(io::stdout().lock());
        let mut page = Page {
            to: &mut to,
            style: self.style,
        };
        match print(&mut page).and_then(|()| to.flush()) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(Failure::PipeClosed),
            Err(error) => Err(Failure::io("cannot write the result", &error)),
        }
    }

    /// Says something beside the result to a person: on stderr, and not to programs.
    pub(crate) fn note(&self, text: impl fmt::Display) {
        if !self.is_json {
            // The result matters, the remark does not.
            let _ = writeln!(io::stderr().lock(), "{text}");
        }
    }
}

/// How stdout or stderr wants to be written to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Style {
    has_color: bool,
    is_terminal: bool,
}

impl Style {
    fn of_stdout() -> Self {
        Self::of(&io::stdout())
    }

    pub(crate) fn of_stderr() -> Self {
        Self::of(&io::stderr())
    }

    fn of(stream: &impl io::IsTerminal) -> Self {
        let is_terminal = stream.is_terminal();
        let is_refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self {
            has_color: is_terminal && !is_refused && !is_dumb,
            is_terminal,
        }
    }

    pub(crate) fn has_color(self) -> bool {
        self.has_color
    }

    /// How many columns a line may take, if there is an edge.
    pub(crate) fn width(self) -> Option<usize> {
        let width = self.is_terminal.then(|| Table::empty().terminal_width())?;
        width.map(usize::from)
    }
}

/// What a piece of text means to its reader, shown as a colour where there are colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Tone {
    #[default]
    Plain,
    Strong,
    Dim,
    Good,
    Warn,
    Bad,
}

impl Tone {
    /// The ANSI code (SGR) of the tone.
    fn code(self) -> Option<&'static str> {
        match self {
            Self::Plain => None,
            Self::Strong => Some("1"),
            Self::Dim => Some("2"),
            Self::Good => Some("32"),
            Self::Warn => Some("33"),
            Self::Bad => Some("31"),
        }
    }
}

/// A result being written for a person.
pub(crate) struct Page<'a> {
    to: &'a mut dyn Write,
    style: Style,
}

impl Page<'_> {
    /// How many columns a line may take, if there is an edge.
    pub(crate) fn width(&self) -> Option<usize> {
        self.style.width()
    }

    /// `text`, in the colour of its tone.
    pub(crate) fn paint(&self, tone: Tone, text: &str) -> String {
        match tone.code() {
            Some(code) if self.style.has_color => format!("\x1b[{code}m{text}\x1b[0m"),
            _ => text.to_owned(),
        }
    }

    /// One line.
    pub(crate) fn line(&mut self, text: impl fmt::Display) -> io::Result<()> {
        writeln!(self.to, "{text}")
    }

    /// An empty line and a heading.
    pub(crate) fn heading(&mut self, text: &str) -> io::Result<()> {
        let text = self.paint(Tone::Strong, text);
        writeln!(self.to, "\n{text}")
    }

    /// Names and values, one pair a line, the values aligned.
    pub(crate) fn pairs(&mut self, pairs: &[(&str, String)]) -> io::Result<()> {
        let width = pairs.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        for (name, value) in pairs {
            let name = self.paint(Tone::Dim, &format!("{name:width$}"));
            writeln!(self.to, "{name}  {value}")?;
        }
        Ok(())
    }

    /// A table.
    pub(crate) fn table(&mut self, table: Table) -> io::Result<()> {
        writeln!(self.to, "{}", table.render(self.style.has_color))
    }

    /// A value on one line of JSON.
    pub(crate) fn json_line(&mut self, value: &impl Serialize) -> io::Result<()> {
        serde_json::to_writer(&mut self.to, value)?;
        writeln!(self.to)
    }

    /// Bytes as they are.
    pub(crate) fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.to.write_all(bytes)
    }

    fn json_pretty(&mut self, value: &impl Serialize) -> io::Result<()> {
        serde_json::to_writer_pretty(&mut self.to, value)?;
        writeln!(self.to)
    }
}
