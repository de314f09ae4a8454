//! Values of a JSON text replaced by `null`, and everything else byte by byte as it was.

use serde_json::value::RawValue;

/// A text that is not JSON.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unreadable;

/// What every element of an array or an object is called.
const ANY: &str = "*";

/// The text with `null` where the pointers lead, every time that they do: an object may have a name twice.
/// `None` if they lead nowhere.
pub(super) fn masked(text: &[u8], pointers: &[&[String]]) -> Result<Option<Vec<u8>>, Unreadable> {
    // From here on it is JSON, and can be gone through without looking for faults.
    serde_json::from_slice::<&RawValue>(text).map_err(|_| Unreadable)?;
    let mut walk = Walk {
        text,
        at: 0,
        written: Vec::with_capacity(text.len()),
        copied: 0,
        is_other: false,
    };
    walk.value(pointers);
    walk.copy_to(text.len());
    Ok(walk.is_other.then_some(walk.written))
}

/// On the way through a text.
struct Walk<'a> {
    text: &'a [u8],
    at: usize,
    written: Vec<u8>,
    /// How much of the text was written, or left out.
    copied: usize,
    is_other: bool,
}

impl<'a> Walk<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn copy_to(&mut self, end: usize) {
        let part = self.text.get(self.copied..end).unwrap_or_default();
        self.written.extend_from_slice(part);
        self.copied = end;
    }

    fn skip_space(&mut self) {
        while self.peek().is_some_and(|byte| byte.is_ascii_whitespace()) {
            self.at += 1;
        }
    }

    /// Goes through a value to which these pointers have led: as deep as they are long.
    fn value(&mut self, pointers: &[&[String]]) {
        self.skip_space();
        if pointers.iter().any(|pointer| pointer.is_empty()) {
            self.copy_to(self.at);
            self.skip_value();
            self.written.extend_from_slice(b"null");
            self.copied = self.at;
            self.is_other = true;
            return;
        }
        match self.peek() {
            Some(b'{') if !pointers.is_empty() => self.object(pointers),
            Some(b'[') if !pointers.is_empty() => self.array(pointers),
            _ => self.skip_value(),
        }
    }

    fn object(&mut self, pointers: &[&[String]]) {
        self.at += 1;
        loop {
            self.skip_space();
            match self.peek() {
                Some(b'"') => {}
                Some(b',') => {
                    self.at += 1;
                    continue;
                }
                _ => break,
            }
            let start = self.at;
            self.skip_string();
            let name = self.text.get(start..self.at).unwrap_or_default();
            // A name that cannot be read may be any.
            let name = serde_json::from_slice::<String>(name).ok();
            self.skip_space();
            // The colon.
            self.at += 1;
            self.value(&beyond(pointers, name.as_deref()));
        }
        self.at += 1;
    }

    fn array(&mut self, pointers: &[&[String]]) {
        self.at += 1;
        let mut index = 0_usize;
        loop {
            self.skip_space();
            match self.peek() {
                None | Some(b']') => break,
                Some(b',') => {
                    self.at += 1;
                    index += 1;
                }
                _ => {
                    let name = index.to_string();
                    self.value(&beyond(pointers, Some(&name)));
                }
            }
        }
        self.at += 1;
    }

    /// To the end of the string that begins here.
    fn skip_string(&mut self) {
        self.at += 1;
        while let Some(byte) = self.peek() {
            self.at += 1;
            match byte {
                b'"' => return,
                b'\\' => self.at += 1,
                _ => {}
            }
        }
    }

    /// To the end of the value that begins here, however deep it is.
    fn skip_value(&mut self) {
        let mut depth = 0_usize;
        loop {
            match self.peek() {
                None => return,
                Some(b'"') => self.skip_string(),
                Some(b'{' | b'[') => {
                    depth += 1;
                    self.at += 1;
                    continue;
                }
                Some(b'}' | b']') if depth > 0 => {
                    depth -= 1;
                    self.at += 1;
                }
                Some(b',' | b':') if depth > 0 => {
                    self.at += 1;
                    continue;
                }
                Some(byte) if byte.is_ascii_whitespace() && depth > 0 => {
                    self.at += 1;
                    continue;
                }
                // The end of what this value is in.
                Some(b'}' | b']' | b',') => return,
                Some(byte) if byte.is_ascii_whitespace() => return,
                Some(_) => self.skip_word(),
            }
            if depth == 0 {
                return;
            }
        }
    }

    /// To the end of a number, or of `true`, `false`, `null`.
    fn skip_word(&mut self) {
        self.at += 1;
        let is_inside = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
        while self.peek().is_some_and(is_inside) {
            self.at += 1;
        }
    }
}

/// What is left of the pointers that lead to an element.
fn beyond<'p>(pointers: &[&'p [String]], name: Option<&str>) -> Vec<&'p [String]> {
    let lead = |pointer: &&'p [String]| {
        let (first, rest) = pointer.split_first()?;
        let is_it = first == ANY || name.is_none_or(|name| name == first);
        is_it.then_some(rest)
    };
    pointers.iter().filter_map(lead).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn mask(text: &str, pointers: &[&str]) -> Option<String> {
        let pointers: Vec<Vec<String>> = pointers
            .iter()
            .map(|it| it.split('/').skip(1).map(str::to_owned).collect())
            .collect();
        let pointers: Vec<&[String]> = pointers.iter().map(Vec::as_slice).collect();
        let masked = masked(text.as_bytes(), &pointers).unwrap();
        masked.map(|bytes| String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn what_pointers_lead_to_is_null_and_everything_else_as_it_was() {
        for (text, pointers, expected) in [
            (r#"{"a":1,"b":2}"#, &["/a"][..], r#"{"a":null,"b":2}"#),
            (
                "{ \"a\" :\t1.10 ,\n \"b\": 2E+400 }",
                &["/a"],
                "{ \"a\" :\tnull ,\n \"b\": 2E+400 }",
            ),
            // Twice, and in other words.
            (
                r#"{"a":1,"a":"x","\u0061":[{"a":1}]}"#,
                &["/a"],
                r#"{"a":null,"a":null,"\u0061":null}"#,
            ),
            (
                r#"{"a":{"b":[{"c":"x","d":1},{"c":"y"}]}}"#,
                &["/a/b/*/c"],
                r#"{"a":{"b":[{"c":null,"d":1},{"c":null}]}}"#,
            ),
            (
                r#"{"a":[10,20,30],"b":{"1":"x"}}"#,
                &["/a/1", "/b/1"],
                r#"{"a":[10,null,30],"b":{"1":null}}"#,
            ),
            (
                r#"{"x":{"c":1},"y":{"c":"}\"]"}}"#,
                &["/*/c"],
                r#"{"x":{"c":null},"y":{"c":null}}"#,
            ),
            (r#"{"":{"":1}}"#, &["//"], r#"{"":{"":null}}"#),
            // One leads into what the other leads to.
            (r#"{"a":{"b":1}}"#, &["/a/b", "/a"], r#"{"a":null}"#),
            (
                r#"{"a\/b":true,"c":[],"d":{}}"#,
                &["/c", "/d"],
                r#"{"a\/b":true,"c":null,"d":null}"#,
            ),
        ] {
            assert_eq!(mask(text, pointers).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn pointers_that_lead_nowhere_change_nothing() {
        for (text, pointer) in [
            (r#"{"a":1}"#, "/b"),
            (r#"{"a":1}"#, "/a/b"),
            (r#"{"a":"/a"}"#, "/A"),
            ("[1,2]", "/2"),
            ("[]", "/*"),
            ("\"a\"", "/a"),
            (" 5 ", "/a"),
            (r#"{"b":{"a":1}}"#, "/a"),
        ] {
            assert_eq!(mask(text, &[pointer]), None, "{text}");
        }
    }

    #[test]
    fn a_text_that_is_not_json_is_not_read_and_one_that_is_deep_is() {
        for text in ["", "{", "{\"a\":1}}", "{'a':1}", "nul", "1 2"] {
            assert_eq!(masked(text.as_bytes(), &[]), Err(Unreadable), "{text}");
        }
        let deep = format!("{{\"a\":{}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(mask(&deep, &["/a"]).as_deref(), Some("{\"a\":null}"));
        // A half of a pair says nothing: what it is called may be what is masked.
        assert_eq!(
            mask(r#"{"\ud800":1,"b":2}"#, &["/a"]).as_deref(),
            Some(r#"{"\ud800":null,"b":2}"#)
        );
    }

    fn values() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            "[a-c\"\\\\{}\\[\\]:,é ]{0,4}".prop_map(Into::into),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            let names = "[a-c\"]{1,2}";
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
                prop::collection::hash_map(names, inner, 0..4)
                    .prop_map(|all| all.into_iter().collect::<serde_json::Map<_, _>>().into()),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_masked_is_what_a_parser_would_find(
            value in values(),
            parts in prop::collection::vec("[a-c0-2]", 1..4),
            is_pretty: bool,
        ) {
            let text = if is_pretty {
                serde_json::to_string_pretty(&value).unwrap()
            } else {
                value.to_string()
            };
            let pointer = format!("/{}", parts.join("/"));
            let mut expected = value;
            let found = expected.pointer_mut(&pointer).map(serde_json::Value::take);
            let masked = mask(&text, &[&pointer]);
            prop_assert_eq!(masked.is_some(), found.is_some());
            if let Some(masked) = masked {
                let masked: serde_json::Value = serde_json::from_str(&masked).unwrap();
                prop_assert_eq!(masked, expected);
            }
        }
    }
}
