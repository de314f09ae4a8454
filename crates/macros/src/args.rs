//! `key = value` lists in attributes.
//!
//! A value is the tokens up to the next comma. It is parsed when it is asked for, so that one bad
//! value does not hide what is wrong with the others.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

use proc_macro2::{Ident, TokenStream, TokenTree};
use quote::{ToTokens, quote};
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream, Parser};
use syn::punctuated::Punctuated;
use syn::{DeriveInput, ExprArray, LitInt, LitStr, Meta, Token};

use crate::errors::{Errors, did_you_mean, list};

/// One option of an attribute: its name, and how it is written.
pub(crate) struct Known {
    pub(crate) name: &'static str,
    pub(crate) example: &'static str,
}

/// One `key` or `key = value`.
pub(crate) struct Arg {
    key: Ident,
    value: Option<TokenStream>,
    example: &'static str,
}

/// The options given to one attribute.
#[derive(Default)]
pub(crate) struct Args(Vec<Arg>);

impl Args {
    /// Reads `tokens` as options of `attribute`, which knows `known`.
    pub(crate) fn read(
        attribute: &str,
        tokens: TokenStream,
        known: &[Known],
        errors: &mut Errors,
    ) -> Self {
        let mut args = Self(Vec::new());
        args.extend(attribute, tokens, known, errors);
        args
    }

    /// Reads the attributes of a type that are called `name`; `example` is one of them.
    pub(crate) fn of_type(
        input: &DeriveInput,
        name: &str,
        known: &[Known],
        example: &str,
        errors: &mut Errors,
    ) -> Self {
        let mut args = Self::default();
        let shown = format!("#[{name}]");
        for attribute in input.attrs.iter().filter(|it| it.path().is_ident(name)) {
            match &attribute.meta {
                Meta::List(list) => args.extend(&shown, list.tokens.clone(), known, errors),
                meta => errors.at(
                    meta,
                    format!("`{shown}` takes its options in parentheses, for instance `{example}`"),
                ),
            }
        }
        args
    }

    /// Reads more options: an attribute may be written more than once.
    pub(crate) fn extend(
        &mut self,
        attribute: &str,
        tokens: TokenStream,
        known: &[Known],
        errors: &mut Errors,
    ) {
        let pairs = match parse_pairs.parse2(tokens) {
            Ok(pairs) => pairs,
            Err(error) => return errors.add(error),
        };
        for (key, value) in pairs {
            let name = key.unraw().to_string();
            let Some(option) = known.iter().find(|option| option.name == name) else {
                let names = || known.iter().map(|option| option.name);
                errors.at(
                    &key,
                    format!(
                        "`{attribute}` has no option `{name}`; {}its options are {}",
                        did_you_mean(&name, names()),
                        list(names()),
                    ),
                );
                continue;
            };
            if self.0.iter().any(|arg| arg.key == key) {
                errors.at(
                    &key,
                    format!("`{name}` is given twice; keep one of the two"),
                );
                continue;
            }
            self.0.push(Arg {
                key,
                value,
                example: option.example,
            });
        }
    }

    /// The option `name`, if it was given.
    pub(crate) fn get(&self, name: &str) -> Option<&Arg> {
        self.0.iter().find(|arg| arg.key.unraw() == name)
    }
}

fn parse_pairs(input: ParseStream<'_>) -> syn::Result<Vec<(Ident, Option<TokenStream>)>> {
    let mut pairs = Vec::new();
    while !input.is_empty() {
        let key = Ident::parse_any(input)?;
        let value = match input.parse::<Option<Token![=]>>()? {
            Some(_) => Some(parse_value(input)?),
            None => None,
        };
        pairs.push((key, value));
        if !input.is_empty() {
            input.parse::<Token![,]>()?;
        }
    }
    Ok(pairs)
}

fn parse_value(input: ParseStream<'_>) -> syn::Result<TokenStream> {
    let mut value = TokenStream::new();
    while !input.is_empty() && !input.peek(Token![,]) {
        value.extend([input.parse::<TokenTree>()?]);
    }
    if value.is_empty() {
        return Err(input.error("a value is missing after the `=`"));
    }
    Ok(value)
}

impl Arg {
    /// An error at the value.
    pub(crate) fn error(&self, message: impl Display) -> syn::Error {
        syn::Error::new_spanned(self, format!("{message}; for instance `{}`", self.example))
    }

    /// The value's tokens.
    pub(crate) fn tokens(&self, expected: &str) -> syn::Result<&TokenStream> {
        self.value.as_ref().ok_or_else(|| self.mistaken(expected))
    }

    /// The value as a `T`.
    pub(crate) fn parse<T: Parse>(&self, expected: &str) -> syn::Result<T> {
        syn::parse2(self.tokens(expected)?.clone()).map_err(|_| self.mistaken(expected))
    }

    /// The value as a text.
    pub(crate) fn text(&self) -> syn::Result<LitStr> {
        self.parse("a text in quotes")
    }

    /// The value as a whole number within `allowed`.
    pub(crate) fn number<N>(&self, allowed: RangeInclusive<N>) -> syn::Result<N>
    where
        N: FromStr<Err: Display> + PartialOrd + Display,
    {
        let expected = format!(
            "a whole number from {} to {}",
            allowed.start(),
            allowed.end()
        );
        self.parse::<LitInt>(&expected)
            .and_then(|literal| literal.base10_parse::<N>())
            .ok()
            .filter(|number| allowed.contains(number))
            .ok_or_else(|| self.mistaken(&expected))
    }

    /// The elements of the value `[a, b]`, of which there is at least one.
    pub(crate) fn elements<T: Parse>(&self, expected: &str) -> syn::Result<Vec<T>> {
        let array: ExprArray = self.parse(expected)?;
        let elements = &array.elems;
        let parsed = Punctuated::<T, Token![,]>::parse_terminated
            .parse2(quote!(#elements))
            .map_err(|_| self.error(format!("this takes {expected}")))?;
        if parsed.is_empty() {
            return Err(self.error("the list is empty: name something or leave it out"));
        }
        Ok(parsed.into_iter().collect())
    }

    /// The option as a flag: it takes no value.
    pub(crate) fn flag(&self) -> syn::Result<()> {
        match &self.value {
            None => Ok(()),
            Some(_) => Err(self.error(format!(
                "`{}` takes no value: it is said or left out",
                self.key
            ))),
        }
    }

    fn mistaken(&self, expected: &str) -> syn::Error {
        self.error(format!("`{}` takes {expected}", self.key))
    }
}

impl ToTokens for Arg {
    /// The value, or the key of an option without one: where an error belongs.
    fn to_tokens(&self, tokens: &mut TokenStream) {
        match &self.value {
            Some(value) => value.to_tokens(tokens),
            None => self.key.to_tokens(tokens),
        }
    }
}
