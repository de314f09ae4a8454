//! `#[derive(State)]`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{DeriveInput, LitStr};

use crate::args::{Args, Known};
use crate::errors::Errors;
use crate::names;
use crate::version::{Stored, Version};

const OPTIONS: &[Known] = &[
    known("name", r#"name = "last-reading""#),
    known("version", "version = 2"),
    known("previous", "previous = LastReadingV1"),
];

const STATE: Stored = Stored {
    of: "State",
    found_by: "NAME",
    option: "name",
};

/// A whole attribute.
const EXAMPLE: &str = r#"#[state(name = "last-reading")]"#;

const fn known(name: &'static str, example: &'static str) -> Known {
    Known { name, example }
}

/// The implementation of `State`, or what is wrong.
pub(crate) fn expand(input: &DeriveInput) -> TokenStream {
    let mut errors = Errors::default();
    let is_generic = !input.generics.params.is_empty();
    if is_generic {
        errors.at(
            &input.generics,
            "a type of state has no parameters: one name stands for one type",
        );
    }
    let args = Args::of_type(input, "state", OPTIONS, EXAMPLE, &mut errors);
    let name = read_name(input, &args, &mut errors);
    let version = Version::read(&args, name.as_ref(), &mut errors);
    if errors.is_empty() {
        return implement(input, &quote!(#name), &version.expand(&STATE));
    }
    let errors = errors.into_tokens();
    // An implementation all the same, so that every use of the type does not become an error too.
    let stub = (!is_generic).then(|| implement(input, &quote!(""), &TokenStream::new()));
    quote!(#errors #stub)
}

fn implement(input: &DeriveInput, name: &TokenStream, version: &TokenStream) -> TokenStream {
    let state = &input.ident;
    quote! {
        #[automatically_derived]
        impl ::ensue::State for #state {
            const NAME: &'static str = #name;
            #version
        }
    }
}

fn read_name(input: &DeriveInput, args: &Args, errors: &mut Errors) -> Option<LitStr> {
    let Some(arg) = args.get("name") else {
        errors.at(
            &input.ident,
            format!(
                "the state `{}` has no name, under which it is stored: give it one that stays when \
                 the type is renamed, for instance `{EXAMPLE}`",
                input.ident
            ),
        );
        return None;
    };
    let name = errors.keep(arg.text())?;
    errors.keep(names::check_state(&name.value()).map_err(|reason| arg.error(reason)))?;
    Some(name)
}
