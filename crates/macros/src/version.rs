//! The version of a type that is stored, and how older ones are read.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{LitStr, Path};

use crate::args::Args;
use crate::errors::Errors;

/// The options `version` and `previous`.
#[derive(Default)]
pub(crate) struct Version {
    number: Option<u16>,
    previous: Option<Previous>,
}

/// What is stored with a version.
pub(crate) struct Stored {
    /// Its trait, in `ensue`.
    pub(crate) of: &'static str,
    /// The constant by which what is stored finds its Rust type.
    pub(crate) found_by: &'static str,
    /// The option that sets it.
    pub(crate) option: &'static str,
}

impl Stored {
    fn of(&self) -> TokenStream {
        let of = Ident::new(self.of, Span::call_site());
        quote!(::ensue::#of)
    }

    fn found_by(&self) -> Ident {
        Ident::new(self.found_by, Span::call_site())
    }
}

struct Previous {
    path: Path,
    /// The name and the version of the newer type, which the older one is compared with.
    name: String,
    version: u16,
}

impl Version {
    /// Reads both options.
    pub(crate) fn read(args: &Args, name: Option<&LitStr>, errors: &mut Errors) -> Self {
        let number = args
            .get("version")
            .and_then(|arg| errors.keep(arg.number(1..=u16::MAX)));
        let Some(arg) = args.get("previous") else {
            return Self {
                number,
                previous: None,
            };
        };
        let path = errors.keep(arg.parse::<Path>("the type of the version before"));
        let version = number.unwrap_or(1);
        if version < 2 && args.get("version").is_none_or(|_| number.is_some()) {
            errors.add(
                arg.error("a type with a previous version has `version = 2` or higher itself"),
            );
        }
        let previous = path.zip(name).map(|(path, name)| Previous {
            path,
            name: name.value(),
            version,
        });
        Self { number, previous }
    }

    /// `VERSION`, and `decode` where there is a version before, for an implementation of what is
    /// stored.
    pub(crate) fn expand(&self, stored: &Stored) -> TokenStream {
        let constant = self
            .number
            .map(|number| quote!(const VERSION: u16 = #number;));
        let decode = self
            .previous
            .as_ref()
            .map(|previous| previous.expand(stored));
        quote!(#constant #decode)
    }
}

impl Previous {
    fn expand(&self, stored: &Stored) -> TokenStream {
        let Self { path, .. } = self;
        let (of, found_by) = (stored.of(), stored.found_by());
        let checks = self.checks(stored);
        let span = path.span().resolved_at(Span::mixed_site());
        // All in one place, so that a conversion that is missing is reported once.
        let convert = quote_spanned!(span=> |older| ::core::convert::From::from(older));
        quote! {
            fn decode(
                version: u16,
                codec: ::ensue::Codec,
                payload: &[u8],
            ) -> ::core::result::Result<Self, ::ensue::DecodeError> {
                #checks
                if version == <Self as #of>::VERSION {
                    codec.decode(payload)
                } else if version <= <#path as #of>::VERSION {
                    <#path as #of>::decode(version, codec, payload).map(#convert)
                } else {
                    ::core::result::Result::Err(::ensue::DecodeError::unknown_version(
                        <Self as #of>::#found_by,
                        version,
                        <Self as #of>::VERSION,
                    ))
                }
            }
        }
    }

    fn checks(&self, stored: &Stored) -> TokenStream {
        let (of, found_by) = (stored.of(), stored.found_by());
        let option = stored.option;
        let Self {
            path,
            name,
            version,
        } = self;
        let older = path.to_token_stream().to_string().replace(' ', "");
        let wrong_name = format!(
            "`previous = {older}` is not an older `{name}`: both types need the same `{option}`, \
             because that is how what is stored finds its type"
        );
        let wrong_version = format!(
            "`previous = {older}` is not older than version {version} of `{name}`: give it a \
             lower `version`"
        );
        let span = path.span().resolved_at(Span::mixed_site());
        quote_spanned! {span=>
            const _: () = {
                ::core::assert!(
                    ::ensue::__private::is_same(<#path as #of>::#found_by, #name),
                    #wrong_name
                );
                ::core::assert!(<#path as #of>::VERSION < #version, #wrong_version);
            };
        }
    }
}
