//! The version of an event's schema, and how older ones are read.

use proc_macro2::{Span, TokenStream};
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
                arg.error("an event with a previous version has `version = 2` or higher itself"),
            );
        }
        let previous = path.zip(name).map(|(path, name)| Previous {
            path,
            name: name.value(),
            version,
        });
        Self { number, previous }
    }

    /// `VERSION`, and `decode` where there is a version before.
    pub(crate) fn expand(&self) -> TokenStream {
        let constant = self
            .number
            .map(|number| quote!(const VERSION: u16 = #number;));
        let decode = self.previous.as_ref().map(Previous::expand);
        quote!(#constant #decode)
    }
}

impl Previous {
    fn expand(&self) -> TokenStream {
        let Self { path, .. } = self;
        let checks = self.checks();
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
                if version == <Self as ::ensue::Event>::VERSION {
                    codec.decode(payload)
                } else if version <= <#path as ::ensue::Event>::VERSION {
                    <#path as ::ensue::Event>::decode(version, codec, payload).map(#convert)
                } else {
                    ::core::result::Result::Err(::ensue::DecodeError::unknown_version(
                        <Self as ::ensue::Event>::NAME,
                        version,
                        <Self as ::ensue::Event>::VERSION,
                    ))
                }
            }
        }
    }

    fn checks(&self) -> TokenStream {
        let Self {
            path,
            name,
            version,
        } = self;
        let older = path.to_token_stream().to_string().replace(' ', "");
        let wrong_name = format!(
            "`previous = {older}` is not an older `{name}`: both types need the same `name`, \
             because that is how stored events find their type"
        );
        let wrong_version = format!(
            "`previous = {older}` is not older than version {version} of `{name}`: give it a \
             lower `version`"
        );
        let span = path.span().resolved_at(Span::mixed_site());
        quote_spanned! {span=>
            const _: () = {
                ::core::assert!(
                    ::ensue::__private::is_same(<#path as ::ensue::Event>::NAME, #name),
                    #wrong_name
                );
                ::core::assert!(<#path as ::ensue::Event>::VERSION < #version, #wrong_version);
            };
        }
    }
}
