//! Goes over a message while it arrives, and counts what of it repeats: before it is decoded, and takes
//! many times its bytes.

use super::layout::{Field, Layout, Part};

/// The longest number, in bytes.
const VARINT_BYTES_MAX: u32 = 10;

/// How far a message was gone over.
#[derive(Debug)]
pub(super) struct Walk {
    /// The messages that the next byte is in, the innermost last, and where each ends.
    open: Vec<(&'static Layout, usize)>,
    at: usize,
    step: Step,
    varint: Varint,
    counts: [usize; Part::COUNT],
    weight: usize,
}

/// What the next byte belongs to.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// The number of a field, and how it is written.
    Key,
    /// A field that is a number.
    Number,
    /// How long a field is.
    Length(Option<&'static Field>),
    /// What is of no interest, up to this place.
    Skip(usize),
    /// Numbers in one field, up to this place.
    Packed(Part, usize),
}

/// A number that is not there as a whole.
#[derive(Clone, Copy, Debug, Default)]
struct Varint {
    value: u64,
    bytes: u32,
}

/// Why a message is not decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unfit {
    /// It is not of the protocol.
    Malformed,
    /// It has more of something than it may have.
    TooMany(Part),
}

impl Varint {
    /// Takes a byte. Gives the number if it was the last.
    fn take(&mut self, byte: u8) -> Result<Option<u64>, Unfit> {
        if self.bytes == VARINT_BYTES_MAX {
            return Err(Unfit::Malformed);
        }
        // Of the tenth byte one bit counts, and the others have to be nothing.
        let bits = u64::from(byte & 0x7f);
        let shifted = bits << (7 * self.bytes);
        if shifted >> (7 * self.bytes) != bits {
            return Err(Unfit::Malformed);
        }
        self.value |= shifted;
        self.bytes += 1;
        if byte >= 0x80 {
            return Ok(None);
        }
        let value = self.value;
        *self = Self::default();
        Ok(Some(value))
    }
}

impl Walk {
    /// Begins with a message of so many bytes.
    pub(super) fn new(layout: &'static Layout, bytes: usize) -> Self {
        Self {
            open: vec![(layout, bytes)],
            at: 0,
            step: Step::Key,
            varint: Varint::default(),
            counts: [0; Part::COUNT],
            weight: 0,
        }
    }

    /// How many bytes the message takes in memory so far, besides those that arrived.
    pub(super) fn weight(&self) -> usize {
        self.weight
    }

    /// Goes over what comes next of the message.
    pub(super) fn read(&mut self, mut data: &[u8]) -> Result<(), Unfit> {
        while let Some((first, others)) = data.split_first() {
            match self.step {
                Step::Skip(to) => data = self.skip(data, to).1,
                Step::Packed(part, to) => {
                    let (skipped, rest) = self.skip(data, to);
                    let ends = skipped.iter().filter(|byte| **byte < 0x80);
                    self.count(part, ends.count())?;
                    data = rest;
                }
                Step::Key | Step::Number | Step::Length(_) => {
                    self.at += 1;
                    data = others;
                    if let Some(value) = self.varint.take(*first)? {
                        self.step = self.next(value)?;
                    }
                }
            }
            self.close()?;
        }
        Ok(())
    }

    /// Goes on to this place, as far as there is data; gives what is before it and what is behind.
    fn skip<'a>(&mut self, data: &'a [u8], to: usize) -> (&'a [u8], &'a [u8]) {
        let (skipped, rest) = data.split_at(data.len().min(to - self.at));
        self.at += skipped.len();
        if self.at == to {
            self.step = Step::Key;
        }
        (skipped, rest)
    }

    /// What comes after a number.
    fn next(&mut self, value: u64) -> Result<Step, Unfit> {
        match self.step {
            Step::Length(field) => self.field(field, value),
            Step::Key => {
                let key = u32::try_from(value).map_err(|_| Unfit::Malformed)?;
                let (layout, _) = self.innermost()?;
                let field = layout.fields.iter().find(|it| it.number == key >> 3);
                match key & 7 {
                    0 => {
                        if let Some(part) = field.and_then(|it| it.part) {
                            self.count(part, 1)?;
                        }
                        Ok(Step::Number)
                    }
                    1 => self.skip_to(8),
                    2 => Ok(Step::Length(field)),
                    5 => self.skip_to(4),
                    // Groups, which the protocol has none of.
                    _ => Err(Unfit::Malformed),
                }
            }
            _ => Ok(Step::Key),
        }
    }

    /// A field of so many bytes begins.
    fn field(&mut self, field: Option<&'static Field>, bytes: u64) -> Result<Step, Unfit> {
        let end = self.end_of(usize::try_from(bytes).map_err(|_| Unfit::Malformed)?)?;
        let part = field.and_then(|field| field.part);
        if let Some(part) = part.filter(|part| part.is_number()) {
            return Ok(if bytes == 0 {
                Step::Key
            } else {
                Step::Packed(part, end)
            });
        }
        if let Some(part) = part {
            self.count(part, 1)?;
        }
        match field.and_then(|field| field.layout) {
            _ if bytes == 0 => Ok(Step::Key),
            Some(layout) => {
                self.open.push((layout, end));
                Ok(Step::Key)
            }
            None => Ok(Step::Skip(end)),
        }
    }

    fn skip_to(&self, bytes: usize) -> Result<Step, Unfit> {
        self.end_of(bytes).map(Step::Skip)
    }

    /// Where something of so many bytes ends: within the message that it is in.
    fn end_of(&self, bytes: usize) -> Result<usize, Unfit> {
        let (_, message_end) = self.innermost()?;
        let end = self.at.checked_add(bytes);
        end.filter(|end| *end <= message_end)
            .ok_or(Unfit::Malformed)
    }

    fn innermost(&self) -> Result<(&'static Layout, usize), Unfit> {
        self.open.last().copied().ok_or(Unfit::Malformed)
    }

    /// Leaves the messages that end here, which has to be between two fields.
    fn close(&mut self) -> Result<(), Unfit> {
        while self.open.last().is_some_and(|(_, end)| *end == self.at) {
            if !matches!(self.step, Step::Key) || self.varint.bytes > 0 {
                return Err(Unfit::Malformed);
            }
            self.open.pop();
        }
        Ok(())
    }

    fn count(&mut self, part: Part, more: usize) -> Result<(), Unfit> {
        if let Some(count) = self.counts.get_mut(part as usize) {
            *count += more;
            if *count > part.max() {
                return Err(Unfit::TooMany(part));
            }
        }
        self.weight += more * part.bytes();
        Ok(())
    }
}

#[cfg(test)]
mod tests;
