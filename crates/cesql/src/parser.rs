//! Tokens to an expression (specification 2.1 to 2.4, precedence 3.6).
//!
//! By recursive descent. After an operand, the operators that follow are taken from the tightest
//! precedence to the loosest; what stands right of one is parsed in the same way, up to the precedence
//! that is tighter.

use crate::ast::{Arithmetic, Call, Chain, Node, Operator, Precedence, Step};
use crate::error::{ParseError, ParseProblem, shortened};
use crate::lexer::{Lexer, Span, Token};
use crate::like::Pattern;
use crate::limits::{EXPRESSION_BYTES_MAX, NESTING_MAX};
use crate::value::Value;

/// The expression that the text is, from its beginning to its end.
pub(crate) fn parse(text: &str) -> Result<Node, ParseError> {
    if text.len() > EXPRESSION_BYTES_MAX {
        let problem = ParseProblem::TooLong(text.len());
        return Err(ParseError::new(EXPRESSION_BYTES_MAX, problem));
    }
    let mut parser = Parser {
        lexer: Lexer::new(text),
        token: Token::End,
        span: Span::default(),
        nesting: 0,
    };
    parser.advance()?;
    let node = parser.expression()?;
    match parser.token {
        Token::End => Ok(node),
        _ => Err(parser.unexpected("an operator or the end of the expression")),
    }
}

#[derive(Debug)]
struct Parser<'t> {
    lexer: Lexer<'t>,
    /// The token that is next.
    token: Token<'t>,
    span: Span,
    nesting: usize,
}

const MINUS: Token<'_> = Token::Operator(Operator::Arithmetic(Arithmetic::Subtract));
const PLUS: Token<'_> = Token::Operator(Operator::Arithmetic(Arithmetic::Add));

impl<'t> Parser<'t> {
    fn expression(&mut self) -> Result<Node, ParseError> {
        self.chain(Precedence::Logic)
    }

    /// An operand and the operators that follow, none of which binds more loosely than this.
    fn chain(&mut self, loosest: Precedence) -> Result<Node, ParseError> {
        let mut node = self.unary()?;
        let all = Precedence::TIGHTEST_FIRST.into_iter();
        for precedence in all.take_while(|it| *it >= loosest) {
            let mut steps = Vec::new();
            while let Some(step) = self.step(precedence)? {
                steps.push(step);
            }
            if !steps.is_empty() {
                node = Node::Chain(Chain {
                    precedence,
                    first: Box::new(node),
                    steps,
                });
            }
        }
        Ok(node)
    }

    /// The next operator with what stands right of it, if it has this precedence.
    fn step(&mut self, precedence: Precedence) -> Result<Option<Step>, ParseError> {
        let Some(tighter) = precedence.tighter() else {
            return self.test();
        };
        let operator = match self.token {
            Token::Operator(operator) if operator.precedence() == precedence => operator,
            _ => return Ok(None),
        };
        self.advance()?;
        let right = self.chain(tighter)?;
        Ok(Some(Step::Operate(operator, right)))
    }

    /// `LIKE` or `IN`, negated or not.
    fn test(&mut self) -> Result<Option<Step>, ParseError> {
        let is_negated = self.token == Token::Not;
        if is_negated {
            self.advance()?;
        }
        match self.token {
            Token::Like => {
                self.advance()?;
                let pattern = Box::new(self.pattern()?);
                Ok(Some(Step::Like {
                    is_negated,
                    pattern,
                }))
            }
            Token::In => {
                self.advance()?;
                self.expect(Token::Open, "`(` and the elements of a set")?;
                let set = self.list()?;
                Ok(Some(Step::In { is_negated, set }))
            }
            _ if is_negated => Err(self.unexpected("`LIKE` or `IN` after `NOT`")),
            _ => Ok(None),
        }
    }

    fn pattern(&mut self) -> Result<Pattern, ParseError> {
        let Token::Text(text) = &self.token else {
            return Err(self.unexpected("a string, which is the pattern of `LIKE`"));
        };
        let pattern = Pattern::new(text);
        self.advance()?;
        Ok(pattern)
    }

    fn unary(&mut self) -> Result<Node, ParseError> {
        if self.token == Token::Not {
            self.advance()?;
            let operand = self.nested(Self::unary)?;
            return Ok(Node::Not(Box::new(operand)));
        }
        if self.token != MINUS && self.token != PLUS {
            return self.primary();
        }
        let is_negative = self.token == MINUS;
        let sign = self.span;
        self.advance()?;
        // A sign right before digits is a part of the literal: only so there is -2147483648.
        if let Token::Digits(digits) = self.token
            && self.span.begin == sign.end
        {
            let sign = if is_negative { "-" } else { "+" };
            return self.integer(sign, digits);
        }
        if !is_negative {
            return Err(self.unexpected("digits after the sign `+`"));
        }
        let operand = self.nested(Self::unary)?;
        Ok(Node::Negate(Box::new(operand)))
    }

    /// What is neither an operator nor has one outside of its parentheses.
    fn primary(&mut self) -> Result<Node, ParseError> {
        match self.token {
            Token::Open => {
                self.advance()?;
                let node = self.nested(Self::expression)?;
                self.expect(Token::Close, "`)` or an operator")?;
                Ok(node)
            }
            Token::Digits(digits) => self.integer("", digits),
            Token::Boolean(truth) => {
                self.advance()?;
                Ok(Node::Literal(Value::Boolean(truth)))
            }
            Token::Text(ref mut text) => {
                let text = std::mem::take(text);
                self.advance()?;
                Ok(Node::Literal(text.into()))
            }
            Token::Exists => {
                self.advance()?;
                let Token::Name(name) = self.token else {
                    return Err(self.unexpected("the name of an attribute"));
                };
                let name = self.attribute(name, self.span)?;
                self.advance()?;
                Ok(Node::Exists(name))
            }
            Token::Name(name) => {
                let span = self.span;
                self.advance()?;
                if self.token == Token::Open {
                    self.call(name, span)
                } else {
                    self.attribute(name, span).map(Node::Attribute)
                }
            }
            _ => Err(self.unexpected("an attribute, a value, a function or `(`")),
        }
    }

    fn integer(&mut self, sign: &str, digits: &str) -> Result<Node, ParseError> {
        let literal = format!("{sign}{digits}");
        let Ok(number) = literal.parse() else {
            let problem = ParseProblem::IntegerOutOfRange(shortened(&literal));
            return Err(ParseError::new(self.span.begin, problem));
        };
        self.advance()?;
        Ok(Node::Literal(Value::Integer(number)))
    }

    fn attribute(&self, name: &str, span: Span) -> Result<String, ParseError> {
        if name.contains('_') {
            let problem = ParseProblem::AttributeName(shortened(name));
            return Err(ParseError::new(span.begin, problem));
        }
        // Names are written in lower case, and found in any.
        Ok(name.to_ascii_lowercase())
    }

    /// A function's arguments, from their parenthesis.
    fn call(&mut self, name: &str, span: Span) -> Result<Node, ParseError> {
        let is_valid = name.starts_with(|c: char| c.is_ascii_alphabetic())
            && name.bytes().all(|byte| !byte.is_ascii_digit());
        if !is_valid {
            let problem = ParseProblem::FunctionName(shortened(name));
            return Err(ParseError::new(span.begin, problem));
        }
        self.advance()?;
        let arguments = if self.token == Token::Close {
            self.advance()?;
            Vec::new()
        } else {
            self.list()?
        };
        Ok(Node::Call(Call::new(name, arguments)))
    }

    /// One expression or more, and the parenthesis that closes them.
    fn list(&mut self) -> Result<Vec<Node>, ParseError> {
        let mut nodes = Vec::new();
        loop {
            nodes.push(self.nested(Self::expression)?);
            if self.token != Token::Comma {
                self.expect(Token::Close, "`,`, `)` or an operator")?;
                return Ok(nodes);
            }
            self.advance()?;
        }
    }

    fn nested<T>(
        &mut self,
        parse: impl FnOnce(&mut Self) -> Result<T, ParseError>,
    ) -> Result<T, ParseError> {
        if self.nesting == NESTING_MAX {
            return Err(ParseError::new(self.span.begin, ParseProblem::TooDeep));
        }
        self.nesting += 1;
        let parsed = parse(self);
        self.nesting -= 1;
        parsed
    }

    fn advance(&mut self) -> Result<(), ParseError> {
        (self.token, self.span) = self.lexer.next_token()?;
        Ok(())
    }

    fn expect(&mut self, token: Token<'_>, expected: &'static str) -> Result<(), ParseError> {
        if self.token != token {
            return Err(self.unexpected(expected));
        }
        self.advance()
    }

    fn unexpected(&self, expected: &'static str) -> ParseError {
        let found = self.token.describe();
        let problem = ParseProblem::Unexpected { found, expected };
        ParseError::new(self.span.begin, problem)
    }
}
