//! JSON as text: strings written, and values that were written by others looked over.

/// JSON that is nested deeper than this is not read by common parsers.
const DEPTH_MAX: u32 = 100;

/// A JSON value that can be a part of another text as it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    /// Whether it has several lines.
    pub(super) has_lines: bool,
}

/// Writes a string, with its quotes.
pub(super) fn push_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    push_escaped(out, text);
    out.push(b'"');
}

/// Writes what is between the quotes of a string.
pub(super) fn push_escaped(out: &mut Vec<u8>, text: &str) {
    const HEX: [u8; 16] = *b"0123456789abcdef";
    let mut rest = text.as_bytes();
    loop {
        let (plain, after) = rest.split_at(plain_bytes(rest));
        out.extend_from_slice(plain);
        let Some((byte, after)) = after.split_first() else {
            return;
        };
        rest = after;
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            0x08 => out.extend_from_slice(b"\\b"),
            0x0c => out.extend_from_slice(b"\\f"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            byte => {
                out.extend_from_slice(b"\\u00");
                let digit = |of: u8| HEX.get(usize::from(of)).copied().unwrap_or(b'0');
                out.extend_from_slice(&[digit(byte >> 4), digit(byte & 0xf)]);
            }
        }
    }
}

/// Writes a number.
pub(super) fn push_number(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [b'0'; 20];
    let mut start = digits.len();
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
        start -= 1;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(start..).unwrap_or_default());
}

/// How many of the first bytes are in a string as they are: up to a quote, a backslash or a control character.
fn plain_bytes(bytes: &[u8]) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const TOPS: u64 = 0x8080_8080_8080_8080;
    // The top bit of each byte that is zero, exact up to the first of them.
    let zeroes = |word: u64| word.wrapping_sub(ONES) & !word;
    let (words, rest) = bytes.as_chunks::<8>();
    for (number, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let controls = word.wrapping_sub(ONES * 0x20) & !word;
        let quotes = zeroes(word ^ (ONES * u64::from(b'"')));
        let backslashes = zeroes(word ^ (ONES * u64::from(b'\\')));
        let found = (controls | quotes | backslashes) & TOPS;
        if found != 0 {
            return number * 8 + (found.trailing_zeros() / 8) as usize;
        }
    }
    let is_plain = |byte: &u8| *byte >= 0x20 && *byte != b'"' && *byte != b'\\';
    let plain = rest.iter().take_while(|byte| is_plain(byte)).count();
    bytes.len() - rest.len() + plain
}

/// Looks whether a text is one JSON value, with nothing around it, that common parsers read: one that they refuse
/// would take all events of its page with it. It is not nested too deep, and its escapes of surrogates come in pairs.
pub(super) fn standing(text: &str) -> Option<Standing> {
    let mut look = Look {
        rest: text.as_bytes(),
        is_object: 0,
        depth: 0,
        has_lines: false,
    };
    look.value()?;
    look.rest.is_empty().then_some(Standing {
        has_lines: look.has_lines,
    })
}

/// On the way through a text: each step is `None` where that is not JSON.
struct Look<'a> {
    rest: &'a [u8],
    /// Of what is open, the innermost last: whether it is an object, a bit each.
    is_object: u128,
    depth: u32,
    has_lines: bool,
}

impl Look<'_> {
    fn value(&mut self) -> Option<()> {
        loop {
            // A value begins here.
            match self.next()? {
                b'"' => self.string()?,
                b'{' => {
                    self.open(true)?;
                    if !self.closes(b'}') {
                        self.name()?;
                        continue;
                    }
                }
                b'[' => {
                    self.open(false)?;
                    if !self.closes(b']') {
                        continue;
                    }
                }
                b't' => self.word(b"rue")?,
                b'f' => self.word(b"alse")?,
                b'n' => self.word(b"ull")?,
                b'-' => {
                    let first = self.next()?;
                    self.number(first)?;
                }
                first => self.number(first)?,
            }
            if !self.goes_on()? {
                return Some(());
            }
        }
    }

    /// After a value: whether another one follows.
    fn goes_on(&mut self) -> Option<bool> {
        while self.depth > 0 {
            let is_object = self.is_object & 1 == 1;
            self.skip_space();
            match self.next()? {
                b',' if is_object => {
                    self.skip_space();
                    self.name()?;
                    return Some(true);
                }
                b',' => {
                    self.skip_space();
                    return Some(true);
                }
                b'}' if is_object => self.close(),
                b']' if !is_object => self.close(),
                _ => return None,
            }
        }
        Some(false)
    }

    fn open(&mut self, is_object: bool) -> Option<()> {
        if self.depth == DEPTH_MAX {
            return None;
        }
        self.depth += 1;
        self.is_object = self.is_object << 1 | u128::from(is_object);
        self.skip_space();
        Some(())
    }

    /// Closes what was just opened, if it is empty.
    fn closes(&mut self, end: u8) -> bool {
        match self.rest.split_first() {
            Some((byte, rest)) if *byte == end => {
                self.rest = rest;
                self.close();
                true
            }
            _ => false,
        }
    }

    fn close(&mut self) {
        self.depth -= 1;
        self.is_object >>= 1;
    }

    /// The name of a member, and what is before its value.
    fn name(&mut self) -> Option<()> {
        if self.next()? != b'"' {
            return None;
        }
        self.string()?;
        self.skip_space();
        if self.next()? != b':' {
            return None;
        }
        self.skip_space();
        Some(())
    }

    /// The rest of a string.
    fn string(&mut self) -> Option<()> {
        loop {
            let plain = plain_bytes(self.rest);
            self.rest = self.rest.get(plain..)?;
            match self.next()? {
                b'"' => return Some(()),
                b'\\' => self.escape()?,
                _ => return None,
            }
        }
    }

    fn escape(&mut self) -> Option<()> {
        match self.next()? {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(()),
            b'u' => match self.unit()? {
                0xDC00..=0xDFFF => None,
                0xD800..=0xDBFF => {
                    self.word(b"\\u")?;
                    matches!(self.unit()?, 0xDC00..=0xDFFF).then_some(())
                }
                _ => Some(()),
            },
            _ => None,
        }
    }

    /// Four hexadecimal digits.
    fn unit(&mut self) -> Option<u32> {
        let (digits, rest) = self.rest.split_first_chunk::<4>()?;
        self.rest = rest;
        let mut unit = 0;
        for digit in digits {
            unit = unit << 4 | char::from(*digit).to_digit(16)?;
        }
        Some(unit)
    }

    /// The rest of a number behind its first digit.
    fn number(&mut self, first: u8) -> Option<()> {
        if !first.is_ascii_digit() {
            return None;
        }
        if first != b'0' {
            self.skip_digits();
        }
        if self.rest.first() == Some(&b'.') {
            self.next()?;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.rest.first() {
            self.next()?;
            if let Some(b'+' | b'-') = self.rest.first() {
                self.next()?;
            }
            self.digits()?;
        }
        Some(())
    }

    fn digits(&mut self) -> Option<()> {
        self.next()?.is_ascii_digit().then(|| self.skip_digits())
    }

    fn skip_digits(&mut self) {
        while let Some((b'0'..=b'9', rest)) = self.rest.split_first() {
            self.rest = rest;
        }
    }

    fn skip_space(&mut self) {
        while let Some((byte @ (b' ' | b'\n' | b'\r' | b'\t'), rest)) = self.rest.split_first() {
            self.has_lines |= matches!(byte, b'\n' | b'\r');
            self.rest = rest;
        }
    }

    fn word(&mut self, word: &[u8]) -> Option<()> {
        self.rest = self.rest.strip_prefix(word)?;
        Some(())
    }

    fn next(&mut self) -> Option<u8> {
        let (byte, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*byte)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::value::RawValue;

    use super::*;

    #[test]
    fn a_value_that_common_parsers_read_stands() {
        for text in [
            "null",
            "true",
            "false",
            "0",
            "-0",
            "10",
            "-1.50e+07",
            "1E5",
            "0.0",
            "\"\"",
            "{}",
            "[]",
            "[ ]",
            "{ }",
            r#"{"a":[1,{"b":null}],"a":"\u0041\/"}"#,
            r#"[ 1 , [ ] , { "x" : { } } ]"#,
            r#""\ud83d\ude00 ü""#,
        ] {
            assert_eq!(
                standing(text),
                Some(Standing { has_lines: false }),
                "{text}"
            );
            assert!(
                serde_json::from_str::<serde_json::Value>(text).is_ok(),
                "{text}"
            );
        }
        let lines = "{\n\"a\":\r\n1}";
        assert_eq!(standing(lines), Some(Standing { has_lines: true }));
    }

    #[test]
    fn what_is_not_one_value_or_not_common_does_not_stand() {
        let deep = |depth| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
        assert!(standing(&deep(100)).is_some());
        assert!(standing(&deep(101)).is_none());
        for text in [
            "",
            " ",
            " 1",
            "1 ",
            "1 2",
            "01",
            "-",
            "1.",
            ".5",
            "1e",
            "1e+",
            "+1",
            "NaN",
            "nul",
            "nulll",
            "tru",
            "[",
            "]",
            "[1",
            "[1,",
            "[1,]",
            "[,1]",
            "[1}",
            "{",
            "{]",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{a:1}",
            "{\"a\":1 \"b\":2}",
            "{1:2}",
            "\"",
            "\"\\",
            "\"\\x\"",
            "\"\\u12\"",
            "\"\\u12g4\"",
            "\"\\u+123\"",
            "\"\n\"",
            "\"\u{1f}\"",
            r#""\ud800""#,
            r#""\ud800\u0041""#,
            r#""\udc00""#,
            r#""\ud800\n""#,
        ] {
            assert_eq!(standing(text), None, "{text}");
        }
    }

    #[test]
    fn what_a_string_may_not_have_is_found_wherever_it_is() {
        for length in 0..40 {
            let plain = vec![0xff; length];
            assert_eq!(plain_bytes(&plain), length);
            for at in 0..length {
                for byte in (0..0x20).chain([b'"', b'\\']) {
                    let mut bytes = plain.clone();
                    bytes[at] = byte;
                    assert_eq!(plain_bytes(&bytes), at, "{byte} of {length}");
                }
                for byte in [0x20, 0x21, 0x23, 0x5b, 0x5d, 0x7f, 0x80, 0xa2, 0xdc] {
                    let mut bytes = plain.clone();
                    bytes[at] = byte;
                    assert_eq!(plain_bytes(&bytes), length, "{byte} at {at}");
                }
            }
        }
    }

    fn number_of(number: u64) -> String {
        let mut out = Vec::new();
        push_number(&mut out, number);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn numbers_have_all_their_digits() {
        for number in [0, 1, 9, 10, 99, 100, u64::MAX] {
            assert_eq!(number_of(number), number.to_string());
        }
    }

    proptest! {
        /// Of the small alphabet that JSON is written in, some is JSON.
        #[test]
        fn what_stands_is_what_a_parser_reads(text in r#"[\[\]{}",:01.eE+\-\\u dnul\n]{0,12}|\[("[a\\u"d8]{0,9}",?){0,3}\]|-?[0-9.eE+-]{0,8}"#) {
            let raw = serde_json::from_str::<&RawValue>(&text);
            let is_whole = raw.is_ok_and(|raw| raw.get().len() == text.len());
            let is_read = serde_json::from_str::<serde_json::Value>(&text).is_ok();
            match standing(&text) {
                Some(standing) => {
                    prop_assert!(is_whole, "{}", text);
                    prop_assert_eq!(standing.has_lines, text.contains('\n'));
                }
                // Numbers beyond what a float holds and halves of characters are JSON that is not read.
                None => prop_assert!(!is_whole || !is_read, "{}", text),
            }
        }

        #[test]
        fn strings_are_written_as_a_parser_writes_them(text in "\\PC{0,20}|[a\"\\\\\u{0}-\u{1f}\u{7f}ü]{0,20}") {
            let mut out = Vec::new();
            push_string(&mut out, &text);
            prop_assert_eq!(String::from_utf8(out).unwrap(), serde_json::to_string(&text).unwrap());
        }
    }
}
