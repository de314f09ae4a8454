//! What an event is made of, as far as keys and topics care.

use proc_macro2::{Ident, Span};
use quote::ToTokens;
use syn::ext::IdentExt;
use syn::{Data, DeriveInput, Index, Member};

use crate::errors::{Errors, did_you_mean, list};

/// The fields of a struct, or the lack of common ones of an enum.
pub(crate) struct Shape {
    name: Ident,
    fields: Option<Vec<Member>>,
    is_concrete: bool,
}

impl Shape {
    /// Reads the type and refuses what cannot be an event.
    pub(crate) fn read(input: &DeriveInput, errors: &mut Errors) -> Self {
        let is_generic = !input.generics.params.is_empty();
        if is_generic {
            refuse_generics(input, errors);
        }
        let fields = match &input.data {
            Data::Struct(data) => Some(data.fields.members().collect()),
            Data::Enum(_) => None,
            Data::Union(data) => {
                errors.at(
                    data.union_token,
                    "a union cannot be an event: nothing says which field to store; use a struct \
                     or an enum",
                );
                None
            }
        };
        Self {
            name: input.ident.clone(),
            fields,
            is_concrete: !is_generic && !matches!(input.data, Data::Union(_)),
        }
    }

    /// Whether the type can implement `Event` at all.
    pub(crate) fn is_concrete(&self) -> bool {
        self.is_concrete
    }

    /// Checks that `member` is a field; `option` is what names it.
    pub(crate) fn check(&self, member: &Member, option: &str) -> syn::Result<()> {
        let Some(fields) = &self.fields else {
            return Err(syn::Error::new_spanned(
                member,
                format!(
                    "`{option}` names a field, and the enum `{}` has none that all its variants \
                     share; for a key, write a function: `key_with = Self::order_key` with `fn \
                     order_key(&self) -> String`",
                    self.name
                ),
            ));
        };
        if fields.contains(member) {
            return Ok(());
        }
        let text = text(member);
        let names: Vec<String> = fields.iter().map(self::text).collect();
        let names = || names.iter().map(String::as_str);
        let has = if fields.is_empty() {
            "it has no fields".to_owned()
        } else {
            format!("its fields are {}", list(names()))
        };
        Err(syn::Error::new_spanned(
            member,
            format!(
                "`{}` has no field `{text}`; {}{has}",
                self.name,
                did_you_mean(&text, names())
            ),
        ))
    }

    /// The field that `text` names, located at `span`.
    pub(crate) fn member(text: &str, span: Span) -> Option<Member> {
        if let Ok(index) = text.parse::<u32>() {
            return Some(Member::Unnamed(Index { index, span }));
        }
        let mut name = syn::parse_str::<Ident>(text)
            .or_else(|_| syn::parse_str::<Ident>(&format!("r#{text}")))
            .ok()?;
        name.set_span(span);
        Some(Member::Named(name))
    }
}

/// How a field is called.
pub(crate) fn text(member: &Member) -> String {
    match member {
        Member::Named(name) => name.unraw().to_string(),
        Member::Unnamed(index) => index.to_token_stream().to_string(),
    }
}

fn refuse_generics(input: &DeriveInput, errors: &mut Errors) {
    let advice = if input.generics.type_params().next().is_some() {
        "one name stands for one schema, so write one struct for each type that it is used with"
    } else if input.generics.lifetimes().next().is_some() {
        "it outlives its publisher, so it owns its data: `String` in place of `&str`"
    } else {
        "one name stands for one schema, so write one struct for each value that it is used with"
    };
    errors.at(
        &input.generics,
        format!(
            "the event `{}` cannot have generic parameters: {advice}; for instance `struct \
             PriceChanged {{ price: Money }}`",
            input.ident
        ),
    );
}
