//! Where an event is appended: a topic, or a template that the event's fields fill in.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{DeriveInput, Member};

use super::key;
use super::shape::Shape;
use crate::args::{Arg, Args};
use crate::errors::Errors;
use crate::names;

/// The parts between the dots.
#[derive(Default)]
pub(crate) struct Topic(Vec<Part>);

enum Part {
    Literal(String),
    Field(Member),
}

impl Topic {
    /// Reads the option `topic`.
    pub(crate) fn read(
        input: &DeriveInput,
        args: &Args,
        shape: &Shape,
        errors: &mut Errors,
    ) -> Self {
        let Some(arg) = args.get("topic") else {
            errors.at(
                &input.ident,
                format!(
                    "the event `{}` has no topic: say which sequence of events it joins, for \
                     instance `#[event(topic = \"orders\", …)]`",
                    input.ident
                ),
            );
            return Self::default();
        };
        errors.keep(Self::parse(arg, shape)).unwrap_or_default()
    }

    fn parse(arg: &Arg, shape: &Shape) -> syn::Result<Self> {
        let literal = arg.text()?;
        let text = literal.value();
        if text.contains('*') || text.contains('>') {
            return Err(arg.error(format!(
                "`{text}` is a pattern, but an event is appended to one topic: name it, or let \
                 fields fill it in: `topic = \"sensors.{{hall}}.{{device}}\"`"
            )));
        }
        let mut parts = Vec::new();
        for part in text.split('.') {
            let braced = part
                .strip_prefix('{')
                .and_then(|part| part.strip_suffix('}'));
            let Some(name) = braced else {
                if part.contains(['{', '}']) {
                    return Err(arg.error(names::describe_topic(
                        &text,
                        &format!("in `{part}` the braces are not the whole part"),
                    )));
                }
                parts.push(Part::Literal(part.to_owned()));
                continue;
            };
            let member = Shape::member(name, literal.span()).ok_or_else(|| {
                arg.error(names::describe_topic(
                    &text,
                    &format!("`{{{name}}}` does not name a field"),
                ))
            })?;
            shape.check(&member, "topic")?;
            parts.push(Part::Field(member));
        }
        let topic = Self(parts);
        names::check_topic(&topic.pattern()).map_err(|reason| arg.error(reason))?;
        Ok(topic)
    }

    fn pattern(&self) -> String {
        let parts: Vec<&str> = self
            .0
            .iter()
            .map(|part| match part {
                Part::Literal(text) => text,
                Part::Field(_) => "*",
            })
            .collect();
        parts.join(".")
    }

    /// `TOPIC`, and `topic()` where fields fill it in.
    pub(crate) fn expand(&self) -> TokenStream {
        let pattern = self.pattern();
        let constant = quote!(const TOPIC: &'static str = #pattern;);
        if self.0.iter().all(|part| matches!(part, Part::Literal(_))) {
            return constant;
        }
        let parts = self.0.iter().map(|part| match part {
            Part::Literal(text) => quote!(::std::borrow::Cow::Borrowed(#text)),
            Part::Field(member) => key::text_of(&quote!(self.#member), member),
        });
        quote! {
            #constant

            fn topic(&self) -> ::std::borrow::Cow<'_, str> {
                ::std::borrow::Cow::Owned(::ensue::__private::topic(&[#(#parts),*]))
            }
        }
    }
}
