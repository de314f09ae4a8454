//! What an event is about: the key that keeps its order.

use proc_macro2::{Delimiter, Span, TokenStream, TokenTree};
use quote::{ToTokens, quote, quote_spanned};
use syn::parse::Parser;
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::{Expr, ExprField, Member, Path, Token};

use super::shape::Shape;
use crate::args::{Arg, Args};
use crate::errors::Errors;

const EXPECTED: &str = "a field, a path of fields or a tuple of them, without quotes: `order_id`, \
                        `order.id` or `(tenant, order_id)`";

/// Where the key comes from.
pub(crate) enum Key {
    /// Nowhere: the key is empty.
    Empty,
    /// From fields (`self.order.id`), joined by `/`.
    Fields(Vec<ExprField>),
    /// From a function.
    With(Path),
}

impl Key {
    /// Reads the options `key` and `key_with`.
    pub(crate) fn read(args: &Args, shape: &Shape, errors: &mut Errors) -> Self {
        match (args.get("key"), args.get("key_with")) {
            (None, None) => Self::Empty,
            (Some(_), Some(with)) => {
                errors.add(with.error("an event has one key: keep `key` or `key_with`"));
                Self::Empty
            }
            (Some(arg), None) => errors.keep(Self::parse(arg, shape)).unwrap_or(Self::Empty),
            (None, Some(arg)) => errors
                .keep(arg.parse("the path of a function that takes `&self` and returns a text"))
                .map_or(Self::Empty, Self::With),
        }
    }

    fn parse(arg: &Arg, shape: &Shape) -> syn::Result<Self> {
        let tokens = arg.tokens(EXPECTED)?;
        let pieces = tuple(tokens).unwrap_or_else(|| vec![tokens.clone()]);
        if pieces.is_empty() {
            return Err(arg.error("an empty tuple is not a key: leave `key` out for an empty key"));
        }
        let mut fields = Vec::new();
        for piece in pieces {
            let mistaken = || arg.error(format!("`key` takes {EXPECTED}"));
            fields.push(parse_field(&piece, shape, "key", mistaken)?);
        }
        Ok(Self::Fields(fields))
    }

    /// `fn key`.
    pub(crate) fn expand(&self) -> TokenStream {
        let key = match self {
            Self::Empty => quote!(::std::borrow::Cow::Borrowed("")),
            Self::Fields(fields) => {
                let texts = fields
                    .iter()
                    .map(|field| text_of(field, &field.member))
                    .collect::<Vec<_>>();
                match texts.as_slice() {
                    [text] => text.clone(),
                    texts => quote! {
                        ::std::borrow::Cow::Owned(::ensue::__private::join_key(&[#(#texts),*]))
                    },
                }
            }
            Self::With(function) => {
                let span = located(function);
                let this = quote!(self);
                quote_spanned!(span=> ::core::convert::Into::into(#function(#this)))
            }
        };
        quote! {
            fn key(&self) -> ::std::borrow::Cow<'_, str> {
                #key
            }
        }
    }
}

/// The field, or the field of a field, that these tokens name for `option`.
pub(crate) fn parse_field(
    tokens: &TokenStream,
    shape: &Shape,
    option: &str,
    mistaken: impl Fn() -> syn::Error,
) -> syn::Result<ExprField> {
    // As an expression, so that `0.1` is two fields and not a number.
    let Ok(Expr::Field(field)) = syn::parse2::<Expr>(quote!(self.#tokens)) else {
        return Err(mistaken());
    };
    shape.check(first_member(&field).ok_or_else(mistaken)?, option)?;
    Ok(field)
}

/// The text of a field, borrowed where its type allows it. Errors point at `member`.
pub(crate) fn text_of(field: &impl ToTokens, member: &Member) -> TokenStream {
    let span = located(member);
    quote_spanned! {span=>
        {
            #[allow(unused_imports, reason = "which of them is used depends on the field's type")]
            use ::ensue::__private::{Borrowed as _, Displayed as _, Neither as _};
            (&&&::ensue::__private::Text(&#field)).text()
        }
    }
}

/// Where the user wrote `tokens`, with names of the macro's own.
fn located(tokens: &impl Spanned) -> Span {
    tokens.span().resolved_at(Span::mixed_site())
}

/// The parts of `(a, b)`.
fn tuple(tokens: &TokenStream) -> Option<Vec<TokenStream>> {
    let mut trees = tokens.clone().into_iter();
    let (Some(TokenTree::Group(group)), None) = (trees.next(), trees.next()) else {
        return None;
    };
    if group.delimiter() != Delimiter::Parenthesis {
        return None;
    }
    let parts = Punctuated::<Expr, Token![,]>::parse_terminated
        .parse2(group.stream())
        .ok()?;
    Some(parts.iter().map(ToTokens::to_token_stream).collect())
}

/// The field right after `self`, if there is nothing but fields.
fn first_member(field: &ExprField) -> Option<&Member> {
    match &*field.base {
        Expr::Field(before) => first_member(before),
        Expr::Path(base) if base.path.is_ident("self") => Some(&field.member),
        _ => None,
    }
}
