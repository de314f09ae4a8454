//! Which fields of an event are personal, and whose they are.

use proc_macro2::TokenStream;
use quote::{format_ident, quote, quote_spanned};
use syn::spanned::Spanned as _;
use syn::{Data, DeriveInput, Expr, Field, Member, Meta};

use super::key::{parse_field, text_of};
use super::shape::{Shape, text};
use crate::args::{Args, Known};
use crate::errors::Errors;

const OPTIONS: &[Known] = &[Known {
    name: "personal",
    example: "personal = user_id",
}];

/// A whole attribute.
const EXAMPLE: &str = "#[event(personal = user_id)]";

/// The fields that are personal.
#[derive(Default)]
pub(crate) struct Personal(Vec<PersonalField>);

struct PersonalField {
    member: Member,
    /// The field that says whose it is.
    subject: syn::ExprField,
    span: proc_macro2::Span,
}

impl Personal {
    /// Reads the attributes of the fields.
    pub(crate) fn read(input: &DeriveInput, shape: &Shape, errors: &mut Errors) -> Self {
        let mut personal = Self::default();
        match &input.data {
            Data::Struct(data) => {
                for (member, field) in data.fields.members().zip(&data.fields) {
                    personal.0.extend(read_field(member, field, shape, errors));
                }
            }
            Data::Enum(data) => {
                let fields = data.variants.iter().flat_map(|variant| &variant.fields);
                for attribute in fields.flat_map(|field| &field.attrs) {
                    if attribute.path().is_ident("event") {
                        errors.at(
                            attribute,
                            "the field of a variant cannot be personal: make the variant an event of its own, a struct",
                        );
                    }
                }
            }
            Data::Union(_) => {}
        }
        personal
    }

    /// `const PERSONAL` and `fn personal`.
    pub(crate) fn expand(&self) -> TokenStream {
        if self.0.is_empty() {
            return TokenStream::new();
        }
        let names: Vec<String> = self.0.iter().map(|field| text(&field.member)).collect();
        let subjects = self
            .0
            .iter()
            .map(|field| text_of(&field.subject, &field.subject.member));
        let values = self.0.iter().map(|field| {
            let member = &field.member;
            quote_spanned!(field.span=> ::ensue::__private::PersonalValue::values(&mut self.#member))
        });
        let places = (0..self.0.len()).map(|it| format_ident!("subject_{it}"));
        let places: Vec<_> = places.collect();
        quote! {
            const PERSONAL: &'static [&'static str] = &[#(#names),*];

            fn personal(&mut self) -> ::std::vec::Vec<::ensue::__private::PersonalField<'_>> {
                #(let #places = ::std::borrow::Cow::<'_, str>::into_owned(#subjects);)*
                ::std::vec![#(::ensue::__private::PersonalField {
                    name: #names,
                    subject: #places,
                    values: #values,
                }),*]
            }
        }
    }
}

fn read_field(
    member: Member,
    field: &Field,
    shape: &Shape,
    errors: &mut Errors,
) -> Option<PersonalField> {
    let mut args = Args::default();
    for attribute in field.attrs.iter().filter(|it| it.path().is_ident("event")) {
        match &attribute.meta {
            Meta::List(list) => args.extend("#[event]", list.tokens.clone(), OPTIONS, errors),
            meta => errors.at(
                meta,
                format!("`#[event]` of a field says whose it is, for instance `{EXAMPLE}`"),
            ),
        }
    }
    let arg = args.get("personal")?;
    let expected = "the field that says whose it is, without quotes: `user_id` or `user.id`";
    let tokens = errors.keep(arg.tokens(expected))?.clone();
    let subject = errors.keep(parse_field(&tokens, shape, "personal", || {
        arg.error(format!("`personal` takes {expected}"))
    }))?;
    if matches!(&*subject.base, Expr::Path(_)) && subject.member == member {
        errors.add(arg.error(
            "a field cannot be its own subject: name the one that has the id of the person",
        ));
        return None;
    }
    let span = field.ty.span();
    Some(PersonalField {
        member,
        subject,
        span,
    })
}
