//! `#[derive(Event)]`.

mod key;
mod personal;
mod shape;
mod topic;

use proc_macro2::{Ident, TokenStream};
use quote::quote;
use syn::{DeriveInput, LitStr};

use self::key::Key;
use self::personal::Personal;
use self::shape::Shape;
use self::topic::Topic;
use crate::args::{Args, Known};
use crate::errors::Errors;
use crate::names;
use crate::version::{Stored, Version};

const OPTIONS: &[Known] = &[
    known("type", r#"type = "order.created""#),
    known("topic", r#"topic = "orders""#),
    known("key", "key = order_id"),
    known("key_with", "key_with = Self::order_key"),
    known("version", "version = 2"),
    known("previous", "previous = OrderCreatedV1"),
    known("codec", r#"codec = "msgpack""#),
];

const EVENT: Stored = Stored {
    of: "Event",
    found_by: "TYPE",
    option: "type",
};

/// A whole attribute.
const EXAMPLE: &str = r#"#[event(type = "order.created", topic = "orders", key = order_id)]"#;

const fn known(name: &'static str, example: &'static str) -> Known {
    Known { name, example }
}

/// The implementation of `Event`, or what is wrong.
pub(crate) fn expand(input: &DeriveInput) -> TokenStream {
    let mut errors = Errors::default();
    let shape = Shape::read(input, &mut errors);
    let args = Args::of_type(input, "event", OPTIONS, EXAMPLE, &mut errors);
    let event_type = read_type(input, &args, &mut errors);
    let parts = [
        Topic::read(input, &args, &shape, &mut errors).expand(),
        Version::read(&args, event_type.as_ref(), &mut errors).expand(&EVENT),
        Key::read(&args, &shape, &mut errors).expand(),
        Personal::read(input, &shape, &mut errors).expand(),
        expand_codec(&args, &mut errors),
    ];
    if errors.is_empty() {
        return implement(&input.ident, &quote!(#event_type), &parts);
    }
    let errors = errors.into_tokens();
    // An implementation all the same, so that every use of the event does not become an error too.
    let stub = shape.is_concrete().then(|| {
        implement(
            &input.ident,
            &quote!(""),
            &[
                quote!(
                    const TOPIC: &'static str = "";
                ),
                Key::Empty.expand(),
            ],
        )
    });
    quote!(#errors #stub)
}

fn implement(event: &Ident, event_type: &TokenStream, parts: &[TokenStream]) -> TokenStream {
    quote! {
        #[automatically_derived]
        impl ::ensue::Event for #event {
            const TYPE: &'static str = #event_type;
            #(#parts)*
        }

        #[automatically_derived]
        impl ::ensue::ReturnedEvent for #event {}
    }
}

fn read_type(input: &DeriveInput, args: &Args, errors: &mut Errors) -> Option<LitStr> {
    let Some(arg) = args.get("type") else {
        errors.at(
            &input.ident,
            format!(
                "the event `{}` has no type: say what happened, in lower case and in the past \
                 tense, for instance `#[event(type = \"order.created\", …)]`",
                input.ident
            ),
        );
        return None;
    };
    let text = errors.keep(arg.text())?;
    errors.keep(names::check_event(&text.value()).map_err(|reason| arg.error(reason)))?;
    Some(text)
}

fn expand_codec(args: &Args, errors: &mut Errors) -> TokenStream {
    let Some(arg) = args.get("codec") else {
        return TokenStream::new();
    };
    let codec = errors
        .keep(arg.text())
        .and_then(|text| match text.value().as_str() {
            "json" => Some(quote!(Json)),
            "msgpack" => Some(quote!(MessagePack)),
            "cbor" => Some(quote!(Cbor)),
            other => {
                errors.add(arg.error(format!(
                    "there is no codec `{other}`; known are \"json\", \"msgpack\" and \"cbor\""
                )));
                None
            }
        });
    quote!(const CODEC: ::ensue::Codec = ::ensue::Codec::#codec;)
}
