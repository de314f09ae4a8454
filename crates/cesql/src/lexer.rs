//! An expression's text as tokens (specification 2.2 to 2.4).

use crate::ast::{Arithmetic, Logic, Operator, Order};
use crate::error::{ParseError, ParseProblem, shortened};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Token<'t> {
    /// Letters, digits and underscores that are no keyword: a name.
    Name(&'t str),
    /// Digits.
    Digits(&'t str),
    /// What a string says, without its quotes.
    Text(String),
    Boolean(bool),
    Operator(Operator),
    Not,
    Like,
    In,
    Exists,
    Open,
    Close,
    Comma,
    End,
}

/// Where a token stands in the text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) begin: usize,
    pub(crate) end: usize,
}

/// Takes one token after the other off the text.
#[derive(Debug)]
pub(crate) struct Lexer<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Lexer<'t> {
    pub(crate) fn new(text: &'t str) -> Self {
        Self { text, at: 0 }
    }

    /// The next token; [`Token::End`] when there is none left.
    pub(crate) fn next_token(&mut self) -> Result<(Token<'t>, Span), ParseError> {
        self.take(|c| matches!(c, ' ' | '\t' | '\r' | '\n'));
        let begin = self.at;
        let rest = self.rest();
        let token = match rest.chars().next() {
            None => Token::End,
            Some(quote @ ('\'' | '"')) => self.string(quote)?,
            Some(c) if is_word(c) => word(self.take(is_word)),
            Some(c) => {
                let (token, bytes) = symbol(rest).ok_or_else(|| unexpected(begin, c))?;
                self.at += bytes;
                token
            }
        };
        let end = self.at;
        Ok((token, Span { begin, end }))
    }

    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// The characters up to the first that is not `wanted`.
    fn take(&mut self, wanted: impl Fn(char) -> bool) -> &'t str {
        let rest = self.rest();
        let bytes = rest.find(|c| !wanted(c)).unwrap_or(rest.len());
        self.at += bytes;
        rest.get(..bytes).unwrap_or_default()
    }

    /// A string. A backslash escapes its quote; before another character, both stand for themselves.
    fn string(&mut self, quote: char) -> Result<Token<'t>, ParseError> {
        let mut text = String::new();
        let mut chars = self.rest().char_indices().skip(1);
        while let Some((at, c)) = chars.next() {
            if c == quote {
                self.at += at + c.len_utf8();
                return Ok(Token::Text(text));
            }
            if c != '\\' {
                text.push(c);
                continue;
            }
            let Some((_, escaped)) = chars.next() else {
                break;
            };
            if escaped != quote {
                text.push('\\');
            }
            text.push(escaped);
        }
        Err(ParseError::new(self.at, ParseProblem::UnclosedString))
    }
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

fn word(text: &str) -> Token<'_> {
    const KEYWORDS: [(&str, Token<'static>); 9] = [
        ("AND", Token::Operator(Operator::Logic(Logic::And))),
        ("OR", Token::Operator(Operator::Logic(Logic::Or))),
        ("XOR", Token::Operator(Operator::Logic(Logic::Xor))),
        ("NOT", Token::Not),
        ("LIKE", Token::Like),
        ("IN", Token::In),
        ("EXISTS", Token::Exists),
        ("TRUE", Token::Boolean(true)),
        ("FALSE", Token::Boolean(false)),
    ];
    let keyword = KEYWORDS
        .into_iter()
        .find(|(keyword, _)| keyword.eq_ignore_ascii_case(text));
    match keyword {
        Some((_, token)) => token,
        None if text.bytes().all(|byte| byte.is_ascii_digit()) => Token::Digits(text),
        None => Token::Name(text),
    }
}

/// The symbol that the text begins with, and how long it is.
fn symbol(text: &str) -> Option<(Token<'static>, usize)> {
    use Operator::{Arithmetic as A, Equal, Order as O};
    // What begins like another stands before it.
    const SYMBOLS: [(&str, Token<'static>); 15] = [
        ("!=", Token::Operator(Equal { is_negated: true })),
        ("<>", Token::Operator(Equal { is_negated: true })),
        ("<=", Token::Operator(O(Order::LessOrEqual))),
        (">=", Token::Operator(O(Order::GreaterOrEqual))),
        ("<", Token::Operator(O(Order::Less))),
        (">", Token::Operator(O(Order::Greater))),
        ("=", Token::Operator(Equal { is_negated: false })),
        ("*", Token::Operator(A(Arithmetic::Multiply))),
        ("/", Token::Operator(A(Arithmetic::Divide))),
        ("%", Token::Operator(A(Arithmetic::Remainder))),
        ("+", Token::Operator(A(Arithmetic::Add))),
        ("-", Token::Operator(A(Arithmetic::Subtract))),
        ("(", Token::Open),
        (")", Token::Close),
        (",", Token::Comma),
    ];
    let mut symbols = SYMBOLS.into_iter();
    let (symbol, token) = symbols.find(|(symbol, _)| text.starts_with(symbol))?;
    Some((token, symbol.len()))
}

fn unexpected(at: usize, c: char) -> ParseError {
    let problem = ParseProblem::Unexpected {
        found: format!("{c:?}"),
        expected: "a name, a number, a string or an operator",
    };
    ParseError::new(at, problem)
}

impl Token<'_> {
    /// The token in an error.
    pub(crate) fn describe(&self) -> String {
        let symbol = match self {
            Self::Name(text) | Self::Digits(text) => return format!("`{}`", shortened(text)),
            Self::Text(text) => return format!("string `{}`", shortened(text)),
            Self::Operator(operator) => operator.as_str(),
            Self::Boolean(true) => "TRUE",
            Self::Boolean(false) => "FALSE",
            Self::Not => "NOT",
            Self::Like => "LIKE",
            Self::In => "IN",
            Self::Exists => "EXISTS",
            Self::Open => "(",
            Self::Close => ")",
            Self::Comma => ",",
            Self::End => return "end of the expression".to_owned(),
        };
        format!("`{symbol}`")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(text: &str) -> Vec<Token<'_>> {
        let mut lexer = Lexer::new(text);
        let mut tokens = Vec::new();
        loop {
            match lexer.next_token().unwrap() {
                (Token::End, _) => return tokens,
                (token, _) => tokens.push(token),
            }
        }
    }

    fn text(source: &str) -> String {
        match tokens(source).as_slice() {
            [Token::Text(text)] => text.clone(),
            other => panic!("{source}: {other:?}"),
        }
    }

    #[test]
    fn keywords_are_recognised_in_any_case_and_as_whole_words_only() {
        for and in ["AND", "and", "aNd"] {
            assert_eq!(tokens(and), [Token::Operator(Operator::Logic(Logic::And))]);
        }
        for name in ["android", "not1", "in_", "truex", "1in"] {
            assert_eq!(tokens(name), [Token::Name(name)]);
        }
        assert_eq!(tokens("tRuE"), [Token::Boolean(true)]);
        assert_eq!(tokens("007"), [Token::Digits("007")]);
    }

    #[test]
    fn the_longest_symbol_is_taken() {
        let equal = |is_negated| Token::Operator(Operator::Equal { is_negated });
        assert_eq!(tokens("!= <>"), [equal(true), equal(true)]);
        assert_eq!(tokens("<=="), {
            let less = Operator::Order(Order::LessOrEqual);
            [Token::Operator(less), equal(false)]
        });
    }

    #[test]
    fn a_backslash_escapes_the_own_quote_and_nothing_else() {
        assert_eq!(text(r"'a\'b'"), "a'b");
        assert_eq!(text(r#""a\"b""#), "a\"b");
        assert_eq!(text(r#"'a"b'"#), "a\"b");
        assert_eq!(text(r#"'a\"b'"#), r#"a\"b"#);
        assert_eq!(text(r#""a\'b""#), r"a\'b");
        assert_eq!(text(r"'a\\'"), r"a\\");
        assert_eq!(text(r"'\n\%'"), r"\n\%");
        assert_eq!(text("'ä€😀\n'"), "ä€😀\n");
        assert_eq!(text("''"), "");
    }

    #[test]
    fn a_string_without_an_end_is_found_where_it_begins() {
        for source in ["1 'abc", "1 \"abc'", r"1 'abc\'", r"1 'abc\", "1 '"] {
            let mut lexer = Lexer::new(source);
            lexer.next_token().unwrap();
            let error = ParseError::new(2, ParseProblem::UnclosedString);
            assert_eq!(lexer.next_token(), Err(error), "{source}");
        }
    }

    #[test]
    fn what_is_no_part_of_the_language_is_refused() {
        for source in ["!", "a.b", "&", "ä", "\u{a0}", "$", "`a`", "a;", "\0"] {
            let mut lexer = Lexer::new(source);
            let error = loop {
                match lexer.next_token() {
                    Ok((Token::End, _)) => panic!("{source:?} was taken"),
                    Ok(_) => {}
                    Err(error) => break error,
                }
            };
            assert!(matches!(error.problem(), ParseProblem::Unexpected { .. }));
        }
    }
}
